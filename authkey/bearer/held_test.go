package bearer_test

import (
	"context"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// holding is a source that may have a set in memory, and sees whether Keys is called with a deadline.
type holding struct {
	source
	held    *bearer.KeySet
	bounded bool
}

func (h *holding) Held(bearer.Header) *bearer.KeySet { return h.held }

func (h *holding) Keys(ctx context.Context, header bearer.Header) (*bearer.KeySet, error) {
	_, h.bounded = ctx.Deadline()
	return h.source.Keys(ctx, header)
}

// TestHeld: who has a set in memory is asked for no other, and one that has none is, within the timeout. What is held
// counts as much as what Keys returns.
func TestHeld(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]bearer.Option{"cached": {cached(t)}, "not cached": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, keys := newGate(t, nil), new(holding)
			g.config.Keys = keys
			v := newVerifier(t, g.clock, []bearer.Issuer{g.config}, opts...)
			own, other, token := g.Key(), g.AddKey("ES256", "next"), g.Mint(authtest.Claims{})
			for _, step := range []struct {
				name       string
				held, told *bearer.KeySet
				asked      int
				want       error
			}{
				{"held", keySet(t, own), nil, 0, nil},
				{"held still", keySet(t, own, other), nil, 0, nil},
				{"held no more", nil, keySet(t, own), 1, nil},
				{"nowhere", nil, keySet(t, other), 2, authkey.ErrUnknown}, // for the cached token, and to verify it
				{"held without the key", keySet(t, other), keySet(t, own), 0, authkey.ErrUnknown},
				{"held again", keySet(t, own), nil, 0, nil},
				{"unavailable", nil, nil, 1, authkey.ErrUnavailable},
			} {
				before := keys.asked()
				keys.held, keys.bounded = step.held, false
				keys.become(step.told, nil)
				judge(t, v, token, nil, step.want)
				asked, want := keys.asked()-before, step.asked
				if opts == nil {
					want = min(want, 1)
				}
				if asked != want {
					t.Errorf("%s: Keys was called %d times, want %d", step.name, asked, want)
				}
				if keys.bounded != (asked > 0) {
					t.Errorf("%s: Keys was called %d times, with a deadline: %t", step.name, asked, keys.bounded)
				}
			}
		})
	}
}

// TestCachedIdentityHasNotes: of its own, for as long as it is cached; and none has them without a cache.
func TestCachedIdentityHasNotes(t *testing.T) {
	t.Parallel()
	g := newGate(t, hour, cached(t), bearer.WithRevocations(&revocations{}))
	token := g.Mint(nil)
	first := judge(t, g.verifier, token, nil, nil)
	if first.Notes == nil {
		t.Fatal("a cached identity has no notes")
	}
	first.Notes.Store("key", "kept")
	if second := judge(t, g.verifier, token, nil, nil); second.Notes.Load("key") != "kept" {
		t.Error("the same identity has other notes")
	}
	pending := judge(t, g.verifier, token, &authkey.Presentation{DeferRevocation: true}, nil)
	if pending.Token.Pending != authkey.RevocationPending || pending.Notes.Load("key") != "kept" {
		t.Error("the identity whose revocation is pending has other notes")
	}
	if other := judge(t, g.verifier, g.Mint(nil), nil, nil); other.Notes == nil || other.Notes.Load("key") != nil {
		t.Error("another identity has no notes, or the same")
	}
	g.clock.Advance(time.Minute)
	if again := judge(t, g.verifier, token, nil, nil); again.Notes == nil || again.Notes.Load("key") != nil {
		t.Error("notes outlasted the identity that they were with")
	}
	bare := newVerifier(t, g.clock, []bearer.Issuer{g.config})
	if identity := judge(t, bare, token, nil, nil); identity.Notes != nil {
		t.Error("an identity of one request has notes")
	}
}
