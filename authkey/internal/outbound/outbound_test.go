package outbound_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "localhost.example": false, "127.0.0.1.example": false, "10.0.0.1": false, "::": false, "0.0.0.0": false, "Localhost.": false,
	} {
		if got := outbound.Loopback(host); got != want {
			t.Errorf("Loopback(%q) = %t", host, got)
		}
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	asked := func(err error) error {
		return &url.Error{Op: "Post", URL: "https://h.example/?token=" + secret, Err: err}
	}
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	untrusted := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, r := range map[string]struct {
		ctx     context.Context
		err     error
		want    error // nil: a text of its own
		timeout bool
	}{
		"the caller went away": {ended, asked(errors.New(secret)), context.Canceled, true},
		"a timeout":            {t.Context(), asked(os.ErrDeadlineExceeded), context.DeadlineExceeded, true},
		"no connection":        {t.Context(), asked(dial), dial, false},
		"no trust":             {t.Context(), asked(untrusted), untrusted, false},
		"an odd answer":        {t.Context(), asked(fmt.Errorf("malformed response %q: %w", secret, errors.New(secret))), nil, false},
	} {
		cause, timeout := outbound.Cause(r.ctx, r.err)
		if timeout != r.timeout || r.want != nil && !errors.Is(cause, r.want) || cause == nil || strings.Contains(cause.Error(), secret) {
			t.Errorf("%s: %v, %t", name, cause, timeout)
		}
	}
	if cause, _ := outbound.Cause(t.Context(), asked(errors.New(secret))); cause.Error() != "the exchange failed with a *errors.errorString" {
		t.Errorf("an error of no known kind: %v", cause)
	}
}
