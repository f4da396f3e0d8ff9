package legacy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/legacy"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	s := newService()
	hasher := newHasher(t, "v1")
	issuer, lookup := s.issuer(t, hasher), s.old.lookup
	minted, err := authkey.New(s.store)
	if err != nil {
		t.Fatal(err)
	}
	var none *authkey.Verifier
	shape := func(string) (string, bool) { return "", true }
	compare := func(context.Context, authkey.Presented, legacy.Hash) (bool, error) { return false, nil }
	for name, c := range map[string]struct {
		verifier legacy.Verifier
		issuer   *authkey.Issuer
		opts     []legacy.Option
		says     string
	}{
		"no verifier":        {nil, issuer, []legacy.Option{s.old.scheme()}, "verifier"},
		"a nil verifier":     {none, issuer, []legacy.Option{s.old.scheme()}, "verifier"},
		"minted keys only":   {minted, issuer, []legacy.Option{s.old.scheme()}, "WithForeignKeys"},
		"no issuer":          {s.verifier(t, hasher), nil, []legacy.Option{s.old.scheme()}, "issuer"},
		"no scheme":          {s.verifier(t, hasher), issuer, nil, "Scheme"},
		"nil option":         {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), nil}, "option 1"},
		"nil scheme":         {s.verifier(t, hasher), issuer, []legacy.Option{(*legacy.Scheme)(nil).Named("x")}, "scheme: nil"},
		"zero scheme":        {s.verifier(t, hasher), issuer, []legacy.Option{&legacy.Scheme{}}, "name"},
		"two of a name":      {s.verifier(t, hasher), issuer, []legacy.Option{legacy.Sanctum(lookup), legacy.Sanctum(lookup)}, `"sanctum": there twice`},
		"a long name":        {s.verifier(t, hasher), issuer, []legacy.Option{legacy.Sanctum(lookup).Named(strings.Repeat("n", 65))}, "name"},
		"no lookup":          {s.verifier(t, hasher), issuer, []legacy.Option{legacy.Unkey(nil)}, `"unkey": lookup`},
		"no encode":          {s.verifier(t, hasher), issuer, []legacy.Option{legacy.SHA256("", nil, lookup)}, "encode"},
		"no shape":           {s.verifier(t, hasher), issuer, []legacy.Option{legacy.Custom("own", nil, compare, lookup)}, "shape"},
		"no compare":         {s.verifier(t, hasher), issuer, []legacy.Option{legacy.Custom("own", shape, nil, lookup)}, "compare"},
		"no time":            {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithTimeout(0)}, "WithTimeout(0s)"},
		"much time":          {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithTimeout(time.Hour)}, "WithTimeout"},
		"no rate":            {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithRate(0, 1)}, "WithRate(0, 1)"},
		"a high rate":        {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithRate(1, 200_000)}, "WithRate"},
		"no entries":         {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithNegativeCache(0, time.Second)}, "WithNegativeCache"},
		"entries for long":   {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithNegativeCache(1, time.Hour)}, "WithNegativeCache"},
		"nil observer":       {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithObserver(nil)}, "WithObserver(nil)"},
		"nil clock":          {s.verifier(t, hasher), issuer, []legacy.Option{s.old.scheme(), legacy.WithClock(nil)}, "WithClock(nil)"},
		"everything at once": {nil, nil, []legacy.Option{legacy.WithClock(nil)}, "issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain, err := legacy.New(c.verifier, c.issuer, c.opts...)
			fails(t, "New", err, authkey.ErrInvalid)
			if chain != nil || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("chain %v, error %q; want it to name %s", chain != nil, err, c.says)
			}
		})
	}
}
