package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestNewInvalid(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // never dialled
	t.Cleanup(func() { _ = rdb.Close() })
	sink := Func(func(context.Context, []Event) error { return nil })
	for _, tt := range []struct {
		name string
		rdb  redis.UniversalClient
		sink Sink
		opt  Option
		text string
	}{
		{"no client", nil, sink, WithGrace(0), "client is nil"},
		{"no sink", rdb, nil, WithGrace(0), "sink is nil"},
		{"a nil Func", rdb, Func(nil), WithGrace(0), "sink is nil"},
		{"a nil option", rdb, sink, nil, "number 2 is nil"},
		{"interval", rdb, sink, WithInterval(time.Millisecond), "WithInterval(1ms)"},
		{"grace below 0", rdb, sink, WithGrace(-1), "WithGrace(-1ns)"},
		{"grace of weeks", rdb, sink, WithGrace(8 * 24 * time.Hour), "WithGrace(192h0m0s)"},
		{"timeout", rdb, sink, WithTimeout(0), "WithTimeout(0s)"},
		{"time to send", rdb, sink, WithSendTimeout(time.Hour), "WithSendTimeout(1h0m0s)"},
		{"no batch", rdb, sink, WithBatch(0), "WithBatch(0)"},
		{"a large batch", rdb, sink, WithBatch(501), "WithBatch(501)"},
		{"no source", rdb, sink, WithSource(""), "WithSource"},
		{"a source that is no URI", rdb, sink, WithSource("a\nb"), "WithSource"},
		{"a source with a password", rdb, sink, WithSource("https://u:s3cr3t@x"), "WithSource"},
		{"no logger", rdb, sink, WithLogger(nil), "WithLogger(nil)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := New(tt.rdb, tt.sink, WithBatch(1), tt.opt)
			if err == nil || e != nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("New = %v, %v; want an error with %q", e, err, tt.text)
			}
			if tt.rdb != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("New = %v; want ErrInvalid", err)
			}
		})
	}
	_, err := New(nil, nil, WithBatch(0), WithGrace(-1))
	for _, text := range []string{"client is nil", "sink is nil", "WithBatch", "WithGrace"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("New = %v; want it to name %q too", err, text)
		}
	}
	if _, err := New(rdb, sink); err != nil {
		t.Errorf("New: %v", err)
	}
}

// asking is an error of a sink that says when to come again.
type asking time.Duration

func (a asking) Error() string             { return "busy" }
func (a asking) RetryAfter() time.Duration { return time.Duration(a) }

func TestPause(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		failed int
		err    error
		want   time.Duration
	}{
		{1, errCut, time.Second},
		{2, errCut, 2 * time.Second},
		{4, errCut, 8 * time.Second},
		{9, errCut, 256 * time.Second},
		{10, errCut, 5 * time.Minute},
		{1000, errCut, 5 * time.Minute},
		{1, errors.Join(fmt.Errorf("%w: %w", ErrNotSent, asking(9*time.Minute)), errCut), 10*time.Minute + 1},
		{1, asking(-time.Minute), time.Second},
		{10, asking(time.Second), 5 * time.Minute},
		{1, asking(1000 * time.Hour), time.Hour + time.Hour/9 + 1},
	} {
		if got := pause(tt.failed, tt.err); got != tt.want {
			t.Errorf("pause(%d, %v) = %v, want %v", tt.failed, tt.err, got, tt.want)
		}
	}
}

// notes is a log that may be read meanwhile.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func TestRun(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStage(t, rdb)
		s.add(t, 0, projects(3))
		var r receiver
		calls, taken := 0, make(chan struct{}, 10)
		sink := Func(func(ctx context.Context, events []Event) error {
			if calls++; calls == 1 {
				return errCut
			}
			defer func() { taken <- struct{}{} }()
			return r.Send(ctx, events)
		})
		var log notes
		e := s.exporter(t, sink, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			e.Run(ctx)
		}()
		<-taken
		s2 := &stage{Conn: s.Conn, org: s.org, batch: 100}
		s2.add(t, 1, map[string]int64{"next": 4})
		<-taken // without being asked
		cancel()
		<-ended
		want := projects(3)
		want["next"] = 4
		r.want(t, want)
		for text, times := range map[string]int{"usage is not exported": 1, "usage is exported again": 1, "cut here": 1} {
			if got := strings.Count(log.text.String(), text); got != times {
				t.Errorf("the log has %q %d times, want %d:\n%s", text, got, times, log.text.String())
			}
		}
	})
}

func TestRunEndsAtOnce(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	e, err := New(rdb, Func(func(context.Context, []Event) error { return nil }))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Run(ctx)
	if err := e.Once(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Once without Redis = %v; want ErrUnavailable", err)
	}
	if n := e.Stats().Failures["unavailable"]; n < 1 || n > 2*maxSilent {
		t.Errorf("%d calls failed; want that it gave up after %d buckets", n, maxSilent)
	}
}
