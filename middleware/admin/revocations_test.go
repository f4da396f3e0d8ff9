package admin_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

func newRevocations(t *testing.T, rdb redis.UniversalClient) *revocation.Store {
	t.Helper()
	store, err := revocation.New(rdb, revocation.WithTimeout(waitLong), revocation.WithLifetime(time.Hour))
	if err != nil {
		t.Fatalf("revocation.New: %v", err)
	}
	return store
}

// revoking returns the body of a request to revoke; more are further members.
func revoking(kind, issuer, value, more string) string {
	return fmt.Sprintf(`{"kind":%q,"issuer":%q,"value":%q,"reason":"left"%s}`, kind, issuer, value, more)
}

// lifting returns the query that selects a revocation.
func lifting(kind, issuer, value string) string {
	return "?" + url.Values{"kind": {kind}, "issuer": {issuer}, "value": {value}}.Encode()
}

func TestRevocationLife(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h := newService(t, rdb).admin
		base := "/v1/orgs/" + redistest.Org(t) + "/revocations"
		if a := serve(t, h, request("GET", base, "")).want(t, 200, ""); a.text != `{"items":[]}` {
			t.Errorf("an empty list is %s", a.text)
		}
		const issuer, value = "https://id.example/a:b?c=%41", `mia+ü "<x>"/../& #1`
		exp := time.Now().Add(30 * time.Minute).UTC().Truncate(time.Second)
		for _, kind := range []string{"token", "subject", "session", "client"} {
			more := `,"before":"2026-11-01T10:00:00+01:00"`
			if kind == "token" {
				more = `,"expires_at":"` + exp.Format(time.RFC3339) + `"`
			}
			made := serve(t, h, request("POST", base, revoking(kind, issuer, value, more))).want(t, 200, "")
			for name, want := range map[string]any{
				"kind": kind, "issuer": issuer, "value": value, "reason": "left", "actor": "bearer", "damaged": nil,
				"before": map[bool]any{true: nil, false: "2026-11-01T09:00:00Z"}[kind == "token"],
			} {
				if made.object[name] != want {
					t.Errorf("%s: %s is %v, want %v", kind, name, made.object[name], want)
				}
			}
			until, err := time.Parse(time.RFC3339, fmt.Sprint(made.object["until"]))
			if err != nil || kind == "token" && !until.Equal(exp.Add(10*time.Minute)) || until.Before(exp) {
				t.Errorf("%s: until %v, %v; the token's end is %v", kind, until, err, exp)
			}
			if made.header.Get("ETag") != "" || made.header.Get("Location") != "" {
				t.Errorf("%s: header %v", kind, made.header)
			}
			items := serve(t, h, request("GET", base, "")).want(t, 200, "").items(t)
			if len(items) != 1 || fmt.Sprint(items[0]) != fmt.Sprint(made.object) {
				t.Errorf("%s: listed as %v, made as %v", kind, items, made.object)
			}
			serve(t, h, request("DELETE", base+lifting(kind, issuer, value+"x"), "")).want(t, 404, "not_found")
			serve(t, h, request("DELETE", base+lifting(kind, issuer, value), "", "If-Match", "*")).want(t, 412, "precondition_failed")
			serve(t, h, request("DELETE", base+lifting(kind, issuer, value), "")).want(t, 204, "")
			serve(t, h, request("DELETE", base+lifting(kind, issuer, value), "")).want(t, 404, "not_found")
		}
	})
}

// What is revoked again is never weakened, under whatever precondition, and none is demanded.
func TestRevocationIsNeverWeakened(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h := newService(t, rdb, admin.WithRequiredPreconditions()).admin
		base := "/v1/orgs/" + redistest.Org(t) + "/revocations"
		ask := func(before string) *answer {
			return serve(t, h, request("POST", base, revoking("subject", "i", "mia", `,"before":"`+before+`"`))).want(t, 200, "")
		}
		first := ask("2026-10-02T00:00:00Z")
		for before, want := range map[string]string{"2026-10-01T00:00:00Z": "2026-10-02T00:00:00Z", "2026-10-02T00:00:00Z": "2026-10-02T00:00:00Z"} {
			if again := ask(before); again.object["before"] != want || fmt.Sprint(again.object["until"]) < fmt.Sprint(first.object["until"]) {
				t.Errorf("with %s it is %s, was %s", before, again.text, first.text)
			}
		}
		if stronger := ask("2026-10-03T00:00:00Z"); stronger.object["before"] != "2026-10-03T00:00:00Z" {
			t.Errorf("with a later moment it is %s", stronger.text)
		}
		serve(t, h, request("DELETE", base+lifting("subject", "i", "mia"), "")).want(t, 204, "")
	})
}

func TestRevocationBodies(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...) // what is refused never reaches Redis, which is not there
	long := func(n int) string { return strings.Repeat("é", n/2) }
	for _, row := range []struct {
		name, body string
		status     int
		code       string
		pointers   string
	}{
		{"no body", "", 415, "unsupported_media", ""},
		{"no JSON", `{"kind"`, 400, "invalid_body", ""},
		{"too large", revoking("subject", "i", "v", `,"x":"`+strings.Repeat("a", 128<<10)+`"`), 400, "invalid_body", ""},
		{"a list", `[]`, 422, "invalid_fields", ""},
		{"nothing", `{}`, 422, "invalid_fields", "/kind /issuer /value /reason"},
		{"empty texts", `{"kind":"","issuer":"","value":"","reason":""}`, 422, "invalid_fields", "/kind /issuer /value /reason"},
		{"nulls", `{"kind":null,"issuer":null,"value":null,"reason":null}`, 422, "invalid_fields", "/kind /issuer /value /reason"},
		{"another kind", revoking("key", "i", "v", ""), 422, "invalid_fields", "/kind"},
		{"another case", revoking("Subject", "i", "v", ""), 422, "invalid_fields", "/kind"},
		{"a long issuer", revoking("subject", long(514), "v", ""), 422, "invalid_fields", "/issuer"},
		{"a long value", revoking("subject", "i", long(258), ""), 422, "invalid_fields", "/value"},
		{"a long reason", `{"kind":"subject","issuer":"i","value":"v","reason":"` + long(258) + `"}`, 422, "invalid_fields", "/reason"},
		{"a control character", `{"kind":"subject","issuer":"i","value":"v","reason":"a\u0000b"}`, 422, "invalid_fields", "/reason"},
		{"a number", `{"kind":"subject","issuer":"i","value":17,"reason":"r"}`, 422, "invalid_fields", "/value"},
		{"many at once", `{"kind":"subject","issuer":"i","value":["a","b"],"reason":"r"}`, 422, "invalid_fields", "/value"},
		{"a moment that is none", revoking("subject", "i", "v", `,"before":"yesterday"`), 422, "invalid_fields", "/before"},
		{"the zero time", revoking("subject", "i", "v", `,"before":"0001-01-01T00:00:00Z"`), 422, "invalid_fields", "/before"},
		{"a moment before 1970", revoking("subject", "i", "v", `,"before":"1969-01-01T00:00:00Z"`), 422, "invalid_fields", "/before"},
		{"an end that never comes", revoking("token", "i", "v", `,"expires_at":"never"`), 422, "invalid_fields", "/expires_at"},
		{"an end after all times", revoking("token", "i", "v", `,"expires_at":"9999-01-01T00:00:00Z"`), 422, "invalid_fields", "/expires_at"},
		{"a moment of a token", revoking("token", "i", "v", `,"before":"2026-01-01T00:00:00Z"`), 422, "invalid_fields", "/before"},
		{"the end of a subject", revoking("subject", "i", "v", `,"expires_at":"2099-01-01T00:00:00Z"`), 422, "invalid_fields", "/expires_at"},
		{"twice", revoking("subject", "i", "v", `,"value":"w"`), 422, "invalid_fields", "/value"},
		{"all that it may have", revoking("subject", long(512), long(256), `,"before":"2026-01-01T00:00:00Z"`), 503, "unavailable", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, h, request("POST", "/v1/orgs/o/revocations", row.body)).want(t, row.status, row.code)
			var pointers []string
			if faults, ok := a.object["errors"].([]any); ok {
				for _, fault := range faults {
					pointers = append(pointers, fault.(map[string]any)["pointer"].(string))
				}
			}
			if got := strings.Join(pointers, " "); got != row.pointers {
				t.Errorf("it is about %q, want %q: %s", got, row.pointers, a.text)
			}
		})
	}
	serve(t, h, request("POST", "/v1/orgs/o/revocations?dry_run=1", revoking("subject", "i", "v", ""))).want(t, 400, "invalid_query")
}

// What only Redis can tell of a body is told as all else.
func TestRevocationTimesThatRedisRefuses(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h := newService(t, rdb).admin
		base := "/v1/orgs/" + redistest.Org(t) + "/revocations"
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		for body, says := range map[string]string{
			revoking("token", "i", "v", `,"expires_at":"`+in(-time.Hour)+`"`):       `"pointer":"/expires_at","code":"invalid_value","message":"expires_at has passed`,
			revoking("token", "i", "v", `,"expires_at":"`+in(403*24*time.Hour)+`"`): "an expires_at of up to",
			revoking("subject", "i", "v", `,"before":"`+in(25*time.Hour)+`"`):       "want a before of up to a day ahead",
		} {
			if a := serve(t, h, request("POST", base, body)).want(t, 422, "invalid_fields"); !strings.Contains(a.text, says) {
				t.Errorf("%s is answered with %s, want %s", body, a.text, says)
			}
		}
		if items := serve(t, h, request("GET", base, "")).items(t); len(items) != 0 {
			t.Errorf("there is %v", items)
		}
	})
}

// An org has an end to what it may have, and is told what to do then.
func TestRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	h := newService(t, rdb).admin
	org := redistest.Org(t)
	base := "/v1/orgs/" + org + "/revocations"
	serve(t, h, request("POST", base, revoking("subject", "i", "v", ""))).want(t, 200, "")
	fields := make([]any, 0, 2*lua.MaxRevocations)
	for i := range lua.MaxRevocations {
		fields = append(fields, fmt.Sprint("filler", i), "x")
	}
	for part := range slices.Chunk(fields, 20_000) {
		if err := rdb.HSet(t.Context(), lua.RevokedKey(org), part...).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
	}
	a := serve(t, h, request("POST", base, revoking("token", "i", "v", ""))).want(t, 422, "invalid_fields")
	if !strings.Contains(a.text, "revoke the subject or the client instead") {
		t.Errorf("%s", a.text)
	}
	serve(t, h, request("POST", base, revoking("subject", "i", "v", ""))).want(t, 200, "")
	rdb.Del(t.Context(), lua.RevokedKey(org), lua.RevokedUntilKey(org))
}

func TestLiftSelectors(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...)
	const base = "/v1/orgs/o/revocations"
	for _, query := range []string{
		"", "?kind=subject", "?kind=subject&issuer=i", "?issuer=i&value=v", "?kind=subject&value=v", "?kind=&issuer=i&value=v",
		"?kind=key&issuer=i&value=v", "?kind=subject&issuer=&value=v", "?kind=subject&issuer=i&value=", "?kind=subject&issuer=i&value=a&value=b",
		"?kind=subject&issuer=i&value=%FF", "?kind=subject&issuer=i&value=v&before=now", "?kind=subject&issuer=i&value=" + strings.Repeat("v", 257),
		"?kind=subject&issuer=" + strings.Repeat("i", 513) + "&value=v",
	} {
		serve(t, h, request("DELETE", base+query, "")).want(t, 400, "invalid_query")
	}
	serve(t, h, request("DELETE", base+lifting("subject", strings.Repeat("i", 512), strings.Repeat("v", 256)), "")).want(t, 503, "unavailable")
	for _, query := range []string{"limit=0", "limit=201", "cursor=", "cursor=!", "cursor=x", "cursor=" + strings.Repeat("a", 5000), "kind=subject"} {
		serve(t, h, request("GET", base+"?"+query, "")).want(t, 400, "invalid_query")
	}
}

// Pages have each revocation once, whatever bytes it is known by, and show one that is damaged.
func TestRevocationPages(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h := newService(t, rdb).admin
		org := redistest.Org(t)
		base := "/v1/orgs/" + org + "/revocations"
		var want []string
		for i := range 7 {
			value := fmt.Sprint(i, strings.Repeat("é", 127))
			serve(t, h, request("POST", base, revoking("token", "i"+strings.Repeat(":", 511), value, ""))).want(t, 200, "")
			want = append(want, value)
		}
		for _, limit := range []string{"", "limit=1", "limit=3", "limit=7", "limit=200"} {
			var got []string
			cursor := ""
			for range 10 { // there are fewer pages
				a := serve(t, h, request("GET", base+"?"+limit+cursor, "")).want(t, 200, "")
				for _, item := range a.items(t) {
					got = append(got, item["value"].(string))
				}
				next, more := a.object["next"].(string)
				if !more {
					break
				}
				cursor = "&cursor=" + next
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("?%s lists %d, want %d", limit, len(got), len(want))
			}
		}
		name := lua.Name{Kind: lua.NameToken, Issuer: "i" + strings.Repeat(":", 511), Value: want[0]}.Field()
		if err := rdb.HSet(t.Context(), lua.RevokedKey(org), name, "nonsense").Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
		items := serve(t, h, request("GET", base, "")).want(t, 200, "").items(t)
		i := slices.IndexFunc(items, func(item map[string]any) bool { return item["value"] == want[0] })
		if i < 0 || len(items[i]) != 4 || items[i]["damaged"] != true {
			t.Errorf("one that is damaged is in %v", items)
		}
	})
}

func TestRevocationOption(t *testing.T) {
	t.Parallel()
	if _, err := admin.New(admin.BearerToken(token), admin.WithRevocations(nil)); !errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), "WithRevocations(nil)") {
		t.Errorf("New: %v", err)
	}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		serve(t, newHandler(t), request(method, "/v1/orgs/o/revocations", "")).want(t, 404, "not_served")
	}
}
