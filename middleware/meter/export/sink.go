package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// Sink takes events. An Exporter calls it from one goroutine at a time, with 1 to 500 events and a deadline; two
// Exporters may call one at once.
//
// Nil says that all events are accepted: they are safe with the receiver, and need not be sent again. Any error says
// that perhaps none are, and all of them come again. An error with a method RetryAfter() time.Duration is asked how long
// to wait, which is obeyed up to an hour.
type Sink interface {
	Send(ctx context.Context, events []Event) error
}

// Func is a Sink that is a function.
type Func func(ctx context.Context, events []Event) error

// Send calls the function.
func (f Func) Send(ctx context.Context, events []Event) error { return f(ctx, events) }

// NDJSON returns a Sink that writes each event as a line of JSON, all those of a call with one Write. Where w has a
// method Sync() error, as a file has, it is called before the events count as accepted, unless w is nothing that can be
// synced, as a pipe. After a Write that failed
// midway the next begins on a new line; a line that was cut is no JSON. A process that dies while it writes leaves such
// a line at the end: give each process a file of its own. A nil w fails every Send. Safe for concurrent use.
func NDJSON(w io.Writer) Sink { return &lines{w: w} }

type lines struct {
	mu  sync.Mutex
	w   io.Writer
	cut bool // the last line has no end
}

func (l *lines) Send(ctx context.Context, events []Event) error {
	if l.w == nil {
		return fmt.Errorf("%w: NDJSON(nil)", ErrInvalid)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for i := range events {
		if err := encoder.Encode(events[i]); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.cut {
		if _, err := l.w.Write([]byte("\n")); err != nil {
			return err
		}
		l.cut = false
	}
	if n, err := l.w.Write(text.Bytes()); err != nil {
		l.cut = n > 0 && text.Bytes()[n-1] != '\n'
		return err
	}
	if file, ok := l.w.(interface{ Sync() error }); ok {
		if err := file.Sync(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
	}
	return nil
}
