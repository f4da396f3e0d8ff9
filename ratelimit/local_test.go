package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func localRequest(cost int64, policies ...ratelimit.Policy) ratelimit.Request {
	r := ratelimit.Request{Org: "acme", Project: "shop", Key: "k", Endpoint: endpoint}
	for _, p := range policies {
		r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: cost})
	}
	return r
}

// admitLocal asks for the share, which answers.
func admitLocal(t *testing.T, l *ratelimit.Limiter, r ratelimit.Request) ratelimit.Decision {
	t.Helper()
	d, err := l.AdmitLocal(t.Context(), r)
	if err != nil {
		t.Fatalf("AdmitLocal: %v", err)
	}
	return d
}

// TestFleet has three processes whose Redis dies: what they let pass together is the limit but for the rounding, or one
// each, whatever the algorithm.
func TestFleet(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t), MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	fleet := make([]*ratelimit.Limiter, 3)
	for i := range fleet {
		fleet[i] = member(t, rdb, "search", 1, ratelimit.WithHeartbeat(50*time.Millisecond))
	}
	for _, l := range fleet {
		until(t, "three are known", func() bool { return l.Replicas() == 3 })
	}
	rdb.ShutdownNoSave(t.Context())
	until(t, "Redis is away", func() bool { return rdb.Ping(t.Context()).Err() != nil })

	long := 300 * 24 * time.Hour // so that nothing rolls or leaks while the test runs
	of := func(limit int64) ratelimit.Policy { return ratelimit.Per(limit, long) }
	for _, tt := range []struct {
		name   string
		policy ratelimit.Policy
		want   int
	}{
		{"sliding", of(100), 99},
		{"fixed", of(100).Fixed(), 99},
		{"aligned", of(100).Aligned(), 99},
		{"quota", ratelimit.Quota(100, ratelimit.Monthly(1, nil)), 99},
		{"bucket", of(100).Bucket(10), 9},
		{"concurrency", ratelimit.Concurrent(100), 99},
		{"reserved", of(100).Reserved(time.Hour), 99},
		{"divides evenly", of(12).Fixed(), 12},
		{"one each", of(2).Fixed(), 3},
		{"a bucket of one", of(100).Bucket(1), 3},
		{"nothing", of(0), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, passed := localRequest(1, tt.policy), 0
			r.Project = tt.name
			for _, l := range fleet {
				if _, err := l.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
					t.Fatalf("Admit: %v, want ErrUnavailable", err)
				}
				for range 120 {
					if admitLocal(t, l, r).Allowed {
						passed++
					}
				}
			}
			if passed != tt.want {
				t.Errorf("%d passed, want %d", passed, tt.want)
			}
		})
	}
}

// TestLocalGoesByWhatIsKnown has Redis die after it told of overrides and a plan: who is blocked stays so, and who is
// lifted, and a limit is divided as it was last known.
func TestLocalGoesByWhatIsKnown(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t), MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	g := newGate(t, rdb)
	g.limiter = member(t, rdb, "g", 2, ratelimit.WithTimeout(10*time.Second))
	g.set(ratelimit.Override{Project: "blocked", Access: ratelimit.Blocked})
	g.set(ratelimit.Override{Project: "lifted", Access: ratelimit.Unlimited})
	g.set(ratelimit.Override{Project: "raised", Limit: new(int64(8))})
	of := func(org, project string) ratelimit.Request {
		r := localRequest(1, ratelimit.PerHour(4).Fixed())
		r.Org, r.Project = org, project
		return r
	}
	warm := of(g.org, "other")
	g.admit(warm)          // one project of the org is enough to know its overrides
	member(t, rdb, "g", 2) // the other
	until(t, "two are known", func() bool { return g.limiter.Replicas() == 2 })
	rdb.ShutdownNoSave(t.Context())
	until(t, "Redis is away", func() bool { return rdb.Ping(t.Context()).Err() != nil })
	for project, want := range map[string]int{"blocked": 0, "lifted": 20, "raised": 4, "other": 2, "never seen": 2} {
		passed := 0
		for range 20 {
			if admitLocal(t, g.limiter, of(g.org, project)).Allowed {
				passed++
			}
		}
		if passed != want {
			t.Errorf("%d of %q passed, want %d", passed, project, want)
		}
	}
	if d := admitLocal(t, g.limiter, of("unknown", "shop")); !d.Allowed || d.Results[0].Source != ratelimit.SourcePolicy || d.Results[0].Limit != 2 {
		t.Errorf("an org that is not in memory: %+v, want the policy as coded", d)
	}
}

// TestLocalWindowsRoll has time pass: what a share lets pass in each window is its part.
func TestLocalWindowsRoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := member(t, nowhere(), "g", 4)
		for _, tt := range []struct {
			name   string
			policy ratelimit.Policy
			want   []int // in each of three minutes
		}{
			{"fixed", ratelimit.PerMinute(41).Fixed(), []int{10, 10, 10}},
			{"bucket", ratelimit.PerMinute(41).Bucket(8), []int{2, 2, 2}},
			{"burst", ratelimit.PerMinute(8).Bucket(41), []int{10, 2, 2}},
			{"day", ratelimit.Quota(41, ratelimit.Daily(nil)), []int{10, 0, 0}},
		} {
			r := localRequest(1, tt.policy.Named(tt.name))
			for minute, want := range tt.want {
				passed := 0
				for range 50 {
					if admitLocal(t, l, r).Allowed {
						passed++
					}
				}
				if passed != want {
					t.Errorf("%s: %d passed in minute %d, want %d", tt.name, passed, minute, want)
				}
				time.Sleep(time.Minute)
			}
		}
	})
}

// TestLocalDecision tells of the share: what is left of it, and when more may be.
func TestLocalDecision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := member(t, nowhere(), "g", 2)
		hour, most := ratelimit.PerHour(10).Fixed(), time.Minute
		if d := admitLocal(t, l, localRequest(4, hour)); !d.Allowed || d.Hold == "" || d.TokenChecked ||
			!d.At.Equal(time.Now()) || d.Results[0].Limit != 5 || d.Results[0].Used != 4 || d.Results[0].Remaining != 1 || d.Results[0].Source != ratelimit.SourcePolicy {
			t.Errorf("AdmitLocal of 4 = %+v, want it allowed at %v with 4 of 5 used", d, time.Now().UTC())
		}
		if d := admitLocal(t, l, localRequest(4, hour)); d.Allowed || d.Hold != "" || !d.Results[0].Exceeded || d.RetryAfter() != most {
			t.Errorf("AdmitLocal of 4 more = %+v, want it refused for a minute, for Redis may be back", d)
		}
		if d := admitLocal(t, l, localRequest(6, hour)); d.Allowed || d.RetryAfter() != time.Second {
			t.Errorf("AdmitLocal of more than the share = %+v, want it refused for a second", d)
		}
		if d := admitLocal(t, l, localRequest(11, hour)); d.Allowed || d.RetryAfter() != ratelimit.Never {
			t.Errorf("AdmitLocal of more than the limit = %+v, want it refused for ever", d)
		}
		if d := admitLocal(t, l, localRequest(1, ratelimit.PerHour(0).Named("none").Paid())); d.Allowed || d.RetryAfter() != ratelimit.Never || !d.Results[0].Payment {
			t.Errorf("AdmitLocal of nothing = %+v, want it refused until somebody pays", d)
		}
		second := ratelimit.PerSecond(2).Fixed().Named("second").Paid()
		admitLocal(t, l, localRequest(1, second))
		if d := admitLocal(t, l, localRequest(1, second)); d.Allowed || d.RetryAfter() != time.Second || d.Results[0].Payment {
			t.Errorf("AdmitLocal of more than a share that is paid for = %+v, want it refused for a second, whoever pays", d)
		}
		peek := localRequest(1, hour)
		peek.Peek = true
		for range 2 {
			if d := admitLocal(t, l, peek); !d.Allowed || d.Hold != "" || d.Results[0].Remaining != 1 {
				t.Errorf("a peek = %+v, want it allowed, and one remaining", d)
			}
		}
		if s := l.Stats(); s.LocalAllowed != 2 || s.LocalRefused != 5 || s.LocalCounts != 2 {
			t.Errorf("Stats = %+v, want 2 let pass, 5 refused, 2 counts", s)
		}
	})
}

// TestLocalIsAllOrNothing: what one policy refuses no other counts, but a candidate, which counts by itself; one that is
// monitored refuses nothing.
func TestLocalIsAllOrNothing(t *testing.T) {
	t.Parallel()
	l := member(t, nowhere(), "g", 2)
	wide, narrow := ratelimit.PerHour(20).Named("wide"), ratelimit.PerHour(4).Named("narrow")
	candidate, monitored := ratelimit.PerHour(10).Named("next").InPlaceOf("narrow"), ratelimit.PerHour(2).Named("watched").Monitored()
	var last ratelimit.Decision
	for i := range 8 {
		if last = admitLocal(t, l, localRequest(1, wide, narrow, candidate, monitored)); last.Allowed != (i < 2) {
			t.Errorf("request %d: %+v, want two to pass", i, last)
		}
	}
	for i, want := range []int64{2, 2, 5, 1} {
		if got := last.Results[i].Used; got != want {
			t.Errorf("%d of %q used, want %d", got, last.Results[i].Policy, want)
		}
	}
	if !last.Results[3].Exceeded || last.Results[3].Candidate != "" || last.Results[2].Candidate != "narrow" {
		t.Errorf("results %+v, want the monitored one exceeded", last.Results)
	}
	l.SetMonitor(true)
	if d := admitLocal(t, l, localRequest(1, wide, narrow)); !d.Allowed {
		t.Errorf("a limiter that is monitored refuses: %+v", d)
	}
}

// TestLocalHolds ends, prolongs and gives back what was admitted here, without Redis.
func TestLocalHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := member(t, nowhere(), "g", 2)
		r := localRequest(3, ratelimit.PerHour(20).Fixed().Reserved(time.Minute).Named("tokens"), ratelimit.Concurrent(20))
		r.Hold = "of Redis"
		ended := func(d ratelimit.Decision, cost int64) ratelimit.Request {
			r := localRequest(cost, r.Charges[0].Policy, r.Charges[1].Policy)
			r.Hold, r.Charges[0].Held, r.Charges[1].Held = d.Hold, 3, 3
			return r
		}
		used := func(what string, tokens, running int64) {
			t.Helper()
			peek := localRequest(0, r.Charges[0].Policy, r.Charges[1].Policy)
			peek.Peek = true
			if got := admitLocal(t, l, peek).Results; got[0].Used != tokens || got[1].Used != running {
				t.Errorf("%s: %d and %d used, want %d and %d", what, got[0].Used, got[1].Used, tokens, running)
			}
		}
		first, second := admitLocal(t, l, r), admitLocal(t, l, r)
		if first.Hold == r.Hold || first.Hold == second.Hold {
			t.Errorf("holds %q and %q, want two of their own", first.Hold, second.Hold)
		}
		used("held", 6, 6)
		time.Sleep(20 * time.Second)
		if d, err := l.Renew(t.Context(), ended(first, 0)); err != nil || d.Results[0].Held != 6 {
			t.Errorf("Renew = %+v, %v; want it held on", d, err)
		}
		time.Sleep(15 * time.Second)
		used("a lease has ended", 6, 3) // those of Concurrent last for 30 seconds
		if d, err := l.Settle(t.Context(), ended(first, 1)); err != nil || d.Results[0].Used != 4 || d.Results[1].Used != 0 {
			t.Errorf("Settle = %+v, %v; want 1 taken and 3 held", d, err)
		}
		if _, err := l.Settle(t.Context(), ended(first, 1)); !errors.Is(err, ratelimit.ErrNotHeld) {
			t.Errorf("Settle again: %v, want ErrNotHeld", err)
		}
		used("settled", 4, 0)
		time.Sleep(time.Minute)
		used("all leases have ended", 1, 0)

		plain := localRequest(4, ratelimit.PerHour(20).Named("plain"))
		d := admitLocal(t, l, plain)
		plain.Hold, plain.Charges[0].Cost = d.Hold, 3
		if back, err := l.Refund(t.Context(), plain, d.At); err != nil || back.Results[0].Cost != 3 || back.Results[0].Used != 1 {
			t.Errorf("Refund = %+v, %v; want 3 given back, and 1 used", back, err)
		}
	})
}

// TestLocalNobody limits where nobody is authenticated.
func TestLocalNobody(t *testing.T) {
	t.Parallel()
	l := member(t, nowhere(), "g", 2)
	of := func(value string) ratelimit.Request {
		return ratelimit.Request{Endpoint: endpoint, Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(2).By("network"), Cost: 1, Value: value}}}
	}
	for value, want := range map[string]bool{"a": true, "b": true} {
		for _, want := range []bool{want, false} {
			if d := admitLocal(t, l, of(value)); d.Allowed != want {
				t.Errorf("network %s: %+v, want allowed %t", value, d, want)
			}
		}
	}
}

// TestLocalRefusesToDecide: what is wrong, and what is over.
func TestLocalRefusesToDecide(t *testing.T) {
	t.Parallel()
	l := member(t, nowhere(), "g", 2)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	good := localRequest(1, ratelimit.PerHour(2))
	if _, err := l.AdmitLocal(over, good); !errors.Is(err, ratelimit.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("AdmitLocal for nobody: %v, want ErrUnavailable of %v", err, context.Canceled)
	}
	for name, r := range map[string]ratelimit.Request{
		"no charge":     localRequest(1),
		"no live":       localRequest(1, ratelimit.PerHour(2).InPlaceOf("other").Named("next")),
		"negative cost": localRequest(-1, ratelimit.PerHour(2)),
	} {
		if _, err := l.AdmitLocal(t.Context(), r); !errors.Is(err, ratelimit.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	admitLocal(t, l, good)
	if _, err := l.AdmitLocal(t.Context(), localRequest(-1, good.Charges[0].Policy)); !errors.Is(err, ratelimit.ErrInvalid) {
		t.Errorf("a negative cost of what is known: %v, want ErrInvalid", err)
	}
	closed(t, l)
	if _, err := l.AdmitLocal(t.Context(), good); !errors.Is(err, ratelimit.ErrUnavailable) {
		t.Errorf("AdmitLocal after Close: %v, want ErrUnavailable", err)
	}
}

// TestLocalIsBounded: who finds no room is not let pass, and what has ended makes room.
func TestLocalIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := member(t, nowhere(), "g", 1)
		l.BoundLocal(3)
		of := func(project string) ratelimit.Request {
			r := localRequest(1, ratelimit.PerMinute(5).Fixed())
			r.Project = project
			return r
		}
		for _, project := range []string{"a", "b", "c", "a"} {
			admitLocal(t, l, of(project))
		}
		if d, err := l.AdmitLocal(t.Context(), of("d")); !errors.Is(err, ratelimit.ErrUnavailable) || d.Allowed {
			t.Errorf("AdmitLocal of one more = %+v, %v; want ErrUnavailable", d, err)
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if n := l.Stats().LocalCounts; n != 0 {
			t.Errorf("%d counts when all windows have ended, want none", n)
		}
		admitLocal(t, l, of("d"))
	})
}

// TestLocalIsForgotten an hour after it was asked for last.
func TestLocalIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := member(t, nowhere(), "g", 1)
		r := localRequest(1, ratelimit.Quota(5, ratelimit.Monthly(1, nil)))
		for _, after := range []time.Duration{0, 50 * time.Minute, 55 * time.Minute} {
			time.Sleep(after)
			admitLocal(t, l, r)
		}
		if n := l.Stats().LocalCounts; n != 1 {
			t.Errorf("%d counts, want 1", n)
		}
		time.Sleep(time.Hour + 2*time.Minute)
		synctest.Wait()
		if n := l.Stats().LocalCounts; n != 0 {
			t.Errorf("%d counts after an hour, want none", n)
		}
		if d := admitLocal(t, l, r); d.Results[0].Used != 1 {
			t.Errorf("%d used, want it to begin anew", d.Results[0].Used)
		}
		time.Sleep(time.Hour + 2*time.Minute)
	})
}
