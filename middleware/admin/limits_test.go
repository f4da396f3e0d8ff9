package admin_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		const matrix = "POST /v1/matrix"
		perKey := ratelimit.PerSecond(5).Named("per-key").By(ratelimit.ByKey)
		perOrg := ratelimit.PerHour(100).Named("per-org").By(ratelimit.ByOrg).Fixed()
		s := newKeyless(t, rdb, admin.WithRoute(matrix, perKey, perOrg, ratelimit.PerMinute(1).Named("net").By("network")), admin.WithRoute("GET /healthz"))
		org := redistest.Org(t)
		base := "/v1/orgs/" + org + "/projects/p/limits"
		id := serve(t, s.admin, request("PUT", "/v1/orgs/"+org+"/overrides", `{"project":"p","endpoint":"`+search+`","limit":7,"window":"10m"}`)).object["id"].(string)
		for _, r := range []ratelimit.Request{
			{Org: org, Project: "p", Key: "k1", Endpoint: search, Charges: []ratelimit.Charge{{Policy: policy, Cost: 3}}},
			{Org: org, Project: "p", Key: "k1", Endpoint: matrix, Charges: []ratelimit.Charge{{Policy: perKey, Cost: 2}, {Policy: perOrg, Cost: 2}}},
		} {
			if d, err := s.limiter.Admit(t.Context(), r); err != nil || !d.Allowed {
				t.Fatalf("Admit = %+v, %v", d, err)
			}
		}
		line := func(i map[string]any) string {
			return fmt.Sprint(i["endpoint"], " ", i["policy"], " ", i["limit"], " per ", i["window"], " used ", i["used"], " remaining ", i["remaining"], " ", i["source"], " by ", i["partition"])
		}
		first := search + " requests 7 per 10m used 3 remaining 4 override:" + id + " by project"
		unknown := matrix + " per-key 5 per 1s used <nil> remaining <nil> policy by key"
		byOrg := matrix + " per-org 100 per 1h used 2 remaining 98 policy by org"
		other := matrix + " per-key 5 per 1s used 0 remaining 5 policy by key"
		for _, row := range []struct {
			query string
			want  []string
		}{
			{"", []string{first, unknown, byOrg}},
			{"?key=k2", []string{first, other, byOrg}},
			{"?endpoint=" + url.QueryEscape(search), []string{first}},
			{"?endpoint=" + url.QueryEscape(matrix), []string{unknown, byOrg}},
			{"?endpoint=GET+/healthz", nil},
		} {
			for range 2 { // to look takes nothing
				var got []string
				a := serve(t, s.admin, request("GET", base+row.query, "")).want(t, 200, "")
				for _, item := range a.items(t) {
					got = append(got, line(item))
				}
				if !reflect.DeepEqual(got, row.want) {
					t.Errorf("%s: %q, want %q", row.query, got, row.want)
				}
			}
		}
		serve(t, s.admin, request("GET", base+"?endpoint=GET+/v1/other", "")).want(t, 404, "not_found")
		serve(t, s.admin, request("GET", base+"?endpoint=", "")).want(t, 404, "not_found")
		serve(t, s.admin, request("GET", base+"?key=", "")).want(t, 400, "invalid_query")
		serve(t, s.admin, request("GET", base+"?key="+strings.Repeat("k", 129), "")).want(t, 400, "invalid_query")
		serve(t, s.admin, request("GET", base+"?policy=x", "")).want(t, 400, "invalid_query")
	})
}

func TestLimitsOnlyPeek(t *testing.T) {
	t.Parallel()
	asked := 0
	h := newHandler(t, admin.WithRoute(search, policy, policy.Named("b")), admin.WithLimits(limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		asked++
		if !r.Peek || r.Org != "o" || r.Project != "p" || r.Endpoint != search || len(r.Charges) != 2 || r.Charges[0].Cost+r.Charges[1].Cost != 0 {
			t.Errorf("the limiter is asked %+v", r)
		}
		return ratelimit.Decision{Results: make([]ratelimit.Result, 2)}, nil
	})))
	serve(t, h, request("GET", "/v1/orgs/o/projects/p/limits", "")).want(t, 200, "")
	if asked != 1 {
		t.Errorf("the limiter is asked %d times, want once for all policies of a route", asked)
	}
}

// kinds is a policy of each kind; what is left of their windows is the same for a while.
var kinds = []ratelimit.Policy{
	ratelimit.PerHour(10).Fixed().Named("fixed").Across(),
	ratelimit.PerHour(10).Named("sliding").By(ratelimit.ByKey),
	ratelimit.Per(10, 4000*time.Hour).Bucket(20).Named("bucket").Monitored(),
	ratelimit.Quota(1000, ratelimit.Daily(nil)).By(ratelimit.ByOrg).Of("tokens").Paid(),
	ratelimit.Concurrent(4),
	ratelimit.PerHour(10).Fixed().Named("reserved").Reserved(90 * time.Second),
	ratelimit.PerHour(10).Fixed().Named("free"),
	ratelimit.PerHour(10).Fixed().Named("closed"),
}

// admitted charges policies at an endpoint, as a request with a key does.
func (s *service) admitted(t *testing.T, org, endpoint string, cost int64, policies ...ratelimit.Policy) {
	t.Helper()
	r := ratelimit.Request{Org: org, Project: "p", Key: "k", Endpoint: endpoint}
	for _, p := range policies {
		r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: cost})
	}
	if d, err := s.limiter.Admit(t.Context(), r); err != nil || !d.Allowed {
		t.Fatalf("Admit = %v, %v", d, err)
	}
}

// TestLimitsTellAll holds every field of every kind of policy. Times that pass are replaced.
func TestLimitsTellAll(t *testing.T) {
	t.Parallel()
	const kindsAt = "GET /v1/kinds"
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s, org := newKeyless(t, rdb, admin.WithRoute(kindsAt, kinds...)), redistest.Org(t)
		s.admitted(t, org, kindsAt, 3, kinds...)
		set := func(body string) string {
			return serve(t, s.admin, request("PUT", "/v1/orgs/"+org+"/overrides", body)).want(t, 201, "").object["id"].(string)
		}
		fixed := set(`{"project":"p","policy":"fixed","limit":20,"window":"2h","reason":"a trial"}`)
		free := set(`{"policy":"free","access":"unlimited"}`)
		closed := set(`{"endpoint":"` + kindsAt + `","policy":"closed","access":"blocked"}`)
		items := serve(t, s.admin, request("GET", "/v1/orgs/"+org+"/projects/p/limits?key=k&endpoint="+url.QueryEscape(kindsAt), "")).want(t, 200, "").items(t)
		var got []string
		for _, item := range items {
			for _, after := range []string{"next_after", "reset_after"} {
				if text, ok := item[after].(string); ok && text != "never" && text != "0s" {
					if d, err := time.ParseDuration(text); err != nil || d <= 0 {
						t.Errorf("%s %s is %q", item["policy"], after, text)
					}
					item[after] = "soon"
				}
			}
			if item["endpoint"] != kindsAt {
				t.Errorf("endpoint %q", item["endpoint"])
			}
			delete(item, "endpoint")
			text, err := json.Marshal(item)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(text))
		}
		want := []string{
			`{"algorithm":"fixed window","level":"project","limit":20,"next_after":"soon","partition":"project","policy":"fixed","reason":"a trial","remaining":17,"reset_after":"soon","shared":true,"source":"override:` + fixed + `","unit":"requests","used":3,"window":"2h"}`,
			`{"algorithm":"sliding window","level":"policy","limit":10,"next_after":"soon","partition":"key","policy":"sliding","remaining":7,"reset_after":"soon","source":"policy","unit":"requests","used":3,"window":"1h"}`,
			`{"algorithm":"GCRA","burst":20,"level":"policy","limit":10,"monitor":true,"next_after":"soon","partition":"project","policy":"bucket","remaining":17,"reset_after":"soon","source":"policy","unit":"requests","used":3,"window":"4000h"}`,
			`{"algorithm":"calendar window","level":"policy","limit":1000,"next_after":"soon","partition":"org","payment":true,"period":"day (UTC)","policy":"quota","remaining":997,"reset_after":"soon","shared":true,"source":"policy","unit":"tokens","used":3,"window":"24h"}`,
			`{"algorithm":"concurrency","held":3,"lease":"30s","level":"policy","limit":4,"next_after":"0s","partition":"project","policy":"concurrent","remaining":1,"reset_after":"0s","source":"policy","unit":"concurrent-requests","used":3}`,
			`{"algorithm":"fixed window","held":3,"lease":"1m30s","level":"policy","limit":10,"next_after":"0s","partition":"project","policy":"reserved","remaining":7,"reset_after":"0s","source":"policy","unit":"requests","used":3,"window":"1h"}`,
			`{"access":"unlimited","algorithm":"fixed window","level":"org","limit":10,"partition":"project","policy":"free","source":"override:` + free + `","unit":"requests","window":"1h"}`,
			`{"access":"blocked","algorithm":"fixed window","level":"org+endpoint","limit":0,"next_after":"never","partition":"project","policy":"closed","remaining":0,"reset_after":"soon","source":"override:` + closed + `","unit":"requests","used":3,"window":"1h"}`,
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Errorf("limits are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				break
			}
		}
	})
}

func TestLimitsOfACandidate(t *testing.T) {
	t.Parallel()
	next := ratelimit.PerMinute(5).Fixed().Named("next").By(ratelimit.ByKey)
	next.Candidate = policy.Name
	s, org := newKeyless(t, redistest.Standalone(t), admin.WithRoute("GET /v1/next", policy, next)), redistest.Org(t)
	for _, row := range []struct{ query, want string }{{"?key=k", "next requests 5"}, {"", "next requests <nil>"}} {
		items := serve(t, s.admin, request("GET", "/v1/orgs/"+org+"/projects/p/limits"+row.query, "")).want(t, 200, "").items(t)
		last := items[len(items)-1]
		if got := fmt.Sprint(last["policy"], " ", last["candidate"], " ", last["remaining"]); got != row.want {
			t.Errorf("%s: %s, want %s", row.query, got, row.want)
		}
	}
}

func TestLimiterThatAnswersTooLittle(t *testing.T) {
	t.Parallel()
	h := newHandler(t, admin.WithRoute(search, policy, policy.Named("b")), admin.WithLimits(limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) {
		return ratelimit.Decision{Results: make([]ratelimit.Result, 1)}, nil
	})))
	serve(t, h, request("GET", "/v1/orgs/o/projects/p/limits", "")).want(t, 500, "internal")
}

// TestLimiterThatOnlyAdmits has a limiter that can neither preview nor reset.
func TestLimiterThatOnlyAdmits(t *testing.T) {
	t.Parallel()
	h := newHandler(t, admin.WithRoute(search, policy), admin.WithLimits(limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) {
		return ratelimit.Decision{Results: make([]ratelimit.Result, 1)}, nil
	})))
	serve(t, h, request("GET", "/v1/orgs/o/projects/p/limits", "")).want(t, 200, "")
	serve(t, h, request("DELETE", "/v1/orgs/o/projects/p/limits", "")).want(t, 404, "not_served")
	serve(t, h, request("POST", "/v1/orgs/o/overrides/dry-run?project=p", `{"limit":1}`)).want(t, 404, "not_served")
}
