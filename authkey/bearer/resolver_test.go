package bearer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// directory is a Resolver that notes who is looked up.
type directory struct {
	tell  func(ctx context.Context, url string) (bearer.Issuer, error)
	asked []string
}

func (d *directory) resolve(ctx context.Context, url string) (bearer.Issuer, error) {
	d.asked = append(d.asked, url)
	return d.tell(ctx, url)
}

// newDirectory opens a gate whose issuer is told by a directory.
func newDirectory(t *testing.T, issuers int, opts ...bearer.Option) (*gate, *directory) {
	t.Helper()
	g, d := newGate(t, nil), new(directory)
	d.tell = func(_ context.Context, url string) (bearer.Issuer, error) {
		if url != g.URL() {
			return bearer.Issuer{}, authkey.ErrUnknown
		}
		return g.config, nil
	}
	g.verifier = newVerifier(t, g.clock, nil, append(opts, bearer.WithResolver(d.resolve, issuers))...)
	return g, d
}

func (d *directory) expect(t *testing.T, what string, asked int) {
	t.Helper()
	if len(d.asked) != asked {
		t.Errorf("%s: asked for %q, want %d", what, d.asked, asked)
	}
	d.asked = nil
}

func TestResolverRemembers(t *testing.T) {
	t.Parallel()
	g, d := newDirectory(t, 2)
	judge(t, g.verifier, g.Mint(nil), nil, nil)
	judge(t, g.verifier, g.Mint(nil), nil, nil)
	d.expect(t, "two tokens of one issuer", 1)
	g.clock.Advance(59 * time.Second)
	judge(t, g.verifier, g.Mint(nil), nil, nil)
	d.expect(t, "before a minute is over", 0)
	g.clock.Advance(time.Second)
	judge(t, g.verifier, g.Mint(nil), nil, nil)
	d.expect(t, "after a minute", 1)
	d.tell = nobody
	judge(t, g.verifier, g.Mint(nil), nil, nil)
	d.expect(t, "while it is remembered", 0)
	g.clock.Advance(time.Minute)
	judge(t, g.verifier, g.Mint(nil), nil, authkey.ErrUnknown)
	judge(t, g.verifier, g.Mint(nil), nil, authkey.ErrUnknown)
	g.clock.Advance(-time.Minute) // a clock that was put back brings nobody back
	judge(t, g.verifier, g.Mint(nil), nil, authkey.ErrUnknown)
	d.expect(t, "after it is gone", 3)
	if g.keys.asked() != 5 {
		t.Errorf("keys were asked for %d times, want 5: not for those that are unknown", g.keys.asked())
	}
}

func TestResolverAnswers(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]struct {
		tell func(config bearer.Issuer) (bearer.Issuer, error)
		want error
	}{
		"as it should":    {func(i bearer.Issuer) (bearer.Issuer, error) { return i, nil }, nil},
		"with Orgs":       {func(i bearer.Issuer) (bearer.Issuer, error) { i.Org, i.Orgs = "", []string{"demo"}; return i, nil }, nil},
		"no such issuer":  {func(bearer.Issuer) (bearer.Issuer, error) { return bearer.Issuer{}, authkey.ErrUnknown }, authkey.ErrUnknown},
		"nobody knows":    {func(bearer.Issuer) (bearer.Issuer, error) { return bearer.Issuer{}, authkey.ErrUnavailable }, authkey.ErrUnavailable},
		"some error":      {func(i bearer.Issuer) (bearer.Issuer, error) { return i, errors.New("refused") }, authkey.ErrUnavailable},
		"another URL":     {func(i bearer.Issuer) (bearer.Issuer, error) { i.URL += "/"; return i, nil }, errors.Join(authkey.ErrUnavailable, authkey.ErrInvalid)},
		"no Org nor Orgs": {func(i bearer.Issuer) (bearer.Issuer, error) { i.Org = ""; return i, nil }, errors.Join(authkey.ErrUnavailable, authkey.ErrInvalid)},
		"a bad issuer":    {func(i bearer.Issuer) (bearer.Issuer, error) { i.Audiences = nil; return i, nil }, errors.Join(authkey.ErrUnavailable, authkey.ErrInvalid)},
		"nothing":         {func(bearer.Issuer) (bearer.Issuer, error) { return bearer.Issuer{}, nil }, errors.Join(authkey.ErrUnavailable, authkey.ErrInvalid)},
		"too long a life": {func(i bearer.Issuer) (bearer.Issuer, error) { i.MaxLifetime = 2 * time.Hour; return i, nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, d := newDirectory(t, 1)
			d.tell = func(context.Context, string) (bearer.Issuer, error) { return r.tell(g.config) }
			judge(t, g.verifier, g.Mint(authtest.Claims{"org_id": "demo"}), nil, r.want)
			judge(t, g.verifier, g.Mint(authtest.Claims{"org_id": "demo"}), nil, r.want)
			d.expect(t, "two tokens", map[bool]int{true: 1, false: 2}[r.want == nil]) // a failure is not remembered
		})
	}
	t.Run("a life above that of revocations", func(t *testing.T) {
		t.Parallel()
		g, d := newDirectory(t, 1, bearer.WithRevocations(new(revocations)))
		judge(t, g.verifier, g.Mint(nil), nil, errors.Join(authkey.ErrUnavailable, authkey.ErrInvalid))
		config := g.config
		config.MaxLifetime = time.Hour
		d.tell = func(context.Context, string) (bearer.Issuer, error) { return config, nil }
		judge(t, g.verifier, g.Mint(nil), nil, nil)
	})
	t.Run("too late", func(t *testing.T) {
		t.Parallel()
		g, d := newDirectory(t, 1, bearer.WithTimeout(time.Nanosecond))
		d.tell = func(ctx context.Context, _ string) (bearer.Issuer, error) {
			<-ctx.Done()
			return bearer.Issuer{}, ctx.Err()
		}
		_, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(g.Mint(nil)))
		if !errors.Is(err, authkey.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestResolverIsBounded(t *testing.T) {
	t.Parallel()
	g, d := newDirectory(t, 1)
	other := authtest.NewIssuer(t, authtest.WithClock(g.clock.Now))
	d.tell = func(_ context.Context, url string) (bearer.Issuer, error) {
		config := g.config
		if config.URL = url; url == other.URL() {
			config.Keys = keySet(t, other.Key())
		}
		return config, nil
	}
	for range 2 {
		judge(t, g.verifier, g.Mint(nil), nil, nil)
		judge(t, g.verifier, other.Mint(nil), nil, nil)
	}
	d.expect(t, "two issuers that take turns, and one is remembered", 4)
	judge(t, g.verifier, g.MintWith(nil, nil, other.Key()), nil, authkey.ErrUnknown)
}

// TestResolverIsNotAsked: for an issuer of New's, and for what is no URL that a token can have.
func TestResolverIsNotAsked(t *testing.T) {
	t.Parallel()
	g, d := newDirectory(t, 1)
	v := newVerifier(t, g.clock, []bearer.Issuer{g.config}, bearer.WithResolver(d.resolve, 1))
	judge(t, v, g.Mint(nil), nil, nil)
	for _, iss := range []any{authtest.Absent, nil, "", 1, []string{g.URL()}, string(make([]byte, 9))} {
		judge(t, v, g.Mint(authtest.Claims{"iss": iss}), nil, authkey.ErrMalformed)
	}
	judge(t, v, g.MintWith(map[string]any{"crit": []string{"x"}}, authtest.Claims{"iss": "https://other.example"}, nil), nil, authkey.ErrMalformed)
	d.expect(t, "nobody", 0)
	judge(t, v, g.Mint(authtest.Claims{"iss": "https://other.example"}), nil, authkey.ErrUnknown)
	d.expect(t, "a stranger", 1)
}

// TestResolvedIssuersInTheCache: a token outlasts the word of its issuer by no more than both lives.
func TestResolvedIssuersInTheCache(t *testing.T) {
	t.Parallel()
	g, d := newDirectory(t, 1, cached(t))
	token := g.Mint(nil)
	judge(t, g.verifier, token, nil, nil)
	d.tell = nobody
	g.clock.Advance(59 * time.Second)
	judge(t, g.verifier, token, nil, nil)
	g.clock.Advance(time.Minute)
	judge(t, g.verifier, token, nil, authkey.ErrUnknown)
}
