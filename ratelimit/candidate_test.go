package ratelimit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// verdicts returns those of a decision.
func verdicts(d ratelimit.Decision) string {
	var all []string
	for r, verdict := range d.Candidates() {
		all = append(all, fmt.Sprint(r.Policy, " ", verdict))
	}
	return strings.Join(all, ", ")
}

func TestCandidateVerdicts(t *testing.T) {
	t.Parallel()
	blocked, unlimited := ratelimit.Override{Access: ratelimit.Blocked}, ratelimit.Override{Access: ratelimit.Unlimited}
	named := func(o ratelimit.Override, policy string) []ratelimit.Override {
		o.Policy = policy
		return []ratelimit.Override{o}
	}
	live := ratelimit.PerHour(2).Fixed()
	next := func(p ratelimit.Policy) ratelimit.Policy { return p.Named("next").InPlaceOf("") }
	for _, test := range []struct {
		name      string
		policies  []ratelimit.Policy
		overrides []ratelimit.Override
		want      []string // of one request after the other
		allowed   int      // the first so many
	}{
		{"the same limit", []ratelimit.Policy{live, next(live)}, nil, []string{"next agree_allow", "next agree_allow", "next agree_refuse"}, 2},
		{"a smaller limit", []ratelimit.Policy{live, next(ratelimit.PerHour(1).Fixed())}, nil, []string{"next agree_allow", "next would_refuse", "next agree_refuse"}, 2},
		{"a larger limit counts what it would let pass", []ratelimit.Policy{live, next(ratelimit.PerHour(4).Fixed())}, nil,
			[]string{"next agree_allow", "next agree_allow", "next would_allow", "next would_allow", "next agree_refuse"}, 2},
		{"before its live policy, and of another algorithm", []ratelimit.Policy{next(ratelimit.PerHour(1).Bucket(3)), live}, nil,
			[]string{"next agree_allow", "next agree_allow", "next would_allow", "next agree_refuse"}, 2},
		{"of another partition", []ratelimit.Policy{live, next(live).By(ratelimit.ByOrg)}, nil, []string{"next agree_allow", "next agree_allow", "next agree_refuse"}, 2},
		{"two of them", []ratelimit.Policy{live, next(ratelimit.PerHour(1)), next(ratelimit.PerHour(3)).Named("far")}, nil,
			[]string{"next agree_allow, far agree_allow", "next would_refuse, far agree_allow", "next agree_refuse, far would_allow", "next agree_refuse, far agree_refuse"}, 2},
		{"for a monitored policy", []ratelimit.Policy{live.Monitored(), next(ratelimit.PerHour(1))}, nil, []string{"next agree_allow", "next would_refuse", "next agree_refuse"}, 3},
		{"monitored itself", []ratelimit.Policy{live, next(ratelimit.PerHour(1)).Monitored()}, nil, []string{"next agree_allow", "next would_refuse", "next agree_refuse"}, 2},
		{"of zero", []ratelimit.Policy{live, next(ratelimit.PerHour(0))}, nil, []string{"next would_refuse", "next would_refuse", "next agree_refuse"}, 2},
		{"without a value", []ratelimit.Policy{live, next(live).By("region")}, nil, []string{"next would_refuse", "next would_refuse", "next agree_refuse"}, 2},
		{"blocked by name", []ratelimit.Policy{live, next(live)}, named(blocked, "next"), []string{"next would_refuse", "next would_refuse", "next agree_refuse"}, 2},
		{"unlimited by name", []ratelimit.Policy{live, next(live)}, named(unlimited, "next"), []string{"next agree_allow", "next agree_allow", "next would_allow"}, 2},
		{"its live policy unlimited by name", []ratelimit.Policy{live, next(live)}, named(unlimited, "requests"), []string{"next agree_allow", "next agree_allow", "next would_refuse"}, 3},
		{"both blocked", []ratelimit.Policy{live, next(live)}, named(blocked, ""), []string{"next agree_refuse"}, 0},
		{"both unlimited, without a value", []ratelimit.Policy{live, next(live).By("region")}, named(unlimited, ""), []string{"next agree_allow", "next agree_allow", "next agree_allow"}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				g := newGate(t, rdb)
				for _, o := range test.overrides {
					g.set(o)
				}
				for i, want := range test.want {
					d := g.admit(g.request(1, test.policies...))
					if got := verdicts(d); got != want || d.Allowed != (i < test.allowed) {
						t.Errorf("request %d: %s, allowed %t; want %s, %t\n%v", i+1, got, d.Allowed, want, i < test.allowed, d)
					}
					if d.Allowed && d.RetryAfter() != 0 {
						t.Errorf("request %d: RetryAfter %v of what is allowed", i+1, d.RetryAfter())
					}
				}
			}, redistest.OrEmbedded())
		})
	}
}

// TestCandidatesEnd stops at the first of two.
func TestCandidatesEnd(t *testing.T) {
	t.Parallel()
	d := ratelimit.Decision{Results: []ratelimit.Result{{Policy: "a"}, {Policy: "b", Candidate: "a"}, {Policy: "c", Candidate: "a"}}}
	seen := 0
	for range d.Candidates() {
		seen++
		break
	}
	if seen != 1 {
		t.Errorf("%d candidates, want 1", seen)
	}
}

// TestCandidateDoesNotDelay refuses by the live policy alone: the wait is that of the live one.
func TestCandidateDoesNotDelay(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		r := g.request(1, ratelimit.PerMinute(1).Fixed(), ratelimit.PerHour(1).Fixed().Named("next").InPlaceOf("requests"))
		g.admit(r)
		if d := g.admit(r); d.Allowed || verdicts(d) != "next agree_refuse" || d.RetryAfter() > time.Minute {
			t.Errorf("refused with %v, want up to a minute\n%v", d.RetryAfter(), d)
		}
		r.Charges[1].Policy = ratelimit.PerHour(0).Named("none").InPlaceOf("requests")
		if d := g.admit(r); d.RetryAfter() == ratelimit.Never {
			t.Errorf("refused for ever by a candidate\n%v", d)
		}
	}, redistest.OrEmbedded())
}

// TestCandidateThatHolds holds a place for what was admitted alone, and gives it back with the rest.
func TestCandidateThatHolds(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		live, next := ratelimit.Concurrent(2), ratelimit.Concurrent(1).Named("next").InPlaceOf("concurrent")
		r := g.request(1, live, next)
		first, second, third := g.admit(r), g.admit(r), g.admit(r)
		for i, want := range []string{"next agree_allow", "next would_refuse", "next agree_refuse"} {
			if got := verdicts([]ratelimit.Decision{first, second, third}[i]); got != want {
				t.Errorf("request %d: %s, want %s", i+1, got, want)
			}
		}
		if third.Results[1].Held != 1 || third.Allowed {
			t.Errorf("%d held by the candidate, want 1\n%v", third.Results[1].Held, third)
		}
		settle := func(hold string) (ratelimit.Decision, error) {
			r := g.request(0, live, next)
			r.Hold, r.Charges[0].Held, r.Charges[1].Held = hold, 1, 1
			return g.limiter.Settle(t.Context(), r)
		}
		if d, err := settle(first.Hold); err != nil || d.Results[0].Held != 1 || d.Results[1].Held != 0 {
			t.Errorf("settled: %v, %v; want one held by the live policy", d, err)
		}
		// The candidate held nothing for the second. That is nobody's error.
		if d, err := settle(second.Hold); err != nil || d.Results[0].Held != 0 {
			t.Errorf("settled: %v, %v; want nothing held", d, err)
		}
		if _, err := settle(second.Hold); !errors.Is(err, ratelimit.ErrNotHeld) || strings.Contains(err.Error(), `"next"`) {
			t.Errorf("settled twice: %v, want ErrNotHeld of the live policy", err)
		}
	}, redistest.OrEmbedded())
}

// TestCandidateHoldsNothingForWhatIsRefused has a larger candidate: nobody would end what it held for a request
// that its live policy refused.
func TestCandidateHoldsNothingForWhatIsRefused(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		r := g.request(1, ratelimit.Concurrent(1), ratelimit.Concurrent(3).Named("next").InPlaceOf("concurrent"))
		g.admit(r)
		for range 4 {
			if d := g.admit(r); d.Allowed || verdicts(d) != "next would_allow" || d.Results[1].Held != 1 {
				t.Errorf("%s, %d held by the candidate; want next would_allow, 1\n%v", verdicts(d), d.Results[1].Held, d)
			}
		}
	}, redistest.OrEmbedded())
}

// TestCandidatesLeaveDecisions decides random requests of two projects, one of which has candidates beside the
// live policies. The live results are the same; lua's own test has them to the bit, times included.
func TestCandidatesLeaveDecisions(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		g.set(ratelimit.Override{Policy: "next", Limit: new(int64(1))})
		cases := 0
		rapid.Check(t, func(rt *rapid.T) {
			cases++
			live := drawPolicies(rt, "live", 3)
			candidates := drawPolicies(rt, "next", 2)
			for i := range candidates {
				candidates[i] = candidates[i].InPlaceOf(rapid.SampledFrom(live).Draw(rt, "for").Name)
			}
			for range rapid.IntRange(1, 8).Draw(rt, "requests") {
				cost := rapid.Int64Range(0, 3).Draw(rt, "cost")
				alone, beside := g.request(cost, live...), g.request(cost, append(slices.Clone(live), candidates...)...)
				alone.Project, beside.Project = fmt.Sprint("alone", cases), fmt.Sprint("beside", cases)
				alone.Peek = rapid.Bool().Draw(rt, "peek")
				beside.Peek = alone.Peek
				want, got := g.admit(alone), g.admit(beside)
				if got.Allowed != want.Allowed || (got.RetryAfter() == 0) != (want.RetryAfter() == 0) {
					rt.Fatalf("got\n%v\nwant\n%v", got, want)
				}
				for i := range want.Results {
					if a, b := timeless(want.Results[i]), timeless(got.Results[i]); a != b {
						rt.Fatalf("got\n%v\nwant\n%v", b, a)
					}
				}
			}
		})
	})
}

func drawPolicies(t *rapid.T, name string, most int) []ratelimit.Policy {
	policies := make([]ratelimit.Policy, rapid.IntRange(1, most).Draw(t, name))
	for i := range policies {
		limit := rapid.Int64Range(0, 5).Draw(t, "limit")
		policies[i] = rapid.SampledFrom([]ratelimit.Policy{
			ratelimit.Per(limit, 300*24*time.Hour), ratelimit.PerHour(limit).Fixed(), ratelimit.Per(limit, 300*24*time.Hour).Aligned(),
			ratelimit.PerHour(limit).Bucket(3), ratelimit.Concurrent(limit), ratelimit.PerHour(limit).Fixed().Reserved(time.Hour),
			ratelimit.PerHour(limit).Fixed().Monitored(), ratelimit.PerHour(limit).Fixed().Paid(),
		}).Draw(t, "policy").Named(name)
		if i > 0 {
			policies[i].Name += fmt.Sprint(i)
		}
	}
	return policies
}

// timeless returns a result without what differs from one moment to the next.
func timeless(r ratelimit.Result) ratelimit.Result {
	for _, wait := range []*time.Duration{&r.NextAfter, &r.ResetAfter, &r.RetryAfter} {
		*wait = min(*wait, 1) // never, none or some
	}
	return r
}

func TestCandidateWithoutLivePolicy(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		live := ratelimit.PerMinute(10)
		next := live.Named("next").InPlaceOf("requests")
		for name, policies := range map[string][]ratelimit.Policy{
			"alone":                {next},
			"beside another":       {live.Named("other"), next},
			"for a candidate":      {live, next, live.Named("far").InPlaceOf("next")},
			"for itself":           {live.InPlaceOf("requests")},
			"for no possible name": {live, live.Named("next").InPlaceOf("a b")},
		} {
			if d, err := g.limiter.Admit(t.Context(), g.request(1, policies...)); !errors.Is(err, ratelimit.ErrInvalid) {
				t.Errorf("%s: %v, %v, want ErrInvalid", name, d, err)
			}
		}
		unnamed := live
		unnamed.Name = ""
		if d := g.admit(g.request(1, unnamed, next)); verdicts(d) != "next agree_allow" {
			t.Errorf("beside the default name: %s", verdicts(d))
		}
	}, redistest.OrEmbedded())
}
