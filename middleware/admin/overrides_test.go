package admin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestOverrideLife(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h := newService(t, rdb).admin
		base := "/v1/orgs/" + redistest.Org(t) + "/overrides"
		const body = `{"project":"p","endpoint":"GET /v1/search","policy":"requests","limit":3,"window":"1m","burst":4,"change":"additive","starts_at":"2199-01-01T00:00:00+01:00","expires_at":"2199-01-02T03:04:05.6+01:00","reason":"a \"trial\" <b>"}`

		created := serve(t, h, request("PUT", base, body)).want(t, 201, "")
		id, _ := created.object["id"].(string)
		if created.header.Get("Location") != base+"/"+id || id == "" {
			t.Errorf("Location %q of id %q", created.header.Get("Location"), id)
		}
		for name, want := range map[string]any{
			"project": "p", "endpoint": "GET /v1/search", "policy": "requests", "limit": 3.0, "window": "1m",
			"burst": 4.0, "change": "additive", "access": nil, "starts_at": "2198-12-31T23:00:00Z", "state": "pending",
			"expires_at": "2199-01-02T02:04:05.6Z", "reason": `a "trial" <b>`,
		} {
			if created.object[name] != want {
				t.Errorf("%s is %v, want %v", name, created.object[name], want)
			}
		}
		tag := created.header.Get("ETag")
		if want := fmt.Sprintf(`"%.0f"`, created.object["revision"]); tag != want {
			t.Errorf("ETag %s, want %s", tag, want)
		}

		read := serve(t, h, request("GET", created.header.Get("Location"), "")).want(t, 200, "")
		if read.text != created.text || read.header.Get("ETag") != tag {
			t.Errorf("GET tells %s with %s, PUT told %s with %s", read.text, read.header.Get("ETag"), created.text, tag)
		}
		head := serve(t, h, request("HEAD", created.header.Get("Location"), "")).want(t, 200, "")
		if head.text != "" || head.header.Get("ETag") != tag || head.header.Get("Content-Length") != fmt.Sprint(len(read.text)) {
			t.Errorf("HEAD: body %q, header %v", head.text, head.header)
		}

		replaced := serve(t, h, request("PUT", base, `{"project":"p","endpoint":"GET /v1/search","policy":"requests","limit":0}`)).want(t, 200, "")
		if replaced.object["id"] != id || replaced.object["limit"] != 0.0 || replaced.object["expires_at"] != "never" || replaced.header.Get("ETag") == tag {
			t.Errorf("replaced by %s", replaced.text)
		}
		for _, name := range []string{"window", "burst", "access", "change", "starts_at"} {
			if _, ok := replaced.object[name]; ok {
				t.Errorf("replaced by %s, which has a %s", replaced.text, name)
			}
		}
		if replaced.object["created_at"] != created.object["created_at"] || replaced.object["state"] != "active" {
			t.Errorf("replaced by %s; want created_at kept, and it active", replaced.text)
		}
		blocked := serve(t, h, request("PUT", base, `{"project":"p","endpoint":"GET /v1/search","policy":"requests","access":"blocked"}`)).want(t, 200, "")
		if blocked.object["access"] != "blocked" || blocked.object["limit"] != nil {
			t.Errorf("blocked by %s", blocked.text)
		}

		serve(t, h, request("DELETE", base+"/"+id, "")).want(t, 204, "")
		serve(t, h, request("DELETE", base+"/"+id, "")).want(t, 404, "not_found")
		serve(t, h, request("GET", base+"/"+id, "")).want(t, 404, "not_found")
		other := strings.Replace(base, "/overrides", "x/overrides", 1)
		serve(t, h, request("GET", other+"/"+id, "")).want(t, 404, "not_found")
	})
}

func TestOverrideBodies(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...) // what is refused never reaches Redis, which is not there
	past := time.Now().AddDate(-40, 0, 0).UTC().Format(time.RFC3339)
	for _, row := range []struct {
		name, body string
		status     int
		code       string
		pointers   string
		says       string
	}{
		{"no body", "", 415, "unsupported_media", "", ""},
		{"no JSON", `{"limit":1`, 400, "invalid_body", "", "byte 10"},
		{"trailing data", `{"limit":1}{"limit":2}`, 400, "invalid_body", "", "byte 11"},
		{"invalid UTF-8", "{\"reason\":\"\xff\"}", 400, "invalid_body", "", "byte 11"},
		{"too large", `{"reason":"` + strings.Repeat("a", 128<<10) + `"}`, 400, "invalid_body", "", "131072"},
		{"no object", `[1]`, 422, "invalid_fields", "", ""},
		{"unknown", `{"limit":1,"bursts":2}`, 422, "invalid_fields", "/bursts", ""},
		{"what only answers have", `{"limit":1,"id":"x","revision":1,"state":"active"}`, 422, "invalid_fields", "/id /revision /state", ""},
		{"another case", `{"Limit":1}`, 422, "invalid_fields", "/Limit", "write limit"},
		{"twice", `{"limit":1,"limit":2}`, 422, "invalid_fields", "/limit", "twice"},
		{"null limit", `{"limit":null}`, 422, "invalid_fields", "/limit", "null"},
		{"null end", `{"limit":1,"expires_at":null}`, 422, "invalid_fields", "/expires_at", "null"},
		{"text limit", `{"limit":"1"}`, 422, "invalid_fields", "/limit", "integer"},
		{"fraction", `{"limit":1.5}`, 422, "invalid_fields", "/limit", "integer"},
		{"seconds for a window", `{"window":60}`, 422, "invalid_fields", "/window", "duration"},
		{"no window", `{"window":"soon"}`, 422, "invalid_fields", "/window", "duration"},
		{"zero window", `{"window":"0s","limit":1}`, 422, "invalid_fields", "/window", "duration"},
		{"no end", `{"limit":1,"expires_at":"tomorrow"}`, 422, "invalid_fields", "/expires_at", "RFC 3339"},
		{"the zero time", `{"limit":1,"expires_at":"0001-01-01T00:00:00Z"}`, 422, "invalid_fields", "/expires_at", "RFC 3339"},
		{"empty", `{}`, 422, "invalid_fields", "", "limit, window, burst or access must be set"},
		{"nothing changed", `{"project":"p"}`, 422, "invalid_fields", "", "limit, window, burst or access must be set"},
		{"negative", `{"limit":-1}`, 422, "invalid_fields", "/limit", "limit -1 must be 0 to 999999999999999"},
		{"above the bound", `{"limit":1000000000000000}`, 422, "invalid_fields", "/limit", "0 to 999999999999999"},
		{"beyond 64 bits", `{"limit":99999999999999999999}`, 422, "invalid_fields", "/limit", "15 digits"},
		{"short window", `{"window":"1us"}`, 422, "invalid_fields", "/window", "must be 1ms to 9600h0m0s"},
		{"negative window", `{"window":"-1m"}`, 422, "invalid_fields", "/window", "must be 1ms"},
		{"long window", `{"window":"9601h"}`, 422, "invalid_fields", "/window", "must be 1ms"},
		{"odd window", `{"window":"1000001ns"}`, 422, "invalid_fields", "/window", "whole microseconds"},
		{"old end", `{"limit":1,"expires_at":"` + past + `"}`, 422, "invalid_fields", "/expires_at", "2000"},
		{"only a change", `{"change":"reset"}`, 422, "invalid_fields", "", "limit, window, burst or access must be set"},
		{"negative burst", `{"burst":-1}`, 422, "invalid_fields", "/burst", "burst -1 must be 0 to 999999999999999"},
		{"text burst", `{"burst":"1"}`, 422, "invalid_fields", "/burst", "integer"},
		{"null burst", `{"burst":null}`, 422, "invalid_fields", "/burst", "null"},
		{"burst of nothing", `{"limit":0,"burst":1}`, 422, "invalid_fields", "/burst", "burst 1 must be 0 beside a limit of 0"},
		{"odd access", `{"access":"limited"}`, 422, "invalid_fields", "/access", "unlimited"},
		{"empty access", `{"limit":1,"access":""}`, 422, "invalid_fields", "/access", "leave it out"},
		{"true access", `{"access":true}`, 422, "invalid_fields", "/access", "blocked"},
		{"access and limit", `{"access":"blocked","limit":1}`, 422, "invalid_fields", "/access", "must stand without limit, window, burst and change"},
		{"odd change", `{"limit":1,"change":"keep"}`, 422, "invalid_fields", "/change", "proportional"},
		{"no start", `{"limit":1,"starts_at":"now"}`, 422, "invalid_fields", "/starts_at", "RFC 3339"},
		{"never a start", `{"limit":1,"starts_at":"never"}`, 422, "invalid_fields", "/starts_at", "RFC 3339"},
		{"null start", `{"limit":1,"starts_at":null}`, 422, "invalid_fields", "/starts_at", "null"},
		{"old start", `{"limit":1,"starts_at":"` + past + `"}`, 422, "invalid_fields", "/starts_at", "2000"},
		{"start after the end", `{"limit":1,"starts_at":"2199-01-01T00:00:00Z","expires_at":"2198-01-01T00:00:00Z"}`, 422, "invalid_fields", "/starts_at", "must be before expires_at"},
		{"endpoint without method", `{"limit":1,"endpoint":"/v1"}`, 422, "invalid_fields", "/endpoint", "512 bytes"},
		{"policy with a blank", `{"limit":1,"policy":"a b"}`, 422, "invalid_fields", "/policy", "1 to 64"},
		{"long project", `{"limit":1,"project":"` + strings.Repeat("a", 129) + `"}`, 422, "invalid_fields", "/project", "128"},
		{"long reason", `{"limit":1,"reason":"` + strings.Repeat("a", 501) + `"}`, 422, "invalid_fields", "/reason", "500"},
		{"several", `{"limit":-1,"policy":"?","window":"1ns"}`, 422, "invalid_fields", "/policy /limit /window", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, h, request("PUT", "/v1/orgs/o/overrides", row.body)).want(t, row.status, row.code)
			if pointers := strings.Join(pointersOf(t, a), " "); pointers != row.pointers {
				t.Errorf("pointers %q, want %q: %s", pointers, row.pointers, a.text)
			}
			if !strings.Contains(a.text, row.says) {
				t.Errorf("%s does not say %q", a.text, row.says)
			}
		})
	}
}

// pointersOf returns the pointers of a problem's errors, each of which has a code and a message.
func pointersOf(t *testing.T, a *answer) []string {
	t.Helper()
	list, _ := a.object["errors"].([]any)
	var pointers []string
	for _, e := range list {
		fault := e.(map[string]any)
		pointers = append(pointers, fault["pointer"].(string))
		if fault["code"].(string) == "" || fault["message"].(string) == "" {
			t.Errorf("fault %v lacks a code or a message", fault)
		}
	}
	return pointers
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...)
	for _, row := range []struct {
		name, value string
		status      int
	}{
		{"Content-Type", "application/json; charset=UTF-8", 503},
		{"Content-Type", "APPLICATION/JSON", 503},
		{"Content-Type", "", 415},
		{"Content-Type", "text/plain", 415},
		{"Content-Type", "application/x-www-form-urlencoded", 415},
		{"Content-Type", "application/json-patch+json", 415},
		{"Content-Type", "application/json; charset=latin1", 415},
		{"Content-Type", "application/json, text/plain", 415},
		{"Content-Encoding", "gzip", 415},
	} {
		r := request("PUT", "/v1/orgs/o/overrides", `{"limit":1}`, row.name, row.value)
		if a := serve(t, h, r); a.status != row.status {
			t.Errorf("%s %q: %d %s, want %d", row.name, row.value, a.status, a.text, row.status)
		}
	}
}

func TestExpiredOverrideIsRefused(t *testing.T) {
	t.Parallel()
	h := newService(t, redistest.Standalone(t)).admin
	a := serve(t, h, request("PUT", "/v1/orgs/"+redistest.Org(t)+"/overrides", `{"limit":1,"expires_at":"2020-01-01T00:00:00Z"}`)).want(t, 422, "invalid_fields")
	if p := pointersOf(t, a); !slices.Equal(p, []string{"/expires_at"}) {
		t.Errorf("pointers %q: %s", p, a.text)
	}
}

func TestClearOverrides(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h := newService(t, rdb).admin
		base := "/v1/orgs/" + redistest.Org(t) + "/overrides"
		for _, body := range []string{`{"project":"p","limit":1}`, `{"project":"p","policy":"x","limit":1}`, `{"project":"q","limit":1}`, `{"limit":1}`} {
			serve(t, h, request("PUT", base, body)).want(t, 201, "")
		}
		serve(t, h, request("DELETE", base, "")).want(t, 400, "invalid_query")
		serve(t, h, request("DELETE", base+"?project=p", "", "If-Match", "*")).want(t, 412, "precondition_failed")
		for _, row := range []struct{ query, text string }{
			{"project=p", `{"deleted":2}`}, {"project=p", `{"deleted":0}`}, {"project=", `{"deleted":1}`},
		} {
			if a := serve(t, h, request("DELETE", base+"?"+row.query, "")).want(t, 200, ""); a.text != row.text {
				t.Errorf("DELETE ?%s: %s, want %s", row.query, a.text, row.text)
			}
		}
		if left := serve(t, h, request("GET", base, "")).items(t); len(left) != 1 || left[0]["project"] != "q" {
			t.Errorf("left is %v", left)
		}
	})
}

func TestConcurrentEditsLoseNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		org := redistest.Org(t)
		base := "/v1/orgs/" + org + "/overrides"
		first := serve(t, s.admin, request("PUT", base, `{"limit":0}`, "If-None-Match", "*")).want(t, 201, "")
		location := first.header.Get("Location")
		const writers, each = 8, 5
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				done := 0
				for tries := 0; done < each && tries < 50*writers*each; tries++ {
					read := serve(t, s.admin, request("GET", location, ""))
					body := fmt.Sprintf(`{"limit":%.0f}`, read.object["limit"].(float64)+1)
					switch a := serve(t, s.admin, request("PUT", base, body, "If-Match", read.header.Get("ETag"))); a.status {
					case http.StatusOK:
						done++
					case http.StatusPreconditionFailed:
					default:
						t.Errorf("PUT: %d %s", a.status, a.text)
						return
					}
				}
			})
		}
		wg.Wait()
		all, err := s.overrides.List(t.Context(), org)
		if err != nil || len(all) != 1 || *all[0].Limit != writers*each {
			t.Errorf("List = %+v, %v; want a limit of %d", all, err, writers*each)
		}
	})
}
