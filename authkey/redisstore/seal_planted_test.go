package redisstore_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// Somebody who knows how records are written, and not the secret, plants a whole key. It has no seal, or one that was
// made with another secret, for another org, for another key or as something else.
func TestPlantedKeyIsRefused(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	good, other := newSealer(t, "v1"), newSealer(t, "v2")
	for name, row := range map[string]struct {
		seal func(org, id, text string) string
		want error
	}{
		"no seal":                    {func(_, _, _ string) string { return "" }, authkey.ErrUnavailable},
		"another secret":             {func(org, id, text string) string { return other.Seal("key", org, id, text) }, authkey.ErrUnavailable},
		"another secret, renamed":    {func(org, id, text string) string { return "v1" + other.Seal("key", org, id, text)[2:] }, authkey.ErrUnavailable},
		"another org":                {func(_, id, text string) string { return good.Seal("key", "other", id, text) }, authkey.ErrUnavailable},
		"another key":                {func(org, id, text string) string { return good.Seal("key", org, id+"x", text) }, authkey.ErrUnavailable},
		"as a project":               {func(org, id, text string) string { return good.Seal("project", org, id, text) }, authkey.ErrUnavailable},
		"as an entry of the trail":   {func(org, _, text string) string { return good.Seal("audit", org, text) }, authkey.ErrUnavailable},
		"as an override":             {func(org, id, text string) string { return good.Seal("override", org, id, text) }, authkey.ErrUnavailable},
		"of a text that is too long": {func(org, id, text string) string { return good.Seal("key", org, id, text+" ") }, authkey.ErrUnavailable},
		"by who knows the secret":    {func(org, id, text string) string { return good.Seal("key", org, id, text) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record, key := issue(t, rdb) // without a sealer, as the intruder has none
			hash, _ := lua.RecordKey(record.ID)
			text, err := rdb.HGet(t.Context(), hash, "record").Result()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := authenticate(t, redisstore.New(rdb), key); err != nil {
				t.Errorf("without a sealer: %v", err)
			}
			if err := rdb.HSet(t.Context(), hash, "seal", row.seal(record.Org, record.ID, text)).Err(); err != nil {
				t.Fatal(err)
			}
			store := sealedStore(t, rdb, "v1")
			_, err = authenticate(t, store, key)
			fails(t, "Authenticate", err, row.want)
			_, _, err = store.List(t.Context(), record.Org, "", "", 1)
			fails(t, "List", err, row.want)
			if _, err := authenticate(t, redisstore.New(rdb), key); err != nil {
				t.Errorf("without a sealer, whatever the seal is: %v", err)
			}
		})
	}
}

// The digest of a foreign key is found through a binding that has no seal; it may lead nowhere else.
func TestSealedForeignKeyIsRebound(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	v := newVictim(t, rdb, redistest.Org(t))
	keys := []authkey.Presented{authkey.NewPresented("foreign-a-" + v.record.Org), authkey.NewPresented("foreign-b-" + v.record.Org)}
	var records []authkey.Record
	var digests []string
	for i, key := range keys {
		record, err := v.Import(t.Context(), key, authkey.NewKey{Org: v.record.Org, Project: []string{"poor", "rich"}[i]})
		if err != nil {
			t.Fatal(err)
		}
		sum := record.Credentials[0].Digest.Sum()
		records, digests = append(records, record), append(digests, lua.DigestKey(hex.EncodeToString(sum[:])))
	}
	for name, row := range map[string]struct {
		id   string
		want error
	}{
		"to the other foreign key": {records[1].ID, authkey.ErrUnknown},
		"to a minted key":          {v.record.ID, authkey.ErrUnknown},
		"to nothing":               {records[0].ID + "x", authkey.ErrUnknown},
		"to no id":                 {"?", authkey.ErrUnknown},
		"as it was":                {records[0].ID, nil},
	} {
		if err := rdb.Set(t.Context(), digests[0], row.id, 0).Err(); err != nil {
			t.Fatal(err)
		}
		identity, err := authenticate(t, v.store, keys[0])
		fails(t, name, err, row.want)
		if err == nil && identity.Key != records[0].ID {
			t.Errorf("%s: it opens %s", name, identity.Key)
		}
	}
	unknown := authkey.NewPresented("foreign-c-" + v.record.Org)
	digest, _ := (*authkey.Hasher)(nil).Digest(unknown)
	sum := digest.Sum()
	if err := rdb.Set(t.Context(), lua.DigestKey(hex.EncodeToString(sum[:])), records[1].ID, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := authenticate(t, v.store, unknown)
	fails(t, "a planted binding", err, authkey.ErrUnknown)
}

// What a project is set to has a seal of its own, for its name and org.
func TestSealedProjectIsEdited(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	foreign := newVictim(t, rdb, redistest.Org(t))
	if _, err := foreign.SetProject(t.Context(), foreign.record.Org, "shop", 0, authkey.StateActive, "gold", ""); err != nil {
		t.Fatal(err)
	}
	stored := func(t *testing.T, org, name string) string {
		t.Helper()
		text, err := rdb.HGet(t.Context(), lua.ProjectsKey(org), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, edit := range map[string]func(t *testing.T, org, value string) string{
		"state":                func(_ *testing.T, _, v string) string { return strings.Replace(v, "suspended", "active", 1) },
		"plan":                 func(_ *testing.T, _, v string) string { return strings.Replace(v, "free", "gold", 1) },
		"revision":             func(_ *testing.T, _, v string) string { return "9" + v },
		"revision in the text": func(_ *testing.T, _, v string) string { return strings.Replace(v, `"revision":3`, `"revision":9`, 1) },
		"revision 0":           func(_ *testing.T, _, v string) string { return "0" + v[1:] },
		"no seal": func(_ *testing.T, _, v string) string {
			parts := strings.SplitN(v, " ", 3)
			return parts[0] + "  " + parts[2]
		},
		"no seal and another":     func(*testing.T, string, string) string { return `3  {"state":"active","updated":1,"revision":3}` },
		"nothing but a revision":  func(*testing.T, string, string) string { return "3" },
		"nothing":                 func(*testing.T, string, string) string { return "" },
		"of another project":      func(t *testing.T, org, _ string) string { return stored(t, org, "blog") },
		"of another org":          func(t *testing.T, _, _ string) string { return stored(t, foreign.record.Org, "shop") },
		"text of another project": func(t *testing.T, org, v string) string { return splice(v, stored(t, org, "blog")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, rdb, redistest.Org(t))
			org := v.record.Org
			for project, state := range map[string]authkey.State{"shop": authkey.StateSuspended, "blog": authkey.StateActive} {
				for set := (authkey.Project{}); set.Revision < 3; { // both come to the same
					var err error
					if set, err = v.SetProject(t.Context(), org, project, 0, state, "free", fmt.Sprint("after ", set.Revision)); err != nil {
						t.Fatal(err)
					}
				}
			}
			_, err := authenticate(t, v.store, v.key)
			fails(t, "before", err, authkey.ErrSuspended)
			value := edit(t, org, stored(t, org, "shop"))
			if err := rdb.HSet(t.Context(), lua.ProjectsKey(org), "shop", value).Err(); err != nil {
				t.Fatal(err)
			}
			_, err = authenticate(t, v.store, v.key)
			fails(t, "Authenticate", err, authkey.ErrUnavailable)
			_, err = v.store.Project(t.Context(), org, "shop")
			fails(t, "Project", err, authkey.ErrUnavailable)
			_, _, err = v.store.Projects(t.Context(), org, "", 10)
			fails(t, "Projects", err, authkey.ErrUnavailable)
			if _, err := v.SetProject(t.Context(), org, "shop", 0, authkey.StateActive, "gold", ""); err == nil {
				t.Error("SetProject has read what cannot be read")
			}
		})
	}
}

// splice puts the text of one project behind the revision and the seal of another.
func splice(value, other string) string {
	parts, others := strings.SplitN(value, " ", 3), strings.SplitN(other, " ", 3)
	return parts[0] + " " + parts[1] + " " + others[2]
}

// Who can write can also put back what was sealed once, or remove it: no seal tells that. A process that saw a
// revocation keeps to it while it has it cached.
func TestWhatSealsDoNotTell(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	v := newVictim(t, rdb, redistest.Org(t))
	older := v.hash(t)
	warm, err := authkey.New(v.store, authkey.WithTimeout(patience), authkey.WithCache(10, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.SetState(t.Context(), v.record.Org, v.record.ID, 0, authkey.StateRevoked, "leaked"); err != nil {
		t.Fatal(err)
	}
	_, err = warm.Authenticate(t.Context(), v.key)
	fails(t, "revoked", err, authkey.ErrRevoked)
	v.replace(t, older)
	if _, err = authenticate(t, v.store, v.key); err != nil {
		t.Errorf("an older form is one that was sealed: %v", err)
	}
	_, err = warm.Authenticate(t.Context(), v.key)
	fails(t, "who saw the revocation", err, authkey.ErrRevoked)
	_, err = warm.Refresh(t.Context(), v.key, nil)
	fails(t, "who saw the revocation, and is told to look again", err, authkey.ErrRevoked)
}

// An index has no seals. An entry of it that leads to a key of another org, or of another project, lists nothing more.
func TestPlantedIndexListsNoOtherKey(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		mine, theirs := newVictim(t, rdb, redistest.Org(t)), newVictim(t, rdb, redistest.Org(t))
		for _, member := range []string{"shop:" + theirs.record.ID, "other:" + theirs.record.ID, "other:" + mine.record.ID, "%:" + mine.record.ID, ":", "shop:"} {
			if err := rdb.ZAdd(t.Context(), lua.KeyIndexKey(mine.record.Org), redis.Z{Member: member}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for project, want := range map[string]int{"": 1, "shop": 1, "other": 0} {
			records, _, err := mine.store.List(t.Context(), mine.record.Org, project, "", 10)
			if err != nil || len(records) != want || want == 1 && records[0].ID != mine.record.ID {
				t.Errorf("List of project %q: %+v, %v; want %d of them", project, records, err, want)
			}
		}
	}, redistest.OrEmbedded())
}
