package bearer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// cached is a cache of some tokens.
func cached(t testing.TB) bearer.Option {
	t.Helper()
	return bearer.WithCache(100, time.Minute)
}

func TestCacheFollowsKeys(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil, cached(t))
	own, token := g.Key(), g.Mint(nil)
	next, replaced := g.AddKey("ES256", "next"), authtest.NewKey(t, "ES256", own.ID)
	first := judge(t, g.verifier, token, nil, nil)
	for _, step := range []struct {
		name string
		set  *bearer.KeySet
		want error
	}{
		{"the same set", g.keys.set, nil},
		{"a set that was read anew", keySet(t, own), nil},
		{"a set with one more key", keySet(t, own, next), nil},
		{"#71 the key is removed", keySet(t, next), authkey.ErrUnknown},
		{"the key is back", keySet(t, next, own), nil},
		{"another key has its ID", keySet(t, replaced, next), authkey.ErrUnknown},
		{"two keys have its ID", keySet(t, own, replaced), authkey.ErrUnknown},
		{"the key is alone again", keySet(t, own), nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			g.keys.become(step.set, nil)
			before := g.keys.asked()
			for range 2 {
				if id := judge(t, g.verifier, token, nil, step.want); id != nil && id.Key != first.Key {
					t.Errorf("it is %q, and was %q", id.Key, first.Key)
				}
			}
			if g.keys.asked() < before+2 {
				t.Errorf("the source was asked %d times in 2 calls", g.keys.asked()-before)
			}
		})
	}
	t.Run("#72 nobody has the keys", func(t *testing.T) {
		g.keys.become(nil, errors.New("dial tcp: refused"))
		judge(t, g.verifier, token, nil, authkey.ErrUnavailable)
		g.keys.become(nil, nil)
		judge(t, g.verifier, token, nil, authkey.ErrUnavailable)
		g.keys.become(keySet(t, own), nil)
		judge(t, g.verifier, token, nil, nil)
	})
	t.Run("another algorithm of the key", func(t *testing.T) {
		jwk := own.JWK()
		jwk["alg"] = "ES384"
		g.keys.become(keySetOf(t, jwk, next.JWK()), nil)
		judge(t, g.verifier, token, nil, authkey.ErrUnknown)
	})
}

func TestCacheEnds(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil, cached(t))
	token := g.Mint(nil)
	first := judge(t, g.verifier, token, nil, nil)
	g.clock.Advance(59 * time.Second)
	if judge(t, g.verifier, token, nil, nil) != first {
		t.Error("before its life is over, it was read anew")
	}
	g.clock.Advance(time.Second)
	second := judge(t, g.verifier, token, nil, nil)
	if second == first {
		t.Error("when its life is over, it was not read anew")
	}
	g.clock.Advance(50 * time.Second)
	if judge(t, g.verifier, token, nil, nil) != second {
		t.Error("it was read anew within its second life")
	}
	g.clock.Advance(3*time.Minute + 40*time.Second) // exp and the leeway
	judge(t, g.verifier, token, nil, authkey.ErrExpired)

	short := g.Mint(authtest.Claims{"exp": g.clock.Now().Add(10 * time.Second)})
	judge(t, g.verifier, short, nil, nil)
	g.clock.Advance(39 * time.Second)
	judge(t, g.verifier, short, nil, nil)
	g.clock.Advance(time.Second) // within its life in the cache
	judge(t, g.verifier, short, nil, authkey.ErrExpired)
	g.clock.Advance(-time.Minute) // and a clock that was put back
	early := g.Mint(authtest.Claims{"nbf": g.clock.Now(), "iat": g.clock.Now()})
	judge(t, g.verifier, early, nil, nil)
	g.clock.Advance(-31 * time.Second)
	judge(t, g.verifier, early, nil, authkey.ErrNotYetValid)
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil, bearer.WithCache(2, time.Minute))
	tokens := []string{g.Mint(nil), g.Mint(nil), g.Mint(nil)}
	first := judge(t, g.verifier, tokens[0], nil, nil)
	judge(t, g.verifier, tokens[1], nil, nil)
	if judge(t, g.verifier, tokens[0], nil, nil) != first {
		t.Error("it forgot one of two")
	}
	last := judge(t, g.verifier, tokens[2], nil, nil)
	if judge(t, g.verifier, tokens[0], nil, nil) != first || judge(t, g.verifier, tokens[2], nil, nil) != last {
		t.Error("it forgot what was used last")
	}
	bad := with(tokens[0], 2, base64url(make([]byte, 64)))
	for range 3 { // what is refused takes no place
		judge(t, g.verifier, bad, nil, authkey.ErrUnknown)
	}
	if judge(t, g.verifier, tokens[0], nil, nil) != first {
		t.Error("a bad token took the place of a good one")
	}
}

// TestCacheJudgesTheRest: a hit costs no signature, and nothing else is left out.
func TestCacheJudgesTheRest(t *testing.T) {
	t.Parallel()
	revoked, proved, validated := &revocations{names: map[string]bool{}}, new(proofs), 0
	var refusal error
	g := newGate(t, hour, cached(t), bearer.WithRevocations(revoked), bearer.WithProofs(proved),
		bearer.WithValidator(func(context.Context, *authkey.Identity) error { validated++; return refusal }, time.Second))
	token := g.Mint(authtest.Claims{"jti": "one", "cnf": authtest.Claims{"jkt": authtest.NewKey(t, "ES256", "").Thumbprint()}})
	proof := 0
	shown := func() *authkey.Presentation {
		proof++
		return &authkey.Presentation{Scheme: "DPoP", Proofs: []string{fmt.Sprint(proof)}}
	}
	first := judge(t, g.verifier, token, shown(), nil)
	if judge(t, g.verifier, token, shown(), nil) != first {
		t.Fatal("the second is no hit")
	}
	if len(revoked.asked) != 2 || len(proved.checked) != 2 || len(proved.used) != 2 || validated != 2 || g.keys.asked() != 2 {
		t.Errorf("of 2 calls: %d of revocations, %d and %d of proofs, %d of the validator, %d of keys", len(revoked.asked), len(proved.checked), len(proved.used), validated, g.keys.asked())
	}
	again := &authkey.Presentation{Scheme: "DPoP", Proofs: []string{"1"}}
	if _, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(token).In(again)); !errors.As(err, new(*authkey.ProofError)) {
		t.Errorf("a proof that was used: %v", err)
	}
	judge(t, g.verifier, token, &authkey.Presentation{Scheme: "Bearer"}, authkey.ErrUnknown)
	judge(t, g.verifier, token, nil, authkey.ErrUnknown)
	refusal = authkey.ErrForbidden
	judge(t, g.verifier, token, shown(), authkey.ErrForbidden)
	refusal, revoked.names["one"] = nil, true
	judge(t, g.verifier, token, shown(), authkey.ErrRevoked)
	revoked.names, revoked.err = nil, authkey.ErrUnavailable
	judge(t, g.verifier, token, shown(), authkey.ErrUnavailable)
}

// TestCacheMakesNoSignature counts allocations, of which a signature makes many more: a hit has 4, for the timeout of a
// source that may wait.
func TestCacheMakesNoSignature(t *testing.T) {
	if testing.CoverMode() != "" {
		t.Skip("counting lines allocates")
	}
	const most = 5
	g := newGate(t, nil, cached(t))
	presented := authkey.NewPresented(g.Mint(nil))
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := g.verifier.Authenticate(t.Context(), presented); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > most {
		t.Errorf("%v allocations for a cached token, want at most %d", allocations, most)
	}
}

// TestCacheWithKeyfunc: a source that makes a set of each answer is looked through by its keys.
func TestCacheWithKeyfunc(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	own, calls := g.Key(), 0
	public := own.Public()
	config := g.config
	config.Keys = bearer.Keyfunc(func(*jwt.Token) (any, error) { calls++; return public, nil })
	v := newVerifier(t, g.clock, []bearer.Issuer{config}, cached(t))
	token := g.Mint(nil)
	first := judge(t, v, token, nil, nil)
	if judge(t, v, token, nil, nil) != first || calls != 2 {
		t.Errorf("the second is no hit, or the function was asked %d times", calls)
	}
	public = authtest.NewKey(t, "ES256", own.ID).Public()
	judge(t, v, token, nil, authkey.ErrUnknown)
}
