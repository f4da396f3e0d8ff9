package jwks_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

// newVerifier is how all of it is used: by a verifier of one issuer.
func newVerifier(t *testing.T, issuer *authtest.Issuer) (verify func(token string) error, cache *jwks.Cache) {
	t.Helper()
	cache = onTheWire(t, issuer, jwks.WithCooldown(10*time.Minute))
	verifier, err := bearer.New([]bearer.Issuer{{
		URL: issuer.URL(), Audiences: []string{authtest.Audience}, Org: "acme", Keys: cache.Issuer(issuer.URL()),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return func(token string) error {
		_, err := verifier.Authenticate(t.Context(), authkey.NewPresented(token))
		return err
	}, cache
}

func TestAVerifierAsksItsIssuerOnly(t *testing.T) {
	t.Parallel()
	ours, theirs := authtest.NewIssuer(t), authtest.NewIssuer(t)
	verify, _ := newVerifier(t, ours)
	for _, iss := range []string{ // rows 51 and 52
		theirs.URL(), ours.URL() + "/", strings.Replace(ours.URL(), "127.0.0.1", "localhost", 1),
		strings.Replace(ours.URL(), "://", "://me@", 1), "https://169.254.169.254/", "",
	} {
		if err := verify(ours.Mint(authtest.Claims{"iss": iss})); err == nil || errors.Is(err, authkey.ErrUnavailable) {
			t.Errorf("iss %q: %v, want a refusal", iss, err)
		}
	}
	evil := map[string]any{"jku": theirs.EndpointURL(authtest.EndpointKeys), "x5u": theirs.URL()} // row 6
	if err := verify(theirs.MintWith(evil, authtest.Claims{"iss": ours.URL()}, nil)); err == nil {
		t.Error("a key by jku: want a refusal")
	}
	if ours.Hits()+theirs.Hits() != 0 {
		t.Errorf("%d requests to the issuer and %d to another, want none", ours.Hits(), theirs.Hits())
	}
	if err := verify(ours.Mint(nil)); err != nil || ours.Hits() != 2 || theirs.Hits() != 0 {
		t.Errorf("%v, after %d requests, want a good token and 2", err, ours.Hits())
	}
}

func TestAVerifierThatIsFlooded(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	verify, _ := newVerifier(t, issuer)
	if err := verify(issuer.Mint(nil)); err != nil {
		t.Fatal(err)
	}
	key := issuer.Key()
	forged := authtest.NewKey(t, key.Alg, key.ID)
	for range 50 { // row 70
		if err := verify(issuer.MintWith(nil, nil, forged)); !errors.Is(err, authkey.ErrUnknown) {
			t.Errorf("a forged signature: %v, want authkey.ErrUnknown", err)
		}
	}
	if got := issuer.Hits(authtest.EndpointKeys); got != 1 {
		t.Errorf("%d fetches, want none for a bad signature", got-1)
	}
	for i := range 100 {
		if err := verify(issuer.MintWith(map[string]any{"kid": fmt.Sprint("junk", i)}, nil, nil)); !errors.Is(err, authkey.ErrUnknown) {
			t.Errorf("an unknown key: %v, want authkey.ErrUnknown", err)
		}
	}
	if got := issuer.Hits(authtest.EndpointKeys); got != 1 {
		t.Errorf("%d fetches, want none within the cool-down", got-1)
	}
	if err := verify(issuer.Mint(nil)); err != nil {
		t.Error(err)
	}
}

func TestAVerifierFollowsARotation(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	verify, cache := newVerifier(t, issuer)
	old := issuer.Mint(nil)
	if err := verify(old); err != nil {
		t.Fatal(err)
	}
	kid := issuer.Key().ID
	issuer.Rotate("ES256")
	issuer.Remove(kid)
	cache.Invalidate(issuer.URL())
	if err := verify(issuer.Mint(nil)); err != nil {
		t.Errorf("by the new key: %v", err)
	}
	if err := verify(old); !errors.Is(err, authkey.ErrUnknown) {
		t.Errorf("by the removed key: %v, want authkey.ErrUnknown", err)
	}
	issuer.Break(authtest.EndpointKeys, authtest.Fault{Status: 503})
	cache.Invalidate(issuer.URL())
	if err := verify(issuer.Mint(nil)); !errors.Is(err, authkey.ErrUnavailable) || errors.Is(err, authkey.ErrUnknown) {
		t.Errorf("without keys: %v, want authkey.ErrUnavailable", err)
	}
}
