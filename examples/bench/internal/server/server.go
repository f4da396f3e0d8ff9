// Package server runs redis-server processes for benchmarks: empty ones on free ports of the loopback interface, alone
// or as a cluster, which write nothing to disk and end with the benchmark. Tests use lua/redistest instead.
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop() // servers end with ctx, and so on Ctrl-C
//	redis, err := server.Start(ctx, "--maxmemory", "1gb")
//	if err != nil { ... } // says how to install redis-server where it is missing
//	defer redis.Stop()
//	rdb := goredis.NewClient(&goredis.Options{Addr: redis.Addr()})
package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// ErrMissing says that there is no redis-server in the PATH.
var ErrMissing = errors.New("server: redis-server is not in the PATH: install Redis 7 or newer, " +
	"as by apt-get install redis-server, dnf install redis, apk add redis or brew install redis")

// Server is a redis-server process. Safe for concurrent use.
type Server struct {
	addr    string
	dir     string
	cmd     *exec.Cmd
	drained chan struct{} // closed when the process has ended and its output is read
}

// attempts is how many ports are tried: only the server itself can tell that its port is free, and in a cluster that of
// the bus.
const attempts = 20

// Start runs a redis-server on a free port of 127.0.0.1 and returns when it takes connections. The arguments follow
// those of Start on the command line, as "--maxmemory", "1gb". Call Stop when it is not needed any more; it is killed
// when ctx ends, too.
//
// Errors: ErrMissing, the context's, or what the server said before it ended.
func Start(ctx context.Context, args ...string) (*Server, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrMissing
	}
	var said error
	for range attempts {
		s, err := start(ctx, binary, args)
		if err == nil || ctx.Err() != nil {
			return s, err
		}
		said = err
	}
	return nil, said
}

func start(ctx context.Context, binary string, args []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "bench-redis-")
	if err != nil {
		return nil, fmt.Errorf("server: a directory for redis-server: %w", err)
	}
	// Below the ports that the system hands to outgoing connections, and so is the bus of a cluster, 10000 above.
	port := strconv.Itoa(10_000 + rand.IntN(10_000)) //nolint:gosec // a port is no secret
	cmd := exec.CommandContext(ctx, binary, append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)...)
	s := &Server{addr: "127.0.0.1:" + port, dir: dir, cmd: cmd, drained: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("server: start %s: %w", binary, err), os.RemoveAll(dir))
	}
	said, ready := awaitReady(out)
	go func() {
		defer close(s.drained)
		_, _ = io.Copy(io.Discard, out) // a full pipe would stop the server
		_ = cmd.Wait()                  // killed, or said why
	}()
	if !ready {
		s.Stop()
		return nil, errors.Join(ctx.Err(), fmt.Errorf("server: %s %v does not start:\n%s", binary, args, said))
	}
	return s, nil
}

// awaitReady reads what a server says until it has its port, or ends.
func awaitReady(out io.Reader) (said string, ready bool) {
	var log strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			return "", true
		}
		log.WriteString(lines.Text() + "\n")
	}
	return log.String(), false
}

// Addr returns host:port.
func (s *Server) Addr() string { return s.addr }

// Pid returns the id of the process, as to pin it to a core.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Ended returns a channel that is closed when the process has ended, whatever ended it.
func (s *Server) Ended() <-chan struct{} { return s.drained }

// Stop kills the process, waits for its end and removes its directory. It may be called again.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill() // it has nothing to save, and may have ended
	<-s.drained
	_ = os.RemoveAll(s.dir)
}
