package dpop_test

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// Rows 80 and 82 on the whole way: a token that is bound to a key, by a verifier of tokens.
func TestWholeWay(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		proofs, err := dpop.New(rdb, []string{origin}, patience)
		if err != nil {
			t.Fatal(err)
		}
		issuer := authtest.NewIssuer(t)
		keys, err := bearer.NewKeySet(bearer.Key{ID: issuer.Key().ID, Algorithm: issuer.Key().Alg, Public: issuer.Key().Public()})
		if err != nil {
			t.Fatal(err)
		}
		forbidden := false
		validate := func(context.Context, *authkey.Identity) error {
			if forbidden {
				return authkey.ErrForbidden
			}
			return nil
		}
		v, err := bearer.New([]bearer.Issuer{{URL: issuer.URL(), Audiences: []string{authtest.Audience}, Keys: keys, Org: "acme"}},
			bearer.WithProofs(proofs), bearer.WithTimeout(patient), bearer.WithValidator(validate, patient))
		if err != nil {
			t.Fatal(err)
		}
		key, thief := authtest.NewDPoPKey(t, "ES256"), authtest.NewDPoPKey(t, "ES256")
		token := issuer.Mint(authtest.Claims{"cnf": authtest.Claims{"jkt": key.Thumbprint()}})
		come := func(scheme, token, proof string) authkey.Presented {
			return authkey.NewPresented(token).In(&authkey.Presentation{Scheme: scheme, Method: "GET", Path: path, Proofs: []string{proof}})
		}
		good := come("DPoP", token, key.Proof("GET", origin+path, token, ""))
		identity, err := v.Authenticate(t.Context(), good)
		if err != nil || identity.Org != "acme" {
			t.Fatalf("%+v, %v", identity, err)
		}
		if _, err := v.Refresh(t.Context(), good, identity); err != nil {
			t.Errorf("Refresh of the same request: %v", err)
		}
		_, err = v.Authenticate(t.Context(), good)
		refused(t, "the same proof again", bearer.Proof{}, err, "invalid_dpop_proof", "used before")
		_, err = v.Authenticate(t.Context(), come("DPoP", token, thief.Proof("GET", origin+path, token, "")))
		refused(t, "a thief's proof", bearer.Proof{}, err, "invalid_dpop_proof", "bound")
		if _, err := v.Authenticate(t.Context(), come("Bearer", token, key.Proof("GET", origin+path, token, ""))); !errors.Is(err, authkey.ErrUnknown) {
			t.Errorf("as a plain token: %v", err)
		}
		plain := issuer.Mint(nil)
		if _, err := v.Authenticate(t.Context(), come("DPoP", plain, key.Proof("GET", origin+path, plain, ""))); !errors.Is(err, authkey.ErrUnknown) {
			t.Errorf("a plain token by DPoP: %v", err)
		}

		// What is refused otherwise has not used up its proof.
		forbidden = true
		proof := key.Proof("GET", origin+path, token, "")
		if _, err := v.Authenticate(t.Context(), come("DPoP", token, proof)); !errors.Is(err, authkey.ErrForbidden) {
			t.Errorf("forbidden by a validator: %v", err)
		}
		forbidden = false
		if _, err := v.Authenticate(t.Context(), come("DPoP", token, proof)); err != nil {
			t.Errorf("the proof after that: %v", err)
		}
	})
}
