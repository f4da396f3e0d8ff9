package leak_test

import (
	"crypto/elliptic"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

func TestNewJoinsFaults(t *testing.T) {
	t.Parallel()
	h, err := leak.New(nil, nil, nil, leak.WithNotify(nil), leak.WithLogger(nil),
		leak.WithPolicy("Live", "", leak.Revoke()), leak.WithPolicy("", "root", leak.Revoke()), leak.WithPolicy("", "", leak.Shorten(0)),
		leak.WithPolicy("", "", leak.Shorten(367*24*time.Hour)))
	if h != nil || !errors.Is(err, leak.ErrInvalid) {
		t.Fatalf("%v, %v", h, err)
	}
	for _, want := range []string{
		"issuer", "public keys", "number 1 is nil", "WithNotify(nil)", "WithLogger(nil)",
		`env "Live"`, `kind "root"`, "Shorten(0s)", "Shorten(8808h0m0s)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if got := len(strings.Split(err.Error(), "\n")); got != 9 {
		t.Errorf("%d lines: %v", got, err)
	}
}

func TestBoundsOfOptions(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	newHandler(t, newIssuer(t, authkey.NewMemoryStore()), github.keys(t),
		leak.WithPolicy("live", authkey.KindSecret, leak.Shorten(time.Second)), leak.WithPolicy("", "", leak.Shorten(366*24*time.Hour)),
		leak.WithPolicy("", "", leak.Policy{}))
}
