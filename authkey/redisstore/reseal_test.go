package redisstore_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// tenant is an org with keys in every state, a foreign one among them, and two projects of which one is set.
type tenant struct {
	org    string
	keys   map[string]authkey.Presented
	states map[string]error
}

func newTenant(t *testing.T, rdb redis.UniversalClient, opts ...redisstore.Option) tenant {
	t.Helper()
	issuer := newIssuer(t, rdb, opts...)
	who := tenant{redistest.Org(t), map[string]authkey.Presented{}, map[string]error{
		"active": nil, "disabled": authkey.ErrDisabled, "revoked": authkey.ErrRevoked, "rotated": authkey.ErrRevoked, "foreign": nil, "suspended": authkey.ErrSuspended,
	}}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range who.states {
		of := authkey.NewKey{Org: who.org, Project: "shop", Name: name}
		if name == "suspended" {
			of.Project = "blog"
		}
		var record authkey.Record
		var err error
		if name == "foreign" {
			who.keys[name] = authkey.NewPresented("foreign-" + who.org)
			record, err = issuer.Import(ctx, who.keys[name], of)
		} else {
			record, who.keys[name], err = issuer.Issue(ctx, of)
		}
		must(err)
		switch name {
		case "disabled", "revoked":
			_, err = issuer.SetState(ctx, who.org, record.ID, 0, authkey.State(name), "test")
		case "rotated":
			_, who.keys["new"], err = issuer.Rotate(ctx, who.org, record.ID, authkey.Rotation{})
		}
		must(err)
	}
	who.states["new"] = nil
	_, err := issuer.SetProject(ctx, who.org, "blog", 0, authkey.StateSuspended, "", "test")
	must(err)
	return who
}

// expect asks a store for all keys of the tenant: each is what it should be or, where nothing is to be read, an outage.
func (who tenant) expect(t *testing.T, what string, store authkey.Store, readable bool) {
	t.Helper()
	for name, want := range who.states {
		if !readable {
			want = authkey.ErrUnavailable
		}
		_, err := authenticate(t, store, who.keys[name])
		fails(t, what+": "+name, err, want)
	}
}

// all are the records of an org, without what a change of nothing changes.
func (who tenant) all(t *testing.T, store authkey.Store) map[string]authkey.Record {
	t.Helper()
	records, _, err := store.List(t.Context(), who.org, "", "", authkey.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]authkey.Record{}
	for _, r := range records {
		r.Revision, r.Within.Revision = 0, 0
		byName[r.Name] = r
	}
	return byName
}

func TestSealKeysAreReplaced(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		who := newTenant(t, rdb, redisstore.WithSealer(newSealer(t, "v1")))
		old, both, young := sealedStore(t, rdb, "v1"), sealedStore(t, rdb, "v2", "v1"), sealedStore(t, rdb, "v2")
		who.expect(t, "before, old", old, true)
		who.expect(t, "before, both", both, true)
		who.expect(t, "before, new", young, false)
		_, err := young.Reseal(t.Context(), who.org)
		fails(t, "Reseal with the new key alone", err, authkey.ErrUnavailable)

		before := who.all(t, both)
		used := authkey.Use{Key: before["active"].ID, Credential: before["active"].ID, At: time.Now().Truncate(time.Microsecond).UTC()}
		if err := both.NoteUses(t.Context(), []authkey.Use{used}); err != nil {
			t.Fatal(err)
		}
		before = who.all(t, both)
		if n, err := both.Reseal(t.Context(), who.org); n != 7 || err != nil { // six keys and one project
			t.Fatalf("Reseal: %d, %v; want 7", n, err)
		}
		who.expect(t, "after, old", old, false)
		who.expect(t, "after, both", both, true)
		who.expect(t, "after, new", young, true)
		after := who.all(t, young)
		if !reflect.DeepEqual(after, before) {
			t.Errorf("the records are %+v, were %+v", after, before)
		}
		if got := after["active"].Credentials[0].LastUsedAt; !got.Equal(used.At) {
			t.Errorf("the last use is %v, was %v", got, used.At)
		}
		text, err := rdb.XRevRangeN(t.Context(), lua.AuditKey(who.org), "+", "-", 7).Result()
		if err != nil || strings.Count(fmt.Sprint(text), "key.reseal") != 6 {
			t.Errorf("the trail ends %v, %v; want six entries of key.reseal", text, err)
		}
		_, err = newIssuerOn(t, young).SetState(t.Context(), who.org, after["revoked"].ID, 0, authkey.StateActive, "")
		fails(t, "revoked, and sealed again", err, authkey.ErrRevoked)
	})
}

func newIssuerOn(t *testing.T, store authkey.Store) *authkey.Issuer {
	t.Helper()
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// Records from before there was a sealer: read by nobody who has one, but by WithUnsealed, until Reseal.
func TestUnsealedRecordsAreSealed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		who := newTenant(t, rdb)
		plain, strict := redisstore.New(rdb), sealedStore(t, rdb, "v1")
		sealer := newSealer(t, "v1")
		lenient := redisstore.New(rdb, redisstore.WithSealer(sealer), redisstore.WithUnsealed())
		who.expect(t, "before, without a sealer", plain, true)
		who.expect(t, "before, with one", strict, false)
		who.expect(t, "before, WithUnsealed", lenient, true)

		// A seal that is broken is no missing one.
		hash, _ := lua.RecordKey(who.all(t, plain)["active"].ID)
		if err := rdb.HSet(t.Context(), hash, "seal", newSealer(t, "v2").Seal("key", "x")).Err(); err != nil {
			t.Fatal(err)
		}
		_, err := authenticate(t, lenient, who.keys["active"])
		fails(t, "a broken seal, WithUnsealed", err, authkey.ErrUnavailable)
		_, err = lenient.Reseal(t.Context(), who.org)
		fails(t, "Reseal of a broken seal", err, authkey.ErrUnavailable)
		if err := rdb.HDel(t.Context(), hash, "seal").Err(); err != nil {
			t.Fatal(err)
		}

		if n, err := lenient.Reseal(t.Context(), who.org); n != 7 || err != nil {
			t.Fatalf("Reseal: %d, %v; want 7", n, err)
		}
		who.expect(t, "after, with a sealer", strict, true)
		who.expect(t, "after, without one", plain, true)
		if _, err := newIssuerOn(t, plain).SetProject(t.Context(), who.org, "blog", 0, authkey.StateActive, "", "by an old replica"); err != nil {
			t.Fatal(err)
		}
		_, err = authenticate(t, strict, who.keys["suspended"])
		fails(t, "a change by a replica without a sealer", err, authkey.ErrUnavailable)
	})
}

// meddler does something once, just before a command that says so reaches Redis.
type meddler struct {
	redis.Hook
	before string
	meddle func()
}

func (m *meddler) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *meddler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (m *meddler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if meddle := m.meddle; meddle != nil && strings.Contains(fmt.Sprintf("%s", cmd.Args()), m.before) {
			m.meddle = nil
			meddle()
		}
		return next(ctx, cmd)
	}
}

// What others change while Reseal is at work stays as they have it, and is sealed too.
func TestResealMeetsChanges(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	for name, row := range map[string]struct {
		before string
		change func(i *authkey.Issuer, r *authkey.Record) error
		want   error
	}{
		"renamed":   {"key.reseal", func(i *authkey.Issuer, r *authkey.Record) error { return renamed(t, i, r) }, nil},
		"revoked":   {"key.reseal", func(i *authkey.Issuer, r *authkey.Record) error { return stateOf(t, i, r, authkey.StateRevoked) }, authkey.ErrRevoked},
		"suspended": {"project.reseal", func(i *authkey.Issuer, r *authkey.Record) error { return suspended(t, i, r) }, authkey.ErrSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t, rdb, redistest.Org(t))
			mine := redis.NewClient(&redis.Options{Addr: redistest.StandaloneAddr(t)})
			t.Cleanup(func() { _ = mine.Close() })
			met := false
			mine.AddHook(&meddler{before: row.before, meddle: func() {
				met = true
				if err := row.change(v.Issuer, &v.record); err != nil {
					t.Error(err)
				}
			}})
			if n, err := sealedStore(t, mine, "v2", "v1").Reseal(t.Context(), v.record.Org); n != 2 || err != nil || !met {
				t.Errorf("Reseal: %d, %v; want 2; meddled with: %v", n, err, met)
			}
			_, err := authenticate(t, sealedStore(t, rdb, "v2"), v.key)
			fails(t, "under the new key", err, row.want)
			record, err := sealedStore(t, rdb, "v2").Find(t.Context(), v.record.ID)
			if err != nil || (name == "renamed") != (record.Name == "renamed") {
				t.Errorf("then it is %+v, %v", record, err)
			}
			_, err = authenticate(t, v.store, v.key)
			fails(t, "under the old key", err, authkey.ErrUnavailable)
		})
	}
}

func renamed(t *testing.T, i *authkey.Issuer, r *authkey.Record) error {
	_, err := i.Change(t.Context(), r.Org, r.ID, 0, authkey.Changes{Name: new("renamed")})
	return err
}

func stateOf(t *testing.T, i *authkey.Issuer, r *authkey.Record, state authkey.State) error {
	_, err := i.SetState(t.Context(), r.Org, r.ID, 0, state, "test")
	return err
}

func suspended(t *testing.T, i *authkey.Issuer, r *authkey.Record) error {
	_, err := i.SetProject(t.Context(), r.Org, r.Project, 0, authkey.StateSuspended, "", "test")
	return err
}

// Nobody has to notice that records have other seals: callers would be made to read anew once for each.
func TestResealRaisesNoEpoch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		who := newTenant(t, rdb)
		conn, err := lua.NewConn(rdb)
		if err != nil {
			t.Fatal(err)
		}
		before, err := conn.Epoch(t.Context(), who.org)
		if err != nil {
			t.Fatal(err)
		}
		store := redisstore.New(rdb, redisstore.WithSealer(newSealer(t, "v1")), redisstore.WithUnsealed())
		if _, err := store.Reseal(t.Context(), who.org); err != nil {
			t.Fatal(err)
		}
		if after, err := conn.Epoch(t.Context(), who.org); err != nil || after.Keys != before.Keys {
			t.Errorf("the epoch went from %d to %d, %v", before.Keys, after.Keys, err)
		}
	})
}
