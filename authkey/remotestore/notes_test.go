package remotestore_test

import (
	"net/http"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

// TestCachedIdentityHasNotes: of its own for each key, also where a decoder returns one identity to all.
func TestCachedIdentityHasNotes(t *testing.T) {
	t.Parallel()
	everybody := &authkey.Identity{Org: "acme", Project: "shop", Key: "k", Kind: authkey.KindSecret}
	a := newAuthenticator(t, answers(http.StatusOK, "application/json", good), remotestore.WithDecoder(
		func(int, http.Header, []byte) (*authkey.Identity, error) { return everybody, nil }))
	of := func(key string) *authkey.Notes {
		identity, err := a.Authenticate(t.Context(), authkey.NewPresented(key))
		if err != nil {
			t.Fatal(err)
		}
		return identity.Notes
	}
	one := of("one")
	if one == nil || of("one") != one || of("two") == nil || of("two") == one {
		t.Error("an identity has no notes, or others on the second call, or those of another")
	}
	if everybody.Notes != nil {
		t.Error("the decoder's identity was changed")
	}
	identity, err := a.Refresh(t.Context(), authkey.NewPresented("one"), nil)
	if err != nil || identity.Notes == nil || identity.Notes == one {
		t.Errorf("after Refresh: %v, notes %p, were %p", err, identity.Notes, one)
	}
}
