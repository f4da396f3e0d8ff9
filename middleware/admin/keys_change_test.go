package admin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// handlerOf returns a handler for one actor.
func handlerOf(t *testing.T, actor admin.Actor, opts ...admin.Option) *admin.Handler {
	t.Helper()
	h, err := admin.New(admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return actor, nil }), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestChangeKey(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		made := serve(t, s.admin, request("POST", "/v1/orgs/"+redistest.Org(t)+"/projects/p/keys", `{"name":"ci","owner":"ops","kind":"publishable",
			"networks":["192.0.2.0/24"],"origins":["https://example.com"],"meta":{"a":"1","b":"2"},"plan":"gold","expires_at":"2199-01-01T00:00:00Z"}`)).want(t, 201, "")
		key := made.header.Get("Location")
		if made.header.Get("ETag") != `"1"` || made.object["credential"] != made.object["id"] {
			t.Errorf("ETag %q of %s", made.header.Get("ETag"), made.text)
		}
		revision := 1
		for _, row := range []struct{ body, member, want string }{
			{`{"name":"cd"}`, "name", "cd"},
			{`{"name":null}`, "name", ""},
			{`{"owner":null}`, "owner", "<nil>"},
			{`{"plan":null}`, "plan", "<nil>"},
			{`{"scopes":["read"]}`, "scopes", "[read]"},
			{`{"scopes":null}`, "scopes", "[]"},
			{`{"products":["search"]}`, "products", "[search]"},
			{`{"networks":["2001:db8::/32"]}`, "networks", "[2001:db8::/32]"},
			{`{"networks":[]}`, "networks", "[]"},
			{`{"origins":null}`, "origins", "[]"},
			{`{"meta":{"a":null,"c":"3"}}`, "meta", "map[b:2 c:3]"},
			{`{"meta":null}`, "meta", "map[]"},
			{`{"not_before":"2020-01-01T00:00:00Z"}`, "not_before", "2020-01-01T00:00:00Z"},
			{`{"not_before":null}`, "not_before", "<nil>"},
			{`{"expires_at":null}`, "expires_at", "never"},
			{`{"state":"disabled","reason":"r"}`, "reason", "r"},
			{`{"state":"active"}`, "reason", "<nil>"},
			{`{"expires_at":"2020-01-01T00:00:00Z"}`, "expires_at", "2020-01-01T00:00:00Z"},
		} {
			tag := fmt.Sprintf(`"%d"`, revision)
			a := serve(t, s.admin, request("PATCH", key, row.body, "If-Match", tag)).want(t, 200, "")
			revision++
			if got := fmt.Sprint(a.object[row.member]); got != row.want || a.object["revision"] != float64(revision) {
				t.Fatalf("%s: %s is %s, want %s: %s", row.body, row.member, got, row.want, a.text)
			}
			serve(t, s.admin, request("PATCH", key, row.body, "If-Match", tag)).want(t, 412, "precondition_failed")
			again := serve(t, s.admin, request("PATCH", key, row.body)).want(t, 200, "")
			if again.header.Get("ETag") != fmt.Sprintf(`"%d"`, revision) {
				t.Errorf("%s again has the ETag %s", row.body, again.header.Get("ETag"))
			}
		}
		serve(t, s.admin, request("DELETE", key, "")).want(t, 204, "")
		serve(t, s.admin, request("PATCH", key, `{"name":"back"}`)).want(t, 409, "conflict")
		serve(t, s.admin, request("PATCH", key, `{"state":"active"}`)).want(t, 409, "conflict")
	})
}

// What an operator changes acts on the next request, on each replica.
func TestNextRequestObeysChangesOfKeys(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		one, other := newService(t, rdb), newService(t, rdb)
		org := "/v1/orgs/" + redistest.Org(t)
		past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
		for i, row := range []struct {
			name, method, path, body string
			want                     int
		}{
			{"disabled", "PATCH", "{key}", `{"state":"disabled"}`, 401},
			{"ended", "PATCH", "{key}", `{"expires_at":"` + past + `"}`, 401},
			{"kept out", "PATCH", "{key}", `{"networks":["198.51.100.0/24"]}`, 403},
			{"suspended", "PUT", "{project}", `{"state":"suspended"}`, 403},
			{"rotated at once", "POST", "{key}/credentials", `{"overlap":"0s"}`, 401},
			{"rotated", "POST", "{key}/credentials", `{"overlap":"1h"}`, 200},
			{"revoked credential", "DELETE", "{key}/credentials/{id}", "", 401},
			{"revoked", "DELETE", "{key}", "", 401},
			{"revoked in bulk", "POST", org + "/keys:bulk-revoke", `{"keys":["{id}"],"reason":"r"}`, 401},
		} {
			project := fmt.Sprintf("%s/projects/p%d", org, i)
			issued := serve(t, one.admin, request("POST", project+"/keys", "")).want(t, 201, "")
			secret := issued.object["secret"].(string)
			for _, s := range []*service{other, one} {
				if got := s.call(secret); got != 200 {
					t.Fatalf("%s: before, %d", row.name, got)
				}
			}
			fill := strings.NewReplacer("{key}", issued.header.Get("Location"), "{project}", project, "{id}", issued.object["id"].(string))
			changed := serve(t, one.admin, request(row.method, fill.Replace(row.path), fill.Replace(row.body)))
			if changed.status >= 300 {
				t.Fatalf("%s: %d %s", row.name, changed.status, changed.text)
			}
			for n, s := range []*service{other, one} {
				if got := s.call(secret); got != row.want {
					t.Errorf("%s: replica %d answers %d, want %d", row.name, n, got, row.want)
				}
				if fresh, ok := changed.object["secret"].(string); ok && s.call(fresh) != 200 {
					t.Errorf("%s: the new secret does not pass at replica %d", row.name, n)
				}
			}
		}
	})
}

// Of many changes at once from one revision, one wins; those that say nothing are all made.
func TestKeyWritersRace(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		replicas := []*service{newService(t, rdb), newService(t, rdb)}
		key := serve(t, replicas[0].admin, request("POST", "/v1/orgs/"+redistest.Org(t)+"/projects/p/keys", "")).header.Get("Location")
		for round, row := range []struct {
			fields []string
			made   int
		}{{[]string{"If-Match", `"1"`}, 1}, {nil, 8}, {[]string{"If-Match", "*"}, 0}} {
			answers := make([]*answer, 8)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() {
					answers[i] = serve(t, replicas[i%2].admin, request("PATCH", key, fmt.Sprintf(`{"meta":{"%d of %d":"x"}}`, i, round), row.fields...))
				})
			}
			all.Wait()
			made := 0
			for _, a := range answers {
				if a.status == 200 {
					made++
				} else {
					a.want(t, 412, "precondition_failed")
				}
			}
			if row.made > 0 && made != row.made || made == 0 {
				t.Errorf("with %v, %d changes were made, want %d", row.fields, made, row.made)
			}
			read := serve(t, replicas[0].admin, request("GET", key, ""))
			kept := 0
			for name := range read.object["meta"].(map[string]any) {
				if strings.HasSuffix(name, fmt.Sprint(" of ", round)) {
					kept++
				}
			}
			if kept != made {
				t.Errorf("with %v, %d of %d changes are there", row.fields, kept, made)
			}
			if row.fields == nil { // room for the last
				serve(t, replicas[0].admin, request("PATCH", key, `{"meta":null}`)).want(t, 200, "")
			}
		}
	})
}

func TestPreconditionsOfKeys(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer), admin.WithRequiredPreconditions())
	key := serve(t, h, request("POST", keys, "")).want(t, 201, "").header.Get("Location")
	serve(t, h, request("PATCH", key, `{"name":"n"}`)).want(t, 428, "precondition_required")
	serve(t, h, request("DELETE", key, "")).want(t, 428, "precondition_required")
	serve(t, h, request("PATCH", key, `{"name":"n"}`, "If-None-Match", "*")).want(t, 412, "precondition_failed")
	serve(t, h, request("PATCH", key, `{"name":"n"}`, "If-Match", `"1"`)).want(t, 200, "")
	serve(t, h, request("POST", key+"/credentials", `{"overlap":"1h"}`, "If-Match", `"1"`)).want(t, 412, "precondition_failed")
	id := serve(t, h, request("POST", key+"/credentials", `{"overlap":"1h"}`)).want(t, 201, "").object["credential"].(string)
	serve(t, h, request("DELETE", key+"/credentials/"+id, "")).want(t, 428, "precondition_required")
	serve(t, h, request("DELETE", key+"/credentials/"+id, "", "If-Match", `"2"`)).want(t, 412, "precondition_failed")
	serve(t, h, request("DELETE", key+"/credentials/"+id, "", "If-Match", `"3"`)).want(t, 204, "")
	serve(t, h, request("DELETE", key+"/credentials/"+id, "", "If-Match", `"3"`)).want(t, 204, "")
	serve(t, h, request("DELETE", key, "", "If-Match", `"3"`)).want(t, 412, "precondition_failed")
	serve(t, h, request("DELETE", key, "", "If-Match", `"4"`)).want(t, 204, "")
	serve(t, h, request("DELETE", key, "", "If-Match", `"4"`)).want(t, 204, "")
	serve(t, h, request("PATCH", key+"x", `{}`, "If-Match", "*")).want(t, 404, "not_found")
}

func TestFiltersOfKeys(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		list := "/v1/orgs/" + redistest.Org(t) + "/projects/p/keys"
		for i, body := range []string{
			`{"name":"a","owner":"ops","scopes":["read","write"]}`,
			`{"name":"b","owner":"ops","kind":"publishable","scopes":["read"]}`,
			`{"name":"c","expires_at":"2190-01-01T00:00:00Z"}`,
			`{"name":"d","expires_at":"2198-01-01T00:00:00Z","scopes":["write"]}`,
		} {
			made := serve(t, s.admin, request("POST", list, body)).want(t, 201, "")
			switch i {
			case 0:
				uses := s.store.(authkey.UseStore)
				if err := uses.NoteUses(t.Context(), []authkey.Use{{Key: made.object["id"].(string), Credential: made.object["id"].(string), At: time.Now().Add(-time.Hour)}}); err != nil {
					t.Fatal(err)
				}
			case 1:
				serve(t, s.admin, request("PATCH", made.header.Get("Location"), `{"state":"disabled"}`)).want(t, 200, "")
			case 2:
				serve(t, s.admin, request("DELETE", made.header.Get("Location"), "")).want(t, 204, "")
			}
		}
		at := func(d time.Duration) string { return url.QueryEscape(time.Now().Add(d).UTC().Format(time.RFC3339Nano)) }
		for query, want := range map[string]string{
			"":                                    "abcd",
			"state=active":                        "ad",
			"state=disabled":                      "b",
			"state=revoked":                       "c",
			"owner=ops":                           "ab",
			"owner=":                              "cd",
			"owner=ops&state=active":              "a",
			"kind=publishable":                    "b",
			"kind=admin":                          "",
			"scope=write":                         "ad",
			"scope=writ":                          "",
			"expires_before=2195-01-01T00:00:00Z": "c",
			"expires_before=2199-01-01T00:00:00Z": "cd",
			"unused_since=" + at(time.Minute):     "abcd",
			"unused_since=" + at(-2*time.Hour):    "",
			"unused_since=" + at(-time.Minute):    "",
		} {
			for _, limit := range []string{"", "&limit=1", "&limit=3"} {
				var got []string
				cursor := ""
				for range 20 {
					a := serve(t, s.admin, request("GET", list+"?"+query+limit+cursor, "")).want(t, 200, "")
					for _, item := range a.items(t) {
						got = append(got, item["name"].(string))
					}
					next, ok := a.object["next"].(string)
					if !ok {
						break
					}
					cursor = "&cursor=" + url.QueryEscape(next)
				}
				slices.Sort(got)
				if strings.Join(got, "") != want {
					t.Errorf("?%s%s lists %q, want %q", query, limit, got, want)
				}
			}
		}
	})
}

// Of many keys that nobody asked for, one call reads a bounded number, and its cursor goes on.
func TestFilterIsBounded(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	for i := range 25 {
		serve(t, h, request("POST", keys, fmt.Sprintf(`{"owner":"%d"}`, i%25/24))).want(t, 201, "")
	}
	found, calls, cursor := 0, 1, ""
	for ; calls < 50; calls++ {
		a := serve(t, h, request("GET", keys+"?owner=1&limit=1"+cursor, "")).want(t, 200, "")
		found += len(a.items(t))
		next, ok := a.object["next"].(string)
		if !ok {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
	if found != 1 || calls < 3 || calls > 4 {
		t.Errorf("%d found in %d calls, want 1 in 3 or 4", found, calls)
	}
}
