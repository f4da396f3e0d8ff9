package self_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware/self"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// answering is a limiter with one result, whatever is asked.
func answering(r ratelimit.Result) limiterFunc {
	return func(request ratelimit.Request) (ratelimit.Decision, error) {
		r.Policy, r.Partition, r.Unit = request.Charges[0].Policy.Name, request.Charges[0].Policy.Partition, "requests"
		return ratelimit.Decision{Results: []ratelimit.Result{r}}, nil
	}
}

func TestLimitsTell(t *testing.T) {
	t.Parallel()
	minute := ratelimit.PerMinute(10)
	for _, c := range []struct {
		name   string
		policy ratelimit.Policy
		result ratelimit.Result
		key    string
		want   string
	}{
		{"used", minute, ratelimit.Result{
			Limit: 10, Window: time.Minute, Source: "policy", Used: 3, Remaining: 7, NextAfter: time.Second, ResetAfter: time.Minute, Reason: "for us alone",
		}, "k", `{"endpoint":"GET /a","policy":"requests","partition":"project","unit":"requests","limit":10,"window":"1m","source":"policy",` +
			`"used":3,"remaining":7,"next_after":"1s","reset_after":"1m"}`},
		{"unused", minute.Across(), ratelimit.Result{Limit: 10, Window: time.Hour, Burst: 5, Source: "plan:gold", Remaining: 10}, "k",
			`{"endpoint":"GET /a","policy":"requests","partition":"project","shared":true,"unit":"requests","limit":10,"window":"1h","burst":5,` +
				`"source":"plan:gold","used":0,"remaining":10}`},
		{"held", minute, ratelimit.Result{Limit: 10, Source: "policy", Used: 2, Held: 2, Remaining: 8, ResetAfter: ratelimit.Never}, "k",
			`{"endpoint":"GET /a","policy":"requests","partition":"project","unit":"requests","limit":10,"source":"policy",` +
				`"used":2,"held":2,"remaining":8,"next_after":"0s","reset_after":"never"}`},
		{"blocked", minute, ratelimit.Result{Source: "override:x"}, "k",
			`{"endpoint":"GET /a","policy":"requests","partition":"project","unit":"requests","limit":0,"access":"blocked","source":"override:x","used":0,"remaining":0}`},
		{"unlimited", minute, ratelimit.Result{Unlimited: true, Limit: 10, Source: "override:x"}, "k",
			`{"endpoint":"GET /a","policy":"requests","partition":"project","unit":"requests","limit":10,"access":"unlimited","source":"override:x"}`},
		{"of a key", minute.By(ratelimit.ByKey), ratelimit.Result{Limit: 10, Source: "policy", Remaining: 10}, "k",
			`{"endpoint":"GET /a","policy":"requests","partition":"key","unit":"requests","limit":10,"source":"policy","used":0,"remaining":10}`},
		{"of a key, by who has none", minute.By(ratelimit.ByKey), ratelimit.Result{Limit: 10, Source: "policy", Remaining: 10}, "",
			`{"endpoint":"GET /a","policy":"requests","partition":"key","unit":"requests","limit":10,"source":"policy"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			who := holder
			who.Key = c.key
			h := handlerOf(t, who, self.WithLimits(answering(c.result)), self.WithRoute("GET /a", c.policy))
			a := serve(t, h, request(http.MethodGet, "/limits")).want(t, http.StatusOK, "")
			if want := `{"items":[` + c.want + `]}`; a.text != want {
				t.Errorf("answer %s\nwant   %s", a.text, want)
			}
		})
	}
}

// TestLimitsAskForTheCallerAlone holds what the limiter is asked: to peek, for the caller, about what callers feel.
func TestLimitsAskForTheCallerAlone(t *testing.T) {
	t.Parallel()
	var asked []ratelimit.Request
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		asked = append(asked, r)
		return unused(r)
	})
	minute := ratelimit.PerMinute(10)
	h := handlerOf(t, holder, self.WithLimits(limiter),
		self.WithRoute("GET /a", minute, minute.Named("seen").Monitored(), minute.Named("next").InPlaceOf(""), minute.Named("net").By("network"), minute.Named("org").By(ratelimit.ByOrg)),
		self.WithRoute("GET /b", minute.Monitored()), self.WithRoute("GET /c"))
	if items := serve(t, h, request(http.MethodGet, "/limits")).want(t, http.StatusOK, "").items(t); len(items) != 2 {
		t.Errorf("items %v", items)
	}
	for _, endpoint := range []string{"GET /b", "GET /c"} {
		if items := serve(t, h, request(http.MethodGet, "/limits?endpoint="+url.QueryEscape(endpoint))).want(t, http.StatusOK, "").items(t); len(items) != 0 {
			t.Errorf("%s: items %v", endpoint, items)
		}
	}
	if len(asked) != 1 {
		t.Fatalf("asked %d times", len(asked))
	}
	var names []string
	for _, c := range asked[0].Charges {
		names = append(names, c.Policy.Name)
		if c.Cost != 0 {
			t.Errorf("cost %d", c.Cost)
		}
	}
	r := asked[0]
	if !r.Peek || r.Org != holder.Org || r.Project != holder.Project || r.Key != holder.Key || r.Plan != holder.Plan || r.Endpoint != "GET /a" ||
		!slices.Equal(names, []string{"requests", "org"}) {
		t.Errorf("asked %+v for %q", r, names)
	}
}

func TestLimitsComeInPages(t *testing.T) {
	t.Parallel()
	calls := 0
	opts := []self.Option{self.WithLimits(limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		calls++
		return unused(r)
	}))}
	for i := range 45 {
		opts = append(opts, self.WithRoute(fmt.Sprintf("GET /a/{id}/%d&x=é", i), ratelimit.PerMinute(10)))
	}
	h := handlerOf(t, holder, opts...)
	var seen []string
	target := "/limits"
	for _, want := range []int{20, 20, 5} {
		calls = 0
		a := serve(t, h, request(http.MethodGet, target)).want(t, http.StatusOK, "")
		for _, item := range a.items(t) {
			name, _ := item["endpoint"].(string)
			seen = append(seen, name)
		}
		if calls != want {
			t.Errorf("%d calls, want %d", calls, want)
		}
		next, ok := a.object["next"].(string)
		if ok == (want == 5) {
			t.Fatalf("next %q", next)
		}
		target = "/limits?cursor=" + url.QueryEscape(next)
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != 45 {
		t.Errorf("saw %q", seen)
	}
}

func TestLimitsThatCannotBeTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{"outage", fmt.Errorf("%w: gone", ratelimit.ErrUnavailable), http.StatusServiceUnavailable, "unavailable"},
		{"client went away", context.Canceled, http.StatusServiceUnavailable, "unavailable"},
		{"fault", errors.New("secret cause"), http.StatusInternalServerError, "internal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var logged bytes.Buffer
			h := handlerOf(t, holder, self.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))), self.WithRoute("GET /a", ratelimit.PerMinute(1)),
				self.WithLimits(limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) { return ratelimit.Decision{}, c.err })))
			a := serve(t, h, request(http.MethodGet, "/limits")).want(t, c.status, c.code)
			if strings.Contains(a.text, c.err.Error()) || !strings.Contains(logged.String(), c.err.Error()) {
				t.Errorf("answer %s, log %s", a.text, &logged)
			}
			if (a.header.Get("Retry-After") != "") != (c.status == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
		})
	}
	short := handlerOf(t, holder, self.WithRoute("GET /a", ratelimit.PerMinute(1)),
		self.WithLimits(limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) { return ratelimit.Decision{}, nil })))
	serve(t, short, request(http.MethodGet, "/limits")).want(t, http.StatusInternalServerError, "internal")
}
