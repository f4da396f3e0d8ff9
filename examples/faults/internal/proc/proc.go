// Package proc runs redis-server processes that faults are done to: they can be stopped, continued, killed and started
// again with what they have on disk. It touches processes that it started itself, and no other.
//
//	server, err := proc.Start(ctx, proc.Config{Args: []string{"--appendonly", "yes"}})
//	if err != nil { ... }
//	defer server.Close()
//	err = server.Pause()      // SIGSTOP: it has its connections, and answers nobody
//	err = server.Resume()     // SIGCONT
//	server.Kill()             // SIGKILL, and waits for the end
//	err = server.Restart(ctx) // on the same port, in the same directory
package proc

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
	"sync"
	"syscall"
)

// ErrMissing says that there is no redis-server in the PATH.
var ErrMissing = errors.New("proc: redis-server is not in the PATH: install Redis 7 or newer, or run through .ci/with-redis")

// Config says how a server is started. The zero Config is good: an empty server that writes nothing to disk.
type Config struct {
	// Args follow those of Start on the command line, as "--maxmemory", "1mb".
	Args []string
	// File is a configuration file, which is read first, and may be written to, as one of a Sentinel is. Start then sets
	// nothing but the port, the address and the directory.
	File string
	// Env is added to the environment, as "LD_PRELOAD=...".
	Env []string
	// Ready is what the server says once it can be asked; empty is what a redis-server says.
	Ready string
}

// Server is a redis-server process, or was one. Safe for concurrent use, but for Restart beside Kill.
type Server struct {
	config Config
	addr   string
	dir    string

	mu      sync.Mutex
	process *process // nil: it is not running
}

// process is one life of a server.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

// attempts is how many ports are tried: only the server itself can tell that its port is free.
const attempts = 20

// Start runs a redis-server on a free port of 127.0.0.1, and returns when it takes connections. It is killed when ctx
// ends; call Close when it is not needed any more. Errors: ErrMissing, the context's, or what the server said.
func Start(ctx context.Context, c Config) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrMissing
	}
	if c.Ready == "" {
		c.Ready = "Ready to accept connections"
	}
	var said error
	for range attempts {
		dir, err := os.MkdirTemp("", "faults-redis-")
		if err != nil {
			return nil, fmt.Errorf("proc: a directory for redis-server: %w", err)
		}
		// Below the ports that the system hands to outgoing connections, and so is the bus of a cluster, 10000 above.
		port := 10_000 + rand.IntN(10_000) //nolint:gosec // a port is no secret
		s := &Server{config: c, addr: "127.0.0.1:" + strconv.Itoa(port), dir: dir}
		if said = s.Restart(ctx); said == nil {
			return s, nil
		}
		s.Close()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, said
}

// Restart starts a server that was killed, or ended by itself, on its port and in its directory, with more
// arguments behind those of its Config. It returns when the server takes connections.
func (s *Server) Restart(ctx context.Context, more ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return fmt.Errorf("proc: the server at %s is running", s.addr)
	}
	_, port, _ := strings.Cut(s.addr, ":")
	args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", s.dir}
	if s.config.File != "" {
		args = append([]string{s.config.File}, args...)
	} else {
		args = append(args, "--save", "", "--appendonly", "no", "--daemonize", "no", "--enable-debug-command", "yes")
	}
	args = append(append(args, s.config.Args...), more...)
	cmd := exec.CommandContext(ctx, "redis-server", args...) //nolint:gosec // the arguments are those of a test
	cmd.Env = append(os.Environ(), s.config.Env...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("proc: start redis-server: %w", err)
	}
	said, ready := s.awaitReady(out)
	p := &process{Cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(io.Discard, out) // a full pipe would stop the server
		_ = cmd.Wait()                  // killed, or said why
	}()
	if !ready {
		_ = cmd.Process.Kill() // it has ended, or is of no use
		<-p.ended
		return errors.Join(ctx.Err(), fmt.Errorf("proc: redis-server %v does not start:\n%s", args, said))
	}
	s.process = p
	return nil
}

// awaitReady reads what a server says until it has its port, or ends.
func (s *Server) awaitReady(out io.Reader) (said string, ready bool) {
	var log strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), s.config.Ready) {
			return "", true
		}
		log.WriteString(lines.Text() + "\n")
	}
	return log.String(), false
}

// Addr returns host:port.
func (s *Server) Addr() string { return s.addr }

// Port returns the port of Addr.
func (s *Server) Port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

// Dir returns the server's directory, which Close removes.
func (s *Server) Dir() string { return s.dir }

// Pid returns the id of the process, zero where it is not running.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Process.Pid
}

// Pause stops the process, as SIGSTOP does: it keeps its connections, the system takes bytes for it, and nobody answers.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume has a process that was paused go on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return fmt.Errorf("proc: %v to the server at %s: it is not running", sig, s.addr)
	}
	if err := s.process.Process.Signal(sig); err != nil {
		return fmt.Errorf("proc: %v to the server at %s: %w", sig, s.addr, err)
	}
	return nil
}

// Kill ends the process at once, as SIGKILL does, and waits for its end. What it has on disk stays. It may be called
// again.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended
	<-s.process.ended
	s.process = nil
}

// Close kills the process and removes its directory. It may be called again.
func (s *Server) Close() {
	s.Kill()
	_ = os.RemoveAll(s.dir)
}
