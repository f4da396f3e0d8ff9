package admin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
)

func newAuditLog(t *testing.T, rdb redis.UniversalClient) *auditlog.Log {
	t.Helper()
	log, err := auditlog.New(rdb, auditlog.WithTimeout(waitLong))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// audited returns a handler with the trail of an org in which somebody changed three things.
func audited(t *testing.T, rdb redis.UniversalClient) (h http.Handler, org string) {
	t.Helper()
	s := newService(t, rdb, admin.WithAuditLog(newAuditLog(t, rdb)))
	org = "/v1/orgs/" + redistest.Org(t)
	serve(t, s.admin, request("PUT", org+"/overrides", `{"project":"p","limit":1}`, "X-Request-Id", "r-1")).want(t, 201, "")
	issued := serve(t, s.admin, request("POST", org+"/projects/p/keys", "", "X-Request-Id", "r-2")).want(t, 201, "")
	serve(t, s.admin, request("DELETE", issued.header.Get("Location")+"?reason=leaked", "", "X-Request-Id", "r-3")).want(t, 204, "")
	return s.admin, org
}

// Each change leaves an entry that says who did it, and verifies.
func TestAuditOfChanges(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h, org := audited(t, rdb)
		list := serve(t, h, request("GET", org+"/audit?order=oldest", "")).want(t, 200, "")
		items := list.items(t)
		if len(items) != 3 || list.object["next"] != nil {
			t.Fatalf("%s", list.text)
		}
		for i, item := range items {
			if item["seq"] != float64(i+1) || item["actor"] != "bearer" || item["address"] != "192.0.2.1" || item["request_id"] != fmt.Sprintf("r-%d", i+1) {
				t.Errorf("entry %v", item)
			}
		}
		if items[0]["action"] != "override.set" || items[2]["action"] != "key.revoke" {
			t.Errorf("%s", list.text)
		}
		head := list.object["head"].(map[string]any)
		if head["seq"] != 3.0 || head["link"] != items[2]["link"] {
			t.Errorf("head %v", head)
		}
		verified := serve(t, h, request("GET", fmt.Sprintf("%s/audit:verify?seq=1&link=%s", org, items[0]["link"]), "")).want(t, 200, "")
		if verified.object["ok"] != true || verified.object["entries"] != 3.0 {
			t.Errorf("%s", verified.text)
		}
		other := strings.Repeat("0", 40)
		if a := serve(t, h, request("GET", org+"/audit:verify?seq=1&link="+other, "")).want(t, 200, ""); a.object["ok"] != false || a.object["broken_at"] != 1.0 {
			t.Errorf("under an anchor that never was: %s", a.text)
		}
		if strings.Contains(list.text, "digest") || strings.Contains(list.text, "secret\":") {
			t.Errorf("the trail tells too much: %s", list.text)
		}
	})
}

func TestAuditShowsDamage(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	h, org := audited(t, rdb)
	name := lua.AuditKey(strings.TrimPrefix(org, "/v1/orgs/"))
	if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: name, Values: []string{"seq", "4", "link", "x", "entry", "{}"}}).Err(); err != nil {
		t.Fatal(err)
	}
	list := serve(t, h, request("GET", org+"/audit", "")).want(t, 200, "")
	if items := list.items(t); len(items) != 4 || items[0]["fault"] == nil || list.object["head"] != nil {
		t.Errorf("%s", list.text)
	}
	if a := serve(t, h, request("GET", org+"/audit:verify", "")).want(t, 200, ""); a.object["ok"] != false || a.object["broken_at"] != 4.0 || a.object["why"] == "" {
		t.Errorf("%s", a.text)
	}
}

func TestAuditFiltersAndPages(t *testing.T) {
	t.Parallel()
	h, org := audited(t, redistest.Standalone(t))
	now := time.Now()
	hour := func(d time.Duration) string { return url.QueryEscape(now.Add(d).UTC().Format(time.RFC3339)) }
	for query, want := range map[string]int{
		"": 3, "?actor=bearer": 3, "?actor=nobody": 0, "?action=key.revoke": 1, "?id=x": 0, "?limit=2": 2,
		"?from=" + hour(-time.Hour): 3, "?from=" + hour(time.Hour): 0, "?to=" + hour(-time.Hour): 0, "?to=" + hour(time.Hour): 3,
	} {
		if a := serve(t, h, request("GET", org+"/audit"+query, "")).want(t, 200, ""); len(a.items(t)) != want {
			t.Errorf("%s: %s, want %d", query, a.text, want)
		}
	}
	for order, want := range map[string]string{"newest": "[3 2 1]", "oldest": "[1 2 3]"} {
		var seen []any
		next := ""
		for range 4 {
			a := serve(t, h, request("GET", org+"/audit?limit=1&order="+order+next, "")).want(t, 200, "")
			for _, item := range a.items(t) {
				seen = append(seen, item["seq"])
			}
			cursor, more := a.object["next"].(string)
			if !more {
				break
			}
			next = "&cursor=" + cursor
		}
		if fmt.Sprint(seen) != want {
			t.Errorf("%s: %v, want %s", order, seen, want)
		}
	}
	first := serve(t, h, request("GET", org+"/audit?limit=1", "")).want(t, 200, "")
	serve(t, h, request("GET", org+"/audit?order=oldest&cursor="+first.object["next"].(string), "")).want(t, 400, "invalid_query")
	for _, query := range []string{
		"?order=up", "?limit=0", "?limit=201", "?from=yesterday", "?from=1900-01-01T00:00:00Z", "?cursor=x", "?cursor=", "?seq=1",
		"?cursor=eyJhIjoiIiwibyI6Im5ld2VzdCJ9", "?cursor=eyJhIjoieCIsIm8iOiJuZXdlc3QifQ",
	} {
		serve(t, h, request("GET", org+"/audit"+query, "")).want(t, 400, "invalid_query")
	}
	for _, query := range []string{"?seq=1", "?link=x", "?seq=x&link=x", "?seq=-1&link=x", "?seq=1&link=x", "?seq=0&link=x", "?limit=1"} {
		serve(t, h, request("GET", org+"/audit:verify"+query, "")).want(t, 400, "invalid_query")
	}
}

// An empty trail is whole, and the trail of the plans is for whoever is bound to no org.
func TestAuditOfNothingAndOfPlans(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	plans, plan := newPlans(t, rdb), "/v1/plans/"+redistest.Org(t)
	h := newHandler(t, admin.WithAuditLog(newAuditLog(t, rdb)), admin.WithPlans(plans))
	org := "/v1/orgs/" + redistest.Org(t)
	if a := serve(t, h, request("GET", org+"/audit", "")).want(t, 200, ""); len(a.items(t)) != 0 {
		t.Errorf("%s", a.text)
	}
	if a := serve(t, h, request("GET", org+"/audit:verify?seq=0&link=", "")).want(t, 200, ""); a.object["ok"] != true {
		t.Errorf("%s", a.text)
	}
	serve(t, h, request("PUT", plan, `{"rules":[{"limit":1}]}`)).want(t, 201, "")
	serve(t, h, request("DELETE", plan, "")).want(t, 204, "")
	name := strings.TrimPrefix(plan, "/v1/plans/")
	if a := serve(t, h, request("GET", "/v1/audit?id="+name, "")).want(t, 200, ""); len(a.items(t)) != 2 {
		t.Errorf("%s", a.text)
	}
	bound, err := admin.New(admin.Tokens(admin.Token{Name: "t", Secret: token, Scopes: []string{"*"}, Org: "mine"}), admin.WithAuditLog(newAuditLog(t, rdb)))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, bound, request("GET", "/v1/audit", "")).want(t, 404, "not_found")
	serve(t, bound, request("GET", "/v1/audit:verify", "")).want(t, 404, "not_found")
	serve(t, bound, request("GET", "/v1/orgs/mine/audit", "")).want(t, 200, "")
}
