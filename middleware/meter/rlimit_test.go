//go:build linux

package meter

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func init() {
	if os.Getenv(envChild) == "full disk" {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 4096, Max: 4096}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// TestFullDisk has a process count where its journal cannot grow: all that it records is counted.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	dir, org := t.TempDir(), redistest.Org(t)
	cmd, out := child(t, "full disk", dir, org)
	var recorded int64
	for out.Scan() {
		if _, err := fmt.Sscanf(out.Text(), "recorded %d", &recorded); err != nil {
			t.Errorf("the child says %q", out.Text())
		}
	}
	if err := cmd.Wait(); err != nil || recorded < 200 {
		t.Fatalf("the child ended with %v, recorded %d", err, recorded)
	}
	wantTotal(t, rdb, org, recorded)
	heir(t, rdb, dir)
	wantTotal(t, rdb, org, recorded)
}
