package redisstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/lua/seal"
)

func newSealer(t *testing.T, versions ...string) *seal.Sealer {
	t.Helper()
	keys := make([]seal.Key, len(versions))
	for i, version := range versions {
		keys[i] = seal.NewKey(version, []byte(strings.Repeat(version, 32)))
	}
	sealer, err := seal.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

func sealedStore(t *testing.T, rdb redis.UniversalClient, versions ...string) *redisstore.Store {
	t.Helper()
	return redisstore.New(rdb, redisstore.WithTimeout(5*time.Second), redisstore.WithSealer(newSealer(t, versions...)))
}

// authenticate asks a store, without a cache.
func authenticate(t *testing.T, store authkey.Store, key authkey.Presented) (*authkey.Identity, error) {
	t.Helper()
	v, err := authkey.New(store, authkey.WithTimeout(patience), authkey.WithForeignKeys())
	if err != nil {
		t.Fatal(err)
	}
	return v.Authenticate(t.Context(), key)
}

// victim is a key that is restricted in every way, sealed, in a project that is set to something.
type victim struct {
	*authkey.Issuer
	rdb    redis.UniversalClient
	store  *redisstore.Store
	record authkey.Record
	key    authkey.Presented
}

func newVictim(t *testing.T, rdb redis.UniversalClient, org string) victim {
	t.Helper()
	v := victim{rdb: rdb, store: sealedStore(t, rdb, "v1")}
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	if v.Issuer, err = authkey.NewIssuer(v.store, format, authkey.WithMaxLive(4)); err != nil {
		t.Fatal(err)
	}
	v.record, v.key, err = v.Issue(t.Context(), authkey.NewKey{
		Org: org, Project: "shop", Name: "name", Owner: "owner", Kind: authkey.KindPublishable, Scopes: []string{"read"}, Products: []string{"maps"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Origins: []string{"https://example.com"},
		Meta: map[string]string{"a": "b"}, NotBefore: time.Now().Add(-time.Hour), ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.SetProject(t.Context(), org, "shop", 0, authkey.StateActive, "free", "r"); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *victim) recordKey() string { name, _ := lua.RecordKey(v.record.ID); return name }

func (v *victim) pointer() string { name, _ := lua.CredentialKey(v.record.ID); return name }

func (v *victim) hash(t *testing.T) map[string]string {
	t.Helper()
	fields, err := v.rdb.HGetAll(t.Context(), v.recordKey()).Result()
	if err != nil || len(fields) < 6 {
		t.Fatalf("%v, %v", fields, err)
	}
	return fields
}

// replace writes a hash anew.
func (v *victim) replace(t *testing.T, fields map[string]string) {
	t.Helper()
	if err := errors.Join(v.rdb.Del(t.Context(), v.recordKey()).Err(), v.rdb.HSet(t.Context(), v.recordKey(), fields).Err()); err != nil {
		t.Fatal(err)
	}
}

// gainsNothing asks what a key is worth after somebody wrote to Redis: as much as before, or nothing. What cannot be
// read cannot be changed either, or a change would seal it.
func (v *victim) gainsNothing(t *testing.T, key authkey.Presented, before *authkey.Identity) {
	t.Helper()
	after, err := authenticate(t, v.store, key)
	if err == nil {
		held := *before
		held.Epoch = after.Epoch
		if !reflect.DeepEqual(*after, held) {
			t.Errorf("it has %+v, had %+v", *after, *before)
		}
		return
	}
	if !errors.Is(err, authkey.ErrUnavailable) && !errors.Is(err, authkey.ErrUnknown) {
		t.Errorf("error %v, want %v or %v", err, authkey.ErrUnavailable, authkey.ErrUnknown)
	}
	if _, err := v.Change(t.Context(), v.record.Org, v.record.ID, 0, authkey.Changes{Name: new("changed")}); err == nil {
		t.Error("a change has read, and sealed, what cannot be read")
	}
}

// Whatever single thing is edited in the record of a key, or taken from it, nobody gets more.
func TestSealedRecordIsEdited(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	richer := map[string]any{
		"org": "other", "project": "other", "name": "other", "owner": "other", "plan": "gold", "kind": "secret", "scopes": []string{"write"}, "products": []string{"all"},
		"networks": []string{"0.0.0.0/0"}, "origins": []string{"*"}, "meta": map[string]string{"c": "d"}, "state": "active", "reason": "other",
		"not_before": 1, "expires": 1 << 52, "created": 1, "revoked": 1, "revision": 7, "credentials": []any{},
	}
	of := map[string]any{
		"id": "", "digest": strings.Repeat("0", 64), "pepper": "p", "foreign": true, "created": 1, "superseded": 1, "expires": 1 << 52, "revoked": 1, "reason": "other",
	}
	for name, value := range richer {
		for what, edit := range map[string]func(map[string]any){
			"is changed": func(r map[string]any) { r[name] = value },
			"is taken":   func(r map[string]any) { delete(r, name) },
		} {
			t.Run(name+" "+what, func(t *testing.T) { t.Parallel(); editRecord(t, rdb, edit) })
		}
	}
	for name, value := range of {
		for what, edit := range map[string]func(map[string]any){
			"is changed": func(r map[string]any) { firstOf(r)[name] = value },
			"is taken":   func(r map[string]any) { delete(firstOf(r), name) },
		} {
			t.Run("credential "+name+" "+what, func(t *testing.T) { t.Parallel(); editRecord(t, rdb, edit) })
		}
	}
	t.Run("written otherwise", func(t *testing.T) { t.Parallel(); editRecord(t, rdb, func(map[string]any) {}) })
}

// editRecord edits a sealed record; without a sealer the same is either accepted or damaged.
func editRecord(t *testing.T, rdb redis.UniversalClient, edit func(map[string]any)) {
	t.Helper()
	v := newVictim(t, rdb, redistest.Org(t))
	before, err := authenticate(t, v.store, v.key)
	if err != nil {
		t.Fatal(err)
	}
	fields, record := v.hash(t), map[string]any{}
	if err := json.Unmarshal([]byte(fields["record"]), &record); err != nil {
		t.Fatal(err)
	}
	edit(record)
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	for _, agreed := range []bool{false, true} {
		edited := maps.Clone(fields)
		edited["record"] = string(text)
		if agreed { // what scripts are told follows
			for _, name := range []string{"org", "project", "state"} {
				if s, ok := record[name].(string); ok {
					edited[name] = s
				}
			}
		}
		v.replace(t, edited)
		if _, err := v.store.Find(t.Context(), v.record.ID); string(text) != fields["record"] && err == nil {
			t.Error("Find returns a record whose text was edited")
		}
		v.gainsNothing(t, v.key, before)
	}
}

// Each field of one key's hash is replaced by that of another, alone and with its seal, of the same org and of another
// one in the same bucket; and so is the whole.
func TestSealedFieldsAreSwapped(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	org := redistest.Org(t)
	twin := redistest.Org(t)
	for bucket.Of(twin) != bucket.Of(org) {
		twin = redistest.Org(t)
	}
	victims := map[string]victim{"its org": newVictim(t, rdb, org), "another org": newVictim(t, rdb, twin)}
	for _, v := range victims {
		if _, err := v.Change(t.Context(), v.record.Org, v.record.ID, 0, authkey.Changes{Scopes: &[]string{"read", "write"}, Networks: new([]netip.Prefix)}); err != nil {
			t.Fatal(err)
		}
	}
	for whose, rich := range victims {
		theirs := rich.hash(t)
		for _, names := range [][]string{
			{"org"}, {"project"}, {"state"}, {"revision"}, {"record"}, {"seal"}, {"record", "seal"}, {"org", "record", "seal"},
			{"revision", "record", "seal"}, slices.Collect(maps.Keys(theirs)),
		} {
			slices.Sort(names)
			t.Run(whose+": "+strings.Join(names, " "), func(t *testing.T) {
				v := newVictim(t, rdb, org)
				before, err := authenticate(t, v.store, v.key)
				if err != nil {
					t.Fatal(err)
				}
				fields := v.hash(t)
				for _, name := range names {
					fields[name] = theirs[name]
				}
				v.replace(t, fields)
				v.gainsNothing(t, v.key, before)
				fields = v.hash(t)
				for _, name := range names {
					delete(fields, name)
				}
				fields["and"] = "so on"
				v.replace(t, fields)
				v.gainsNothing(t, v.key, before)
			})
		}
		t.Run(whose+": pointer", func(t *testing.T) {
			for what, edit := range map[string]func(ctx context.Context, v *victim) error{
				"of the other": func(ctx context.Context, v *victim) error {
					return rdb.Copy(ctx, rich.pointer(), v.pointer(), 0, true).Err()
				},
				"to the other's": func(ctx context.Context, v *victim) error {
					return rdb.Copy(ctx, rich.recordKey(), v.recordKey(), 0, true).Err()
				},
				"both": func(ctx context.Context, v *victim) error {
					return errors.Join(rdb.Copy(ctx, rich.pointer(), v.pointer(), 0, true).Err(), rdb.Copy(ctx, rich.recordKey(), v.recordKey(), 0, true).Err())
				},
				"gone":    func(ctx context.Context, v *victim) error { return rdb.Del(ctx, v.pointer()).Err() },
				"garbage": func(ctx context.Context, v *victim) error { return rdb.Set(ctx, v.pointer(), "garbage", 0).Err() },
			} {
				t.Run(what, func(t *testing.T) {
					v := newVictim(t, rdb, org)
					before, err := authenticate(t, v.store, v.key)
					if err != nil {
						t.Fatal(err)
					}
					if err := edit(t.Context(), &v); err != nil {
						t.Fatal(err)
					}
					v.gainsNothing(t, v.key, before)
				})
			}
		})
	}
}
