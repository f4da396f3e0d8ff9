package jwks_test

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

// TestHeld: what is in memory is told as Keys tells it, and what is not makes nobody fetch.
func TestHeld(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n, jwks.WithStale(time.Hour)).Issuer(issuerURL)
		if source.Held(header("a")) != nil || n.total() != 0 {
			t.Error("there is a set before one was fetched, or it was fetched")
		}
		set := good(t, source, "a")
		before := n.total()
		if source.Held(header("a")) != set || source.Held(header("b")) != nil || n.total() != before {
			t.Error("Held is not the set with the key, or one without, or somebody was asked")
		}
		n.fail(errDown)
		pass(10*time.Minute + time.Hour - 1)
		if source.Held(header("a")) != set {
			t.Error("a set that is stale is not held")
		}
		pass(1)
		if source.Held(header("a")) != nil {
			t.Error("a set that has ended is held")
		}
	})
}

// TestACachedTokenAllocatesNothing: not even where keys follow an issuer.
func TestACachedTokenAllocatesNothing(t *testing.T) {
	issuer := authtest.NewIssuer(t)
	verifier, err := bearer.New([]bearer.Issuer{{
		URL: issuer.URL(), Audiences: []string{authtest.Audience}, Org: "acme", Keys: onTheWire(t, issuer).Issuer(issuer.URL()),
	}}, bearer.WithCache(10, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	ctx, presented := t.Context(), authkey.NewPresented(issuer.Mint(nil))
	if got := testing.AllocsPerRun(100, func() {
		if _, err := verifier.Authenticate(ctx, presented); err != nil {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
