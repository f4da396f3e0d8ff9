package rival

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Names of our contestants.
const (
	NameStrict = "tollgate"
	NameLeased = "tollgate leased"
	NameGCRA   = "tollgate GCRA"
	NameThree  = "tollgate, 3 policies"
	// NameRemembering refuses from memory.
	NameRemembering = "tollgate, WithRefusals"
)

// minute is the policy that the orgs' overrides raise.
const minute = "minute"

// StrictPolicy is a sliding window over a minute as it is coded: the orgs' overrides have to be applied for it not to be
// reached at once.
func StrictPolicy() ratelimit.Policy { return ratelimit.PerMinute(1).Named(minute) }

// Ahead is how many units leases take ahead.
const Ahead = 100

// LeasedPolicy is StrictPolicy with units taken ahead.
func LeasedPolicy(ahead int64) ratelimit.Policy { return StrictPolicy().Ahead(ahead) }

// Strict checks a sliding window over a minute, exactly: each check is counted in Redis before it is answered.
func Strict(p Place, t *Tenants) contest.Contestant { return ours(p, t, NameStrict, StrictPolicy()) }

// Remembering is Strict, and refuses from memory what Redis refused at most 100 ms ago.
func Remembering(p Place, t *Tenants) contest.Contestant {
	return oursWith(p, t, NameRemembering, []ratelimit.Option{ratelimit.WithRefusals(100 * time.Millisecond)}, StrictPolicy())
}

// Leased is Strict with units of each key taken ahead: most checks are answered from memory.
func Leased(p Place, t *Tenants) contest.Contestant {
	return ours(p, t, NameLeased, LeasedPolicy(Ahead))
}

// GCRA checks what redis_rate does, by the same algorithm.
func GCRA(p Place, t *Tenants) contest.Contestant {
	return ours(p, t, NameGCRA, ratelimit.PerSecond(never).Bucket(never).Named("second"))
}

// Three checks three policies in one request, all or nothing.
func Three(p Place, t *Tenants) contest.Contestant {
	return ours(p, t, NameThree, ratelimit.PerSecond(never).Named("second"), StrictPolicy(), ratelimit.PerHour(100*never).Named("hour"))
}

const nameAlone = "limit alone"

// LimitAlone checks a limit with so many units taken ahead, or refuses from memory for a second, and counts no usage.
func LimitAlone(p Place, t *Tenants, ahead int64) contest.Contestant {
	return oursWith(p, t, nameAlone, []ratelimit.Option{ratelimit.WithRefusals(time.Second)}, LeasedPolicy(ahead))
}

// ours does the whole work of a request on a service with keys: its policies after the org's overrides, the epochs of
// its key and its overrides compared in the same call, and its usage counted.
func ours(p Place, t *Tenants, name string, allowing ...ratelimit.Policy) contest.Contestant {
	return oursWith(p, t, name, nil, allowing...)
}

func oursWith(p Place, t *Tenants, name string, opts []ratelimit.Option, allowing ...ratelimit.Policy) contest.Contestant {
	return contest.Contestant{Name: name, Open: func(_ context.Context, limits contest.Limits, keys int) (*contest.Running, error) {
		policies := allowing
		if limits == contest.Denying {
			policies = []ratelimit.Policy{ratelimit.PerHour(1).Named("denied")}
		}
		patience, _ := p.Options()
		g := &gate{tenants: t, rdb: p.Client(), uncounted: name == nameAlone}
		if err := g.open(name, policies, keys, append(patience, opts...)); err != nil {
			return nil, errors.Join(err, g.rdb.Close())
		}
		return &contest.Running{Caller: g.caller, Close: g.close}, nil
	}}
}

// gate is our contestant while it runs.
type gate struct {
	tenants  *Tenants
	rdb      redis.UniversalClient
	limiter  *ratelimit.Limiter
	usage    *meter.Meter
	prepared []*ratelimit.Prepared
	count    []func(units int64, at time.Time) // of the same projects
	// uncounted is for what is measured of the limit alone.
	uncounted bool
}

func (g *gate) open(endpoint string, policies []ratelimit.Policy, keys int, opts []ratelimit.Option) (err error) {
	if g.limiter, err = ratelimit.New(g.rdb, opts...); err != nil {
		return err
	}
	var charges []ratelimit.Charge
	for _, policy := range policies {
		charges = append(charges, ratelimit.Charge{Policy: policy, Cost: 1})
	}
	for _, who := range g.tenants.Identities[:keys] {
		prepared, err := g.limiter.Prepare(ratelimit.Request{
			Org: who.Org, Project: who.Project, Key: who.Key, Plan: who.Plan, Endpoint: "GET /v1/" + endpoint, Charges: charges,
		})
		if err != nil {
			return err
		}
		g.prepared = append(g.prepared, prepared)
	}
	if g.usage, err = meter.New(g.rdb); err != nil {
		return err
	}
	for _, who := range g.tenants.Identities[:keys] {
		g.count = append(g.count, Counter(g.usage, who))
	}
	return nil
}

// Counter adds units to the count of an identity's usage as a stage does, which keeps with the identity what would have to
// be looked up.
func Counter(usage *meter.Meter, who *authkey.Identity) func(units int64, at time.Time) {
	if count, ok := who.Notes.Load(usage).(func(int64, time.Time)); ok {
		return count
	}
	names := middleware.Usage{Org: who.Org, Project: who.Project, Product: "bench", Kind: "checks"}
	count := func(units int64, at time.Time) {
		one := names
		one.Units, one.At = units, at
		usage.Record(one)
	}
	if tallier, ok := any(usage).(middleware.Tallier); ok {
		if tally := tallier.Tally(names); tally != nil {
			count = tally.Add
		}
	}
	who.Notes.Store(usage, count)
	return count
}

func (g *gate) caller() contest.Check {
	var decision ratelimit.Decision
	return func(ctx context.Context, key int) (bool, error) {
		who := g.tenants.Identities[key]
		if err := g.prepared[key].Admit(ctx, ratelimit.Call{Epoch: who.Epoch}, &decision); err != nil {
			return false, err
		}
		if decision.Allowed && !g.uncounted {
			g.count[key](1, time.Now())
		}
		return decision.Allowed, nil
	}
}

func (g *gate) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(g.limiter.Close(ctx), g.usage.Close(ctx), g.rdb.Close())
}
