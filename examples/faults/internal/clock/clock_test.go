package clock_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/faults/internal/clock"
)

// TestMain is a process that tells the time, whenever it is asked, if it was started as one.
func TestMain(m *testing.M) {
	if os.Getenv("CLOCK_TEST_TELLS") == "" {
		os.Exit(m.Run())
	}
	began := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(time.Now().UnixMicro(), time.Since(began).Milliseconds())
	}
}

// teller is a process under a clock.
type teller struct {
	*testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

// shift returns how far its clock is from ours, to the second, and how long it thinks that it runs.
func (p *teller) shift() (time.Duration, time.Duration) {
	p.Helper()
	if _, err := io.WriteString(p.in, "?\n"); err != nil || !p.out.Scan() {
		p.Fatalf("the process has ended: %v, %v", err, p.out.Err())
	}
	words := strings.Fields(p.out.Text())
	micros, err1 := strconv.ParseInt(words[0], 10, 64)
	millis, err2 := strconv.ParseInt(words[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		p.Fatal(err)
	}
	return time.Until(time.UnixMicro(micros)).Round(time.Second), time.Duration(millis) * time.Millisecond
}

func TestGoProgramObeys(t *testing.T) {
	t.Parallel()
	c, err := clock.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), c.Env()...), "CLOCK_TEST_TELLS=1")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p := &teller{T: t, in: in, out: bufio.NewScanner(out)}
	for _, want := range []time.Duration{0, 2 * time.Minute, -10 * time.Minute, 0} {
		if err := c.Set(want); err != nil {
			t.Fatal(err)
		}
		if got, ran := p.shift(); got != want || ran < 0 || ran > time.Minute {
			t.Errorf("after Set(%v) the clock of the process is %v off, and it runs for %v", want, got, ran)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestLibcObeys asks a program that has the time from libc.
func TestLibcObeys(t *testing.T) {
	t.Parallel()
	c, err := clock.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []time.Duration{-10 * time.Minute, 2 * time.Minute} {
		if err := c.Set(want); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "date", "+%s")
		cmd.Env = append(os.Environ(), c.Env()...)
		said, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		second, err := strconv.ParseInt(string(bytes.TrimSpace(said)), 10, 64)
		if got := time.Until(time.Unix(second, 0)); err != nil || (got-want).Abs() > 10*time.Second {
			t.Errorf("after Set(%v) date is %v off, %v", want, got, err)
		}
	}
}

func TestNewTellsWhatIsMissing(t *testing.T) {
	t.Run("a directory", func(t *testing.T) {
		if _, err := clock.New(t.Context(), t.TempDir()+"/none"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("New = %v, want that there is none", err)
		}
	})
	t.Run("a compiler", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := clock.New(t.Context(), t.TempDir()); !errors.Is(err, clock.ErrMissing) {
			t.Errorf("New = %v, want ErrMissing", err)
		}
	})
}
