package middleware_test

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// answers returns a limiter that says the same of every request, at a time that is no whole second.
func answers(allowed bool, results ...ratelimit.Result) limiterFunc {
	return func(ratelimit.Request) (ratelimit.Decision, error) {
		return ratelimit.Decision{Allowed: allowed, At: time.UnixMilli(1_700_000_000_900), Results: results}, nil
	}
}

// told returns what the response says to a request that a limiter answered so.
func told(t *testing.T, limiter limiterFunc, opts ...middleware.Option) (http.Header, *middleware.Error) {
	t.Helper()
	_, h, refusal := admit(t, middleware.Authenticate(demoCallers(), opts...).RateLimit(limiter, ratelimit.PerMinute(1)), request("GET", "/"))
	return h, refusal
}

func TestFieldOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		option middleware.Option
		want   []string
	}{
		"unknown generation":   {middleware.WithFields(64), []string{"WithFields(0x40)"}},
		"two RateLimit-Policy": {middleware.WithFields(middleware.FieldsDraft10 | middleware.FieldsDraft6), []string{"RateLimit-Policy"}},
		"two Resets":           {middleware.WithFields(middleware.FieldsX | middleware.FieldsXUnix), []string{"X-RateLimit-Reset"}},
		"all faults":           {middleware.WithFields(255), []string{"0xff", "share RateLimit-Policy", "share X-RateLimit-Reset"}},
		"no secret":            {middleware.WithPartitionKeys(nil), []string{"0 bytes", "at least 16"}},
		"short secret":         {middleware.WithPartitionKeys([]byte("fifteen letters")), []string{"15 bytes", "at least 16"}},
		"jitter below zero":    {middleware.WithRetryJitter(-time.Second), []string{"WithRetryJitter(-1s)", "0 to 1h0m0s"}},
		"jitter above an hour": {middleware.WithRetryJitter(time.Hour + time.Second), []string{"WithRetryJitter(1h0m1s)"}},
		"jitter of a fraction": {middleware.WithRetryJitter(1500 * time.Millisecond), []string{"whole seconds"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := middleware.Authenticate(demoCallers(), c.option).Err()
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Err() = %v, want %q in it", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "fifteen letters") {
				t.Errorf("Err() = %v tells the secret", err)
			}
		})
	}
	for name, option := range map[string]middleware.Option{
		"none": middleware.WithFields(0), "three": middleware.WithFields(middleware.FieldsDraft6 | middleware.FieldsXUnix),
		"no jitter": middleware.WithRetryJitter(0), "an hour": middleware.WithRetryJitter(time.Hour),
		"secret": middleware.WithPartitionKeys(make([]byte, 16)),
	} {
		if err := middleware.Authenticate(demoCallers(), option).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The old generations tell of one policy; which one, these rows say.
func TestNearestToExhaustion(t *testing.T) {
	t.Parallel()
	left := func(limit, remaining int64, next time.Duration) ratelimit.Result {
		return ratelimit.Result{Policy: "p" + strconv.FormatInt(limit, 10), Limit: limit, Remaining: remaining, NextAfter: next}
	}
	with := func(r ratelimit.Result, change func(*ratelimit.Result)) ratelimit.Result {
		change(&r)
		return r
	}
	exceeded := func(r *ratelimit.Result) { r.Exceeded = true }
	concurrent := func(r *ratelimit.Result) { r.Algorithm = ratelimit.Concurrency }
	for name, c := range map[string]struct {
		results []ratelimit.Result
		want    string // limit, remaining, reset
	}{
		"fewer units remain":         {[]ratelimit.Result{left(10, 9, 1), left(1000, 8, 1)}, "1000 8 1"},
		"refused before fewer":       {[]ratelimit.Result{left(10, 0, 1), with(left(20, 4, 7*time.Second), exceeded)}, "20 4 7"},
		"longer to wait":             {[]ratelimit.Result{left(10, 0, time.Second), left(20, 0, time.Minute), left(30, 0, time.Second)}, "20 0 60"},
		"never is longest":           {[]ratelimit.Result{left(10, 0, time.Hour), left(0, 0, ratelimit.Never)}, "0 0 none"},
		"first of equals":            {[]ratelimit.Result{left(10, 3, 1), left(20, 3, 1)}, "10 3 1"},
		"monitored is not announced": {[]ratelimit.Result{with(left(10, 0, 1), func(r *ratelimit.Result) { r.Monitor, r.Exceeded = true, true }), left(20, 5, 1)}, "20 5 1"},
		"unlimited is not announced": {[]ratelimit.Result{with(left(10, 0, 0), func(r *ratelimit.Result) { r.Unlimited = true }), left(20, 5, 1)}, "20 5 1"},
		"concurrency has no window":  {[]ratelimit.Result{with(left(10, 0, 0), concurrent), left(20, 5, 1)}, "20 5 1"},
		"nothing but concurrency":    {[]ratelimit.Result{with(left(10, 0, 0), concurrent)}, "none none none"},
		"nothing used":               {[]ratelimit.Result{left(10, 10, 0)}, "10 10 0"},
		"a burst above the limit":    {[]ratelimit.Result{left(10, 25, time.Microsecond)}, "10 10 1"},
		"a wait is rounded up":       {[]ratelimit.Result{left(10, 1, time.Second+1)}, "10 1 2"},
		"15 digits at most":          {[]ratelimit.Result{left(1<<62, 1<<61, 1<<62)}, "999999999999999 999999999999999 4611686019"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, generation := range []struct {
				fields middleware.Fields
				prefix string
			}{{middleware.FieldsDraft6, "RateLimit-"}, {middleware.FieldsX, "X-RateLimit-"}} {
				h, _ := told(t, answers(true, c.results...), middleware.WithFields(generation.fields))
				got := []string{h.Get(generation.prefix + "Limit"), h.Get(generation.prefix + "Remaining"), h.Get(generation.prefix + "Reset")}
				for i := range got {
					if got[i] == "" {
						got[i] = "none"
					}
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("%s: %v, want %s", generation.prefix, got, c.want)
				}
			}
		})
	}
}

func TestResetAsUnixTime(t *testing.T) {
	t.Parallel()
	unix := middleware.WithFields(middleware.FieldsXUnix)
	for name, c := range map[string]struct {
		next time.Duration
		want string
	}{
		"rounded up":     {200 * time.Millisecond, "1700000002"}, // at .9 s
		"a whole second": {100 * time.Millisecond, "1700000001"},
		"at once":        {0, "1700000001"},
		"never":          {ratelimit.Never, ""},
		"for ages":       {1<<63 - 1, "10700000001"},
	} {
		if h, _ := told(t, answers(true, ratelimit.Result{Policy: "p", Limit: 1, NextAfter: c.next}), unix); h.Get("X-RateLimit-Reset") != c.want {
			t.Errorf("%s: %q, want %q", name, h.Get("X-RateLimit-Reset"), c.want)
		}
	}
	timeless := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) { return allow(r) })
	if h, _ := told(t, timeless, unix); h.Get("X-RateLimit-Reset") != "" || h.Get("X-RateLimit-Limit") != "1" {
		t.Errorf("a decision without a time: %v, want a limit and no Reset", h)
	}
}

// A stage within another tells of another policy; nothing of what the outer one told may stay.
func TestFieldsOfNestedStages(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(demoCallers(), middleware.WithFields(middleware.FieldsDraft6|middleware.FieldsX))
	outer, h, refusal := admit(t, auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(10)), request("GET", "/"))
	if refusal != nil || h.Get("X-RateLimit-Reset") == "" {
		t.Fatalf("refusal %v, header %v", refusal, h)
	}
	blocked := answers(false, ratelimit.Result{Policy: "none", Window: time.Hour, Exceeded: true, NextAfter: ratelimit.Never, RetryAfter: ratelimit.Never})
	inner := auth.RateLimit(blocked, ratelimit.PerHour(0).Named("none"))
	if _, refusal := inner.Admit(h, outer.Request(), "GET /"); refusal == nil || refusal.RetryAfter != 0 {
		t.Fatalf("refusal %v, want one without Retry-After", refusal)
	}
	want := http.Header{
		"Ratelimit-Limit": {"0"}, "Ratelimit-Remaining": {"0"}, "Ratelimit-Policy": {"10;w=60, 0;w=3600"},
		"X-Ratelimit-Limit": {"0"}, "X-Ratelimit-Remaining": {"0"},
	}
	if !maps.EqualFunc(h, want, slices.Equal) {
		t.Errorf("header %v, want %v", h, want)
	}
}

// Whatever runs last, the fields are those of the stage whose policy was charged.
func TestFieldsAreThoseOfTheStage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields middleware.Fields
		want   []string
	}{"none": {0, nil}, "X": {middleware.FieldsX, []string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}}} {
		auth := middleware.Authenticate(demoCallers(), middleware.WithFields(c.fields))
		outer, h, refusal := admit(t, auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(10)), request("GET", "/"))
		if refusal != nil {
			t.Fatal(refusal)
		}
		a, refusal := middleware.LimitBy(middleware.Everyone(), limiterFunc(allow), ratelimit.PerHour(10).Named("all")).Admit(h, outer.Request(), "GET /")
		if refusal != nil {
			t.Fatal(refusal)
		}
		if err := a.Take(t.Context(), h, "requests", 1); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(h)); !slices.Equal(got, c.want) {
			t.Errorf("%s: fields %v, want %v", name, got, c.want)
		}
	}
}

// Before the fields could be chosen, they cost four allocations, and to keep the results cost one for each.
func TestAllocationsOfFields(t *testing.T) {
	policies := []ratelimit.Policy{ratelimit.PerMinute(100), ratelimit.PerHour(1000).Named("hourly"), ratelimit.PerSecond(3).Named("burst")}
	var results []ratelimit.Result
	var least float64
	for n := 1; n <= len(policies); n++ {
		results = append(results, ratelimit.Result{Policy: policies[n-1].Name, Limit: 1000, Window: time.Minute, Remaining: 999, NextAfter: time.Second})
		stage := middleware.Authenticate(demoCallers()).RateLimit(answers(true, results...), policies[:n]...)
		r := request("GET", "/")
		count := func(h http.Header) float64 {
			return testing.AllocsPerRun(100, func() {
				if _, refusal := stage.Admit(h, r, "GET /"); refusal != nil {
					t.Fatal(refusal)
				}
			})
		}
		with, without := count(http.Header{}), count(nil)
		if n == 1 {
			least = without
		}
		if with-without > 3 || without > least {
			t.Errorf("%d policies cost %v allocations and their fields %v, want %v and at most 3", n, without, with-without, least)
		}
	}
}

// memberOf parses a list of RFC 9651 with one member, and returns what it says.
func memberOf(t *testing.T, values []string) (name any, says map[string]any) {
	t.Helper()
	list, err := httpsfv.UnmarshalList(values)
	if err != nil || len(list) != 1 {
		t.Fatalf("%q is no list of one: %v", values, err)
	}
	item, says := list[0].(httpsfv.Item), map[string]any{}
	for _, parameter := range item.Params.Names() {
		says[parameter], _ = item.Params.Get(parameter)
	}
	return item.Value, says
}

// Whatever a limiter says, the fields are well formed and say the same.
func FuzzFields(f *testing.F) {
	f.Add("requests", "", int64(100), int64(93), int64(time.Minute), int64(1500*time.Millisecond), uint8(0), uint8(1))
	f.Add("inflight", "concurrent-requests", int64(20), int64(3), int64(30*time.Second), int64(time.Second), uint8(ratelimit.Concurrency), uint8(1|4))
	f.Add("upload", "content-bytes", int64(-1), int64(1<<62), int64(1500), int64(-1), uint8(0), uint8(2|8))
	f.Add("x", "tokens", int64(1<<62), int64(-5), int64(-time.Second), int64(1<<63-1), uint8(0), uint8(4))
	const second = int64(time.Second)
	whole := func(n int64) int64 { return min(max(n, 0), ratelimit.MaxLimit) }
	f.Fuzz(func(t *testing.T, name, unit string, limit, remaining, window, next int64, algorithm, generations uint8) {
		fields, policy := middleware.WithFields(middleware.Fields(generations)), ratelimit.Policy{Name: name, Unit: unit, Window: time.Second}
		if policy.Validate() != nil || name == "" || middleware.Authenticate(demoCallers(), fields).Err() != nil {
			return
		}
		h, _ := told(t, answers(true, ratelimit.Result{
			Policy: name, Unit: unit, Limit: limit, Remaining: remaining, Window: time.Duration(window),
			NextAfter: time.Duration(next), Algorithm: ratelimit.Algorithm(algorithm),
		}), fields)
		policySays, limitSays := map[string]any{"q": whole(limit)}, map[string]any{"r": whole(remaining)}
		if unit != "" && unit != "requests" {
			policySays["qu"] = unit
		}
		if timed := ratelimit.Algorithm(algorithm) != ratelimit.Concurrency; timed {
			if window > 0 && window%second == 0 {
				policySays["w"] = window / second
			}
			if next > 0 {
				limitSays["t"] = min((next-1)/second+1, 9_000_000_000)
			}
		}
		draft10 := middleware.Fields(generations)&middleware.FieldsDraft10 != 0
		for field, values := range h {
			if draft10 && (field == "Ratelimit" || field == "Ratelimit-Policy") {
				want := limitSays
				if field == "Ratelimit-Policy" {
					want = policySays
				}
				if member, says := memberOf(t, values); member != name || !maps.Equal(says, want) {
					t.Errorf("%s: %q says %v of %v, want %v of %s", field, values, says, member, want, name)
				}
			} else if field == "Ratelimit-Policy" {
				if member, says := memberOf(t, values); member != whole(limit) || says["w"] != policySays["w"] {
					t.Errorf("%s: %q, want %d and the window", field, values, limit)
				}
			} else if item, err := httpsfv.UnmarshalItem(values); err != nil || item.Value.(int64) < 0 {
				t.Errorf("%s: %q is no whole number: %v", field, values, err)
			}
		}
		if got := h["Ratelimit"] != nil; got != draft10 {
			t.Errorf("RateLimit: %q for %#x", h["Ratelimit"], generations)
		}
	})
}
