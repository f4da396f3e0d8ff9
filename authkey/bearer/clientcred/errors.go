package clientcred

import (
	"context"
	"fmt"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// Class says why there is no token.
type Class string

// The classes of an Error.
const (
	Unreachable Class = "unreachable" // no connection, or it broke
	Timeout     Class = "timeout"     // the time was up, or the caller went away
	Refused     Class = "refused"     // the endpoint answered with something else than 200, or with an OAuth error
	Garbage     Class = "garbage"     // an answer that is too long, cannot be read or lacks something
	Closed      Class = "closed"      // the Source was closed
)

// Error says that there is no token: errors.Is tells authkey.ErrUnavailable of it, for it says nothing about whoever
// calls us. Its text holds nothing of what the endpoint answered but the code.
type Error struct {
	Class Class
	// Status is what the endpoint answered with; zero where it did not answer.
	Status int
	// Code is the error that the endpoint named, as invalid_client (RFC 6749, section 5.2), if it is 1 to 64 lower-case
	// letters and underscores; "" otherwise.
	Code string

	cause error
}

// Error names the class, the status, the code and a cause.
func (e *Error) Error() string {
	text := fmt.Sprintf("%v: clientcred: %s", authkey.ErrUnavailable, e.Class)
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Code != "" {
		text += ": " + e.Code
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

func failed(class Class, cause error) *Error { return &Error{Class: class, cause: cause} }

// broken classifies what a transport said.
func broken(ctx context.Context, err error) *Error {
	cause, timeout := outbound.Cause(ctx, err)
	if timeout {
		return failed(Timeout, cause)
	}
	return failed(Unreachable, cause)
}
