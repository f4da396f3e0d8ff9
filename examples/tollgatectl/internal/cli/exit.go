package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

// What a process ends with.
const (
	Done        = 0 // it is done
	Failed      = 1 // refused by the server, or failed, or not done without --yes
	Misused     = 2 // the command line is wrong; nothing was sent
	NotFound    = 3 // there is no such thing
	Conflict    = 4 // there already, changed meanwhile, or too many
	Unavailable = 5 // no answer, or one that says to come back later
	Broken      = 6 // the audit trail is not what it was
)

// ErrBroken says that an audit trail was changed by hand.
var ErrBroken = errors.New("the audit trail is broken")

type usageError string

func (e usageError) Error() string { return string(e) }

func usage(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// Usage is an error that says how the command line is to be written. It ends a process with Misused.
func Usage(text string) error { return usageError(text) }

// Code returns what a process ends with after an error.
func Code(err error) int {
	if err == nil {
		return Done
	}
	if _, ok := errors.AsType[usageError](err); ok || errors.Is(err, client.ErrInvalid) {
		return Misused
	}
	if p, ok := errors.AsType[*client.Error](err); ok {
		return codeOf(p)
	}
	switch {
	case errors.Is(err, client.ErrUnavailable):
		return Unavailable
	case errors.Is(err, ErrBroken):
		return Broken
	}
	return Failed
}

func codeOf(p *client.Error) int {
	switch p.Status {
	case http.StatusNotFound:
		if p.Code != "not_found" { // a part that is not served, or another server altogether
			return Failed
		}
		return NotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		return Conflict
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return Unavailable
	}
	return Failed
}

// report writes an error for people.
func report(w io.Writer, err error) {
	text := strings.TrimPrefix(show.Text(err.Error()), "client: ")
	if p, ok := errors.AsType[*client.Error](err); ok {
		text = refusal(p)
	} else if errors.Is(err, context.Canceled) {
		text = "interrupted; a change may have happened: read before you repeat it"
	}
	_, _ = io.WriteString(w, "tollgatectl: "+text+"\n") // there is no one else to tell
}

// refusal writes all that a server says of an error.
func refusal(p *client.Error) string {
	code := show.Text(p.Code)
	if code == "" {
		code = http.StatusText(p.Status)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s: %s", p.Status, code, show.Text(p.Detail))
	for _, fault := range p.Errors {
		fmt.Fprintf(&b, "\n  %s: %s (%s)", orBody(show.Text(fault.Pointer)), show.Text(fault.Message), show.Text(fault.Code))
	}
	for _, line := range [][2]string{{"key", p.Key}, {"credential", p.Credential}, {"request id", p.RequestID}} {
		if line[1] != "" {
			fmt.Fprintf(&b, "\n  %s: %s", line[0], show.Text(line[1]))
		}
	}
	return b.String()
}

func orBody(pointer string) string {
	if pointer == "" {
		return "the body"
	}
	return pointer
}
