package pin_test

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tollgate-go/tollgate/examples/bench/internal/pin"
	"github.com/tollgate-go/tollgate/examples/bench/internal/server"
)

func cores(t *testing.T, pid int) unix.CPUSet {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// It is not parallel: it keeps this whole process to a core.
func TestApart(t *testing.T) {
	redis, err := server.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Stop()
	before, procs := cores(t, 0), runtime.GOMAXPROCS(0)
	undo, err := pin.Apart(redis.Pid())
	if before.Count() < 2 {
		if err == nil {
			t.Error("Apart on one core = nil, want an error")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := cores(t, os.Getpid()), cores(t, redis.Pid())
	if ours.Count() != 1 || theirs.Count() != 1 || ours == theirs || runtime.GOMAXPROCS(0) != 1 {
		t.Errorf("we may use %d cores, Redis %d, equal: %v, GOMAXPROCS %d; want one other core for each",
			ours.Count(), theirs.Count(), ours == theirs, runtime.GOMAXPROCS(0))
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if cores(t, os.Getpid()) != before || cores(t, redis.Pid()) != before || runtime.GOMAXPROCS(0) != procs {
		t.Errorf("after undo: %v, %v, GOMAXPROCS %d; want what was before", cores(t, os.Getpid()), cores(t, redis.Pid()), runtime.GOMAXPROCS(0))
	}
}

func TestApartOfNobody(t *testing.T) {
	before := cores(t, 0)
	if undo, err := pin.Apart(1 << 30); err == nil {
		t.Errorf("Apart of a process that there is not = %v", undo())
	}
	if cores(t, os.Getpid()) != before {
		t.Error("Apart failed, and left this process on other cores")
	}
}
