package remotestore

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// Class says in which way a service failed.
type Class string

// The classes of an Error.
const (
	Unreachable Class = "unreachable" // no connection, or it broke
	Timeout     Class = "timeout"     // the time was up, or the caller went away
	Status      Class = "status"      // a status that says nothing about the key, a redirect among them
	Size        Class = "size"        // an answer that is too long
	Garbage     Class = "garbage"     // an answer that cannot be read, or lacks something
	BadToken    Class = "token"       // a token that is not to be trusted
	Open        Class = "open"        // the breaker is open; nobody was asked
)

// Error says that nobody knows whether a key is good: errors.Is tells authkey.ErrUnavailable of it. Its text holds
// nothing of what the service answered, which may repeat the key.
type Error struct {
	Class Class
	// Status is what the service answered with; zero where it did not answer.
	Status int

	cause error
}

// Error names the class, the status and a cause.
func (e *Error) Error() string {
	text := fmt.Sprintf("%v: remotestore: %s", authkey.ErrUnavailable, e.Class)
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns authkey.ErrUnavailable and the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{authkey.ErrUnavailable}
	}
	return []error{authkey.ErrUnavailable, e.cause}
}

// answered reports whether the service is well enough to be asked: it answered, be it with what nobody can read of one
// key. Whoever sends odd keys must not stop the questions about others.
func answered(err error) bool {
	f, ok := errors.AsType[*Error](err)
	return !ok || f.Status != 0 && f.Status < http.StatusInternalServerError &&
		f.Status != http.StatusRequestTimeout && f.Status != http.StatusTooManyRequests
}

func failed(class Class, cause error) *Error { return &Error{Class: class, cause: cause} }

// broken classifies what a transport said.
func broken(ctx context.Context, err error) *Error {
	cause, timeout := outbound.Cause(ctx, err)
	if timeout {
		return failed(Timeout, cause)
	}
	return failed(Unreachable, cause)
}
