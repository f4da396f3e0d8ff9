package revocation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/lua/seal"
)

// TestRevocation: what a call returns is what is listed, and lasts as long as tokens can be good for.
func TestRevocation(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, org := newStore(t, rdb, revocation.WithLifetime(5*time.Hour)), redistest.Org(t)
		now := time.Now().UTC().Truncate(time.Microsecond)
		ahead, past := now.Add(time.Hour), now.Add(-50*time.Hour)
		var all []revocation.Revocation
		for _, tt := range []struct {
			kind  revocation.Kind
			at    time.Time
			until func(r revocation.Revocation) time.Time
		}{
			{revocation.KindSubject, past, func(r revocation.Revocation) time.Time { return r.At.Add(5*time.Hour + kept) }},
			{revocation.KindSession, time.Time{}, func(r revocation.Revocation) time.Time { return r.At.Add(5*time.Hour + kept) }},
			{revocation.KindToken, time.Time{}, func(r revocation.Revocation) time.Time { return r.At.Add(5*time.Hour + kept) }},
			{revocation.KindClient, ahead, func(revocation.Revocation) time.Time { return ahead.Add(5*time.Hour + kept) }},
			{revocation.KindToken, now.Add(20 * time.Hour), func(revocation.Revocation) time.Time { return now.Add(20*time.Hour + kept) }},
		} {
			ctx := audit.NewContext(t.Context(), audit.Actor{Name: "ops:mia"})
			value := fmt.Sprint("v:", tt.at.Unix())
			var r revocation.Revocation
			var err error
			switch tt.kind {
			case revocation.KindToken:
				r, err = s.Revoke(ctx, org, issuer, value, tt.at, "a \"b\"")
			case revocation.KindSubject:
				r, err = s.RevokeSubject(ctx, org, issuer, value, tt.at, "a \"b\"")
			case revocation.KindSession:
				r, err = s.RevokeSession(ctx, org, issuer, value, tt.at, "a \"b\"")
			default:
				r, err = s.RevokeClient(ctx, org, issuer, value, tt.at, "a \"b\"")
			}
			want := revocation.Revocation{
				Kind: tt.kind, Issuer: issuer, Value: value, Before: tt.at, Until: tt.until(r), At: r.At, Reason: "a \"b\"", Actor: "ops:mia",
			}
			switch {
			case tt.kind == revocation.KindToken:
				want.Before = time.Time{}
			case tt.at.IsZero():
				want.Before = r.At
			}
			if err != nil || r != want || r.At.Before(now.Add(-time.Minute)) {
				t.Errorf("%s at %v: %+v, %v; want %+v", tt.kind, tt.at, r, err, want)
			}
			all = append(all, r)
		}
		got, next, err := s.List(t.Context(), org, "", authkey.MaxPage)
		if err != nil || next != "" || fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("listed: %+v, %q, %v; want %+v", got, next, err, all)
		}
		var paged []revocation.Revocation
		for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
			var page []revocation.Revocation
			if page, cursor, err = s.List(t.Context(), org, cursor, 2); err != nil || len(page) == 0 || len(page) > 2 {
				t.Fatalf("List: %+v, %v", page, err)
			}
			paged = append(paged, page...)
		}
		if fmt.Sprint(paged) != fmt.Sprint(all) {
			t.Errorf("in pages: %+v, want %+v", paged, all)
		}
	}, redistest.OrEmbedded())
}

// TestRevokeAgain: the later moment and the later end stand, in whatever order they come.
func TestRevokeAgain(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		org := redistest.Org(t)
		long, short := newStore(t, rdb, revocation.WithLifetime(90*time.Hour)), newStore(t, rdb, revocation.WithLifetime(time.Second))
		first := change(t, long, org, revocation.KindSubject, "mia", time.Time{}, "first")
		earlier := change(t, short, org, revocation.KindSubject, "mia", time.Now().Add(-time.Hour), "earlier")
		if earlier.Before != first.Before || earlier.Until != first.Until || earlier.Reason != "earlier" {
			t.Errorf("%+v became %+v, want the same times", first, earlier)
		}
		later := change(t, short, org, revocation.KindSubject, "mia", time.Now().Add(time.Hour), "later")
		if !later.Before.After(first.Before) || later.Until != first.Until {
			t.Errorf("%+v became %+v, want a later moment and the same end", first, later)
		}
		// Of a token there is an end alone.
		end := time.Now().Add(40 * time.Hour)
		first = change(t, long, org, revocation.KindToken, "t:1", end, "")
		again := change(t, short, org, revocation.KindToken, "t:1", time.Now().Add(time.Hour), "")
		longer := change(t, long, org, revocation.KindToken, "t:1", end.Add(time.Hour), "")
		if again.Until != first.Until || !longer.Until.After(first.Until) {
			t.Errorf("ends at %v, then %v, then %v; want never earlier", first.Until, again.Until, longer.Until)
		}
		if all, _, err := long.List(t.Context(), org, "", 9); err != nil || len(all) != 2 {
			t.Errorf("%d listed, %v; want one of each name", len(all), err)
		}
	}, redistest.OrEmbedded())
}

// TestInvalid asks for nonsense. It is told in lines that name the value and its bound, before anything is sent:
// nobody listens at this address.
func TestInvalid(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	s, ctx, long := newStore(t, rdb), context.Background(), strings.Repeat("x", 513)
	subject := func(org, issuer, value string, before time.Time, reason string) error {
		r, err := s.RevokeSubject(ctx, org, issuer, value, before, reason)
		return errors.Join(err, left(r))
	}
	revoke := func(value string, end time.Time) error {
		r, err := s.Revoke(ctx, "acme", issuer, value, end, "")
		return errors.Join(err, left(r))
	}
	list := func(org, cursor string, limit int) error {
		_, _, err := s.List(ctx, org, cursor, limit)
		return err
	}
	never := time.Time{}
	for what, tt := range map[string]struct {
		err  error
		says string
	}{
		"no org":          {subject("", issuer, "v", never, ""), "org: want 1 to 128 bytes"},
		"long org":        {subject(long[:129], issuer, "v", never, ""), "org: want 1 to 128 bytes"},
		"no issuer":       {subject("acme", "", "v", never, ""), "issuer: want 1 to 512 bytes"},
		"long issuer":     {subject("acme", long, "v", never, ""), "issuer: want 1 to 512 bytes"},
		"no subject":      {subject("acme", issuer, "", never, ""), "subject: want 1 to 256 bytes"},
		"long subject":    {subject("acme", issuer, long[:257], never, ""), "subject: want 1 to 256 bytes"},
		"long reason":     {subject("acme", issuer, "v", never, long[:257]), "reason: want up to 256 bytes"},
		"before 1970":     {subject("acme", issuer, "v", time.Unix(-1, 0), ""), "before: want a time from 1970 to 2255"},
		"far ahead":       {subject("acme", issuer, "v", time.Date(290000, 1, 1, 0, 0, 0, 0, time.UTC), ""), "before: want a time from 1970 to 2255"},
		"no token":        {revoke("", never), "token: want 1 to 256 bytes"},
		"expired in 1970": {revoke("v", time.Unix(0, 0)), "expiresAt: want a time from 1970 to 2255"},
		"unknown kind":    {s.Lift(ctx, "acme", "tenant", issuer, "v"), `kind "tenant" is not known`},
		"lift no value":   {s.Lift(ctx, "acme", revocation.KindClient, issuer, ""), "client: want 1 to 256 bytes"},
		"list no org":     {list("", "", 5), "org: want 1 to 128 bytes"},
		"no limit":        {list("acme", "", 0), "limit 0: want 1 to"},
		"large limit":     {list("acme", "", authkey.MaxPage+1), "want 1 to"},
		"bad cursor":      {list("acme", "!", 5), "cursor: want what List returned"},
		"other cursor":    {list("acme", "eHh4", 5), "cursor: want what List returned"},
		"check no org":    {s.Check(ctx, "", token()), "org: want 1 to 128 bytes"},
		"check no token":  {s.Check(ctx, "acme", nil), "the token is nil"},
	} {
		if !errors.Is(tt.err, authkey.ErrInvalid) || errors.Is(tt.err, errLeft) || !strings.Contains(tt.err.Error(), tt.says) || strings.Contains(tt.err.Error(), "\n") {
			t.Errorf("%s: %v, want one line that says %q", what, tt.err, tt.says)
		}
	}
	for _, name := range []func(*authkey.Token){
		func(t *authkey.Token) { t.Issuer = long }, func(t *authkey.Token) { t.ID = long[:257] }, func(t *authkey.Token) { t.Subject = long[:257] },
		func(t *authkey.Token) { t.Session = long[:257] }, func(t *authkey.Token) { t.Client = long[:257] },
	} {
		long := token()
		name(long)
		fails(t, "Check of a long name", s.Check(ctx, "acme", long), authkey.ErrMalformed)
	}
	fails(t, "Check of no name", s.Check(ctx, "acme", &authkey.Token{Issuer: issuer}), nil)
}

var errLeft = errors.New("a revocation beside an error")

func left(r revocation.Revocation) error {
	if r != (revocation.Revocation{}) {
		return errLeft
	}
	return nil
}

// TestRefused: what Redis alone can tell. Nothing is changed, and there is no entry of it.
func TestRefused(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, org := newStore(t, rdb), redistest.Org(t)
		day := 24 * time.Hour
		for says, at := range map[string]time.Time{"expiresAt has passed": time.Now().Add(-time.Hour), "expiresAt of up to 9600h0m0s": time.Now().Add(403 * day)} {
			_, err := s.Revoke(t.Context(), org, issuer, "t", at, "")
			if !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "before") {
				t.Errorf("Revoke: %v, want it to say %q, and nothing of a before", err, says)
			}
		}
		_, err := s.RevokeClient(t.Context(), org, issuer, "app", time.Now().Add(day+time.Hour), "")
		if !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), "before of up to a day ahead") || strings.Contains(err.Error(), "expiresAt") {
			t.Errorf("RevokeClient: %v, want it to say how far ahead, and nothing of an expiresAt", err)
		}
		if n, err := rdb.Exists(t.Context(), lua.RevokedKey(org), lua.RevokedUntilKey(org), lua.AuditKey(org)).Result(); n != 0 || err != nil {
			t.Errorf("%d keys written, %v", n, err)
		}
		// What has just expired may still be within the leeway of an issuer.
		if r := change(t, s, org, revocation.KindToken, "t:1", time.Now().Add(-time.Minute), ""); !r.Until.After(r.At) {
			t.Errorf("%+v has ended", r)
		}
	}, redistest.OrEmbedded())
}

// TestTooMany fills an org.
func TestTooMany(t *testing.T) {
	t.Parallel()
	rdb, org := redistest.Standalone(t), redistest.Org(t)
	t.Cleanup(func() {
		if err := rdb.Unlink(context.WithoutCancel(t.Context()), lua.RevokedKey(org)).Err(); err != nil {
			t.Errorf("UNLINK: %v", err)
		}
	})
	for i := range lua.MaxRevocations / 1000 {
		fields := make([]any, 0, 2000)
		for j := range 1000 {
			fields = append(fields, fmt.Sprint(i, ":", j), "")
		}
		if err := rdb.HSet(t.Context(), lua.RevokedKey(org), fields...).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
	}
	_, err := newStore(t, rdb).Revoke(t.Context(), org, issuer, "t", time.Time{}, "")
	if !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), "100000 already; revoke the subject or the client instead") {
		t.Errorf("Revoke: %v", err)
	}
}

// TestTrail: each change has an entry that says what, by whom and why, under the seal.
func TestTrail(t *testing.T) {
	t.Parallel()
	sealer, err := seal.New(seal.NewKey("1", bytes.Repeat([]byte("k"), 32)))
	if err != nil {
		t.Fatal(err)
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, org := newStore(t, rdb, revocation.WithSealer(sealer)), redistest.Org(t)
		ctx := audit.NewContext(t.Context(), audit.Actor{Name: "ops:mia", RequestID: "r1"})
		before := time.UnixMicro(1_700_000_000_000_000).UTC()
		_, subjectErr := s.RevokeSubject(ctx, org, issuer, "mia", before, "left")
		_, tokenErr := s.Revoke(ctx, org, issuer, "t:1", time.Time{}, "")
		if err := errors.Join(subjectErr, tokenErr, s.Lift(ctx, org, revocation.KindToken, issuer, "t:1")); err != nil {
			t.Fatal(err)
		}
		fails(t, "Lift again", s.Lift(ctx, org, revocation.KindToken, issuer, "t:1"), authkey.ErrUnknown)
		entries, err := connOf(t, rdb).Trail(t.Context(), org, lua.TrailRange{Count: 10})
		want := []string{
			`token.revoke subject:https%3A//id.example/a%3Ab:mia {"kind":"subject","issuer":"https://id.example/a:b","value":"mia","before":"2023-11-14T22:13:20Z","reason":"left"}`,
			`token.revoke token:https%3A//id.example/a%3Ab:t%3A1 {"kind":"token","issuer":"https://id.example/a:b","value":"t:1"}`,
			`token.lift token:https%3A//id.example/a%3Ab:t%3A1 `,
		}
		if err != nil || len(entries) != len(want) {
			t.Fatalf("%+v, %v; want %d entries", entries, err, len(want))
		}
		for i := range entries {
			var e audit.Entry
			if err := errors.Join(json.Unmarshal([]byte(entries[i].Line.Text), &e), entries[i].Line.Verify(sealer, org)); err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
			if got := e.Action + " " + e.ID + " " + string(e.After); got != want[i] || e.Actor != "ops:mia" || e.RequestID != "r1" || e.Org != org {
				t.Errorf("entry %d: %+v, %s; want %s", i, e, got, want[i])
			}
		}
	}, redistest.OrEmbedded())
}
