package lua_test

import (
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
			return script.Run(t.Context(), rdb, []string{lua.RevokedKey(org)}, append(noPlain, args...)...).Int64Slice()
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
