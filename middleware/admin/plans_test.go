package admin_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func newPlans(t *testing.T, rdb redis.UniversalClient) *ratelimit.Plans {
	t.Helper()
	plans, err := ratelimit.NewPlans(rdb, ratelimit.WithTimeout(waitLong))
	if err != nil {
		t.Fatal(err)
	}
	return plans
}

// planName returns the name of a plan of this test alone, which ends with it.
func planName(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	name, plans := "plan-"+rand.Text(), newPlans(t, rdb)
	t.Cleanup(func() {
		if err := plans.Delete(context.WithoutCancel(t.Context()), name, ratelimit.Always); err != nil && !errors.Is(err, ratelimit.ErrNotFound) {
			t.Errorf("Delete: %v", err)
		}
	})
	return name
}

func TestPlanLife(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		var changes []string
		h := newHandler(t, admin.WithPlans(newPlans(t, rdb)), admin.WithAudit(func(c admin.Change) {
			changes = append(changes, fmt.Sprintf("%s %s %q %q %q", c.Actor.Name, c.Action, c.Org, c.Project, c.ID))
		}))
		name := planName(t, rdb)
		path := "/v1/plans/" + name
		const rules = `{"endpoint":"GET /v1/search","policy":"requests","limit":3,"window":"1m","burst":4,"change":"proportional"},{"endpoint":"","policy":"","access":"unlimited"}`

		created := serve(t, h, request("PUT", path, `{"rules":[`+rules+`]}`, "If-None-Match", "*")).want(t, 201, "")
		if created.object["name"] != name || !strings.Contains(created.text, `"rules":[`+rules+`]`) {
			t.Errorf("created %s", created.text)
		}
		tag := created.header.Get("ETag")
		if want := fmt.Sprintf(`"%.0f"`, created.object["revision"]); tag != want {
			t.Errorf("ETag %s, want %s", tag, want)
		}
		read := serve(t, h, request("GET", path, "")).want(t, 200, "")
		if read.text != created.text || read.header.Get("ETag") != tag {
			t.Errorf("GET tells %s with %s, PUT told %s with %s", read.text, read.header.Get("ETag"), created.text, tag)
		}
		serve(t, h, request("PUT", path, `{"rules":[{"limit":0}]}`, "If-None-Match", "*")).want(t, 412, "precondition_failed")
		serve(t, h, request("PUT", path, `{"rules":[{"limit":0}]}`, "If-Match", `"1"`)).want(t, 412, "precondition_failed")
		again := serve(t, h, request("PUT", path, `{"rules":[`+rules+`]}`, "If-None-Match", "*")).want(t, 200, "")
		if again.text != created.text {
			t.Errorf("the same again tells %s, want %s", again.text, created.text)
		}
		replaced := serve(t, h, request("PUT", path, `{"rules":[{"limit":0}]}`, "If-Match", `"1", `+tag)).want(t, 200, "")
		if replaced.header.Get("ETag") == tag || replaced.object["created_at"] != created.object["created_at"] {
			t.Errorf("replaced by %s", replaced.text)
		}

		second := planName(t, rdb)
		serve(t, h, request("PUT", "/v1/plans/"+second, `{"rules":[{"limit":1}]}`, "If-Match", "*")).want(t, 412, "precondition_failed")
		serve(t, h, request("PUT", "/v1/plans/"+second, `{"rules":[{"limit":1}]}`)).want(t, 201, "")
		var names []string
		for next := "?limit=1"; next != ""; {
			list := serve(t, h, request("GET", "/v1/plans"+next, "")).want(t, 200, "")
			for _, item := range list.items(t) {
				names = append(names, item["name"].(string))
			}
			cursor, _ := list.object["next"].(string)
			if next = ""; cursor != "" {
				next = "?limit=1&cursor=" + cursor
			}
		}
		if !slices.IsSorted(names) || !slices.Contains(names, name) || !slices.Contains(names, second) {
			t.Errorf("list of %v, want both, in order", names)
		}

		serve(t, h, request("DELETE", path, "", "If-Match", tag)).want(t, 412, "precondition_failed")
		serve(t, h, request("DELETE", path, "", "If-None-Match", "*")).want(t, 412, "precondition_failed")
		serve(t, h, request("DELETE", path, "", "If-Match", "*")).want(t, 204, "")
		serve(t, h, request("DELETE", path, "")).want(t, 404, "not_found")
		serve(t, h, request("GET", path, "")).want(t, 404, "not_found")
		want := []string{"set", name, "set", name, "set", name, "set", second, "delete", name}
		for i, line := range changes {
			if i >= len(want)/2 || line != fmt.Sprintf(`bearer plan.%s "" "" %q`, want[2*i], want[2*i+1]) {
				t.Errorf("change %d: %s", i, line)
			}
		}
		if len(changes) != len(want)/2 {
			t.Errorf("changes %v, want %v", changes, want)
		}
	})
}

func TestPlanBodies(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	h := newHandler(t, admin.WithPlans(newPlans(t, rdb))) // what is refused never reaches Redis, which is not there
	for _, row := range []struct {
		name, body string
		status     int
		pointers   string
		says       string
	}{
		{"no body", "", 415, "", ""},
		{"no JSON", `{"rules":[`, 400, "", "byte 10"},
		{"no rules", `{}`, 422, "/rules", "rules must be 1 to 100"},
		{"empty rules", `{"rules":[]}`, 422, "/rules", "rules must be 1 to 100"},
		{"many rules", `{"rules":[` + strings.Repeat(`{},`, 100) + `{}]}`, 422, "/rules", "rules must be 1 to 100"},
		{"null rules", `{"rules":null}`, 422, "/rules", "null"},
		{"one rule", `{"rules":{"limit":1}}`, 422, "/rules", "an array of objects"},
		{"no rule", `{"rules":[1]}`, 422, "/rules/0", "an object"},
		{"name", `{"name":"gold","rules":[{"limit":1}]}`, 422, "/name", "not known"},
		{"project", `{"rules":[{"limit":1,"project":"p"}]}`, 422, "/rules/0/project", "not known"},
		{"times", `{"rules":[{"limit":1,"expires_at":"never"}]}`, 422, "/rules/0/expires_at", "not known"},
		{"twice", `{"rules":[{"limit":1,"limit":1}]}`, 422, "/rules/0/limit", "twice"},
		{"empty rule", `{"rules":[{"limit":1},{"policy":"p"}]}`, 422, "/rules/1", "limit, window, burst or access must be set"},
		{"negative", `{"rules":[{"limit":1},{"policy":"p","limit":-1}]}`, 422, "/rules/1/limit", "limit -1 must be 0 to 999999999999999"},
		{"window", `{"rules":[{"window":"1us"}]}`, 422, "/rules/0/window", "must be 1ms"},
		{"burst", `{"rules":[{"burst":-1}]}`, 422, "/rules/0/burst", "burst -1 must be"},
		{"access", `{"rules":[{"access":"limited"}]}`, 422, "/rules/0/access", "unlimited"},
		{"reset", `{"rules":[{"limit":1,"change":"reset"}]}`, 422, "/rules/0/change", "two plans could share a count"},
		{"alike", `{"rules":[{"limit":1},{"limit":2}]}`, 422, "/rules/1/endpoint", "must not be those of rule 0"},
		{"endpoint", `{"rules":[{"limit":1,"endpoint":"/v1"}]}`, 422, "/rules/0/endpoint", "512 bytes"},
		{"several", `{"rules":[{"limit":-1},{"policy":"?","limit":1}]}`, 422, "/rules/0/limit /rules/1/policy", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, h, request("PUT", "/v1/plans/gold", row.body))
			if pointers := strings.Join(pointersOf(t, a), " "); a.status != row.status || pointers != row.pointers || !strings.Contains(a.text, row.says) {
				t.Errorf("%d with pointers %q, want %d with %q and %q: %s", a.status, pointers, row.status, row.pointers, row.says, a.text)
			}
		})
	}
	for _, name := range []string{"a%20b", "a%2Fb", strings.Repeat("n", 65), "%C3%A9"} {
		serve(t, h, request("PUT", "/v1/plans/"+name, `{"rules":[{"limit":1}]}`)).want(t, 400, "invalid_path")
		serve(t, h, request("GET", "/v1/plans/"+name, "")).want(t, 404, "not_found")
		serve(t, h, request("DELETE", "/v1/plans/"+name, "")).want(t, 404, "not_found")
	}
	for _, r := range []*http.Request{
		request("GET", "/v1/plans", ""), request("GET", "/v1/plans/gold", ""), request("DELETE", "/v1/plans/gold", ""),
		request("PUT", "/v1/plans/gold", `{"rules":[{"limit":1}]}`), request("PUT", "/v1/plans/gold", `{"rules":[{"limit":1}]}`, "If-Match", "*"),
	} {
		a := serve(t, h, r).want(t, 503, "unavailable")
		if says := strings.Contains(a.text, "for some orgs and not for others"); says != (r.Method != http.MethodGet) {
			t.Errorf("%s %s: %s", r.Method, r.URL, a.text)
		}
	}
}

// Plans are for all orgs, so whoever may touch one org alone finds none.
func TestPlansBelongToNoOrg(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	name, plans := planName(t, rdb), newPlans(t, rdb)
	if _, _, err := plans.Set(t.Context(), ratelimit.Plan{Name: name, Rules: []ratelimit.PlanRule{{Limit: new(int64(5))}}}, ratelimit.Always); err != nil {
		t.Fatal(err)
	}
	theirs, err := admin.New(admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return admin.Actor{Org: "mine"}, nil }), admin.WithPlans(plans))
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/plans/" + name
	for _, h := range []struct {
		*admin.Handler
		code string
	}{{theirs, "not_found"}, {newHandler(t), "not_served"}} {
		for _, r := range []*http.Request{
			request("GET", "/v1/plans", ""), request("GET", path, ""), request("PUT", path, `{"rules":[{"limit":1}]}`), request("DELETE", path, ""),
		} {
			serve(t, h, r).want(t, 404, h.code)
		}
	}
	if p, err := plans.Get(t.Context(), name); err != nil || *p.Rules[0].Limit != 5 {
		t.Errorf("the plan is %+v, %v; want it as it was", p, err)
	}
	serve(t, newHandler(t, admin.WithPlans(plans)), request("GET", path, "", "Authorization", "")).want(t, 401, "missing_credential")
	for target, allow := range map[string]string{"/v1/plans": "GET, HEAD", path: "DELETE, GET, HEAD, PUT"} {
		a := serve(t, newHandler(t, admin.WithPlans(plans)), request("POST", target, "")).want(t, 405, "method_not_allowed")
		if a.header.Get("Allow") != allow {
			t.Errorf("POST %s: Allow %q, want %q", target, a.header.Get("Allow"), allow)
		}
	}
	if _, err := admin.New(admin.BearerToken(token), admin.WithPlans(nil)); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("WithPlans(nil): %v, want ErrInvalid", err)
	}
}

// Nor does he choose what the keys of that org may use.
func TestPlanOfAKey(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	for org, status := range map[string]int{"": 201, "o": 403} {
		h, err := admin.New(admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return admin.Actor{Org: org}, nil }), admin.WithKeys(store, issuer))
		if err != nil {
			t.Fatal(err)
		}
		const keys = "/v1/orgs/o/projects/p/keys"
		if a := serve(t, h, request("POST", keys, `{"plan":"gold"}`)); a.status != status || status == 201 && a.object["plan"] != "gold" {
			t.Errorf("actor of %q: %d %s, want %d", org, a.status, a.text, status)
		}
		limits, err := admin.New(admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return admin.Actor{Org: org}, nil }), admin.WithLimits(noLimiter{}))
		if err != nil {
			t.Fatal(err)
		}
		if a := serve(t, limits, request("GET", "/v1/orgs/o/projects/p/limits?plan=gold", "")); (a.status == 403) != (status == 403) {
			t.Errorf("actor of %q: %d %s", org, a.status, a.text)
		}
		if a := serve(t, h, request("POST", keys, `{"plan":""}`)); a.status != 201 || a.object["plan"] != nil {
			t.Errorf("actor of %q, no plan: %d %s, want 201", org, a.status, a.text)
		}
	}
}

// A plan that is changed holds for the next request of each key that was issued with it.
func TestNextRequestObeysThePlan(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		name, plans := planName(t, rdb), admin.WithPlans(newPlans(t, rdb))
		replicas := []*service{newService(t, rdb, plans), newService(t, rdb, plans)}
		first := replicas[0]
		secrets, ids := map[string]string{}, map[string]string{}
		for range 3 {
			org := redistest.Org(t)
			issued := serve(t, first.admin, request("POST", "/v1/orgs/"+org+"/projects/p/keys", `{"plan":"`+name+`"}`)).want(t, 201, "")
			if issued.object["plan"] != name {
				t.Errorf("issued %v", issued.object["plan"])
			}
			ids[org] = issued.object["id"].(string)
			secrets[org] = issued.object["secret"].(string)
		}
		all := func(what string, want int) {
			t.Helper()
			for org, secret := range secrets {
				for n, s := range replicas {
					if got := s.call(secret); got != want {
						t.Errorf("%s: replica %d answers %s %d, want %d", what, n, org, got, want)
					}
				}
			}
		}
		put := func(body string) { serve(t, first.admin, request("PUT", "/v1/plans/"+name, body)) }
		all("without the plan", 200)
		put(`{"rules":[{"limit":2}]}`)
		all("2 used of 2", 429)
		put(`{"rules":[{"limit":4}]}`)
		all("2 used of 4", 200)
		for org, id := range ids {
			for query, want := range map[string]string{
				"": "10 policy", "&key=" + id: "4 plan:" + name, "&plan=" + name: "4 plan:" + name, "&key=" + id + "&plan=": "10 policy",
			} {
				base := "/v1/orgs/" + org
				item := serve(t, first.admin, request("GET", base+"/projects/p/limits?endpoint="+url.QueryEscape(search)+query, "")).items(t)[0]
				if got := fmt.Sprint(item["limit"], " ", item["source"]); got != want {
					t.Errorf("limits with %q: %s, want %s", query, got, want)
				}
				dry := serve(t, first.admin, request("POST", base+"/overrides/dry-run?project=p"+query, `{"policy":"other","limit":1}`)).items(t)[0]["before"].(map[string]any)
				if got := fmt.Sprint(dry["limit"], " ", dry["source"]); got != want {
					t.Errorf("dry run with %q: %s, want %s", query, got, want)
				}
			}
			elsewhere := serve(t, first.admin, request("GET", "/v1/orgs/"+org+"/projects/q/limits?endpoint="+url.QueryEscape(search)+"&key="+id, ""))
			elsewhere.want(t, 404, "not_found")
		}
		put(`{"rules":[{"limit":4,"endpoint":"` + search + `"},{"limit":100}]}`)
		all("4 used of 4", 429)
		put(`{"rules":[{"policy":"requests","access":"unlimited"}]}`)
		all("unlimited", 200)
		put(`{"rules":[{"access":"blocked"}]}`)
		all("blocked", 429)
		serve(t, first.admin, request("DELETE", "/v1/plans/"+name, "")).want(t, 204, "")
		all("4 used of the policy's 10", 200)
	})
}
