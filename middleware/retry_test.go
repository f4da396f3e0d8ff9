package middleware_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// refused is the result of a policy that refused.
func refused(name string, retry, next time.Duration) ratelimit.Result {
	return ratelimit.Result{Policy: name, Partition: ratelimit.ByProject, Limit: 1, Window: time.Hour, Cost: 1, Exceeded: true, RetryAfter: retry, NextAfter: next}
}

func random(part float64) middleware.Option {
	return middleware.WithRandom(func() float64 { return part })
}

// almostOne is the largest number that a source of randomness returns.
const almostOne = 1 - 1.0/(1<<53)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	concurrent := refused("a", 0, time.Minute)
	concurrent.Algorithm = ratelimit.Concurrency
	paid := refused("a", time.Hour, time.Hour)
	paid.Payment = true
	for name, c := range map[string]struct {
		results []ratelimit.Result
		opts    []middleware.Option
		want    time.Duration
	}{
		"rounded up":                 {[]ratelimit.Result{refused("a", 4100*time.Millisecond, 0)}, []middleware.Option{random(almostOne)}, 5 * time.Second},
		"at least a second":          {[]ratelimit.Result{refused("a", 0, 0)}, nil, time.Second},
		"never before t":             {[]ratelimit.Result{refused("a", time.Second, 7*time.Second)}, nil, 7 * time.Second},
		"concurrency has no t":       {[]ratelimit.Result{concurrent}, nil, time.Second},
		"no jitter":                  {[]ratelimit.Result{refused("a", time.Minute, 0)}, []middleware.Option{random(0)}, time.Minute},
		"half of a tenth":            {[]ratelimit.Result{refused("a", time.Minute, 0)}, []middleware.Option{random(0.5)}, 63 * time.Second},
		"a tenth":                    {[]ratelimit.Result{refused("a", time.Minute, 0)}, []middleware.Option{random(almostOne)}, 66 * time.Second},
		"a tenth is rounded down":    {[]ratelimit.Result{refused("a", 19*time.Second, 0)}, []middleware.Option{random(almostOne)}, 20 * time.Second},
		"short waits stay":           {[]ratelimit.Result{refused("a", 9*time.Second, 0)}, []middleware.Option{random(almostOne)}, 9 * time.Second},
		"a minute at most":           {[]ratelimit.Result{refused("a", time.Hour, 0)}, []middleware.Option{random(almostOne)}, 61 * time.Minute},
		"a bound of one's own":       {[]ratelimit.Result{refused("a", 10*time.Hour, 0)}, []middleware.Option{random(almostOne), middleware.WithRetryJitter(time.Hour)}, 11 * time.Hour},
		"switched off":               {[]ratelimit.Result{refused("a", time.Hour, 0)}, []middleware.Option{random(almostOne), middleware.WithRetryJitter(0)}, time.Hour},
		"the longest":                {[]ratelimit.Result{refused("a", 20*time.Second, 0), refused("b", time.Minute, 0), refused("c", time.Second, 0)}, []middleware.Option{random(0.5)}, 63 * time.Second},
		"waiting does not help":      {[]ratelimit.Result{refused("a", time.Minute, 0), refused("b", ratelimit.Never, time.Minute)}, nil, 0},
		"a payment has a time too":   {[]ratelimit.Result{paid}, []middleware.Option{random(0)}, time.Hour},
		"a refusal that none admits": {nil, nil, time.Second},
		"longer than can be told":    {[]ratelimit.Result{refused("a", 1<<63-1, 1<<63-1)}, []middleware.Option{random(0)}, 9_000_000_000 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, refusal := told(t, answers(false, c.results...), c.opts...)
			if refusal == nil || refusal.RetryAfter != c.want {
				t.Fatalf("refusal %+v, want RetryAfter %v", refusal, c.want)
			}
			status := http.StatusTooManyRequests
			if len(c.results) == 1 && c.results[0].Payment {
				status = http.StatusPaymentRequired
			}
			if refusal.Status != status || len(refusal.Violations) != len(c.results) {
				t.Errorf("refusal %+v, want status %d and a violation for each of %d", refusal, status, len(c.results))
			}
		})
	}
}

func TestMonitoredPolicyRefusesNobody(t *testing.T) {
	t.Parallel()
	watched := refused("watched", ratelimit.Never, time.Hour)
	watched.Monitor = true
	h, refusal := told(t, answers(false, watched, refused("requests", 5*time.Second, time.Second)))
	if refusal == nil || refusal.RetryAfter != 5*time.Second || !slices.Equal(violated(refusal), []string{"requests"}) {
		t.Errorf("refusal %+v, want requests alone, after 5s", refusal)
	}
	if got := h.Get("RateLimit"); got != `"requests";r=0;t=1` {
		t.Errorf("RateLimit: %s, want requests alone", got)
	}
}

// rendered returns the seconds of Retry-After, 0 without, and of each violation in the body.
func rendered(t rapid.TB, refusal *middleware.Error) (field int64, body []int64) {
	t.Helper()
	w := httptest.NewRecorder()
	refusal.Render(w, request("GET", "/"))
	if text := w.Header().Get("Retry-After"); text != "" {
		var err error
		if field, err = strconv.ParseInt(text, 10, 64); err != nil || field < 1 {
			t.Fatalf("Retry-After: %q", text)
		}
	}
	var problem struct {
		Names      []string `json:"violated-policies"`
		Violations []struct {
			Policy, Partition string
			RetryAfter        int64 `json:"retry_after"`
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || len(problem.Names) != len(problem.Violations) {
		t.Fatalf("body %s: %v", w.Body, err)
	}
	for i, v := range problem.Violations {
		if v.Policy != problem.Names[i] || v.Partition == "" {
			t.Fatalf("body %s", w.Body)
		}
		body = append(body, v.RetryAfter)
	}
	return field, body
}

// resets returns t of each member of a RateLimit field, by its name.
func resets(t rapid.TB, values []string) map[any]int64 {
	t.Helper()
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		t.Fatalf("RateLimit: %q: %v", values, err)
	}
	found := map[any]int64{}
	for _, member := range list {
		item := member.(httpsfv.Item)
		if after, ok := item.Params.Get("t"); ok {
			found[item.Value] = after.(int64)
		}
	}
	return found
}

func TestRetryAfterIsNeverBeforeT(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wait := rapid.OneOf(rapid.Int64Range(0, int64(time.Minute)), rapid.Int64Range(0, int64(400*24*time.Hour)), rapid.Just(int64(ratelimit.Never)))
		var results []ratelimit.Result
		never := false
		for i := range rapid.IntRange(1, 4).Draw(t, "policies") {
			r := refused("p"+strconv.Itoa(i), time.Duration(wait.Draw(t, "retry")), time.Duration(wait.Draw(t, "next")))
			r.Exceeded = i == 0 || rapid.Bool().Draw(t, "exceeded")
			never = never || r.Exceeded && r.RetryAfter == ratelimit.Never
			results = append(results, r)
		}
		bound := rapid.Int64Range(0, 3600).Draw(t, "bound")
		stage := middleware.Authenticate(demoCallers(), random(rapid.Float64Range(0, almostOne).Draw(t, "random")),
			middleware.WithRetryJitter(time.Duration(bound)*time.Second)).RateLimit(answers(false, results...), ratelimit.PerMinute(1))
		h := http.Header{}
		_, refusal := stage.Admit(h, request("GET", "/"), "GET /")
		field, body := rendered(t, refusal)
		if field != int64(refusal.RetryAfter/time.Second) || never != (field == 0) {
			t.Fatalf("Retry-After: %d, error %v, waiting helps: %v", field, refusal.RetryAfter, !never)
		}
		after := resets(t, h["Ratelimit"])
		for i, v := range refusal.Violations {
			told := int64(v.RetryAfter / time.Second)
			if body[i] != told || !never && told > field {
				t.Fatalf("%s: body %d, error %d, field %d", v.Policy, body[i], told, field)
			}
			if told > 0 && told < after[v.Policy] {
				t.Fatalf("%s: told to wait %d, but t=%d", v.Policy, told, after[v.Policy])
			}
		}
		if !never && field != slices.Max(body) {
			t.Fatalf("Retry-After: %d, body %v", field, body)
		}
		for _, r := range results {
			least := max((r.RetryAfter+time.Second-1)/time.Second, 1)
			if i := slices.Index(violated(refusal), r.Policy); i >= 0 && r.RetryAfter >= 0 {
				longest := max(int64(least), after[r.Policy])
				if body[i] < int64(least) || body[i] > longest+min(longest/10, bound) {
					t.Fatalf("%s: told to wait %d of at least %d, jitter up to %d", r.Policy, body[i], least, bound)
				}
			}
		}
	})
}

// What a real limiter says of each algorithm.
func TestRetryAfterOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
		if err != nil {
			t.Fatal(err)
		}
		who := demoCallers()
		who.known[goodKey].Org, who.known[goodKey].Epoch = redistest.Org(t), 0
		hour := ratelimit.PerHour(2)
		for _, policy := range []ratelimit.Policy{
			hour.Named("sliding"), hour.Named("fixed").Fixed(), hour.Named("aligned").Aligned(), hour.Named("gcra").Bucket(2),
			ratelimit.Quota(2, ratelimit.Daily(nil)).Named("quota"),
		} {
			stage := middleware.Authenticate(who).RateLimit(limiter, policy)
			for range 2 {
				if _, _, refusal := admit(t, stage, request("GET", "/")); refusal != nil {
					t.Fatalf("%s: %v", policy.Name, refusal)
				}
			}
			_, h, refusal := admit(t, stage, request("GET", "/"))
			if refusal == nil {
				t.Fatalf("%s: the third of two passed", policy.Name)
			}
			field, _ := rendered(t, refusal)
			if after := resets(t, h["Ratelimit"])[policy.Name]; after < 1 || field < after || field > after+60 {
				t.Errorf("%s: Retry-After: %d, RateLimit: %s", policy.Name, field, h.Get("RateLimit"))
			}
		}
	})
}
