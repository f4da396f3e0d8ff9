package redisstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/authkey/storetest"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		storetest.Run(t, func(*testing.T) authkey.Store { return redisstore.New(rdb) })
	}, redistest.OrEmbedded())
}

// patience is for busy machines: no test here is about time.
const patience = 30 * time.Second

func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func newVerifier(t *testing.T, rdb redis.UniversalClient) *authkey.Verifier {
	t.Helper()
	v, err := authkey.New(redisstore.New(rdb), authkey.WithTimeout(patience), authkey.WithCache(100, time.Minute), authkey.WithForeignKeys())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newIssuer(t *testing.T, rdb redis.UniversalClient, opts ...redisstore.Option) *authkey.Issuer {
	t.Helper()
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(redisstore.New(rdb, opts...), format)
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

func issue(t *testing.T, rdb redis.UniversalClient) (authkey.Record, authkey.Presented) {
	t.Helper()
	record, key, err := newIssuer(t, rdb).Issue(t.Context(), authkey.NewKey{Org: redistest.Org(t), Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return record, key
}

// Two verifiers, as two replicas have, with warm caches; the revocation is made by a third. The epoch of
// what each of them holds differs from the one in Redis, which is how a limiter notices; Refresh then
// answers truly at both, and a key made meanwhile is found.
func TestRevocationReachesEveryVerifier(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		record, key := issue(t, rdb)
		conn, err := lua.NewConn(rdb)
		if err != nil {
			t.Fatal(err)
		}
		verifiers := []*authkey.Verifier{newVerifier(t, rdb), newVerifier(t, rdb)}
		held := make([]*authkey.Identity, len(verifiers))
		before, err := conn.Epoch(t.Context(), record.Org)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range verifiers {
			if held[i], err = v.Authenticate(t.Context(), key); err != nil || held[i].Epoch != before.Keys {
				t.Fatalf("verifier %d: %+v, %v; want epoch %d", i, held[i], err, before.Keys)
			}
		}
		if _, err := newIssuer(t, rdb).SetState(t.Context(), record.Org, record.ID, 0, authkey.StateRevoked, "leaked"); err != nil {
			t.Fatal(err)
		}
		after, err := conn.Epoch(t.Context(), record.Org)
		if err != nil || after.Keys <= before.Keys || after.Limits != before.Limits {
			t.Fatalf("epoch %+v, %v; was %+v", after, err, before)
		}
		for _, v := range verifiers {
			if _, err := v.Authenticate(t.Context(), key); err != nil {
				t.Fatalf("the cache is not warm, so nothing is shown: %v", err)
			}
		}
		for i, v := range verifiers {
			_, err := v.Refresh(t.Context(), key, held[i])
			fails(t, "Refresh", err, authkey.ErrRevoked)
			_, err = v.Authenticate(t.Context(), key)
			fails(t, "Authenticate", err, authkey.ErrRevoked)
		}
	})
}

// A lost epoch is set anew before the record is read, and is later than any before it.
func TestFindSetsAMissingEpoch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		record, _ := issue(t, rdb)
		store := redisstore.New(rdb)
		before, err := store.Find(t.Context(), record.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := rdb.Del(t.Context(), lua.EpochKey(record.Org)).Err(); err != nil {
			t.Fatal(err)
		}
		after, err := store.Find(t.Context(), record.ID)
		if err != nil || after.Epoch <= before.Epoch {
			t.Fatalf("epoch %d, %v; was %d", after.Epoch, err, before.Epoch)
		}
		again, err := store.Find(t.Context(), record.ID)
		if err != nil || again.Epoch != after.Epoch {
			t.Errorf("epoch %d, %v; want it kept at %d", again.Epoch, err, after.Epoch)
		}
	})
}

// Who can write a digest's binding cannot make a digest stand for a record of another one.
func TestMisboundDigestIsUnknown(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	record, _ := issue(t, rdb)
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(record.ID))
	if err := conn.ClaimDigest(t.Context(), hex.EncodeToString(sum[:]), record.ID); err != nil {
		t.Fatal(err)
	}
	_, err = redisstore.New(rdb).FindDigest(t.Context(), authkey.NewDigest(sum))
	fails(t, "FindDigest", err, authkey.ErrUnknown)
}

// A record that is not as we wrote it is an outage, not a key with fewer bounds.
func TestSpoiltRecordIsUnavailable(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	for name, spoil := range map[string]func(fields map[string]any, record map[string]any){
		"a state that is none":          func(f, r map[string]any) { f["state"], r["state"] = "open", "open" },
		"a state of another":            func(f, _ map[string]any) { f["state"] = "disabled" },
		"no state":                      func(_, r map[string]any) { delete(r, "state") },
		"a kind that is none":           func(_, r map[string]any) { r["kind"] = "root" },
		"an org of its own":             func(_, r map[string]any) { r["org"] = "another" },
		"a project of its own":          func(_, r map[string]any) { r["project"] = "another" },
		"a revision of its own":         func(f, _ map[string]any) { f["revision"] = "7" },
		"a revision that is none":       func(f, _ map[string]any) { f["revision"] = "x" },
		"an end that is no time":        func(_, r map[string]any) { r["expires"] = "soon" },
		"an end before the beginning":   func(_, r map[string]any) { r["expires"] = -1 },
		"an end beyond what Lua keeps":  func(_, r map[string]any) { r["expires"] = 1 << 53 },
		"a member of a later version":   func(_, r map[string]any) { r["must_not"] = true },
		"a network that is none":        func(_, r map[string]any) { r["networks"] = []string{"10.0.0.0/33"} },
		"no credentials":                func(_, r map[string]any) { delete(r, "credentials") },
		"a short digest":                func(_, r map[string]any) { firstOf(r)["digest"] = "00" },
		"a digest that is none":         func(_, r map[string]any) { firstOf(r)["digest"] = strings.Repeat("g", 64) },
		"no digest":                     func(_, r map[string]any) { delete(firstOf(r), "digest") },
		"a member of a later version's": func(_, r map[string]any) { firstOf(r)["must_not"] = true },
		"no record":                     func(f, _ map[string]any) { f["record"] = "" },
		"more than a record":            func(f, _ map[string]any) { f["record"] = "{}{}" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record, key := issue(t, rdb)
			spoilKey(t, rdb, record.ID, spoil)
			_, err := newVerifier(t, rdb).Authenticate(t.Context(), key)
			fails(t, "Authenticate", err, authkey.ErrUnavailable)
			if err != nil && strings.Contains(err.Error(), key.Reveal()) {
				t.Error("the error tells the key")
			}
			if errors.Is(err, authkey.ErrInvalid) || errors.Is(err, authkey.ErrUnknown) {
				t.Errorf("the error %v is about the caller", err)
			}
		})
	}
}

func firstOf(record map[string]any) map[string]any {
	return record["credentials"].([]any)[0].(map[string]any)
}

// spoilKey changes what Redis has of a key: its fields, and the record that one of them holds.
func spoilKey(t *testing.T, rdb redis.UniversalClient, id string, spoil func(fields, record map[string]any)) {
	t.Helper()
	name, _ := lua.RecordKey(id)
	texts, err := rdb.HGetAll(t.Context(), name).Result()
	if err != nil || len(texts) == 0 {
		t.Fatalf("%s: %v, %v", name, texts, err)
	}
	fields, record := map[string]any{}, map[string]any{}
	for field, text := range texts {
		fields[field] = text
	}
	if err := json.Unmarshal([]byte(texts["record"]), &record); err != nil {
		t.Fatal(err)
	}
	spoil(fields, record)
	if fields["record"] == texts["record"] {
		text, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		fields["record"] = string(text)
	}
	if err := rdb.HSet(t.Context(), name, fields).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestNoSecretInRedis(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mini.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	_, key := issue(t, rdb)
	parts := strings.Split(key.Reveal(), "_")
	secret := parts[len(parts)-1]
	if dump := mini.Dump(); strings.Contains(dump, secret) || strings.Contains(dump, secret[:32]) || !strings.Contains(dump, parts[2]) {
		t.Error("the dump holds the secret, or not the id")
	}
}

func TestOutageIsUnavailable(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mini.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	record, key := issue(t, rdb)
	verifier := newVerifier(t, rdb)
	mini.SetError("LOADING Redis is loading the dataset in memory")
	_, err := verifier.Authenticate(t.Context(), key)
	fails(t, "while Redis loads", err, authkey.ErrUnavailable)
	mini.SetError("")
	if _, err := verifier.Authenticate(t.Context(), key); err != nil {
		t.Errorf("when Redis is back: %v", err)
	}
	mini.Close()
	store := redisstore.New(rdb)
	for what, call := range map[string]func() error{
		"Find":       func() error { _, err := store.Find(t.Context(), record.ID); return err },
		"FindDigest": func() error { _, err := store.FindDigest(t.Context(), record.Credentials[0].Digest); return err },
		"Create":     func() error { _, err := store.Create(t.Context(), record); return err },
		"Change":     func() error { _, err := store.Change(t.Context(), record, "test"); return err },
		"Project":    func() error { _, err := store.Project(t.Context(), record.Org, "shop"); return err },
		"SetProject": func() error {
			_, err := store.SetProject(t.Context(), authkey.Project{Org: record.Org, Name: "shop", State: authkey.StateActive})
			return err
		},
		"Projects": func() error { _, _, err := store.Projects(t.Context(), record.Org, "", 1); return err },
		"NoteUses": func() error {
			return store.NoteUses(t.Context(), []authkey.Use{{Key: record.ID, Credential: record.ID, At: record.CreatedAt}})
		},
		"List": func() error { _, _, err := store.List(t.Context(), record.Org, "", "", 1); return err },
	} {
		err := call()
		fails(t, what, err, authkey.ErrUnavailable)
		if errors.Is(err, authkey.ErrUnknown) {
			t.Errorf("%s: an outage says that the key is unknown", what)
		}
	}
}

func TestFaultsOfNew(t *testing.T) {
	t.Parallel()
	var client *redis.Client
	rdb := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = rdb.Close() })
	for name, store := range map[string]*redisstore.Store{
		"nil":          redisstore.New(nil),
		"nil client":   redisstore.New(client),
		"nil option":   redisstore.New(rdb, nil),
		"zero timeout": redisstore.New(rdb, redisstore.WithTimeout(0)),
		"long timeout": redisstore.New(rdb, redisstore.WithTimeout(time.Minute)),
		"nil logger":   redisstore.New(rdb, redisstore.WithLogger(nil)),
		"nil sealer":   redisstore.New(rdb, redisstore.WithSealer(nil)),
		"zero Store":   {},
		"nil Store":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fails(t, "Err", store.Err(), authkey.ErrInvalid)
			_, err := authkey.New(store)
			fails(t, "authkey.New", err, authkey.ErrInvalid)
			_, err = store.Find(context.Background(), "x")
			fails(t, "Find", err, authkey.ErrInvalid)
			_, err = store.FindDigest(context.Background(), authkey.Digest{})
			fails(t, "FindDigest", err, authkey.ErrInvalid)
			_, err = store.Create(context.Background(), authkey.Record{})
			fails(t, "Create", err, authkey.ErrInvalid)
			_, err = store.Change(context.Background(), authkey.Record{}, "test")
			fails(t, "Change", err, authkey.ErrInvalid)
			_, err = store.Project(context.Background(), "o", "x")
			fails(t, "Project", err, authkey.ErrInvalid)
			_, err = store.SetProject(context.Background(), authkey.Project{})
			fails(t, "SetProject", err, authkey.ErrInvalid)
			_, _, err = store.Projects(context.Background(), "o", "", 1)
			fails(t, "Projects", err, authkey.ErrInvalid)
			fails(t, "NoteUses", store.NoteUses(context.Background(), nil), authkey.ErrInvalid)
			_, _, err = store.List(context.Background(), "o", "", "", 1)
			fails(t, "List", err, authkey.ErrInvalid)
		})
	}
	if err := redisstore.New(rdb).Err(); err != nil {
		t.Errorf("a good client: %v", err)
	}
}
