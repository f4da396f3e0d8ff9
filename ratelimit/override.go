package ratelimit

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Override changes a policy for one project, or for every project of an org, on one endpoint or all,
// for one policy or all. Of all overrides that fit a request only the most specific one counts:
//
//	project and endpoint > project > org and endpoint > org > the plan > the policy as coded
//
// and at each of these levels one that names the policy goes before one that does not. A policy that is
// partitioned by org, or by a name of the caller's own, takes overrides of the org alone, since projects share
// its counts: one that counts with two limits in turn would have none. One that is
// Shared takes those of all endpoints alone.
//
// All replicas must be of a version that knows Access, Burst and StartsAt before they are used.
type Override struct {
	// ID names the override within its org. It is made from the selector, so equal selectors are one
	// override. Set fills it in.
	ID string
	// Org is the tenant. Required.
	Org string
	// Project, Endpoint and Policy select. Empty means all of them.
	Project, Endpoint, Policy string
	// Limit replaces the policy's limit; nil keeps it. Zero refuses everything. At least one of Limit, Window,
	// Burst and Access is set.
	Limit *int64
	// Window replaces the policy's window; zero keeps it. A CalendarWindow keeps its Period all the same,
	// Concurrency how long a hold lasts, and GCRA its burst, unless that would not leak within 400 days at the
	// new rate.
	Window time.Duration
	// Burst is units that fit at once besides, 0 to 999,999,999,999,999: they are added to the Burst of a GCRA,
	// and to the Limit of every other algorithm, as far as the bounds of these allow. A limit of zero stays zero.
	Burst int64
	// Access refuses everything or lets everything pass, whatever the limit is. Default Limited; beside any
	// other, Limit, Window, Burst and Change are not set. A blocked org or project says nothing to endpoints that
	// have an override of their own.
	Access Access
	// Change is what becomes of the units in use that were taken under another limit, window or burst: when the
	// override begins, and when it is changed. When it ends or is deleted, the Change of the override that counts
	// then decides. Where that is none, units that were taken under this one come back as its own Change says.
	// Default KeepUsed.
	Change Change
	// StartsAt is when the override begins, and ExpiresAt when it ends, by Redis time, in whole microseconds.
	// Zero: at once, and never. While it does not count, the next less specific one does. Replacing an active
	// override by one that begins later ends the active one now; give the later one another selector.
	StartsAt, ExpiresAt time.Time
	// Reason is for the people who find it later. Up to 500 bytes.
	Reason string
	// Revision changes with every change. CreatedAt and UpdatedAt are Redis times, and State was that of the
	// override when it was written or read. Set, Get and List fill them in.
	Revision             int64
	CreatedAt, UpdatedAt time.Time
	State                State
}

// State is whether an override has begun and not ended.
type State string

// The states.
const (
	StatePending State = "pending"
	StateActive  State = "active"
	StateEnded   State = "ended" // it stays until it is deleted, or the org needs its room
)

// Access is what an override makes of a policy.
type Access string

// The kinds of access.
const (
	Limited   Access = ""          // as the limit says
	Blocked   Access = "blocked"   // refuses everything, as a limit of zero does
	Unlimited Access = "unlimited" // lets everything pass and counts nothing
)

// Change is what becomes of the units in use when a limit, its window or its burst changes.
type Change string

// The changes. In each of them a raise helps on the next request; only Proportional leaves a limit exhausted that
// was.
const (
	// KeepUsed leaves as many units used as were.
	KeepUsed Change = ""
	// Proportional leaves the same part of the limit used, rounded up to whole units.
	Proportional Change = "proportional"
	// Additive leaves as many units available as were, up to the new limit, and adds what a raise adds.
	Additive Change = "additive"
	// ResetUsed leaves nothing used.
	ResetUsed Change = "reset"
)

// Bounds of an override's texts, in bytes.
const (
	maxTenant   = 128
	maxEndpoint = 512
	maxReason   = 500
	maxValue    = 256
)

// Validate returns nil, or an ErrInvalid that names every field out of its bounds.
func (o *Override) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w override: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if err := validOrg(o.Org); err != nil {
		faults = append(faults, err)
	}
	if len(o.Project) > maxTenant {
		fault("Project must be at most %d bytes", maxTenant)
	}
	o.validSelects(fault)
	o.validTerms(fault)
	o.validTimes(fault)
	if len(o.Reason) > maxReason {
		fault("Reason must be at most %d bytes", maxReason)
	}
	if !utf8.ValidString(o.Project) || !utf8.ValidString(o.Endpoint) || !utf8.ValidString(o.Reason) {
		fault("Project, Endpoint and Reason must be UTF-8, as JSON holds nothing else")
	}
	return errors.Join(faults...)
}

// validSelects looks at what a plan's rule selects by, too.
func (o *Override) validSelects(fault func(format string, args ...any)) {
	if o.Endpoint != "" && !validEndpoint(o.Endpoint) {
		fault("Endpoint must be a method (GET for HEAD), a space and a route template, as in \"GET /items/{id}\", of at most %d bytes", maxEndpoint)
	}
	if o.Policy != "" && !validName(o.Policy) {
		fault("Policy must be 1 to %d of A-Z a-z 0-9 . _ -", maxName)
	}
}

// validTerms looks at what the override makes of a policy.
func (o *Override) validTerms(fault func(format string, args ...any)) {
	limited := o.Limit != nil || o.Window != 0 || o.Burst != 0
	switch {
	case o.Access != Limited && o.Access != Blocked && o.Access != Unlimited:
		fault("Access must be %q, %q, or left out", Blocked, Unlimited)
	case o.Access == Limited && !limited:
		fault("Limit, Window, Burst or Access must be set")
	case o.Access != Limited && (limited || o.Change != KeepUsed):
		fault("Access %q must stand without Limit, Window, Burst and Change", o.Access)
	}
	if o.Limit != nil && (*o.Limit < 0 || *o.Limit > MaxLimit) {
		fault("Limit %d must be 0 to %d", *o.Limit, int64(MaxLimit))
	}
	if o.Window != 0 {
		if err := validWindow(o.Window); err != nil {
			fault("%w", err)
		}
	}
	if o.Burst < 0 || o.Burst > MaxLimit {
		fault("Burst %d must be 0 to %d", o.Burst, int64(MaxLimit))
	} else if o.Burst != 0 && o.Limit != nil && *o.Limit == 0 {
		fault("Burst %d must be 0 beside a Limit of 0, which refuses everything", o.Burst)
	}
	switch o.Change {
	case KeepUsed, Proportional, Additive, ResetUsed:
	default:
		fault("Change must be %q, %q, %q, or left out", Proportional, Additive, ResetUsed)
	}
}

func (o *Override) validTimes(fault func(format string, args ...any)) {
	for _, at := range []struct {
		field string
		time  time.Time
	}{{"StartsAt", o.StartsAt}, {"ExpiresAt", o.ExpiresAt}} {
		// In UTC, as it is stored: elsewhere it may be another year.
		if year := at.time.UTC().Year(); !at.time.IsZero() && (year < 2000 || year > 2200) {
			fault("%s %v must lie between the years 2000 and 2200, in UTC", at.field, at.time)
		}
	}
	if !o.StartsAt.IsZero() && !o.ExpiresAt.IsZero() && o.StartsAt.UnixMicro() >= o.ExpiresAt.UnixMicro() {
		fault("StartsAt %v must be before ExpiresAt %v", o.StartsAt, o.ExpiresAt)
	}
}

func validOrg(org string) error {
	if org == "" || len(org) > maxTenant {
		return fmt.Errorf("%w override: Org must be 1 to %d bytes", ErrInvalid, maxTenant)
	}
	return nil
}

// validEndpoint reports whether a request can have the endpoint: what middleware.Endpoint makes of a
// method and a template in the syntax of net/http.
func validEndpoint(s string) bool {
	if s == "unmatched" {
		return true
	}
	method, template, ok := strings.Cut(s, " ")
	if !ok || len(s) > maxEndpoint || !strings.Contains(template, "/") || strings.ContainsAny(template, " \t") {
		return false
	}
	for segment := range strings.SplitSeq(template, "/") {
		if strings.HasPrefix(segment, ":") || strings.HasPrefix(segment, "*") {
			return false
		}
	}
	switch method {
	case "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER":
		return true
	}
	return false
}

// stateAt returns the state at a Redis time: an override is active from StartsAt on, until ExpiresAt.
func (o *Override) stateAt(now time.Time) State {
	switch {
	case !o.ExpiresAt.IsZero() && !now.Before(o.ExpiresAt):
		return StateEnded
	case now.Before(o.StartsAt):
		return StatePending
	}
	return StateActive
}
