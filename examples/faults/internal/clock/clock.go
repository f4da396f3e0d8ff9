// Package clock sets the clock of processes, each for itself and while they run, as an operator or a time server does
// by mistake. It compiles a small library that the processes load before libc, so it needs Linux and a C compiler.
//
//	c, err := clock.New(ctx, dir)
//	cmd.Env = append(os.Environ(), c.Env()...)
//	err = cmd.Start()
//	err = c.Set(-10 * time.Minute) // from now on it is ten minutes ago there
//
// A redis-server on any processor obeys it, a Go program on amd64 alone, if it was linked with cgo. Whoever relies on it
// asks the process for the time first. What measures durations (CLOCK_MONOTONIC) stays as it is.
package clock

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed shim/clock.c
var source []byte

// ErrMissing says that there is no C compiler in the PATH.
var ErrMissing = errors.New("clock: cc is not in the PATH: install a C compiler, as by apt-get install gcc libc6-dev")

// Clock is a shift of the time that processes see. Safe for concurrent use.
type Clock struct{ library, shift string }

// New compiles the library into a directory, which has to stay while processes are under the clock. The shift is zero.
//
// Errors: ErrMissing, the context's, or what the compiler said.
func New(ctx context.Context, dir string) (*Clock, error) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		return nil, ErrMissing
	}
	text := filepath.Join(dir, "clock.c")
	c := &Clock{library: filepath.Join(dir, "clock.so"), shift: filepath.Join(dir, "clock.shift")}
	if err := errors.Join(os.WriteFile(text, source, 0o600), os.WriteFile(c.shift, make([]byte, 8), 0o600)); err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	//nolint:gosec // the words are ours, and a directory that the caller chose
	said, err := exec.CommandContext(ctx, compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", c.library, text, "-ldl").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("clock: %s: %w\n%s", compiler, err, said)
	}
	return c, nil
}

// Env returns the variables that bring a process under the clock. Its children that inherit them are, too.
func (c *Clock) Env() []string {
	return []string{"LD_PRELOAD=" + c.library, "TOLLGATE_CLOCK=" + c.shift}
}

// Set shifts the time by so much from the true one, at once: forward, or back below zero. It acts on all processes that
// are under the clock, to the microsecond.
func (c *Clock) Set(shift time.Duration) error {
	file, err := os.OpenFile(c.shift, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	var text [8]byte
	binary.NativeEndian.PutUint64(text[:], uint64(shift.Microseconds()))
	_, err = file.WriteAt(text[:], 0)
	return errors.Join(err, file.Close())
}
