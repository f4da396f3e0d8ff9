package ratelimit

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// Algorithm is how a policy counts.
type Algorithm uint8

// The algorithms. With a key of 50 bytes, a state takes 152 bytes of Redis (sliding and fixed windows), 168
// (aligned, GCRA, one request of Concurrency, which takes about 42 for each more) or 184 (calendar), and about as much
// again for its count while it is busy.
const (
	// SlidingWindow weighs the count of the previous window by how much of it still lies within one
	// window's length from now. It smooths the edge between two windows, and assumes that the previous
	// window's units were spread evenly: where they were not, up to Limit and the share of it that falls away
	// meanwhile can pass, as through a GCRA whose Burst is its Limit.
	SlidingWindow Algorithm = iota
	// FixedWindow begins a window at the first unit and forgets it as a whole at its end. It is easy to
	// explain and tells a caller exactly when to come back; around the edge of two windows up to twice
	// the limit can pass within one window's length.
	FixedWindow
	// AlignedWindow is a FixedWindow that begins at whole multiples of its length since 1970, UTC, for
	// everybody at once.
	AlignedWindow
	// CalendarWindow is a window that a Period sets: a day or a month in a time zone.
	CalendarWindow
	// GCRA is the generic cell rate algorithm, a bucket that holds Burst units and leaks Limit of them in
	// a Window, evenly. It has no windows whose edges could be used, and spreads what it lets pass; up to
	// Burst and Limit together can pass within one Window.
	GCRA
	// Concurrency counts what runs now: what requests hold until they are done. A crash gives its units back
	// by itself when their Lease ends.
	Concurrency
)

// algorithms tells of each its name, what the script calls it, and what its keys end with: two that the
// script treats alike still have states of their own.
var algorithms = [...]struct {
	name        string
	script, key lua.Algorithm
}{
	SlidingWindow:  {"sliding window", lua.Sliding, lua.Sliding},
	FixedWindow:    {"fixed window", lua.Fixed, lua.Fixed},
	AlignedWindow:  {"aligned window", lua.Calendar, "a"},
	CalendarWindow: {"calendar window", lua.Calendar, lua.Calendar},
	GCRA:           {"GCRA", lua.GCRA, lua.GCRA},
	Concurrency:    {"concurrency", lua.Concurrency, lua.Concurrency},
}

// String returns the algorithm's name, as "sliding window".
func (a Algorithm) String() string {
	if int(a) < len(algorithms) {
		return algorithms[a].name
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}

// Partition names what has a count of its own: each value of it at each endpoint. Besides the three
// here, any other name is a partition of the caller's own, whose value comes with the Charge.
type Partition string

// The partitions that an identity has.
const (
	ByProject Partition = "project" // the default
	ByKey     Partition = "key"
	ByOrg     Partition = "org"
)

// Policy is a named limit: so many units in a window, for each value of a partition at each endpoint.
// It is plain data; Per and its kin make one with the usual values. The zero Policy is invalid, for it
// has no window.
type Policy struct {
	// Name tells policies of one request apart, and is what clients see. Up to 64 letters, digits and
	// ". _ -". Default "requests".
	Name string
	// Algorithm is how units are counted. Default SlidingWindow.
	Algorithm Algorithm
	// Limit is how many units a window may take, 0 to 999,999,999,999,999. Zero refuses everything.
	Limit int64
	// Window is at least a millisecond, at most 400 days, in whole microseconds. A CalendarWindow has a
	// Period instead, and Concurrency has none.
	Window time.Duration
	// Lease makes what is charged a hold: it counts for so long, and longer if it is renewed, until it is
	// settled, perhaps for another cost. A hold that nobody settles falls away by itself. Concurrency needs
	// it; for others zero, the default, takes units at once. Up to 24 hours, in whole microseconds.
	Lease time.Duration
	// Burst is how many units a GCRA lets pass at once, at least 1, and so few that they leak within 400
	// days. Other algorithms have none.
	Burst int64
	// Period is which days or months a CalendarWindow counts. Other algorithms have none.
	Period Period
	// Prefetch is how many units a process may take ahead of the requests that will use them, and then decide these from
	// memory: up to 1,000,000,000, for each who asks by themselves: each project or key, at each endpoint, also where
	// they share a count. Units are charged when they are taken, so the limit is never exceeded; but others may be
	// refused although a process has as many units left, until it gives them back. It takes as many as it used up
	// lately, none near the limit, and asks Redis anew at least every second, which is how long it may take until
	// it hears of a change or a revocation. Policies of windows of a second or more may have it; a request whose
	// policies do not all have it asks Redis each time. What is left comes back when its second is over, with
	// Limiter.Close, or after a crash when the window ends. Zero, the default, takes nothing ahead.
	Prefetch int64
	// Partition is what is counted separately. Default ByProject.
	Partition Partition
	// Shared makes one count for all endpoints. By default each endpoint has a count of its own. Overrides
	// of single endpoints do not change a policy that is shared.
	Shared bool
	// Unit names what is counted, as clients see it: "content-bytes", "tokens". The default is "requests",
	// and for Concurrency "concurrent-requests". Up to 64 letters, digits and ". _ -".
	Unit string
	// Monitor reports what the policy would have refused, and lets it pass. Only what fits is counted,
	// so that it reports what it would do if it were enforced.
	Monitor bool
	// Payment tells that only paying helps: a request that no other kind of policy refuses is answered
	// with 402, not 429.
	Payment bool
	// Candidate names the policy of the same request, the live one, that this one is proposed to replace. It
	// then never refuses, and no client hears of it: Decision.Candidates tells where the two disagree. It
	// counts by itself what it would let pass, also of requests that other policies refuse; only what it holds,
	// by a Lease, it holds for requests that are admitted. Overrides change it as they do any policy, by its own
	// name or without one. Empty, the default: the policy is no candidate.
	Candidate string
}

// defaultName is the name of a policy that has none.
const defaultName = "requests"

// Bounds of a policy.
const (
	MaxLimit  = lua.MaxUnits
	minWindow = time.Millisecond
	maxWindow = lua.MaxWindow * time.Microsecond
	maxLease  = 24 * time.Hour
	maxName   = 64

	maxPrefetch = 1_000_000_000
)

// Per returns a policy of limit units in a window, named "requests", for each project. It is a SlidingWindow unless
// Fixed, Aligned or Bucket chooses another algorithm; what is told of its reset may be up to two windows away, for a
// unit weighs in the window after its own, too.
func Per(limit int64, window time.Duration) Policy {
	return Policy{Name: "requests", Limit: limit, Window: window, Partition: ByProject}
}

// PerSecond returns Per(limit, time.Second), which slides.
func PerSecond(limit int64) Policy { return Per(limit, time.Second) }

// PerMinute returns Per(limit, time.Minute), which slides: its reset may be up to two minutes away. Add Fixed, Aligned or
// Bucket for another algorithm.
func PerMinute(limit int64) Policy { return Per(limit, time.Minute) }

// PerHour returns Per(limit, time.Hour), which slides.
func PerHour(limit int64) Policy { return Per(limit, time.Hour) }

// Quota returns a policy of limit units in a period of the calendar, named "quota", for each project, with
// one count for all endpoints.
func Quota(limit int64, period Period) Policy {
	return Policy{Name: "quota", Algorithm: CalendarWindow, Limit: limit, Period: period, Partition: ByProject, Shared: true}
}

// Concurrent returns a policy of limit requests at once, named "concurrent", for each project. What a
// process held that crashed is free again after 30 seconds.
func Concurrent(limit int64) Policy {
	return Policy{Name: "concurrent", Algorithm: Concurrency, Limit: limit, Lease: 30 * time.Second, Partition: ByProject}
}

// Named returns the policy under another name.
func (p Policy) Named(name string) Policy { p.Name = name; return p }

// By returns the policy for another partition.
func (p Policy) By(partition Partition) Policy { p.Partition = partition; return p }

// Fixed returns the policy with the algorithm FixedWindow.
func (p Policy) Fixed() Policy { p.Algorithm = FixedWindow; return p }

// Aligned returns the policy with the algorithm AlignedWindow.
func (p Policy) Aligned() Policy { p.Algorithm = AlignedWindow; return p }

// Bucket returns the policy with the algorithm GCRA and a burst.
func (p Policy) Bucket(burst int64) Policy { p.Algorithm, p.Burst = GCRA, burst; return p }

// Reserved returns the policy with a Lease: a request holds its cost until it is settled.
func (p Policy) Reserved(lease time.Duration) Policy { p.Lease = lease; return p }

// Ahead returns the policy with a Prefetch: up to so many units are taken ahead, and requests decided from memory.
func (p Policy) Ahead(units int64) Policy { p.Prefetch = units; return p }

// Across returns the policy with Shared set: one count for all endpoints.
func (p Policy) Across() Policy { p.Shared = true; return p }

// Of returns the policy with another Unit, as "tokens".
func (p Policy) Of(unit string) Policy { p.Unit = unit; return p }

// Paid returns the policy with Payment set.
func (p Policy) Paid() Policy { p.Payment = true; return p }

// Monitored returns the policy with Monitor set.
func (p Policy) Monitored() Policy { p.Monitor = true; return p }

// InPlaceOf returns the policy as a Candidate for a live one, by its name; "" is the default name.
func (p Policy) InPlaceOf(live string) Policy { p.Candidate = cmp.Or(live, defaultName); return p }

// String describes the policy for logs: `"requests" 100 per 1m0s (sliding window, by project)`.
func (p Policy) String() string {
	var per any = p.Window
	switch p.Algorithm {
	case CalendarWindow:
		per = p.Period
	case Concurrency:
		return fmt.Sprintf("%q %d at once (by %s)", p.Name, p.Limit, p.partition())
	}
	return fmt.Sprintf("%q %d per %v (%v, by %s)", p.Name, p.Limit, per, p.Algorithm, p.partition())
}

func (p *Policy) partition() Partition {
	if p.Partition == "" {
		return ByProject
	}
	return p.Partition
}

// unit returns what is counted, or the default.
func (p *Policy) unit() string {
	switch {
	case p.Unit != "":
		return p.Unit
	case p.Algorithm == Concurrency:
		return "concurrent-requests"
	}
	return "requests"
}

// name returns the policy's name, or the default.
func (p *Policy) name() string {
	return cmp.Or(p.Name, defaultName)
}
