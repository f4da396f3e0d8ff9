package lua_test

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// credential is an org of its own and an id in its bucket.
type credential struct {
	*lua.Conn
	rdb     redis.UniversalClient
	org, id string
}

func newCredential(t *testing.T, rdb redis.UniversalClient) credential {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatal(err)
	}
	org := redistest.Org(t)
	return credential{Conn: conn, rdb: rdb, org: org, id: bucket.Of(org) + rand.Text()[:12]}
}

func (c credential) key(t *testing.T) string {
	t.Helper()
	key, ok := lua.CredentialKey(c.id)
	if !ok {
		t.Fatalf("no key for id %s", c.id)
	}
	return key
}

func (c credential) create(t *testing.T) lua.Fields {
	t.Helper()
	fields, err := c.CreateCredential(t.Context(), c.org, "a:project", c.id, lua.Fields{"state": "active", "note": "{x}\x00"})
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

func (c credential) keysStamp(t *testing.T) int64 {
	t.Helper()
	epoch, err := c.Epoch(t.Context(), c.org)
	if err != nil {
		t.Fatal(err)
	}
	return epoch.Keys
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func TestCredentialIsWrittenWithItsEpoch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCredential(t, rdb)
		fields := c.create(t)
		created, err := fields.Int("created")
		if err != nil || created == 0 {
			t.Fatalf("created %d, %v", created, err)
		}
		want := lua.Fields{
			"org": c.org, "project": "a:project", "state": "active", "note": "{x}\x00",
			"revision": "1", "created": strconv.FormatInt(created, 10),
		}
		if !maps.Equal(fields, want) {
			t.Errorf("created %q, want %q", fields, want)
		}
		read, stamp, err := c.Credential(t.Context(), c.id)
		if err != nil || !maps.Equal(read, want) {
			t.Errorf("read %q, %v", read, err)
		}
		if stamp < created || stamp != c.keysStamp(t) {
			t.Errorf("stamp %d, want the time of the first read, after %d", stamp, created)
		}
		for _, key := range []string{c.key(t), lua.EpochKey(c.org), lua.KeyIndexKey(c.org)} {
			if ttl, err := rdb.PTTL(t.Context(), key).Result(); err != nil || ttl != -1 {
				t.Errorf("%s has a TTL of %v, %v; want none", key, ttl, err)
			}
		}
	})
}

// Each change raises the stamp, also where the stored one lies ahead of Redis's clock; what changes
// nothing leaves it.
func TestCredentialStampAlwaysRises(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCredential(t, rdb)
		ahead := time.Now().Add(time.Hour).UnixMicro()
		if err := rdb.HSet(t.Context(), lua.EpochKey(c.org), "keys", ahead, "limits", 1).Err(); err != nil {
			t.Fatal(err)
		}
		c.create(t)
		set := func(state string) error {
			_, err := c.SetCredentialState(t.Context(), c.org, c.id, state, "why")
			return err
		}
		for _, step := range []struct {
			what string
			do   func() error
			want error
			rise int64
		}{
			{"create", func() error { return nil }, nil, 0},
			{"create again", func() error {
				_, err := c.CreateCredential(t.Context(), c.org, "p", c.id, lua.Fields{"state": "active"})
				return err
			}, lua.ErrCredentialExists, 0},
			{"the same state", func() error { return set("active") }, nil, 0},
			{"disable", func() error { return set("disabled") }, nil, 1},
			{"revoke", func() error { return set("revoked") }, nil, 2},
			{"revoke again", func() error { return set("revoked") }, nil, 2},
			{"undo", func() error { return set("active") }, lua.ErrCredentialRevoked, 2},
		} {
			wantErr(t, step.what, step.do(), step.want)
			if got := c.keysStamp(t); got != ahead+step.rise {
				t.Errorf("after %s the stamp is %d ahead, want %d", step.what, got-ahead, step.rise)
			}
		}
		epoch, err := c.Epoch(t.Context(), c.org)
		if err != nil || epoch.Limits != 1 {
			t.Errorf("limits stamp %d, %v: want it left alone", epoch.Limits, err)
		}
	})
}

func TestCredentialOfAnotherOrg(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCredential(t, rdb)
		before := c.create(t)
		same := c.org // an org of the same bucket, so that the script itself has to tell
		for i := 0; same == c.org; i++ {
			if other := c.org + "-" + strconv.Itoa(i); bucket.Of(other) == bucket.Of(c.org) {
				same = other
			}
		}
		for _, org := range []string{same, ""} {
			_, err := c.SetCredentialState(t.Context(), org, c.id, "revoked", "")
			wantErr(t, "another org", err, lua.ErrCredentialNotFound)
		}
		if exists, err := rdb.Exists(t.Context(), lua.EpochKey(same)).Result(); err != nil || exists != 0 {
			t.Errorf("a refused change left an epoch: %d, %v", exists, err)
		}
		if now, _, err := c.Credential(t.Context(), c.id); err != nil || !maps.Equal(now, before) {
			t.Errorf("now %q, %v; was %q", now, err, before)
		}
		for _, id := range []string{"", "0", "64abcdefghijkl", "xx"} {
			_, _, err := c.Credential(t.Context(), id)
			wantErr(t, "an id of no bucket", err, lua.ErrCredentialNotFound)
		}
	})
}

// A key of the wrong type is found before anything is written.
func TestCredentialScriptWritesLast(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, wrong := range []string{"epoch", "keys"} {
			c := newCredential(t, rdb)
			key := map[string]string{"epoch": lua.EpochKey(c.org), "keys": lua.KeyIndexKey(c.org)}[wrong]
			if err := rdb.Set(t.Context(), key, "text", time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			_, err := c.CreateCredential(t.Context(), c.org, "p", c.id, lua.Fields{"state": "active"})
			if lua.Classify(err) != lua.ClassConfig {
				t.Errorf("%s is text: error %v of class %q", wrong, err, lua.Classify(err))
			}
			for _, key := range []string{c.key(t), lua.EpochKey(c.org), lua.KeyIndexKey(c.org)} {
				kind, err := rdb.Type(t.Context(), key).Result()
				if err != nil || kind != "none" && kind != "string" {
					t.Errorf("%s is text, yet %s was written: %s, %v", wrong, key, kind, err)
				}
			}
		}
	})
}

func TestDamageDoesNotPreventRevocation(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, damage := range map[string]func(c credential) error{
			"no revision":  func(c credential) error { return rdb.HDel(t.Context(), c.key(t), "revision").Err() },
			"odd revision": func(c credential) error { return rdb.HSet(t.Context(), c.key(t), "revision", "x").Err() },
			"huge stamp":   func(c credential) error { return rdb.HSet(t.Context(), lua.EpochKey(c.org), "keys", "1e300").Err() },
			"no stamp":     func(c credential) error { return rdb.Del(t.Context(), lua.EpochKey(c.org)).Err() },
		} {
			c := newCredential(t, rdb)
			c.create(t)
			if err := damage(c); err != nil {
				t.Fatal(err)
			}
			fields, err := c.SetCredentialState(t.Context(), c.org, c.id, "revoked", "leaked")
			if err != nil || fields["state"] != "revoked" {
				t.Errorf("%s: revoking gives %v, %v", name, fields, err)
			}
			if epoch, err := c.Epoch(t.Context(), c.org); err != nil || epoch.Keys > epoch.Now {
				t.Errorf("%s: epoch %+v, %v; want a stamp of now", name, epoch, err)
			}
		}
	})
}

func TestDigestIsBoundOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCredential(t, rdb)
		digest := strings.ToLower(rand.Text())
		key := lua.DigestKey(digest)
		t.Cleanup(func() { rdb.Del(context.WithoutCancel(t.Context()), key) })
		ctx := t.Context()

		_, err := c.DigestID(ctx, digest)
		wantErr(t, "no digest", err, lua.ErrCredentialNotFound)
		wantErr(t, "confirm of no claim", c.ConfirmDigest(ctx, digest, "a"), lua.ErrCredentialNotFound)
		wantErr(t, "claim", c.ClaimDigest(ctx, digest, "a"), nil)
		wantErr(t, "the same claim again", c.ClaimDigest(ctx, digest, "a"), nil)
		wantErr(t, "a claim by another", c.ClaimDigest(ctx, digest, "b"), lua.ErrDigestClaimed)
		wantErr(t, "confirm by another", c.ConfirmDigest(ctx, digest, "b"), lua.ErrCredentialNotFound)
		if ttl, err := rdb.PTTL(ctx, key).Result(); err != nil || ttl <= 0 || ttl > lua.ClaimTime {
			t.Errorf("a claim has a TTL of %v, %v", ttl, err)
		}
		wantErr(t, "confirm", c.ConfirmDigest(ctx, digest, "a"), nil)
		wantErr(t, "confirm again", c.ConfirmDigest(ctx, digest, "a"), nil)
		if ttl, err := rdb.PTTL(ctx, key).Result(); err != nil || ttl != -1 {
			t.Errorf("a confirmed digest has a TTL of %v, %v", ttl, err)
		}
		wantErr(t, "a claim by another", c.ClaimDigest(ctx, digest, "b"), lua.ErrCredentialExists)
		if id, err := c.DigestID(ctx, digest); err != nil || id != "a" {
			t.Errorf("bound to %q, %v; want a", id, err)
		}
	})
}

func TestCredentialCursor(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	c := newCredential(t, rdb)
	c.create(t)
	for _, cursor := range []string{"x", "a%3Aproject", ":" + c.id, "b:" + c.id, "a%3Aproject:", "a%3Aproject:zz", "a%ZZ:" + c.id} {
		_, err := c.Credentials(t.Context(), c.org, "a:project", cursor, 10)
		wantErr(t, cursor, err, lua.ErrCursor)
	}
	page, err := c.Credentials(t.Context(), c.org, "a:project", "", 10)
	if err != nil || len(page.IDs) != 1 || page.IDs[0] != c.id || page.Next != "" {
		t.Errorf("page %+v, %v", page, err)
	}
	if page, err = c.Credentials(t.Context(), c.org, "", "a%3Aproject:"+c.id, 10); err != nil || len(page.IDs) != 0 {
		t.Errorf("after the last: %+v, %v", page, err)
	}
}

func TestFieldsInt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": 0, "0": 0, "12": 12, "9007199254740991": 1<<53 - 1} {
		if got, err := (lua.Fields{"n": text}).Int("n"); err != nil || got != want {
			t.Errorf("Int of %q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1", "9007199254740992", "1e3", "x", " 1"} {
		_, err := (lua.Fields{"n": text}).Int("n")
		wantErr(t, "Int of "+text, err, lua.ErrReply)
	}
}
