package ratelimit

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// Validate returns nil, or an ErrInvalid that names every field out of its bounds.
func (p Policy) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w policy %q: "+format, append([]any{ErrInvalid, p.Name}, args...)...))
	}
	if !validName(p.name()) {
		fault("Name must be 1 to %d of A-Z a-z 0-9 . _ -", maxName)
	}
	if p.Algorithm > Concurrency {
		fault("Algorithm %d is not known", p.Algorithm)
	}
	if p.Limit < 0 || p.Limit > MaxLimit {
		fault("Limit %d must be 0 to %d", p.Limit, int64(MaxLimit))
	}
	if p.Candidate != "" && (!validName(p.Candidate) || p.Candidate == p.name()) {
		fault("Candidate %q must be the name of another policy", p.Candidate)
	}
	p.validWindows(fault)
	p.validPrefetch(fault)
	if !validName(string(p.partition())) {
		fault("Partition %q must be 1 to %d of A-Z a-z 0-9 . _ -", p.Partition, maxName)
	}
	if !validName(p.unit()) {
		fault("Unit %q must be 1 to %d of A-Z a-z 0-9 . _ -", p.Unit, maxName)
	}
	return errors.Join(faults...)
}

// validPrefetch finds faults of what is taken ahead.
func (p *Policy) validPrefetch(fault func(format string, args ...any)) {
	switch {
	case p.Prefetch < 0 || p.Prefetch > maxPrefetch:
		fault("Prefetch %d must be 0 to %d", p.Prefetch, int64(maxPrefetch))
	case p.Prefetch == 0:
	case p.Algorithm == GCRA || p.Algorithm == Concurrency:
		fault("Prefetch %d must be 0 for a %v, which has no window", p.Prefetch, p.Algorithm)
	case p.Lease > 0 || p.Candidate != "":
		fault("Prefetch %d must be 0 for a policy with a Lease or a Candidate", p.Prefetch)
	}
}

// validWindows finds faults of what counts in time: Window, Period, Burst and Lease.
func (p *Policy) validWindows(fault func(format string, args ...any)) {
	if p.Algorithm != CalendarWindow && p.Period != (Period{}) {
		fault("Period %v must be empty for a %v", p.Period, p.Algorithm)
	}
	if p.Lease != 0 || p.Algorithm == Concurrency {
		if p.Lease < minWindow || p.Lease > maxLease || p.Lease%time.Microsecond != 0 {
			fault("Lease %v must be %v to %v, in whole microseconds", p.Lease, minWindow, maxLease)
		}
	}
	switch p.Algorithm {
	case CalendarWindow, Concurrency:
		if p.Window != 0 {
			fault("Window %v must be 0 for a %v", p.Window, p.Algorithm)
		}
	default:
		if err := validWindow(p.Window); err != nil {
			fault("%w", err)
			return // a bucket leaks by it
		}
	}
	if p.Algorithm == CalendarWindow {
		if err := p.Period.validate(); err != nil {
			fault("%w", err)
		}
	}
	if err := p.validBurst(); err != nil {
		fault("%w", err)
	}
}

// validBurst holds the bounds in which the script's arithmetic is exact.
func (p *Policy) validBurst() error {
	if p.Algorithm != GCRA {
		if p.Burst != 0 {
			return fmt.Errorf("Burst %d must be 0 for a %v", p.Burst, p.Algorithm) //nolint:staticcheck // begins with the field's name
		}
		return nil
	}
	if p.Limit > lua.MaxWindow {
		return fmt.Errorf("Limit %d of a GCRA must be at most %d", p.Limit, int64(lua.MaxWindow)) //nolint:staticcheck // as above
	}
	if p.Burst < 1 || p.Burst > MaxLimit || p.Limit > 0 && !leaks(p.Burst, p.Window, p.Limit) {
		return fmt.Errorf("Burst %d must be 1 to %d, and leak within %v", p.Burst, int64(MaxLimit), maxWindow) //nolint:staticcheck // as above
	}
	return nil
}

// leaks reports whether a bucket leaks empty within the longest window.
func leaks(burst int64, window time.Duration, limit int64) bool {
	high, low := bits.Mul64(uint64(burst), uint64(window.Microseconds()))
	mostHigh, mostLow := bits.Mul64(uint64(limit), lua.MaxWindow)
	return high < mostHigh || high == mostHigh && low <= mostLow
}

func validWindow(w time.Duration) error {
	if w < minWindow || w > maxWindow || w%time.Microsecond != 0 {
		return fmt.Errorf("Window %v must be %v to %v, in whole microseconds", w, minWindow, maxWindow) //nolint:staticcheck // begins with the field's name
	}
	return nil
}

// validName reports whether s can stand as a name in headers, metrics and keys without escaping.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
