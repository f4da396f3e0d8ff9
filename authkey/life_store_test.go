package authkey_test

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// lives is what a test of lives runs on.
type lives struct {
	authkey.Store
	org      string
	clock    clock
	issuer   *authkey.Issuer
	verifier *authkey.Verifier // with a warm cache
}

// onEachStore runs a test on every store there is.
func onEachStore(t *testing.T, test func(t *testing.T, l *lives)) {
	t.Helper()
	run := func(t *testing.T, store authkey.Store) {
		t.Helper()
		t.Parallel()
		l := &lives{Store: store, org: redistest.Org(t)}
		var err, fault error
		l.issuer, err = authkey.NewIssuer(l, mustFormat(t, "acme", "live"), authkey.WithClock(l.clock.now))
		l.verifier, fault = authkey.New(l, authkey.WithClock(l.clock.now), authkey.WithTimeout(time.Minute), authkey.WithCache(100_000, time.Minute))
		if err = errors.Join(err, fault); err != nil {
			t.Fatal(err)
		}
		test(t, l)
	}
	t.Run("memory", func(t *testing.T) { run(t, authkey.NewMemoryStore()) })
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		run(t, redisstore.New(rdb, redisstore.WithTimeout(5*time.Second)))
	})
}

// Sixteen callers change one key at once, each something else and without a revision: all of it is there at last.
func TestConcurrentChangesAreAllThere(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, l *lives) {
		record, key, err := l.issuer.Issue(t.Context(), authkey.NewKey{Org: l.org, Project: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		many, err := authkey.NewIssuer(l, mustFormat(t, "acme", "live"), authkey.WithClock(l.clock.now), authkey.WithMaxLive(authkey.MaxCredentials))
		if err != nil {
			t.Fatal(err)
		}
		for range authkey.MaxCredentials - 1 {
			if record, _, err = many.Rotate(t.Context(), l.org, record.ID, authkey.Rotation{Overlap: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		end, network := start.Add(time.Hour), netip.MustParsePrefix("192.0.2.0/24")
		writers := []authkey.Changes{
			{Name: new("n")}, {Owner: new("o")}, {Plan: new("p")}, {Scopes: &[]string{"s"}}, {Products: &[]string{"p"}},
			{Networks: &[]netip.Prefix{network}}, {Meta: &map[string]string{"m": "m"}}, {ExpiresAt: &end},
		}
		var wait sync.WaitGroup
		for i, changes := range writers {
			wait.Go(func() {
				if _, err := l.issuer.Change(t.Context(), l.org, record.ID, 0, changes); err != nil {
					t.Errorf("Change: %v", err)
				}
			})
			wait.Go(func() {
				if _, err := l.issuer.RevokeCredential(t.Context(), l.org, record.ID, record.Credentials[i].ID, 0, "test"); err != nil {
					t.Errorf("RevokeCredential: %v", err)
				}
			})
		}
		wait.Wait()
		got, err := l.issuer.Find(t.Context(), l.org, record.ID)
		if err != nil || got.Revision != record.Revision+16 {
			t.Fatalf("revision %d, %v; want 16 more than %d", got.Revision, err, record.Revision)
		}
		if got.Name != "n" || got.Owner != "o" || got.Plan != "p" || !slices.Equal(got.Scopes, []string{"s"}) || !slices.Equal(got.Products, []string{"p"}) ||
			!slices.Equal(got.Networks, []netip.Prefix{network}) || got.Meta["m"] != "m" || !got.ExpiresAt.Equal(end) {
			t.Errorf("a change was lost: %+v", got)
		}
		for _, c := range got.Credentials {
			if c.RevokedAt.IsZero() {
				t.Errorf("a revocation was lost: %+v", c)
			}
		}
		_, err = l.verifier.Authenticate(t.Context(), key)
		fails(t, "then", err, authkey.ErrRevoked)
	})
}
