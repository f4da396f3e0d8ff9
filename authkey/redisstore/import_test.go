package redisstore_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
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

// A run of ten thousand keys that is cut off is completed by the next, and one more changes nothing.
func TestImportAll(t *testing.T) {
	t.Parallel()
	keys := 10_000
	if testing.Short() {
		keys = 500
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		org := redistest.Org(t)
		issuer := newIssuer(t, rdb, redisstore.WithTimeout(patience/10))
		ids := map[int]string{} // by position
		t.Cleanup(func() { remove(t, rdb, org, ids) })
		note := func(r authkey.ImportResult) {
			if before, ok := ids[r.Position]; ok && r.ID != "" && before != r.ID {
				t.Errorf("key %d has the ids %s and %s", r.Position, before, r.ID)
			}
			if r.ID != "" {
				ids[r.Position] = r.ID
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, err := issuer.ImportAll(ctx, existing(org, keys), func(r authkey.ImportResult) {
			if note(r); len(ids) == keys/10 {
				cancel()
			}
		})
		if done := first[authkey.ImportDone]; !errors.Is(err, context.Canceled) || done < keys/10 || done == keys {
			t.Errorf("a run that is cut off: %v, %v", first, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		second, err := issuer.ImportAll(ctx, existing(org, keys), note)
		if err != nil || second[authkey.ImportDone]+second[authkey.ImportSkipped] != keys || second[authkey.ImportSkipped] < first[authkey.ImportDone] || len(ids) != keys {
			t.Errorf("the next: %v of %d, %v", second, len(ids), err)
		}
		third, err := issuer.ImportAll(ctx, existing(org, keys/20), note)
		if want := map[authkey.ImportStatus]int{authkey.ImportSkipped: keys / 20}; err != nil || !maps.Equal(third, want) {
			t.Errorf("one more: %v, %v; want %v", third, err, want)
		}
		listed := 0
		for cursor, more := "", true; more; more = cursor != "" {
			var page []authkey.Record
			if page, cursor, err = redisstore.New(rdb).List(ctx, org, "", cursor, authkey.MaxPage); err != nil {
				t.Fatal(err)
			}
			for n := range page {
				if page[n].Revision != 1 || len(page[n].Credentials) != 1 {
					t.Errorf("record %+v", page[n])
				}
			}
			listed += len(page)
		}
		if listed != keys {
			t.Errorf("%d records, want %d", listed, keys)
		}
		for _, n := range []int{0, keys / 2, keys - 1} {
			if identity, err := newVerifier(t, rdb).Authenticate(ctx, existingKey(org, n)); err != nil || identity.Key != ids[n+1] {
				t.Errorf("key %d: %+v, %v; want id %s", n, identity, err, ids[n+1])
			}
		}
	})
}

func existingKey(org string, n int) authkey.Presented {
	return authkey.NewPresented(fmt.Sprintf("key-of-%s-%05d", org, n))
}

func existing(org string, keys int) iter.Seq2[authkey.Existing, error] {
	return func(yield func(authkey.Existing, error) bool) {
		for n := range keys {
			key := authkey.NewKey{Org: org, Project: "shop", Source: fmt.Sprint("api_keys ", n)}
			if !yield(authkey.Existing{Presented: existingKey(org, n), Key: key}, nil) {
				return
			}
		}
	}
}

// remove takes a great many keys out of a server that other tests use too.
func remove(t *testing.T, rdb redis.UniversalClient, org string, ids map[int]string) {
	pipe := rdb.Pipeline()
	pipe.Del(context.Background(), lua.EpochKey(org), lua.KeyIndexKey(org), lua.ProjectIndexKey(org), lua.AuditKey(org))
	hasher, err := authkey.NewHasher()
	if err != nil {
		t.Error(err)
	}
	for position, id := range ids {
		digest, _ := hasher.Digest(existingKey(org, position-1))
		sum := digest.Sum()
		record, _ := lua.RecordKey(id)
		pointer, _ := lua.CredentialKey(id)
		for _, name := range []string{record, pointer, lua.DigestKey(hex.EncodeToString(sum[:]))} {
			pipe.Del(context.Background(), name)
		}
	}
	if _, err := pipe.Exec(context.Background()); err != nil {
		t.Error(err)
	}
}
