package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestCandidatesTellClientsNothing has random results of live policies and of candidates beside them. What
// clients get, and how the step ended, is what it is without the candidates.
func TestCandidatesTellClientsNothing(t *testing.T) {
	t.Parallel()
	generations := []middleware.Fields{0, middleware.FieldsDraft10, middleware.FieldsDraft6, middleware.FieldsDraft10 | middleware.FieldsX, middleware.FieldsXUnix}
	rapid.Check(t, func(rt *rapid.T) {
		live, candidates := drawResults(rt, "live", 3), drawResults(rt, "next", 2)
		mixed := slices.Clone(live)
		for _, c := range candidates {
			c.Candidate = rapid.SampledFrom(live).Draw(rt, "for").Policy
			mixed = slices.Insert(mixed, rapid.IntRange(0, len(mixed)).Draw(rt, "at"), c)
		}
		allowed := !slices.ContainsFunc(live, func(r ratelimit.Result) bool { return r.Exceeded && !r.Monitor })
		fields := rapid.SampledFrom(generations).Draw(rt, "fields")
		keys := rapid.Bool().Draw(rt, "partition keys")
		want := answerOf(t, ratelimit.Decision{Allowed: allowed, Results: live}, fields, keys)
		got := answerOf(t, ratelimit.Decision{Allowed: allowed, Results: mixed}, fields, keys)
		if got != want {
			rt.Fatalf("with candidates\n%s\nwithout\n%s", got, want)
		}
	})
}

func drawResults(t *rapid.T, name string, most int) []ratelimit.Result {
	results := make([]ratelimit.Result, rapid.IntRange(1, most).Draw(t, name+"s"))
	wait := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 5 * time.Second, time.Hour, ratelimit.Never})
	for i := range results {
		limit := rapid.Int64Range(0, 9).Draw(t, "limit")
		results[i] = ratelimit.Result{
			Policy: fmt.Sprint(name, i), Partition: ratelimit.ByProject, Limit: limit, Window: time.Minute,
			Algorithm: rapid.SampledFrom([]ratelimit.Algorithm{ratelimit.SlidingWindow, ratelimit.GCRA, ratelimit.Concurrency}).Draw(t, "algorithm"),
			Monitor:   rapid.Bool().Draw(t, "monitor"), Payment: rapid.Bool().Draw(t, "payment"), Unlimited: rapid.IntRange(0, 5).Draw(t, "unlimited") == 0,
			Exceeded: rapid.Bool().Draw(t, "exceeded"), Remaining: rapid.Int64Range(0, limit).Draw(t, "remaining"),
			NextAfter: wait.Draw(t, "next"), ResetAfter: wait.Draw(t, "reset"), RetryAfter: wait.Draw(t, "retry"), Cost: 1,
		}
		results[i].Exceeded = results[i].Exceeded && !results[i].Unlimited
	}
	return results
}

// answerOf returns all that a stage makes of a decision: the outcome, and status, fields and body of the answer.
func answerOf(t *testing.T, d ratelimit.Decision, fields middleware.Fields, keys bool) string {
	t.Helper()
	d.At = time.Unix(1_700_000_000, 0)
	seen := &events{}
	opts := []middleware.Option{middleware.WithObserver(seen), middleware.WithFields(fields), middleware.WithRandom(func() float64 { return 0.5 })}
	if keys {
		opts = append(opts, middleware.WithPartitionKeys([]byte("0123456789abcdef")))
	}
	var policies []ratelimit.Policy
	for _, r := range d.Results {
		p := ratelimit.PerMinute(r.Limit).Named(r.Policy)
		p.Candidate = r.Candidate
		policies = append(policies, p)
	}
	limiter := limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) { return d, nil })
	r := request(http.MethodGet, "/v1/search")
	r.Header.Set("X-Request-Id", "t1")
	a, header, refusal := admit(t, middleware.Authenticate(demoCallers(), opts...).RateLimit(limiter, policies...), r)
	w := httptest.NewRecorder()
	maps.Copy(w.Header(), header)
	if refusal != nil {
		refusal.Render(w, r)
	} else {
		a.Done(http.StatusOK, 0)
	}
	outcomes := ""
	for _, e := range seen.all {
		outcomes += fmt.Sprint(e.Step, " ", e.Outcome, ", ")
	}
	return fmt.Sprint(outcomes, w.Code, w.Header(), w.Body)
}

func TestCandidatesAtMount(t *testing.T) {
	t.Parallel()
	live := ratelimit.PerMinute(2)
	next := live.Named("next").InPlaceOf("requests")
	auth := middleware.Authenticate(demoCallers())
	cost := func(*http.Request) (int64, error) { return 2, nil }
	for name, test := range map[string]struct {
		stage middleware.Stage
		want  string // of the error; "" for none
	}{
		"beside":            {auth.RateLimit(limiterFunc(allow), live, next), ""},
		"before":            {auth.RateLimit(limiterFunc(allow), next, live), ""},
		"by LimitBy":        {middleware.LimitBy(middleware.Everyone(), limiterFunc(allow), live, next), ""},
		"alone":             {auth.RateLimit(limiterFunc(allow), next), `policy "next" is a candidate for "requests"`},
		"alone, by LimitBy": {middleware.LimitBy(middleware.Everyone(), limiterFunc(allow), next), `policy "next" is a candidate for "requests"`},
		"beside another":    {auth.RateLimit(limiterFunc(allow), live.Named("other"), next), `policy "next" is a candidate for "requests"`},
		"for a candidate":   {auth.RateLimit(limiterFunc(allow), live, next, live.Named("far").InPlaceOf("next")), `policy "far" is a candidate for "next"`},
		"for itself":        {auth.RateLimit(limiterFunc(allow), live.InPlaceOf("requests")), "must be the name of another policy"},
		"of another value":  {auth.RateLimit(limiterFunc(allow), live, next.By("region")), `Partition("region", ...)`},
		"with a cost":       {auth.RateLimit(limiterFunc(allow), live, next).Cost("next", cost), `Cost("next"): a candidate costs what its live policy "requests" does`},
		"that holds":        {auth.RateLimit(limiterFunc(allow), live, ratelimit.Concurrent(1).InPlaceOf("requests")), "is no Holder"},
	} {
		if err := test.stage.Err(); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestCandidatesCostTheSame reads a cost once, and charges it to the candidates as well.
func TestCandidatesCostTheSame(t *testing.T) {
	t.Parallel()
	asked := 0
	var charged []int64
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		charged = nil
		for _, c := range r.Charges {
			charged = append(charged, c.Cost)
		}
		return allow(r)
	})
	live := ratelimit.PerMinute(100)
	stage := middleware.Authenticate(demoCallers()).
		RateLimit(limiter, live.Named("next").InPlaceOf("rows"), live.Named("rows"), live, live.Named("other").InPlaceOf("requests")).
		Cost("rows", func(*http.Request) (int64, error) { asked++; return 7, nil })
	a, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search"))
	if refusal != nil || asked != 1 || !slices.Equal(charged, []int64{7, 7, 1, 1}) {
		t.Errorf("charged %v after %d questions, %v; want 7, 7, 1, 1 after one", charged, asked, refusal)
	}
	for policy, want := range map[string][]int64{"rows": {3, 3}, "requests": {3, 3}} {
		if err := a.Take(t.Context(), nil, policy, 3); err != nil || !slices.Equal(charged, want) {
			t.Errorf("Take(%q) charged %v, %v; want %v", policy, charged, err, want)
		}
	}
}

// TestCandidatesFollow has a handler take, settle and give back on a real Redis: the candidate, of a larger
// limit and another algorithm, counts as its live policy.
func TestCandidatesFollow(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		plain, held := ratelimit.PerHour(50).Fixed(), ratelimit.PerHour(50).Fixed().Named("held").Reserved(time.Hour)
		stage, limiter, peek, seen := holding(t, rdb, plain, ratelimit.PerHour(90).Bucket(60).Named("next").InPlaceOf("requests"),
			held, held.Named("held-next").InPlaceOf("held"), ratelimit.Concurrent(1).Named("at-once").InPlaceOf("held"))
		ten := func(*http.Request) (int64, error) { return 10, nil }
		a, _, refusal := admit(t, stage.Cost("requests", ten).Cost("held", ten), request(http.MethodGet, "/v1/search"))
		if refusal != nil {
			t.Fatal(refusal)
		}
		peek.Peek = true
		check := func(when string, want ...int64) {
			t.Helper()
			d, err := limiter.Admit(t.Context(), peek)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, r := range d.Results {
				got = append(got, r.Used)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v used, want %v", when, got, want)
			}
		}
		check("admitted", 10, 10, 10, 10, 1)
		for _, err := range []error{
			a.Take(t.Context(), nil, "requests", 5), a.Take(t.Context(), nil, "held", 2),
			a.Settle(t.Context(), nil, "held", 4), a.Refund(t.Context(), nil, "requests", 8), a.Refund(t.Context(), nil, "held", 1),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		check("taken, settled, given back", 7, 7, 5, 5, 1)
		a.Done(http.StatusOK, 0)
		check("done", 7, 7, 5, 5, 0)
		if n, err := seen.of(middleware.StepSettle, middleware.OutcomeFailed); n != 0 {
			t.Errorf("%d settlements failed, %v", n, err)
		}
	})
}

// TestMonitorSwitch turns monitoring on for a limiter whose stage would refuse.
func TestMonitorSwitch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		stage, limiter, _, seen := holding(t, rdb, ratelimit.PerHour(0).Paid())
		if _, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search")); refusal == nil || refusal.Status != http.StatusPaymentRequired {
			t.Fatalf("before: %v, want 402", refusal)
		}
		limiter.SetMonitor(true)
		a, header, refusal := admit(t, stage, request(http.MethodGet, "/v1/search"))
		if refusal != nil || len(header) != 0 {
			t.Fatalf("while monitored: %v with %v, want it to pass, and no field", refusal, header)
		}
		if n, _ := seen.of(middleware.StepRateLimit, middleware.OutcomeMonitored); n != 1 || !a.Decision().Results[0].Monitor {
			t.Errorf("%d events tell that it was monitored, want 1; %v", n, a.Decision())
		}
		a.Done(http.StatusOK, 0)
	}, redistest.OrEmbedded())
}

func TestMonitorSwitchWithoutRedis(t *testing.T) {
	t.Parallel()
	monitored := fmt.Errorf("%w, %w", ratelimit.ErrMonitored, ratelimit.ErrUnavailable)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		err    error
		ctx    context.Context
		choose func(*middleware.Limited) *middleware.Limited
		want   middleware.Outcome
	}{
		"by default":           {monitored, t.Context(), nil, middleware.OutcomeOpened},
		"closed by choice":     {monitored, t.Context(), func(s *middleware.Limited) *middleware.Limited { return s.OnFailure(middleware.FailClosed) }, middleware.OutcomeFailed},
		"open by choice":       {monitored, t.Context(), func(s *middleware.Limited) *middleware.Limited { return s.OnFailure(middleware.FailOpen) }, middleware.OutcomeOpened},
		"client hung up":       {monitored, gone, nil, middleware.OutcomeFailed},
		"not monitored":        {ratelimit.ErrUnavailable, t.Context(), nil, middleware.OutcomeFailed},
		"stale all along":      {errors.Join(ratelimit.ErrStale), t.Context(), nil, middleware.OutcomeRefused},
		"out of bounds":        {ratelimit.ErrInvalid, t.Context(), nil, middleware.OutcomeRefused},
		"its stage, monitored": {ratelimit.ErrUnavailable, t.Context(), (*middleware.Limited).Monitor, middleware.OutcomeOpened},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := &events{}
			stage := middleware.Authenticate(demoCallers(), middleware.WithObserver(seen)).
				RateLimit(limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) { return ratelimit.Decision{}, test.err }), ratelimit.PerMinute(1))
			if test.choose != nil {
				stage = test.choose(stage)
			}
			a, header, refusal := admit(t, stage, request(http.MethodGet, "/v1/search").WithContext(test.ctx))
			last := seen.all[len(seen.all)-1]
			if last.Outcome != test.want || (refusal == nil) != (test.want == middleware.OutcomeOpened) || len(header) != 0 {
				t.Errorf("%s %s, %v with %v; want %s", last.Step, last.Outcome, refusal, header, test.want)
			}
			if a != nil && !reflect.DeepEqual(a.Decision(), ratelimit.Decision{Allowed: true}) {
				t.Errorf("the decision is %v, want none", a.Decision())
			}
		})
	}
}
