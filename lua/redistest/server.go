package redistest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Start runs a redis-server that belongs to the test alone, on a free port of the loopback interface, and
// returns its host:port. It is for tests that change a server's settings, fill it or stop it. It is empty,
// writes nothing to disk and ends with the test. The arguments follow those of Start on the command line:
// "--maxmemory-policy", "allkeys-lru", or "--sentinel".
//
// It skips and fails the test as [Standalone] does; what is missed is a redis-server in the PATH.
func Start(tb testing.TB, args ...string) string {
	tb.Helper()
	binary, err := exec.LookPath("redis-server")
	switch {
	case err != nil && required():
		tb.Fatalf("redistest: %s=1, but there is no redis-server in the PATH: %s%s", EnvRequire, howToRun, "PATH")
	case err != nil:
		tb.Skipf("redistest: needs a redis-server in the PATH: %s%s", howToRun, "PATH")
	}
	var said string
	for range 10 { // a port that is free now may be another's when the server asks for it
		var addr string
		if addr, said = start(tb, binary, args); addr != "" {
			return addr
		}
	}
	tb.Fatalf("redistest: %s %v does not start:\n%s", binary, args, said)
	return ""
}

// start returns where a new server listens, or what it said before it ended.
func start(tb testing.TB, binary string, args []string) (addr, said string) {
	tb.Helper()
	addr, config := freeAddr(tb), filepath.Join(tb.TempDir(), "redis.conf")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatalf("redistest: the address %q: %v", addr, err)
	}
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %q\nsave \"\"\nappendonly no\n", port, filepath.Dir(config))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), binary, append([]string{config}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		tb.Fatalf("redistest: start %s: %v", binary, err)
	}
	lines := bufio.NewScanner(out)
	var log strings.Builder
	for lines.Scan() {
		// Only a server that has its port says so; a Sentinel has words of its own.
		if strings.Contains(lines.Text(), "Ready to accept connections") || strings.Contains(lines.Text(), "Sentinel ID is") {
			stopAtEnd(tb, cmd, out)
			return addr, ""
		}
		log.WriteString(lines.Text() + "\n")
	}
	_ = cmd.Wait() // it ended by itself, and its log says why
	return "", log.String()
}

// stopAtEnd kills a server when the test ends, and reads on until then what it says.
func stopAtEnd(tb testing.TB, cmd *exec.Cmd, out io.Reader) {
	tb.Helper()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, out)
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it has nothing to save
		<-drained
		_ = cmd.Wait()
	})
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("redistest: no free port: %v", err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
