package lua_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

const (
	second  = int64(time.Second / time.Microsecond)
	day     = 24 * 3600 * second
	longest = 402 * day
)

// modelled is an entry of the model: a revocation, and in the index its end, which damage leaves alone.
type modelled struct {
	lua.Revocation
	listed int64
}

// model is what package lua says of revocations, in Go, at times that are set.
type model struct {
	*frozen
	org     string
	entries map[lua.Name]modelled
}

func (m *model) clock() int64 { return epoch + m.now }

// revoke does it to the model and to Redis, and compares what comes of it.
func (m *model) revoke(t *rapid.T, r lua.Revocation, keep int64) {
	got, err := m.conn.Revoke(m.Context(), m.org, r, keep, audit.Line{})
	want, fault := m.revoked(r, keep)
	if !errors.Is(err, fault) || err == nil && got != want {
		t.Fatalf("Revoke %+v, kept for %d, at %d: %+v, %v; want %+v, %v", r, keep, m.clock(), got, err, want, fault)
	}
}

func (m *model) revoked(r lua.Revocation, keep int64) (lua.Revocation, error) {
	now := m.clock()
	r.At = now
	switch {
	case r.Name.Kind == lua.NameToken:
		r.Before = lua.MaxTime
	case r.Before == 0:
		r.Before = now
	}
	if r.Until == 0 {
		r.Until = now + keep
		if r.Before != lua.MaxTime {
			r.Until = max(now, r.Before) + keep
		}
	}
	switch {
	case r.Until <= now:
		return lua.Revocation{}, lua.ErrRevocationEnded
	case r.Before != lua.MaxTime && r.Before > now+day, r.Until > now+longest:
		return lua.Revocation{}, lua.ErrRevocationTooFar
	}
	if held, ok := m.entries[r.Name]; ok && held.Damaged {
		r.Before, r.Until = lua.MaxTime, now+longest
	} else if ok && held.Until > now {
		r.Before, r.Until = max(r.Before, held.Before), max(r.Until, held.Until)
	}
	m.prune()
	m.entries[r.Name] = modelled{r, r.Until}
	return r, nil
}

func (m *model) prune() {
	maps.DeleteFunc(m.entries, func(_ lua.Name, e modelled) bool { return e.listed <= m.clock() })
}

func (m *model) lift(t *rapid.T, name lua.Name) {
	m.prune()
	var want error
	if _, ok := m.entries[name]; !ok {
		want = lua.ErrRevocationNotFound
	}
	delete(m.entries, name)
	if err := m.conn.LiftRevocation(m.Context(), m.org, name, audit.Line{}); !errors.Is(err, want) {
		t.Fatalf("LiftRevocation %+v at %d: %v, want %v", name, m.clock(), err, want)
	}
}

// damage writes nonsense in the place of an entry.
func (m *model) damage(t *rapid.T, name lua.Name) {
	held, ok := m.entries[name]
	if !ok {
		return
	}
	text := rapid.SampledFrom([]string{
		"", " ", "x", "1", "1 2", "1 2 3", "0 5 5 {}", "5 0 5 {}", "-1 5 5 {}", "1.5 5 5 {}", "1e3 5 5 {}", " 1 5 5 {}", "1  5 5 {}",
		"9007199254740992 5 5 {}", "5 9007199254740993 5 {}", "99999999999999999999 5 5 {}", "5 99999999999999999999 5 {}", "5 5 x {}",
	}).Draw(t, "damage")
	if err := m.rdb.HSet(m.Context(), lua.RevokedKey(m.org), name.Field(), text).Err(); err != nil {
		t.Fatalf("HSET: %v", err)
	}
	m.entries[name] = modelled{lua.Revocation{Name: name, Damaged: true}, held.listed}
}

// refuses tells what is to come of a token.
func (m *model) refuses(token *lua.Token) bool {
	if token == nil {
		return false
	}
	issued := token.IssuedAt.Unix()
	if issued < 1 || issued > 9007199254 {
		issued = 0
	}
	for _, name := range []lua.Name{
		{Kind: lua.NameToken, Issuer: token.Issuer, Value: token.ID}, {Kind: lua.NameSubject, Issuer: token.Issuer, Value: token.Subject},
		{Kind: lua.NameSession, Issuer: token.Issuer, Value: token.Session}, {Kind: lua.NameClient, Issuer: token.Issuer, Value: token.Client},
	} {
		e, ok := m.entries[name]
		if ok && (e.Damaged || m.clock() < e.Until && issued*second < e.Before) {
			return true
		}
	}
	return false
}

// turn tells whether a check is done with the plain ones, or after them.
func turn(c *lua.Check) int {
	if c.Mode == lua.Take && (c.Token == nil || c.Token.ID+c.Token.Subject+c.Token.Session+c.Token.Client == "") {
		return 0
	}
	return 1
}

// ask puts several tokens into one call, and compares the answers and the counts.
func (m *model) ask(t *rapid.T, counted map[string]int64, answered *[lua.Revoked + 1]int) {
	checks := make([]lua.Check, rapid.IntRange(1, 4).Draw(t, "checks"))
	for i := range checks {
		c := &checks[i]
		c.Mode = rapid.SampledFrom([]lua.Mode{lua.Take, lua.Take, lua.Peek}).Draw(t, "mode")
		c.Token = m.drawToken(t)
		charge := one(m.org, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "project"))
		charge.Limit = lua.MaxUnits
		c.Charges = []lua.Charge{charge}
	}
	slices.SortStableFunc(checks, func(a, b lua.Check) int { return cmp.Compare(turn(&a), turn(&b)) })
	for i, a := range admitRapid(t, m.conn, checks) {
		want := lua.Allowed
		if m.refuses(checks[i].Token) {
			want = lua.Revoked
		}
		answered[want]++
		if a.Status != want || (len(a.States) == 1) != (want == lua.Allowed) {
			t.Fatalf("check %d at %d of %+v: %+v, want status %d\nentries: %+v", i, m.clock(), checks[i].Token, a, want, m.entries)
		}
		if want == lua.Revoked {
			continue
		}
		key := checks[i].Charges[0].Key
		if checks[i].Mode == lua.Take {
			counted[key]++
		}
		if a.States[0].Current != counted[key] {
			t.Fatalf("check %d: %d counted, want %d", i, a.States[0].Current, counted[key])
		}
	}
}

func admitRapid(t *rapid.T, conn *lua.Conn, checks []lua.Check) []lua.Answer {
	answers, err := conn.Admit(context.Background(), checks)
	if err != nil {
		t.Fatalf("Admit: %v", err)
	}
	return answers
}

// list reads all pages, and compares them with the model.
func (m *model) list(t *rapid.T) {
	limit, after := rapid.IntRange(1, 5).Draw(t, "limit"), ""
	var got, want []lua.Revocation
	for {
		page, next, err := m.conn.Revocations(m.Context(), m.org, after, limit)
		if err != nil || len(page) > limit || next != "" && len(page) < limit {
			t.Fatalf("Revocations after %q, %d at most: %d, %q, %v", after, limit, len(page), next, err)
		}
		got = append(got, page...)
		if after = next; after == "" {
			break
		}
	}
	live := slices.Collect(maps.Values(m.entries))
	slices.SortFunc(live, func(a, b modelled) int {
		return cmp.Or(cmp.Compare(a.listed, b.listed), strings.Compare(a.Name.Field(), b.Name.Field()))
	})
	for _, e := range live {
		if e.listed > m.clock() {
			want = append(want, e.Revocation)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("listed at %d: %+v, want %+v", m.clock(), got, want)
	}
}

var (
	issuers = rapid.SampledFrom([]string{"i:1", "i:1", "i:1", "i%3A1"})
	values  = rapid.SampledFrom([]string{"x", "x", "\x00:{}%\xff"})
	names   = rapid.Custom(func(t *rapid.T) lua.Name {
		kinds := []lua.NameKind{lua.NameToken, lua.NameSubject, lua.NameSession, lua.NameClient}
		return lua.Name{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Issuer: issuers.Draw(t, "issuer"), Value: values.Draw(t, "value")}
	})
)

func (m *model) drawToken(t *rapid.T) *lua.Token {
	if rapid.IntRange(0, 5).Draw(t, "no token") == 0 {
		return nil
	}
	value := rapid.OneOf(values, rapid.Just(""))
	token := lua.Token{
		Org: m.org, Issuer: issuers.Draw(t, "issuer"), ID: value.Draw(t, "id"), Subject: value.Draw(t, "subject"),
		Session: value.Draw(t, "session"), Client: value.Draw(t, "client"),
	}
	now := m.clock() / second
	token.IssuedAt = rapid.SampledFrom([]time.Time{
		{}, time.Unix(-1, 0), time.Unix(0, 0), time.Unix(1, 0), time.Unix(9007199254, 0), time.Unix(9007199255, 0), time.Unix(253402300799, 0),
		time.Unix(now-1, 0), time.Unix(now-1, 999_999_999), time.Unix(now, 0), time.Unix(now, 999_999_999), time.Unix(now+1, 0), time.Unix(now+2, 0),
	}).Draw(t, "issued")
	return &token
}

func (m *model) drawRevocation(t *rapid.T) (r lua.Revocation, keep int64) {
	now := m.clock()
	before := []int64{0, 0, lua.MaxTime, lua.MaxTime, 1, now - second, now, now + 1, now + second, now + day, now + day + 1, lua.MaxTime - 1}
	until := []int64{0, 0, 0, now - 1, now, now + 1, now + second, now + 3*second, now + longest, now + longest + 1}
	r = lua.Revocation{
		Name: names.Draw(t, "name"), Before: rapid.SampledFrom(before).Draw(t, "before"), Until: rapid.SampledFrom(until).Draw(t, "until"),
		Record: rapid.SampledFrom([]string{"", "{}", `{"reason":"a b"}`, "1 2 3"}).Draw(t, "record"),
	}
	return r, rapid.SampledFrom([]int64{1, second, 5 * second, lua.MaxWindow, longest, longest + 1}).Draw(t, "keep")
}

// TestRevocationsAgainstAModel does what can be done to revocations, in any order and at any time, and asks about
// tokens meanwhile, several in a call.
func TestRevocationsAgainstAModel(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		var answered [lua.Revoked + 1]int
		rapid.Check(t, func(rt *rapid.T) {
			f.T, f.now = t, 0
			m := &model{frozen: f, org: redistest.Org(t), entries: map[lua.Name]modelled{}}
			counted := map[string]int64{}
			defer m.forget(rt, counted)
			for range rapid.IntRange(1, 8).Draw(rt, "first") {
				r, keep := m.drawRevocation(rt)
				m.revoke(rt, r, keep)
			}
			for range rapid.IntRange(1, 40).Draw(rt, "steps") {
				switch rapid.SampledFrom([]string{"revoke", "revoke", "ask", "ask", "ask", "lift", "damage", "pass", "list"}).Draw(rt, "step") {
				case "revoke":
					r, keep := m.drawRevocation(rt)
					m.revoke(rt, r, keep)
				case "lift":
					m.lift(rt, names.Draw(rt, "name"))
				case "damage":
					m.damage(rt, names.Draw(rt, "name"))
				case "pass":
					m.now += rapid.SampledFrom([]int64{1, second / 2, second, 2 * second}).Draw(rt, "passed")
				case "list":
					m.list(rt)
				default:
					m.ask(rt, counted, &answered)
				}
			}
		})
		if min(answered[lua.Revoked], answered[lua.Allowed]) < 50 {
			t.Errorf("%d tokens revoked and %d not: not much was tested", answered[lua.Revoked], answered[lua.Allowed])
		}
	})
}

// forget removes what would stay until 2100.
func (m *model) forget(t *rapid.T, counted map[string]int64) {
	keys := append(slices.Collect(maps.Keys(counted)), lua.RevokedKey(m.org), lua.RevokedUntilKey(m.org))
	if err := m.rdb.Del(context.Background(), keys...).Err(); err != nil {
		t.Fatalf("DEL: %v", err)
	}
}
