// Package rival has the contestants of the benchmark: tollgate's limiter, those of other projects, and what Redis and its
// client can do at best. Each of them uses its library as its documentation shows, with the settings that it has by
// default, and a client of its own for each run.
//
//	place := rival.Place{Addrs: []string{addr}, Prefix: "bench"}
//	tenants, err := rival.NewTenants(ctx, place, 1000, 16)
//	all := []contest.Contestant{rival.Strict(place, tenants), rival.RedisRate(place)}
package rival

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Place is the Redis that contestants use, and where in it their keys are.
type Place struct {
	Addrs  []string // of one server, or of the masters of a cluster
	Prefix string   // of keys, and of the names of orgs
	// Patience is how long tollgate waits for Redis. Zero: as long as it does by default, 50 ms, after which a check counts
	// as failed. It is for where the wait is not measured, and the machine may be busy.
	Patience time.Duration
}

// Options are those of a limiter and of a verifier that wait as Patience says.
func (p Place) Options() ([]ratelimit.Option, []authkey.Option) {
	if p.Patience == 0 {
		return nil, nil
	}
	return []ratelimit.Option{ratelimit.WithTimeout(p.Patience)}, []authkey.Option{authkey.WithTimeout(p.Patience)}
}

// Client returns a new client with the settings that go-redis has by default, except that it keeps to the deadlines of
// contexts, as tollgate asks for.
func (p Place) Client() redis.UniversalClient {
	if len(p.Addrs) > 1 {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: p.Addrs, ContextTimeoutEnabled: true})
	}
	return redis.NewClient(&redis.Options{Addr: p.Addrs[0], ContextTimeoutEnabled: true})
}

// names returns the keys of a contestant: they are its own, and others for each kind of limits.
func (p Place) names(who string, limits contest.Limits, keys int) []string {
	kind := "denied"
	if limits == contest.Allowing {
		kind = "allowed"
	}
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("%s:%s:%s:project-%04d", p.Prefix, who, kind, i)
	}
	return names
}

// never is a limit a second that no contestant reaches. redis_rate counts in doubles, and would skip its write at rates
// that are much higher.
const never = 1_000_000
