package lua

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	"github.com/tollgate-go/tollgate/lua/audit"
)

//go:embed batch.lua
var batchSource string

//go:embed algorithms.lua
var algorithmsSource string

//go:embed state.lua
var stateSource string

//go:embed plain.lua
var plainSource string

//go:embed holds.lua
var holdsSource string

//go:embed admit.lua
var admitSource string

var admitScript = newScript(batchSource + algorithmsSource + stateSource + plainSource + auditSource + holdsSource + admitSource)

// Bounds of what a check may ask; the script refuses what lies outside.
const (
	// MaxUnits is the largest limit and the largest cost: the largest integer that a structured header
	// field can hold (RFC 9651), far enough below 2^53 for sums to stay exact.
	MaxUnits = 999_999_999_999_999
	// MaxWindow is the longest window in microseconds, 400 days.
	MaxWindow = 400 * 24 * 3600 * 1_000_000
	// MaxLease is the longest time for which units can be held, in microseconds, a day.
	MaxLease = 24 * 3600 * 1_000_000
	// MaxPolicies is the most policies that one check may have.
	MaxPolicies = 64
	// MaxTime is the end of all times, in microseconds; as Check.Until it means "for ever".
	MaxTime = 1<<53 - 1
)

// Algorithm names how a policy counts, as algorithms.lua knows it.
type Algorithm string

// The algorithms.
const (
	Fixed       Algorithm = "f" // window from the first hit
	Sliding     Algorithm = "s" // two counters, aligned to the clock
	Calendar    Algorithm = "c" // window of the clock or the calendar
	GCRA        Algorithm = "g" // generic cell rate algorithm: a bucket that leaks
	Concurrency Algorithm = "h" // nothing but what is held
)

// Mode is what a check does with its charges.
type Mode string

// The modes.
const (
	Take   Mode = "charge" // take or hold the units if all of it fits
	Peek   Mode = "peek"   // the same, and write nothing
	Settle Mode = "settle" // end holds and take the units instead, whatever the limit is
	Renew  Mode = "renew"  // make holds last for the whole lease again
	Refund Mode = "refund" // give back units that were taken
	Reset  Mode = "reset"  // forget what was taken and held
)

// Role is what a charge means for the others of its check.
type Role int64

// The roles.
const (
	Monitored Role = 0 // never refuses, takes only what fits
	Enforced  Role = 1
	Candidate Role = 2 // as Monitored, and takes what fits although another charge refuses, unless it holds
)

// Change is what becomes of units that were taken under another capacity, or leaked at another rate.
type Change int64

// The changes. NoChange leaves it to the change that the state was written under.
const (
	NoChange     Change = -1
	KeepUsed     Change = 0 // as many units used
	Proportional Change = 1 // the same part of the capacity used, rounded up
	Additive     Change = 2 // as many units available, and what a raise adds
	ResetUsed    Change = 3 // nothing used
)

// Charge is one policy of a check.
type Charge struct {
	Key       string // of its state: LimitKey or AnonymousLimitKey
	Algorithm Algorithm
	Limit     int64 // units in a window, 0 to MaxUnits; 0 refuses everything
	Window    int64 // microseconds, 1 to MaxWindow
	Units     int64 // to take, hold or give back, 0 to MaxUnits; 0 asks without taking
	Role      Role
	Change    Change
	Start     int64 // Calendar: when the window began, Redis time in microseconds; 0: aligned to the clock
	Burst     int64 // GCRA: the units that the bucket holds; they leak within MaxWindow
	Holds     bool  // units may be held besides those taken; Concurrency always has holds
	Lease     int64 // how long units are held, microseconds, up to MaxLease; 0 takes them at once, which Concurrency cannot
	Held      int64 // Settle and Renew: the units that are held
	// Count is CountKey of Key, for whoever has it at hand; "" is worked out.
	Count string
	// Frame is the one that is known, for a plain check; nil: none is, and none is asked for.
	Frame *Frame
}

// arg returns the algorithm as an argument.
func (a Algorithm) arg() any {
	switch a {
	case Sliding:
		return slidingArg
	case GCRA:
		return gcraArg
	}
	return string(a)
}

var slidingArg, gcraArg any = string(Sliding), string(GCRA)

// extra returns the argument that only some algorithms have.
func (c *Charge) extra() any {
	switch {
	case c.Algorithm == Calendar && c.Start > 0:
		return &c.Start
	case c.Algorithm == GCRA:
		return &c.Burst
	}
	return absent
}

func (c *Charge) change() any {
	if c.Change == NoChange {
		return absent
	}
	return int64(c.Change)
}

// count returns the key of the count that a state may have besides.
func (c *Charge) count() string {
	if c.Count != "" {
		return c.Count
	}
	return CountKey(c.Key)
}

func (c *Charge) lease() any {
	if c.Holds || c.Algorithm == Concurrency {
		return c.Lease
	}
	return absent
}

// role returns the last argument, which in some modes is not the role.
func (c *Charge) role(m Mode) int64 {
	if m == Settle || m == Renew {
		return c.Held
	}
	return int64(c.Role)
}

// Held is an epoch as the caller holds it: the stamps that it read its records and limits under. Zero is not
// compared.
type Held struct {
	Key          string
	Keys, Limits int64
}

// Check is what is decided as a whole: all charges are taken or none.
type Check struct {
	// Epochs are compared, at most two.
	Epochs []Held
	// Token is looked up in what is revoked, if there is one. Whoever is not to be stopped by that, as to Settle what
	// was begun, leaves it out.
	Token *Token
	// From and Until bound the Redis time in which Charges holds the effective limits; outside, the
	// check is stale. The zero Until is MaxTime.
	From, Until int64
	// Mode is what to do. The zero Mode is Take.
	Mode Mode
	// ID names what is held. It must be unique, or a hold is not one of its own.
	ID string
	// At is when the units that a Refund gives back were taken: Redis time in microseconds, 0 for now.
	At      int64
	Charges []Charge
	// Trail is the AuditKey that a Reset appends Line to, if there was something to forget. "" for none.
	Trail string
	Line  audit.Line
}

// Admit decides checks in one script call and returns an answer for each, in order; see AdmitBatch, which it calls with
// copies of the checks. It returns as soon as ctx ends. Where there are more than a Batch takes, that is an error, and
// nothing was asked.
func (c *Conn) Admit(ctx context.Context, checks []Check) ([]Answer, error) {
	b, answers := new(Batch), make([]Answer, len(checks))
	for i := range checks {
		own := checks[i]
		own.Epochs, own.Charges = slices.Clone(own.Epochs), slices.Clone(own.Charges)
		if !b.Add(&own, 1, &answers[i]) {
			return nil, fmt.Errorf("lua: %d checks are more than a batch takes; ask for fewer at a time", len(checks))
		}
	}
	_, err := guard(ctx, c, b.firstKey(), func() (any, error) {
		return bounded(ctx, func() (any, error) { return nil, c.AdmitBatch(ctx, b) })
	})
	for i := range answers {
		if err == nil {
			err = answers[i].Err
		}
	}
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func appendCheck(keys []string, args []any, check *Check) ([]string, []any) {
	args = append(args, len(check.Epochs))
	for i := range check.Epochs {
		keys = append(keys, check.Epochs[i].Key)
		args = append(args, given(&check.Epochs[i].Keys), given(&check.Epochs[i].Limits))
	}
	keys, args = appendToken(keys, args, check.Token)
	mode, id := check.Mode, check.ID
	if mode == "" {
		mode = Take
	}
	if id == "" {
		id = "-"
	}
	args = append(args, &check.From, check.until(), string(mode), id, given(&check.At), len(check.Charges))
	for i := range check.Charges {
		charge := &check.Charges[i]
		keys = append(keys, charge.Key)
		if charge.Algorithm != Concurrency {
			keys = append(keys, charge.count())
			if charge.Holds {
				keys = append(keys, HoldsKey(charge.Key))
			}
		}
		args = append(args, charge.Algorithm.arg(), &charge.Limit, &charge.Window, charge.extra(),
			charge.change(), charge.lease(), &charge.Units, charge.role(mode))
	}
	if mode == Reset {
		line := audit.Line{}
		if check.Trail != "" && check.Line != line {
			keys, line = append(keys, check.Trail), check.Line
		}
		args = append(args, lineArgs(line)...)
	}
	return keys, args
}

// given returns an argument that may be absent.
func given(v *int64) any {
	if *v == 0 {
		return absent
	}
	return v
}

// forever is Check.Until where that is zero.
var forever int64 = MaxTime

func (c *Check) until() *int64 {
	if c.Until == 0 {
		return &forever
	}
	return &c.Until
}
