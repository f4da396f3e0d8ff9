// Package outbound is what those share who ask other services over HTTP, with secrets in the question or the answer:
// what counts as this machine, and what may be said of an exchange that failed.
//
//	response, err := transport.RoundTrip(request)
//	if err != nil {
//		cause, timeout := outbound.Cause(ctx, err)
//		...
//	}
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Loopback reports whether the host of a URL, as url.URL.Hostname returns it, is this machine: localhost,
// 127.0.0.0/8 or ::1.
func Loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Cause returns why an exchange has no answer, as far as it may be told: of the errors of a transport only those are
// passed on that cannot hold a piece of the question or of the answer. timeout tells that the time was up, or that ctx
// ended.
func Cause(ctx context.Context, err error) (cause error, timeout bool) { //nolint:revive // the error is what is asked for, not a failure
	if ended := ctx.Err(); ended != nil {
		return ended, true
	}
	var timed interface{ Timeout() bool }
	if errors.As(err, &timed) && timed.Timeout() {
		return context.DeadlineExceeded, true
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok {
		return dial, false
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return untrusted, false
	}
	return fmt.Errorf("the exchange failed with a %T", root(err)), false
}

// root returns the innermost error.
func root(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}
