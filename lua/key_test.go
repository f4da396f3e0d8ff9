package lua_test

import (
	"crypto/rand"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// apiKey is an org of its own and a key in its bucket.
type apiKey struct {
	*lua.Conn
	rdb redis.UniversalClient
	lua.Key
}

func newAPIKey(t *testing.T, rdb redis.UniversalClient) apiKey {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatal(err)
	}
	org := redistest.Org(t)
	return apiKey{Conn: conn, rdb: rdb, Key: lua.Key{
		ID: bucket.Of(org) + rand.Text()[:12], Org: org, Project: "a:project", State: "active", Revision: 1, Record: "{x}\x00", Seal: "s",
	}}
}

// put writes the key as it is, with an entry of the audit trail.
func (k *apiKey) put(t *testing.T, expected int64, credentials ...string) error {
	t.Helper()
	line, err := audit.NewLine(t.Context(), nil, audit.Entry{Action: "test", Org: k.Org, ID: k.ID})
	if err != nil {
		t.Fatal(err)
	}
	return k.PutKey(t.Context(), k.Key, expected, expected != 0, credentials, line)
}

func (k *apiKey) create(t *testing.T) {
	t.Helper()
	if err := k.put(t, 0, k.ID); err != nil {
		t.Fatal(err)
	}
}

// names are those of what a key consists of in Redis.
func (k *apiKey) names(t *testing.T) []string {
	t.Helper()
	record, _ := lua.RecordKey(k.ID)
	pointer, _ := lua.CredentialKey(k.ID)
	return []string{record, pointer, lua.KeyIndexKey(k.Org), lua.ProjectIndexKey(k.Org), lua.AuditKey(k.Org), lua.EpochKey(k.Org)}
}

func (k *apiKey) stamp(t *testing.T) int64 {
	t.Helper()
	epoch, err := k.Epoch(t.Context(), k.Org)
	if err != nil {
		t.Fatal(err)
	}
	return epoch.Keys
}

func (k *apiKey) entries(t *testing.T) int64 {
	t.Helper()
	n, err := k.rdb.XLen(t.Context(), lua.AuditKey(k.Org)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func TestKeyIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		k := newAPIKey(t, rdb)
		k.create(t)
		read, err := k.Conn.Key(t.Context(), k.ID)
		want := lua.KeyReading{Key: k.Key, Used: map[string]int64{}, Within: lua.ProjectReading{Name: "a:project"}, Epoch: k.stamp(t)}
		if err != nil || !reflect.DeepEqual(read, want) {
			t.Errorf("read %+v, %v; want %+v", read, err, want)
		}
		for _, name := range k.names(t) {
			if ttl, err := rdb.PTTL(t.Context(), name).Result(); err != nil || ttl != -1 {
				t.Errorf("%s has a TTL of %v, %v; want none", name, ttl, err)
			}
		}
		for _, id := range []string{"", "0", "64abcdefghijkl", "xx", bucket.Of(k.Org) + "nobody"} {
			_, err := k.Conn.Key(t.Context(), id)
			wantErr(t, "an id of nobody", err, lua.ErrKeyNotFound)
		}
	})
}

// Each change raises the stamp, also where the stored one lies ahead of Redis's clock, and adds an entry; what is
// refused does neither.
func TestKeyChangesRaiseTheStampAndAreAudited(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		k := newAPIKey(t, rdb)
		ahead := time.Now().Add(time.Hour).UnixMicro()
		if err := rdb.HSet(t.Context(), lua.EpochKey(k.Org), "keys", ahead, "limits", 1).Err(); err != nil {
			t.Fatal(err)
		}
		set := func(state string, revision, expected int64, credentials ...string) func() error {
			return func() error {
				k.State, k.Revision = state, revision
				return k.put(t, expected, credentials...)
			}
		}
		second := bucket.Of(k.Org) + rand.Text()[:12]
		for _, step := range []struct {
			what          string
			do            func() error
			want          error
			rise, entries int64
		}{
			{"a change of nothing", set("active", 2, 1), lua.ErrKeyNotFound, 0, 0},
			{"create", set("active", 1, 0, k.ID), nil, 0, 1},
			{"create again", set("active", 1, 0, k.ID), lua.ErrKeyExists, 0, 1},
			{"disable", set("disabled", 2, 1), nil, 1, 2},
			{"a late write", set("active", 2, 1), lua.ErrKeyChanged, 1, 2},
			{"add a credential", set("active", 3, 2, second), nil, 2, 3},
			{"add it again", set("active", 4, 3, second), lua.ErrKeyExists, 2, 3},
			{"revoke", set("revoked", 4, 3), nil, 3, 4},
			{"undo", set("active", 5, 4), lua.ErrKeyRevoked, 3, 4},
			{"undo by a late write", set("active", 4, 3), lua.ErrKeyRevoked, 3, 4},
			{"seal again", set("revoked", 5, 4), nil, 4, 5},
		} {
			wantErr(t, step.what, step.do(), step.want)
			if got := k.stamp(t); got != ahead+step.rise {
				t.Errorf("after %s the stamp is %d ahead, want %d", step.what, got-ahead, step.rise)
			}
			if got := k.entries(t); got != step.entries {
				t.Errorf("after %s there are %d entries, want %d", step.what, got, step.entries)
			}
		}
		epoch, err := k.Epoch(t.Context(), k.Org)
		if err != nil || epoch.Limits != 1 {
			t.Errorf("limits stamp %d, %v: want it left alone", epoch.Limits, err)
		}
		read, err := k.Conn.Key(t.Context(), second)
		if err != nil || read.ID != k.ID || read.State != "revoked" {
			t.Errorf("by the second credential: %+v, %v", read, err)
		}
	})
}

func TestAuditEntriesAreChained(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		k := newAPIKey(t, rdb)
		k.create(t)
		for revision := range int64(3) {
			k.Revision = revision + 2
			if err := k.put(t, revision+1); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := rdb.XRange(t.Context(), lua.AuditKey(k.Org), "-", "+").Result()
		if err != nil || len(entries) != 4 {
			t.Fatalf("%d entries, %v; want 4", len(entries), err)
		}
		link := ""
		for i, e := range entries {
			line := audit.Line{Text: e.Values["entry"].(string), Sum: e.Values["sum"].(string)}
			if err := line.Verify(nil, k.Org); err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
			seq := int64(i) + 1
			link = audit.Link(link, seq, line.Sum)
			if e.Values["seq"] != strconv.FormatInt(seq, 10) || e.Values["link"] != link {
				t.Errorf("entry %d has number %v and link %v, want %d and %s", i, e.Values["seq"], e.Values["link"], seq, link)
			}
		}
	})
}

func TestKeyOfAnotherOrg(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		k := newAPIKey(t, rdb)
		k.create(t)
		same := k.Org // an org of the same bucket, so that the script itself has to tell
		for i := 0; same == k.Org; i++ {
			if other := k.Org + "-" + strconv.Itoa(i); bucket.Of(other) == bucket.Of(k.Org) {
				same = other
			}
		}
		for _, org := range []string{same, ""} {
			other := k
			other.Org, other.State, other.Revision = org, "revoked", 2
			wantErr(t, "another org", other.put(t, 1), lua.ErrKeyNotFound)
		}
		if exists, err := rdb.Exists(t.Context(), lua.EpochKey(same), lua.AuditKey(same)).Result(); err != nil || exists != 0 {
			t.Errorf("a refused change left something: %d, %v", exists, err)
		}
		other := newAPIKey(t, rdb)
		other.Key.Org, other.Key.ID = same, bucket.Of(same)+rand.Text()[:12]
		wantErr(t, "a credential of another org", other.put(t, 0, other.ID, k.ID), lua.ErrKeyExists)
		if read, err := k.Conn.Key(t.Context(), k.ID); err != nil || read.Org != k.Org || read.State != "active" {
			t.Errorf("now %+v, %v", read, err)
		}
	})
}

// Who can write the string of a credential cannot make it stand for a key of another org or bucket.
func TestMisledCredentialIsFound(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		k, other := newAPIKey(t, rdb), newAPIKey(t, rdb)
		k.create(t)
		other.create(t)
		name, _ := lua.CredentialKey(k.ID)
		for what, text := range map[string]string{
			"another org's key":    other.ID + ":" + lua.Escape(other.Org) + ":" + lua.Escape("a:project"),
			"its key, another org": k.ID + ":" + lua.Escape(other.Org) + ":" + lua.Escape("a:project"),
			"nothing":              "",
			"a part":               k.ID,
			"an odd org":           k.ID + ":%ZZ:" + lua.Escape("a:project"),
		} {
			if err := rdb.Set(t.Context(), name, text, time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			read, err := k.Conn.Key(t.Context(), k.ID)
			if bucket.Of(k.Org) != bucket.Of(other.Org) {
				wantErr(t, what, err, lua.ErrReply)
			} else if err == nil && read.ID == k.ID {
				t.Errorf("%s: %+v", what, read)
			}
		}
		if err := rdb.Set(t.Context(), name, k.ID+":"+lua.Escape(k.Org)+":elsewhere", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		_, err := k.Conn.Key(t.Context(), k.ID)
		wantErr(t, "another project", err, lua.ErrKeyNotFound)
	})
}

// A key of the wrong type is found before anything is written.
func TestKeyScriptWritesLast(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for wrong := range 6 {
			k := newAPIKey(t, rdb)
			if wrong == 1 {
				continue // the pointer is a string, and its being there is an answer of its own
			}
			names := k.names(t)
			if err := rdb.Set(t.Context(), names[wrong], "text", time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			err := k.put(t, 0, k.ID)
			if lua.Classify(err) != lua.ClassConfig {
				t.Errorf("%s is text: error %v of class %q", names[wrong], err, lua.Classify(err))
			}
			for i, name := range names {
				kind, err := rdb.Type(t.Context(), name).Result()
				if err != nil || kind != "none" && i != wrong {
					t.Errorf("%s is text, yet %s was written: %s, %v", names[wrong], name, kind, err)
				}
			}
		}
	})
}

func TestDamagedStampDoesNotPreventRevocation(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, damage := range map[string]func(k apiKey) error{
			"huge stamp": func(k apiKey) error { return rdb.HSet(t.Context(), lua.EpochKey(k.Org), "keys", "1e300").Err() },
			"no stamp":   func(k apiKey) error { return rdb.Del(t.Context(), lua.EpochKey(k.Org)).Err() },
			"odd entry": func(k apiKey) error {
				return rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: lua.AuditKey(k.Org), Values: []any{"seq", "x"}}).Err()
			},
		} {
			k := newAPIKey(t, rdb)
			k.create(t)
			if err := damage(k); err != nil {
				t.Fatal(err)
			}
			k.State, k.Revision = "revoked", 2
			wantErr(t, name, k.put(t, 1), nil)
			if epoch, err := k.Epoch(t.Context(), k.Org); err != nil || epoch.Keys > epoch.Now {
				t.Errorf("%s: epoch %+v, %v; want a stamp of now", name, epoch, err)
			}
		}
	})
}

func TestDigestIsBoundOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newAPIKey(t, rdb).Conn
		digest := strings.ToLower(rand.Text())
		key := lua.DigestKey(digest)
		ctx := t.Context()

		_, err := c.DigestID(ctx, digest)
		wantErr(t, "no digest", err, lua.ErrKeyNotFound)
		wantErr(t, "confirm of no claim", c.ConfirmDigest(ctx, digest, "a"), lua.ErrKeyNotFound)
		wantErr(t, "claim", c.ClaimDigest(ctx, digest, "a"), nil)
		wantErr(t, "the same claim again", c.ClaimDigest(ctx, digest, "a"), nil)
		wantErr(t, "a claim by another", c.ClaimDigest(ctx, digest, "b"), lua.ErrDigestClaimed)
		wantErr(t, "confirm by another", c.ConfirmDigest(ctx, digest, "b"), lua.ErrKeyNotFound)
		if ttl, err := rdb.PTTL(ctx, key).Result(); err != nil || ttl <= 0 || ttl > lua.ClaimTime {
			t.Errorf("a claim has a TTL of %v, %v", ttl, err)
		}
		wantErr(t, "confirm", c.ConfirmDigest(ctx, digest, "a"), nil)
		wantErr(t, "confirm again", c.ConfirmDigest(ctx, digest, "a"), nil)
		if ttl, err := rdb.PTTL(ctx, key).Result(); err != nil || ttl != -1 {
			t.Errorf("a confirmed digest has a TTL of %v, %v", ttl, err)
		}
		wantErr(t, "a claim by another", c.ClaimDigest(ctx, digest, "b"), lua.ErrKeyExists)
		if id, err := c.DigestID(ctx, digest); err != nil || id != "a" {
			t.Errorf("bound to %q, %v; want a", id, err)
		}
	})
}

// A claim has to outlast the writing of its record, also a repeated one.
func TestRepeatedClaimBeginsAnew(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, digest := newAPIKey(t, rdb).Conn, strings.ToLower(rand.Text())
		key := lua.DigestKey(digest)
		for range 2 {
			wantErr(t, "claim", c.ClaimDigest(t.Context(), digest, "a"), nil)
			if ttl, err := rdb.PTTL(t.Context(), key).Result(); err != nil || ttl < lua.ClaimTime/2 {
				t.Errorf("a claim has a TTL of %v, %v; want %v", ttl, err, lua.ClaimTime)
			}
			rdb.PExpire(t.Context(), key, time.Second)
		}
	})
}

// Two changes within a microsecond, or after Redis's clock was set back, have different stamps.
func TestProjectStampAlwaysRises(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		k := newAPIKey(t, rdb)
		ahead := time.Now().Add(time.Hour).UnixMicro()
		if err := rdb.HSet(t.Context(), lua.EpochKey(k.Org), "keys", ahead, "limits", 1).Err(); err != nil {
			t.Fatal(err)
		}
		for i, raise := range []bool{true, true, false} {
			p := lua.ProjectReading{Name: "p", Revision: int64(i) + 1, Record: "{}"}
			wantErr(t, "PutProject", k.PutProject(t.Context(), k.Org, p, int64(i), raise, audit.Line{}), nil)
		}
		if got := k.stamp(t); got != ahead+2 {
			t.Errorf("the stamp is %d ahead, want 2", got-ahead)
		}
	})
}

func TestKeyCursor(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	k := newAPIKey(t, rdb)
	k.create(t)
	for _, cursor := range []string{"x", "a%3Aproject", ":" + k.ID, "b:" + k.ID, "a%3Aproject:", "a%3Aproject:zz", "a%ZZ:" + k.ID} {
		_, err := k.Keys(t.Context(), k.Org, "a:project", cursor, 10)
		wantErr(t, cursor, err, lua.ErrCursor)
	}
	page, err := k.Keys(t.Context(), k.Org, "a:project", "", 10)
	if err != nil || len(page.Keys) != 1 || page.Keys[0].ID != k.ID || page.Next != "" {
		t.Errorf("page %+v, %v", page, err)
	}
	if page, err = k.Keys(t.Context(), k.Org, "", "a%3Aproject:"+k.ID, 10); err != nil || len(page.Keys) != 0 {
		t.Errorf("after the last: %+v, %v", page, err)
	}
}

// Uses of several buckets, more than one command takes, reach the keys that there are and make none.
func TestUsesAreNoted(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		keys := []apiKey{newAPIKey(t, rdb), newAPIKey(t, rdb)}
		var uses []lua.Use
		for i := range keys {
			keys[i].Record = `{"id":"` + keys[i].ID + `"}`
			keys[i].create(t)
			uses = append(uses, lua.Use{Key: keys[i].ID, Credential: "stranger", At: 9})
			uses = append(uses, lua.Use{Key: keys[i].ID, Credential: keys[i].ID, At: 7})
			for range 150 {
				uses = append(uses, lua.Use{Key: bucket.Of(keys[i].Org) + rand.Text()[:12], Credential: "c", At: 8})
			}
		}
		if err := keys[0].NoteUses(t.Context(), uses); err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if read, err := k.Conn.Key(t.Context(), k.ID); err != nil || read.Used[k.ID] != 7 || len(read.Used) != 1 {
				t.Errorf("used %v, %v; want 7", read.Used, err)
			}
		}
		keys[0].Record, keys[0].Revision = `{"id":"another"}`, 2
		if err := keys[0].put(t, 1); err != nil {
			t.Fatal(err)
		}
		if read, err := keys[0].Conn.Key(t.Context(), keys[0].ID); err != nil || len(read.Used) != 0 {
			t.Errorf("uses of a credential that the key has no more: %v, %v", read.Used, err)
		}
		name, _ := lua.RecordKey(uses[2].Key)
		if n, err := rdb.Exists(t.Context(), name).Result(); err != nil || n != 0 {
			t.Errorf("a use made a key: %d, %v", n, err)
		}
		wantErr(t, "a key of no bucket", keys[0].NoteUses(t.Context(), []lua.Use{{Key: "x", At: 1}}), lua.ErrKeyNotFound)
	})
}
