package lua_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// subject is a name of the token that bearer returns.
var subject = lua.Name{Kind: lua.NameSubject, Issuer: "https://id.example", Value: "mia"}

// bearer returns a token that was made a minute ago.
func bearer(org string) *lua.Token {
	return &lua.Token{Org: org, Issuer: subject.Issuer, ID: "t1", Subject: subject.Value, IssuedAt: time.Now().Add(-time.Minute)}
}

func revoke(t *testing.T, conn *lua.Conn, org string, r lua.Revocation) lua.Revocation {
	t.Helper()
	got, err := conn.Revoke(t.Context(), org, r, time.Hour.Microseconds(), audit.Line{})
	if err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	return got
}

// TestRevokedGoesFirst: whatever else is true of a check, with each mode, nothing is done for a token that is revoked;
// and the checks beside it are decided as if they were alone.
func TestRevokedGoesFirst(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, tt := range map[string]struct {
			change func(*lua.Check)
			want   lua.Status
		}{
			"alone":           {func(*lua.Check) {}, lua.Revoked},
			"stale":           {func(c *lua.Check) { c.Epochs[0].Keys = 5 }, lua.Revoked},
			"too late":        {func(c *lua.Check) { c.Until = 1 }, lua.Revoked},
			"refused":         {func(c *lua.Check) { c.Charges[0].Units = 11 }, lua.Revoked},
			"nothing":         {func(c *lua.Check) { c.Charges = nil }, lua.Revoked},
			"invalid":         {func(c *lua.Check) { c.Charges[0].Units = -1 }, lua.Invalid},
			"peek":            {func(c *lua.Check) { c.Mode = lua.Peek }, lua.Revoked},
			"settle":          {func(c *lua.Check) { c.Mode = lua.Settle }, lua.Revoked},
			"renew":           {func(c *lua.Check) { c.Mode = lua.Renew }, lua.Revoked},
			"refund":          {func(c *lua.Check) { c.Mode = lua.Refund }, lua.Revoked},
			"reset":           {func(c *lua.Check) { c.Mode = lua.Reset }, lua.Revoked},
			"its session too": {func(c *lua.Check) { c.Token.Session = "s" }, lua.Revoked},
			"another issuer":  {func(c *lua.Check) { c.Token.Issuer = "https://other.example" }, lua.Allowed},
			"no subject":      {func(c *lua.Check) { c.Token.Subject = "" }, lua.Allowed},
			"no name":         {func(c *lua.Check) { c.Token.Subject, c.Token.ID = "", "" }, lua.Allowed},
			"no token":        {func(c *lua.Check) { c.Token = nil }, lua.Allowed},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				conn, org := connOf(t, rdb), redistest.Org(t)
				charge := one(org, "shop")
				charge.Holds, charge.Held = true, 2
				held := charge
				held.Lease, held.Units = lua.MaxLease, 2
				admit(t, conn, lua.Check{ID: "a", Charges: []lua.Charge{held}}, lua.Check{Charges: []lua.Charge{charge}})
				revoke(t, conn, org, lua.Revocation{Name: subject})
				keys := []string{charge.Key, lua.HoldsKey(charge.Key), lua.RevokedKey(org), lua.RevokedUntilKey(org)}
				before := dumps(t, rdb, keys)
				check := lua.Check{ID: "a", Epochs: []lua.Held{{Key: lua.EpochKey(org)}}, Token: bearer(org), Charges: []lua.Charge{charge}}
				tt.change(&check)
				beside := lua.Check{Token: bearer(redistest.Org(t)), Charges: []lua.Charge{one(org, "beside")}}
				beside.Token.Org = org
				beside.Token.Subject = "noah"
				got := admit(t, conn, beside, check, beside)
				if got[1].Status != tt.want || len(got[1].Epochs) != 1 || tt.want != lua.Allowed && got[1].States != nil {
					t.Errorf("answer %+v, want status %d", got[1], tt.want)
				}
				if got[2].Status != lua.Allowed || got[2].States[0].Current != 2 {
					t.Errorf("beside it: %+v, want both charged", got[2])
				}
				if after := dumps(t, rdb, keys); (after == before) != (tt.want != lua.Allowed) {
					t.Errorf("%q became %q at status %d", before, after, tt.want)
				}
			})
		}
	})
}

// TestRevokedNumbers sends the script what no Go type could hold.
func TestRevokedNumbers(t *testing.T) {
	t.Parallel()
	script := redis.NewScript(admitSource(t))
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		conn, org := connOf(t, rdb), redistest.Org(t)
		revoke(t, conn, org, lua.Revocation{Name: subject, Before: 1})
		run := func(names, issued any) ([]int64, error) {
			args := []any{0, names, issued, subject.Field(), 0, int64(lua.MaxTime), "charge", "-", "-", 0}
			return script.Run(t.Context(), rdb, []string{lua.RevokedKey(org)}, args...).Int64Slice()
		}
		if got, err := run(1, 1); err != nil || !slices.Equal(got[1:], []int64{int64(lua.Allowed)}) {
			t.Errorf("as it should be: %v, %v; want it allowed", got, err)
		}
		for _, issued := range []any{"", "-", "x", "-1", "nan", "inf", "1e300", "1.5", "9007199255", 0} {
			if got, err := run(1, issued); err != nil || !slices.Equal(got[1:], []int64{int64(lua.Revoked)}) {
				t.Errorf("made at %v: %v, %v; want it revoked", issued, got, err)
			}
		}
		for _, names := range []any{"", "-", "x", "-1", 5, "1.5", "nan"} {
			if got, err := run(names, 1); lua.Classify(err) != lua.ClassConfig {
				t.Errorf("%v names: %v, %v; want an error", names, got, err)
			}
		}
	})
}

// TestRevokedFailsClosed: what is no hash refuses every token of the org, and nobody without one.
func TestRevokedFailsClosed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		for _, key := range []string{lua.RevokedKey(org), lua.RevokedUntilKey(org)} {
			if err := rdb.Set(t.Context(), key, "not ours", time.Hour).Err(); err != nil {
				t.Fatalf("SET: %v", err)
			}
			keys := []string{lua.RevokedKey(org), lua.RevokedUntilKey(org), lua.AuditKey(org), one(org, "a").Key}
			before, line := dumps(t, rdb, keys), lineOf(t, audit.Entry{Action: "x"})
			_, revokeErr := conn.Revoke(t.Context(), org, lua.Revocation{Name: subject}, 1e9, line)
			_, _, listErr := conn.Revocations(t.Context(), org, "", 5)
			for i, err := range []error{revokeErr, conn.LiftRevocation(t.Context(), org, subject, line), listErr} {
				if lua.Classify(err) != lua.ClassConfig && (i < 2 || key == lua.RevokedUntilKey(org)) {
					t.Errorf("%s, call %d: %v, want class %q", key, i, err, lua.ClassConfig)
				}
			}
			got := admit(t, conn, lua.Check{Token: bearer(org), Mode: lua.Peek, Charges: []lua.Charge{one(org, "a")}}, lua.Check{Mode: lua.Peek, Charges: []lua.Charge{one(org, "a")}})
			want := map[bool]lua.Status{true: lua.Revoked, false: lua.Allowed}[key == lua.RevokedKey(org)]
			if got[0].Status != want || got[1].Status != lua.Allowed {
				t.Errorf("%s: %+v, want status %d, and none without a token", key, got, want)
			}
			if after := dumps(t, rdb, keys); after != before {
				t.Errorf("%s: %q became %q", key, before, after)
			}
			if err := rdb.Del(t.Context(), key).Err(); err != nil {
				t.Fatalf("DEL: %v", err)
			}
		}
	})
}

// TestRevocationsAreOnTheTrail holds for each way to change them, and for each that changes nothing.
func TestRevocationsAreOnTheTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		set := func(r lua.Revocation) func(audit.Line) error {
			return func(line audit.Line) error {
				r.Name = subject
				_, err := conn.Revoke(t.Context(), org, r, 1e9, line)
				return err
			}
		}
		lift := func(line audit.Line) error { return conn.LiftRevocation(t.Context(), org, subject, line) }
		list := func(audit.Line) error {
			_, _, err := conn.Revocations(t.Context(), org, "", 10)
			return err
		}
		checkTrail(t, conn, org, []step{
			{"lift none", lift, lua.ErrRevocationNotFound, false},
			{"ended", set(lua.Revocation{Until: 1}), lua.ErrRevocationEnded, false},
			{"far", set(lua.Revocation{Before: lua.MaxTime - 1, Until: lua.MaxTime}), lua.ErrRevocationTooFar, false},
			{"revoke", set(lua.Revocation{}), nil, true},
			{"again", set(lua.Revocation{}), nil, true},
			{"list", list, nil, false},
			{"lift", lift, nil, true},
			{"lift again", lift, lua.ErrRevocationNotFound, false},
		})
		// Where the entry cannot be written, nothing is changed.
		revoke(t, conn, org, lua.Revocation{Name: subject})
		if err := rdb.Set(t.Context(), lua.AuditKey(org), "not ours", 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		keys := []string{lua.RevokedKey(org), lua.RevokedUntilKey(org), lua.AuditKey(org)}
		before, line := dumps(t, rdb, keys), lineOf(t, audit.Entry{Action: "x"})
		for _, err := range []error{set(lua.Revocation{})(line), lift(line)} {
			if lua.Classify(err) != lua.ClassConfig {
				t.Errorf("%v, want class %q", err, lua.ClassConfig)
			}
		}
		if after := dumps(t, rdb, keys); after != before {
			t.Errorf("%q became %q", before, after)
		}
	})
}

// plant writes entries past the script, all with one end.
func plant(t *testing.T, rdb redis.UniversalClient, org, value string, n int, until int64) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var entries []any
		var ends []redis.Z
		for i := from; i < min(from+1000, n); i++ {
			field := lua.Name{Kind: lua.NameToken, Value: fmt.Sprint(value, i)}.Field()
			entries = append(entries, field, fmt.Sprintf("1 %d 1 {}", until))
			ends = append(ends, redis.Z{Score: float64(until), Member: field})
		}
		_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			p.HSet(t.Context(), lua.RevokedKey(org), entries...)
			p.ZAdd(t.Context(), lua.RevokedUntilKey(org), ends...)
			return nil
		})
		if err != nil {
			t.Fatalf("HSET, ZADD: %v", err)
		}
	}
	t.Cleanup(func() {
		if err := rdb.Unlink(context.WithoutCancel(t.Context()), lua.RevokedKey(org), lua.RevokedUntilKey(org)).Err(); err != nil {
			t.Errorf("UNLINK: %v", err)
		}
	})
}

// storedRevocations returns how many entries and ends are stored.
func storedRevocations(t *testing.T, rdb redis.UniversalClient, org string) [2]int64 {
	t.Helper()
	entries, err := rdb.HLen(t.Context(), lua.RevokedKey(org)).Result()
	ends, endsErr := rdb.ZCard(t.Context(), lua.RevokedUntilKey(org)).Result()
	if err := errors.Join(err, endsErr); err != nil {
		t.Fatalf("HLEN, ZCARD: %v", err)
	}
	return [2]int64{entries, ends}
}

// TestRevocationsArePruned: each change removes a hundred that have ended, and none that has not.
func TestRevocationsArePruned(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		plant(t, rdb, org, "ended", 250, time.Now().Add(-time.Hour).UnixMicro())
		plant(t, rdb, org, "live", 50, time.Now().Add(time.Hour).UnixMicro())
		if all, next, err := conn.Revocations(t.Context(), org, "", 100); len(all) != 50 || next != "" || err != nil {
			t.Errorf("%d listed, %q, %v; want 50 at once", len(all), next, err)
		}
		for i, want := range []int64{201, 101, 51, 51} { // the first adds one
			revoke(t, conn, org, lua.Revocation{Name: subject})
			if got := storedRevocations(t, rdb, org); got != [2]int64{want, want} {
				t.Errorf("change %d: %d stored, want %d", i, got, want)
			}
		}
		plant(t, rdb, org, "more", 100, time.Now().Add(-time.Hour).UnixMicro())
		if err := conn.LiftRevocation(t.Context(), org, subject, audit.Line{}); err != nil {
			t.Errorf("LiftRevocation: %v", err)
		}
		if got := storedRevocations(t, rdb, org); got != [2]int64{50, 50} {
			t.Errorf("%d stored after a lift, want 50", got)
		}
	})
}

// TestRevocationsAreBounded: a hundred thousand, of which those that have ended make room.
func TestRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		live := time.Now().Add(time.Hour).UnixMicro()
		plant(t, rdb, org, "live", lua.MaxRevocations-1, live)
		other := subject
		other.Value = "noah"
		_, err := conn.Revoke(t.Context(), org, lua.Revocation{Name: subject}, 1e12, audit.Line{})
		if err != nil {
			t.Errorf("the last: %v", err)
		}
		line := lineOf(t, audit.Entry{Action: "x"})
		_, err = conn.Revoke(t.Context(), org, lua.Revocation{Name: other}, 1e12, line)
		if got := storedRevocations(t, rdb, org); !errors.Is(err, lua.ErrRevocationTooMany) || got[0] != lua.MaxRevocations || len(trailOf(t, conn, org)) != 0 {
			t.Errorf("one more: %v, %d stored; want %v", err, got, lua.ErrRevocationTooMany)
		}
		revoke(t, conn, org, lua.Revocation{Name: subject})
		plant(t, rdb, org, "live", 1, time.Now().Add(-time.Hour).UnixMicro()) // the first of them ended
		revoke(t, conn, org, lua.Revocation{Name: other})
		if got := storedRevocations(t, rdb, org); got[0] != lua.MaxRevocations || got[1] != got[0] {
			t.Errorf("%d stored, want as many as may be", got)
		}
		if got := admit(t, conn, lua.Check{Token: bearer(org)}); got[0].Status != lua.Revoked {
			t.Errorf("among so many: %+v, want it revoked", got[0])
		}
	})
}

// TestRevocationsOutlive: the TTLs never end before an entry does, in whatever order entries are written.
func TestRevocationsOutlive(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		keys := []string{lua.RevokedKey(org), lua.RevokedUntilKey(org)}
		latest := int64(0)
		check := func(what string) {
			t.Helper()
			for _, key := range keys {
				at, err := rdb.PExpireTime(t.Context(), key).Result()
				if got := at.Microseconds(); err != nil || got < latest || got > latest+2000 {
					t.Errorf("%s: %s ends %v after its last entry (%v), want 0 to 2 ms", what, key, time.Duration(got-latest)*time.Microsecond, err)
				}
			}
		}
		for i, keep := range []time.Duration{time.Hour, 48 * time.Hour, time.Minute, 400 * 24 * time.Hour, time.Hour} {
			name := subject
			name.Value = fmt.Sprint(i)
			r, err := conn.Revoke(t.Context(), org, lua.Revocation{Name: name}, keep.Microseconds(), audit.Line{})
			if err != nil {
				t.Fatalf("Revoke: %v", err)
			}
			latest = max(latest, r.Until)
			check(fmt.Sprint("kept for ", keep))
		}
		for _, key := range keys {
			if err := rdb.Persist(t.Context(), key).Err(); err != nil {
				t.Fatalf("PERSIST: %v", err)
			}
		}
		revoke(t, conn, org, lua.Revocation{Name: subject})
		check("persisted")
		// The ends alone are lost: what is left refuses as long as before.
		if err := rdb.Del(t.Context(), keys[1]).Err(); err != nil {
			t.Fatalf("DEL: %v", err)
		}
		keys = keys[:1]
		revoke(t, conn, org, lua.Revocation{Name: subject})
		check("the ends are lost")
	})
}

// TestRevocationPages: a page goes on where the one before ended, whatever became of its last entry meanwhile.
func TestRevocationPages(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn := connOf(t, rdb)
		name := func(value string) lua.Name { return lua.Name{Kind: lua.NameToken, Issuer: "i:", Value: value} }
		for what, change := range map[string]func(t *testing.T, org string){
			"nothing": func(*testing.T, string) {},
			"lifted": func(t *testing.T, org string) {
				if err := conn.LiftRevocation(t.Context(), org, name("b"), audit.Line{}); err != nil {
					t.Errorf("LiftRevocation: %v", err)
				}
			},
			"revoked again, for longer": func(t *testing.T, org string) {
				revoke(t, conn, org, lua.Revocation{Name: name("b"), Until: time.Now().Add(3 * time.Hour).UnixMicro()})
			},
		} {
			t.Run(what, func(t *testing.T) {
				org, at := redistest.Org(t), time.Now().Add(time.Hour).UnixMicro()
				for i, value := range []string{"a", "b", "c", "d"} {
					revoke(t, conn, org, lua.Revocation{Name: name(value), Until: at + int64(i)})
				}
				page, next, err := conn.Revocations(t.Context(), org, "", 2)
				if err != nil || len(page) != 2 || page[1].Name != name("b") || next == "" {
					t.Fatalf("%+v, %q, %v", page, next, err)
				}
				change(t, org)
				page, next, err = conn.Revocations(t.Context(), org, next, 2)
				if err != nil || len(page) != 2 || page[0].Name != name("c") || page[1].Name != name("d") || (next == "") == (what == "revoked again, for longer") {
					t.Errorf("%+v, %q, %v; want c and d", page, next, err)
				}
			})
		}
		for _, bad := range []string{"x", ":", "5", "5:", "x:token:i:v", "-5:token:i:v", "99999999999999999999:token:i:v", "9007199254740992:a"} {
			if _, _, err := conn.Revocations(t.Context(), redistest.Org(t), bad, 5); !errors.Is(err, lua.ErrCursor) {
				t.Errorf("after %q: %v, want ErrCursor", bad, err)
			}
		}
	})
}
