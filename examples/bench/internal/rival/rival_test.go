package rival_test

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// patience is for a machine that is busy: no test is of speed.
const patience = 10 * time.Second

func limiters(p rival.Place, t *rival.Tenants) []contest.Contestant {
	return []contest.Contestant{
		rival.Strict(p, t), rival.Remembering(p, t), rival.LimitAlone(p, t, 1000),
		rival.RedisRate(p), rival.RedisRateAutoPipeline(p), rival.Throttled(p), rival.Ulule(p), rival.Httprate(p),
		rival.Rueidis(p), rival.EvalSha(p), rival.EvalShaAutoPipeline(p), rival.Naive(p),
	}
}

// allow and deny fail unless each of a few checks has the one answer, alone and at once.
func allow(t *testing.T, c contest.Contestant) {
	t.Helper()
	t.Run(c.Name, func(t *testing.T) {
		running, err := c.Open(t.Context(), contest.Allowing, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, running)
		check := running.Caller()
		for i := range 10 {
			if allowed, err := check(t.Context(), i%2); err != nil || !allowed {
				t.Fatalf("check %d = %v, %v; want it allowed", i, allowed, err)
			}
		}
	})
}

func deny(t *testing.T, c contest.Contestant) {
	t.Helper()
	t.Run(c.Name, func(t *testing.T) {
		running, err := c.Open(t.Context(), contest.Denying, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, running)
		check := running.Caller()
		for key := range 2 {
			for i := range 4 {
				if allowed, err := check(t.Context(), key); err != nil || allowed != (i == 0) {
					t.Fatalf("check %d of key %d = %v, %v; want the first one allowed, and no other", i, key, allowed, err)
				}
			}
		}
	})
}

func closes(t *testing.T, r *contest.Running) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestStandalone(t *testing.T) {
	t.Parallel()
	p := rival.Place{Addrs: []string{redistest.StandaloneAddr(t)}, Prefix: redistest.Org(t), Patience: patience}
	tenants, err := rival.NewTenants(t.Context(), p, 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range limiters(p, tenants) {
		allow(t, c)
		deny(t, c)
	}
	for _, c := range []contest.Contestant{rival.Leased(p, tenants), rival.GCRA(p, tenants), rival.Three(p, tenants), rival.RedisRateThree(p), rival.Ping(p)} {
		allow(t, c)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	p := rival.Place{Addrs: redistest.ClusterAddrs(t), Prefix: redistest.Org(t), Patience: patience}
	tenants, err := rival.NewTenants(t.Context(), p, 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []contest.Contestant{rival.Strict(p, tenants), rival.RedisRate(p), rival.RedisRateAutoPipeline(p), rival.EvalSha(p)} {
		allow(t, c)
		deny(t, c)
	}
}

// Our contestant's policy lets one check a minute pass: the rest is the override's doing, so it is applied.
func TestOverrideIsApplied(t *testing.T) {
	t.Parallel()
	p := rival.Place{Addrs: []string{redistest.StandaloneAddr(t)}, Prefix: redistest.Org(t), Patience: patience}
	tenants, err := rival.NewTenants(t.Context(), p, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range tenants.Identities {
		if who.Epoch == 0 {
			t.Errorf("%s has no epoch, so none is compared", who.Project)
		}
	}
	strangers := &rival.Tenants{Keys: tenants.Keys}
	for _, who := range tenants.Identities {
		stranger := *who
		stranger.Org, stranger.Epoch = who.Org+"-without-override", 0
		strangers.Identities = append(strangers.Identities, &stranger)
	}
	running, err := rival.Strict(p, strangers).Open(t.Context(), contest.Allowing, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, running)
	check := running.Caller()
	for i := range 2 {
		if allowed, err := check(t.Context(), 0); err != nil || allowed != (i == 0) {
			t.Fatalf("check %d of an org without override = %v, %v; want the first one allowed alone", i, allowed, err)
		}
	}
}

// A run of each kind comes to numbers, and to no errors.
func TestRun(t *testing.T) {
	t.Parallel()
	p := rival.Place{Addrs: []string{redistest.StandaloneAddr(t)}, Prefix: redistest.Org(t), Patience: patience}
	tenants, err := rival.NewTenants(t.Context(), p, 8, 2)
	if err != nil {
		t.Fatal(err)
	}
	watch := contest.NewWatch(p.Addrs...)
	defer watch.Close()
	for name, limits := range map[string]contest.Limits{"allowing": contest.Allowing, "denying": contest.Denying} {
		t.Run(name, func(t *testing.T) {
			setting := contest.Setting{Callers: 3, Keys: 8, Limits: limits, Rounds: 3, Warm: 2 * time.Millisecond, For: 10 * time.Millisecond}
			table, err := contest.Run(t.Context(), setting, watch, []contest.Contestant{rival.Strict(p, tenants), rival.RedisRate(p)})
			if err != nil {
				t.Fatal(err)
			}
			for _, who := range []string{rival.NameStrict, rival.NameRedisRate} {
				if n := len(table.Row(who).Samples); n != setting.Rounds {
					t.Errorf("%s has %d samples, want %d", who, n, setting.Rounds)
				}
				for _, m := range []result.Metric{result.Rate, result.P50, result.P99} {
					if got := table.Spread(who, m); got.Least <= 0 {
						t.Errorf("%s of %s = %+v, want more than nothing", m, who, got)
					}
				}
				if got := table.Spread(who, result.Errors); got.Most != 0 {
					t.Errorf("%v of %s failed: %s", got, who, table.Row(who).Fault)
				}
			}
			if got := table.Spread(rival.NameRedisRate, result.Commands); limits == contest.Allowing && got.Median < 3 {
				t.Errorf("redis_rate took %v commands a check, want its script and what that runs", got)
			}
		})
	}
}
