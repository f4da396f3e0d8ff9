package authkey_test

import (
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// TestKeyByDPoP: a key that came by a scheme that promises a proof has none.
func TestKeyByDPoP(t *testing.T) {
	t.Parallel()
	store := authkey.NewMemoryStore()
	format, err1 := authkey.NewFormat("acme", "live")
	issuer, err2 := authkey.NewIssuer(store, format)
	verifier, err3 := authkey.New(store)
	_, key, err4 := issuer.Issue(t.Context(), authkey.NewKey{Org: "acme", Project: "shop"})
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for scheme, want := range map[string]error{"": nil, "Bearer": nil, "DPoP": authkey.ErrMalformed, "dpop": authkey.ErrMalformed} {
		_, err := verifier.Authenticate(t.Context(), key.In(&authkey.Presentation{Scheme: scheme}))
		if want == nil && err != nil {
			t.Errorf("by %q: %v", scheme, err)
		} else if want != nil {
			fails(t, "by "+scheme, err, want)
		}
	}
}
