package bearer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestValidators(t *testing.T) {
	t.Parallel()
	other := errors.New("its tenant is closed")
	for name, r := range map[string]struct {
		says error
		want error
	}{
		"nothing":     {nil, nil},
		"forbidden":   {authkey.ErrForbidden, authkey.ErrForbidden},
		"revoked":     {fmt.Errorf("%w: session", authkey.ErrRevoked), authkey.ErrRevoked},
		"unavailable": {authkey.ErrUnavailable, authkey.ErrUnavailable},
		"some error":  {other, other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var order []string
			note := func(name string, says error) bearer.Option {
				return bearer.WithValidator(func(_ context.Context, identity *authkey.Identity) error {
					order = append(order, name+" "+identity.Token.Subject)
					return says
				}, time.Second)
			}
			g := newGate(t, nil, note("first", nil), note("second", r.says), note("third", nil))
			identity, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(g.Mint(nil)))
			if (identity == nil) != (r.want != nil) || !errors.Is(err, r.want) || errors.Is(err, authkey.ErrUnavailable) != errors.Is(r.want, authkey.ErrUnavailable) {
				t.Errorf("identity %v, error %v, want %v", identity, err, r.want)
			}
			want := []string{"first subject", "second subject", "third subject"}
			if r.says != nil {
				want = want[:2]
			}
			if !slices.Equal(order, want) {
				t.Errorf("called %q, want %q", order, want)
			}
			order = nil
			judge(t, g.verifier, g.Mint(authtest.Claims{"aud": "x"}), nil, authkey.ErrUnknown)
			if order != nil {
				t.Errorf("called %q for a bad token", order)
			}
		})
	}
}

// TestValidatorsComeLast: after possession and revocation, and before a proof is used up.
func TestValidatorsComeLast(t *testing.T) {
	t.Parallel()
	called := 0
	refuse := bearer.WithValidator(func(context.Context, *authkey.Identity) error { called++; return authkey.ErrForbidden }, time.Second)
	store, proved := &revocations{names: map[string]bool{"leaver": true}}, new(proofs)
	g := newGate(t, hour, bearer.WithRevocations(store), bearer.WithProofs(proved), refuse)
	cnf := authtest.Claims{"jkt": authtest.NewKey(t, "ES256", "").Thumbprint()}
	shown := &authkey.Presentation{Scheme: "DPoP", Proofs: []string{"p"}}
	judge(t, g.verifier, g.Mint(authtest.Claims{"cnf": cnf}), nil, authkey.ErrUnknown)
	if len(store.asked) != 0 {
		t.Error("a token without possession was looked up")
	}
	judge(t, g.verifier, g.Mint(authtest.Claims{"cnf": cnf, "sub": "leaver"}), shown, authkey.ErrRevoked)
	if called != 0 {
		t.Error("the validator was called for a revoked token")
	}
	judge(t, g.verifier, g.Mint(authtest.Claims{"cnf": cnf}), shown, authkey.ErrForbidden)
	if called != 1 || len(proved.used) != 0 {
		t.Errorf("the validator was called %d times, and %d proofs are used up", called, len(proved.used))
	}
}

// TestDeadlines runs on a clock of its own, so that no test waits.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	wait := func(ctx context.Context, _ *authkey.Identity) error { <-ctx.Done(); return ctx.Err() }
	forbid := func(ctx context.Context, _ *authkey.Identity) error { <-ctx.Done(); return authkey.ErrForbidden }
	key := authtest.NewKey(t, "ES256", "k")
	proof := authtest.NewKey(t, "ES256", "").Thumbprint()
	for name, r := range map[string]struct {
		opts  []bearer.Option
		keys  bearer.KeySource
		after time.Duration
		says  error // beside authkey.ErrUnavailable
	}{
		"a validator's own":               {[]bearer.Option{bearer.WithValidator(wait, time.Second)}, nil, time.Second, context.DeadlineExceeded},
		"a validator that says otherwise": {[]bearer.Option{bearer.WithValidator(forbid, time.Second)}, nil, time.Second, authkey.ErrForbidden},
		"all together, as it is":          {[]bearer.Option{bearer.WithValidator(wait, time.Minute)}, nil, 3 * time.Second, context.DeadlineExceeded},
		"all together, as it was set":     {[]bearer.Option{bearer.WithValidator(wait, time.Minute), bearer.WithTimeout(7 * time.Second)}, nil, 7 * time.Second, context.DeadlineExceeded},
		"keys":                            {nil, slow{}, 3 * time.Second, context.DeadlineExceeded},
		"revocations":                     {[]bearer.Option{bearer.WithRevocations(slow{})}, nil, 3 * time.Second, context.DeadlineExceeded},
		"proofs":                          {[]bearer.Option{bearer.WithProofs(new(slowProofs))}, nil, 3 * time.Second, context.DeadlineExceeded},
		"introspection":                   {[]bearer.Option{bearer.WithIntrospection(bearer.Issuer{URL: "https://login.example.com", Org: org, MaxLifetime: time.Hour}, slow{})}, nil, 3 * time.Second, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := bearer.Issuer{URL: "https://login.example.com", Audiences: []string{"a"}, Keys: r.keys, Org: org, MaxLifetime: time.Hour}
				if r.keys == nil {
					config.Keys = keySet(t, key)
				}
				v, err := bearer.New([]bearer.Issuer{config}, r.opts...)
				if err != nil {
					t.Fatal(err)
				}
				token, with := minted(t, key, config.URL, nil), new(authkey.Presentation)
				switch name {
				case "introspection":
					token = "opaque"
				case "proofs":
					token, with.Scheme = minted(t, key, config.URL, map[string]string{"jkt": proof}), "DPoP"
				}
				began := time.Now()
				_, err = v.Authenticate(t.Context(), authkey.NewPresented(token).In(with))
				if took := time.Since(began); took != r.after || !errors.Is(err, authkey.ErrUnavailable) || !errors.Is(err, r.says) {
					t.Errorf("after %v: %v, want ErrUnavailable after %v", took, err, r.after)
				}
			})
		})
	}
	t.Run("the caller's", func(t *testing.T) {
		g := newGate(t, nil, bearer.WithValidator(wait, time.Minute))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := g.verifier.Authenticate(ctx, authkey.NewPresented(g.Mint(nil)))
		if !errors.Is(err, authkey.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// TestRevokedInTheEnd: what is revoked is so, also where the time was up meanwhile.
func TestRevokedInTheEnd(t *testing.T) {
	t.Parallel()
	g := newGate(t, hour, bearer.WithRevocations(late{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := g.verifier.Authenticate(ctx, authkey.NewPresented(g.Mint(nil)))
	if !errors.Is(err, authkey.ErrRevoked) || errors.Is(err, authkey.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// late are Revocations that know when it is too late.
type late struct{ slow }

func (l late) Check(ctx context.Context, org string, token *authkey.Token) error {
	_ = l.slow.Check(ctx, org, token)
	return authkey.ErrRevoked
}

// slow never answers: as a source of keys, an Introspector and Revocations.
type slow struct{}

func (slow) Lifetime() time.Duration { return time.Hour }

func (slow) Check(ctx context.Context, _ string, _ *authkey.Token) error {
	<-ctx.Done()
	return ctx.Err()
}

func (slow) Introspect(ctx context.Context, _ string) (map[string]json.RawMessage, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// slowProofs are Proofs of which none can be remembered.
type slowProofs struct{}

func (*slowProofs) Check(*authkey.Presentation, string, string) (bearer.Proof, error) {
	return bearer.Proof{}, nil
}

func (*slowProofs) Use(ctx context.Context, _ bearer.Proof) error {
	<-ctx.Done()
	return ctx.Err()
}

func (slow) Keys(ctx context.Context, _ bearer.Header) (*bearer.KeySet, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRevocationsAreDeferred(t *testing.T) {
	t.Parallel()
	store := &revocations{names: map[string]bool{"leaver": true}}
	var outages []error
	open := bearer.WithOpenRevocations(func(err error) { outages = append(outages, err) })
	g := newGate(t, hour, bearer.WithRevocations(store))
	opened := newVerifier(t, g.clock, []bearer.Issuer{g.config}, bearer.WithRevocations(store), open)
	without := newVerifier(t, g.clock, []bearer.Issuer{g.config})
	later := &authkey.Presentation{DeferRevocation: true}
	leaver := g.Mint(authtest.Claims{"sub": "leaver"})
	for name, r := range map[string]struct {
		v    *bearer.Verifier
		want authkey.Pending
	}{
		"closed":  {g.verifier, authkey.RevocationPending},
		"open":    {opened, authkey.RevocationPendingOpen},
		"without": {without, authkey.NothingPending},
	} {
		if got := judge(t, r.v, leaver, later, nil).Token.Pending; got != r.want || len(store.asked) != 0 {
			t.Errorf("%s: pending %v, want %v; looked up %d times", name, got, r.want, len(store.asked))
		}
		if again, err := r.v.Refresh(t.Context(), authkey.NewPresented(leaver).In(later), nil); err != nil || again.Token.Pending != r.want {
			t.Errorf("%s: Refresh: %v, %v", name, again, err)
		}
	}
	for _, with := range []*authkey.Presentation{nil, {}} {
		judge(t, g.verifier, leaver, with, authkey.ErrRevoked)
		judge(t, opened, leaver, with, authkey.ErrRevoked)
		if id := judge(t, g.verifier, g.Mint(nil), with, nil); id.Token.Pending != authkey.NothingPending {
			t.Errorf("pending %v after it was looked up", id.Token.Pending)
		}
	}
	if !slices.Equal(store.asked, slices.Repeat([]string{org}, 6)) {
		t.Errorf("looked up for the orgs %q", store.asked)
	}
	store.err = fmt.Errorf("%w: refused", authkey.ErrUnavailable)
	judge(t, g.verifier, g.Mint(nil), nil, authkey.ErrUnavailable)
	judge(t, opened, g.Mint(nil), nil, nil)
	judge(t, opened, leaver, nil, authkey.ErrRevoked)
	if len(outages) != 1 || !errors.Is(outages[0], store.err) {
		t.Errorf("told of %v", outages)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel() // who hangs up is no outage that lets a revoked token in
	if id, err := opened.Authenticate(gone, authkey.NewPresented(g.Mint(nil))); id != nil || !errors.Is(err, authkey.ErrUnavailable) || len(outages) != 1 {
		t.Errorf("a caller who went away: %v, %v, told of %d outages", id, err, len(outages))
	}
	store.err = errors.Join(authkey.ErrRevoked, authkey.ErrUnavailable) // of two that it asked
	if id, err := opened.Authenticate(t.Context(), authkey.NewPresented(g.Mint(nil))); id != nil || !errors.Is(err, authkey.ErrRevoked) || len(outages) != 1 {
		t.Errorf("revoked by one name, and nobody can tell by another: %v, %v", id, err)
	}
	store.err = errors.New("odd")
	if id, err := opened.Authenticate(t.Context(), authkey.NewPresented(g.Mint(nil))); id != nil || !errors.Is(err, store.err) {
		t.Errorf("an odd error of the store: %v, %v", id, err)
	}
}
