package middleware

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Bounds of what failures cost a process and Redis.
const (
	maxNetworks     = 4096
	maxNetworkValue = 256 // bytes; what is longer is cut
	chargesPerSec   = 200
)

// failures is what a process knows of networks whose authentications failed. Safe for concurrent use.
type failures struct {
	limiter  Limiter
	policy   ratelimit.Policy
	of       func(*http.Request) string
	capacity int64         // what the policy lets pass at once
	charges  *rate.Limiter // of calls to the limiter
	began    time.Time
	latest   atomic.Int64 // when the last block ends, in nanoseconds since began

	mu        sync.RWMutex
	networks  map[string]failing
	monitored bool // the limiter refuses nobody, as far as is known
}

// failing is a network. What it is alone blocked by is what the limiter has not answered for: so far as it has,
// its word counts.
type failing struct {
	unheard int64     // failures that the limiter has not answered for
	pending int64     // those of them that it was not asked for
	ends    time.Time // when these are forgotten
	until   time.Time // the end of a block
}

func newFailures(limiter Limiter, policy ratelimit.Policy, of func(*http.Request) string) *failures {
	capacity := policy.Limit
	if policy.Algorithm == ratelimit.GCRA {
		capacity = policy.Burst
	}
	return &failures{
		limiter: limiter, policy: policy, of: of, capacity: capacity,
		charges: rate.NewLimiter(chargesPerSec, chargesPerSec), began: time.Now(),
		networks: map[string]failing{}, monitored: policy.Monitor,
	}
}

// network returns the value that a request is counted by.
func (f *failures) network(r *http.Request) string {
	value := f.of(r)
	if value == "" {
		return "(none)"
	}
	return value[:min(len(value), maxNetworkValue)]
}

// blocking reports whether any network is blocked. It keeps the cost of a budget from requests in calm times.
func (f *failures) blocking() bool {
	latest := f.latest.Load()
	return latest > 0 && time.Since(f.began) < time.Duration(latest)
}

// wait returns how long a network is blocked, zero if it is not.
func (f *failures) wait(network string) time.Duration {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.monitored {
		return 0
	}
	return max(time.Until(f.networks[network].until), 0)
}

// add counts a failure, and returns for how many the limiter is to be charged now: none while it is asked too
// often.
func (f *failures) add(network string) int64 {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.networks[network]
	if n.unheard == 0 || !now.Before(n.ends) {
		n.unheard, n.pending, n.ends = 0, 0, now.Add(f.policy.Window)
	}
	n.unheard++
	n.pending++
	if n.unheard > f.policy.Limit {
		f.block(&n, n.ends)
	}
	var units int64
	if f.charges.AllowN(now, 1) {
		units, n.pending = min(n.pending, f.capacity), 0 // what is over the capacity would never fit
	}
	f.keep(network, n)
	return units
}

// settle takes note of the limiter's answer for some failures.
func (f *failures) settle(network string, units int64, d *ratelimit.Decision) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.networks[network]
	f.monitored = monitors(d)
	n.unheard = max(n.unheard-units, n.pending)
	if !d.Allowed {
		wait := d.RetryAfter()
		if wait < 0 || wait > f.policy.Window {
			wait = f.policy.Window
		}
		f.block(&n, now.Add(wait))
	}
	if n.unheard == 0 && !n.until.After(now) {
		delete(f.networks, network)
		return
	}
	f.keep(network, n)
}

// monitor takes note that the limiter did not answer, and would refuse nobody if it did.
func (f *failures) monitor() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.monitored = true
}

// monitors reports whether the policy, or the limiter with all of its policies, was monitored in a decision.
func monitors(d *ratelimit.Decision) bool { return len(d.Results) == 1 && d.Results[0].Monitor }

// keep holds what is known of a network, in the place of another if there are too many. The caller holds mu.
func (f *failures) keep(network string, n failing) {
	if _, known := f.networks[network]; !known && len(f.networks) >= maxNetworks {
		f.evict()
	}
	f.networks[network] = n
}

// block blocks a network until a time, if it is not blocked for longer. The caller holds mu.
func (f *failures) block(n *failing, until time.Time) {
	if n.until.Before(until) {
		n.until = until
		f.latest.Store(max(f.latest.Load(), int64(until.Sub(f.began))))
	}
}

// evict drops the network that would be forgotten first among a few. A map is ranged over from a random place,
// so these few differ each time. The caller holds mu.
func (f *failures) evict() {
	const few = 8
	var victim string
	var first time.Time
	seen := 0
	for network, n := range f.networks {
		end := n.ends
		if n.until.After(end) {
			end = n.until
		}
		if seen == 0 || end.Before(first) {
			victim, first = network, end
		}
		if seen++; seen == few {
			break
		}
	}
	delete(f.networks, victim)
}
