package redisstore_test

import (
	"encoding/hex"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// An import whose last step got lost leaves a record that no key opens. Importing the source again says that it exists,
// and takes that step; also where the record was revoked meanwhile, so that the digest is taken for good.
func TestImportAgainFinishes(t *testing.T) {
	t.Parallel()
	for _, state := range []authkey.State{authkey.StateActive, authkey.StateRevoked} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				org := redistest.Org(t)
				key := authkey.NewPresented("a-key-of-" + org)
				of := authkey.NewKey{Org: org, Project: "shop", Source: "api_keys 17"}
				issuer := newIssuer(t, rdb)
				record, err := issuer.Import(t.Context(), key, of)
				if err != nil {
					t.Fatal(err)
				}
				sum := record.Credentials[0].Digest.Sum()
				digest := lua.DigestKey(hex.EncodeToString(sum[:]))
				if n, err := rdb.Del(t.Context(), digest).Result(); n != 1 || err != nil { // as when the claim has ended
					t.Fatalf("DEL %d, %v", n, err)
				}
				if _, err := issuer.SetState(t.Context(), org, record.ID, 0, state, "test"); err != nil {
					t.Fatal(err)
				}
				_, err = newVerifier(t, rdb).Authenticate(t.Context(), key)
				fails(t, "before", err, authkey.ErrUnknown)
				_, err = issuer.Import(t.Context(), key, of)
				fails(t, "Import again", err, authkey.ErrExists)
				if ttl, err := rdb.PTTL(t.Context(), digest).Result(); ttl != -1 || err != nil {
					t.Errorf("the digest has a TTL of %v, %v; want none", ttl, err)
				}
				want := map[authkey.State]error{authkey.StateRevoked: authkey.ErrRevoked}[state]
				_, err = newVerifier(t, rdb).Authenticate(t.Context(), key)
				fails(t, "after", err, want)

				of.Source = "api_keys 18"
				_, err = issuer.Import(t.Context(), key, of)
				fails(t, "Import from another source", err, authkey.ErrExists)
				other := authkey.NewPresented("another-key-of-" + org)
				of.Source = "api_keys 17"
				_, err = issuer.Import(t.Context(), other, of)
				fails(t, "Import of another key from the source", err, authkey.ErrExists)
				_, err = newVerifier(t, rdb).Authenticate(t.Context(), other)
				fails(t, "another key", err, authkey.ErrUnknown)
			})
		})
	}
}
