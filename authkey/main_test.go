package authkey_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that a test moves.
type clock struct{ offset atomic.Int64 }

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// spy is a store that counts look-ups and lets a test stand between the store and its answer.
type spy struct {
	authkey.Store
	finds  atomic.Int64
	answer func(ctx context.Context, record authkey.Record, err error) (authkey.Record, error)
}

func (s *spy) Find(ctx context.Context, id string) (authkey.Record, error) {
	s.finds.Add(1)
	record, err := s.Store.Find(ctx, id)
	return s.through(ctx, record, err)
}

func (s *spy) FindDigest(ctx context.Context, digest authkey.Digest) (authkey.Record, error) {
	s.finds.Add(1)
	record, err := s.Store.FindDigest(ctx, digest)
	return s.through(ctx, record, err)
}

func (s *spy) through(ctx context.Context, record authkey.Record, err error) (authkey.Record, error) {
	if s.answer != nil {
		return s.answer(ctx, record, err)
	}
	return record, err
}

// gate is a service with one key: what most tests begin with.
type gate struct {
	*authkey.Verifier
	clock  *clock
	store  *spy
	issuer *authkey.Issuer
	record authkey.Record
	key    authkey.Presented
}

func mustFormat(t testing.TB, brand, env string) authkey.Format {
	t.Helper()
	format, err := authkey.NewFormat(brand, env)
	if err != nil {
		t.Fatal(err)
	}
	return format
}

func newGate(t testing.TB, opts ...authkey.Option) *gate {
	t.Helper()
	g := &gate{clock: &clock{}, store: &spy{Store: authkey.NewMemoryStore()}}
	var err error
	g.issuer, err = authkey.NewIssuer(g.store, mustFormat(t, "acme", "live"), authkey.WithClock(g.clock.now))
	if err != nil {
		t.Fatal(err)
	}
	g.record, g.key, err = g.issuer.Issue(t.Context(), authkey.NewKey{
		Org: "demo", Project: "shop", Name: "first", Plan: "gold", Scopes: []string{authkey.ScopeWrite}, Products: []string{"maps"},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Verifier = g.verifier(t, opts...)
	return g
}

// verifier returns one more verifier on the store, as another replica has.
func (g *gate) verifier(t testing.TB, opts ...authkey.Option) *authkey.Verifier {
	t.Helper()
	v, err := authkey.New(g.store, append([]authkey.Option{authkey.WithClock(g.clock.now), authkey.WithTimeout(5 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (g *gate) setState(t testing.TB, state authkey.State) {
	t.Helper()
	elsewhere, err := authkey.NewIssuer(g.store.Store, mustFormat(t, "acme", "live"), authkey.WithClock(g.clock.now))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.SetState(t.Context(), g.record.Org, g.record.ID, 0, state, "test"); err != nil {
		t.Fatal(err)
	}
}

func fails(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func (g *gate) opens(t testing.TB, what string) *authkey.Identity {
	t.Helper()
	identity, err := g.Authenticate(t.Context(), g.key)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return identity
}
