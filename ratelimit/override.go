package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate-go/tollgate/lua"
)

// Override changes a policy for one project, or for every project of an org, on one endpoint or all,
// for one policy or all. Of all overrides that fit a request only the most specific one counts:
//
//	project and endpoint > project > org and endpoint > org > the policy as coded
//
// and at each of these levels one that names the policy goes before one that does not. A policy that is
// partitioned by org takes overrides of the org alone, since its projects share one count; one that is
// Shared takes those of all endpoints alone.
type Override struct {
	// ID names the override within its org. It is made from the selector, so equal selectors are one
	// override. Set fills it in.
	ID string
	// Org is the tenant. Required.
	Org string
	// Project, Endpoint and Policy select. Empty means all of them.
	Project, Endpoint, Policy string
	// Limit replaces the policy's limit; nil keeps it. Zero refuses everything.
	Limit *int64
	// Window replaces the policy's window; zero keeps it. At least one of Limit and Window is set. A
	// CalendarWindow keeps its Period all the same, and a GCRA its Burst, unless that would not leak within
	// 400 days at the new rate.
	Window time.Duration
	// Burst is units that fit at once besides: they are added to the Burst of a GCRA, and to the Limit of
	// every other algorithm.
	Burst int64
	// Access refuses everything or lets everything pass, whatever the limit is. Default Limited.
	Access Access
	// Change is what becomes of the units in use when the override begins, ends or changes a limit. Default
	// KeepUsed.
	Change Change
	// StartsAt is when the override begins, by Redis time. Zero: at once.
	StartsAt time.Time
	// ExpiresAt is when the override ends, by Redis time. Zero: never.
	ExpiresAt time.Time
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
	Blocked   Access = "blocked"   // refuses everything
	Unlimited Access = "unlimited" // lets everything pass and counts nothing
)

// Change is what becomes of the units in use when a limit, its window or its burst changes.
type Change string

// The changes. In each of them a raise helps on the next request.
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
	if o.Endpoint != "" && !validEndpoint(o.Endpoint) {
		fault("Endpoint must be a method (GET for HEAD), a space and a route template, as in \"GET /items/{id}\", of at most %d bytes", maxEndpoint)
	}
	if o.Policy != "" && !validName(o.Policy) {
		fault("Policy must be 1 to %d of A-Z a-z 0-9 . _ -", maxName)
	}
	if o.Limit == nil && o.Window == 0 {
		fault("Limit or Window must be set")
	}
	if o.Limit != nil && (*o.Limit < 0 || *o.Limit > MaxLimit) {
		fault("Limit %d must be 0 to %d", *o.Limit, int64(MaxLimit))
	}
	if o.Window != 0 {
		if err := validWindow(o.Window); err != nil {
			fault("%w", err)
		}
	}
	if !o.ExpiresAt.IsZero() && (o.ExpiresAt.Year() < 2000 || o.ExpiresAt.Year() > 2200) {
		fault("ExpiresAt %v must lie between the years 2000 and 2200", o.ExpiresAt)
	}
	if len(o.Reason) > maxReason {
		fault("Reason must be at most %d bytes", maxReason)
	}
	if !utf8.ValidString(o.Project) || !utf8.ValidString(o.Endpoint) || !utf8.ValidString(o.Reason) {
		fault("Project, Endpoint and Reason must be UTF-8, as JSON holds nothing else")
	}
	return errors.Join(faults...)
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

// selector is what makes two overrides of an org the same.
type selector struct{ project, endpoint, policy string }

func (s selector) id() string {
	sum := sha256.Sum256([]byte(lua.Escape(s.project) + ":" + lua.Escape(s.endpoint) + ":" + lua.Escape(s.policy)))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// level tells how specific a selector is, whatever policies it selects.
func (s selector) level() Level {
	switch {
	case s.project != "" && s.endpoint != "":
		return LevelProjectEndpoint
	case s.project != "":
		return LevelProject
	case s.endpoint != "":
		return LevelOrgEndpoint
	}
	return LevelOrg
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

func (o *Override) selector() selector { return selector{o.Project, o.Endpoint, o.Policy} }

// record is an override as Redis holds it. Numbers are strings, since the script that passes them on
// would round them to 14 digits.
type record struct {
	Project  string `json:"project"`
	Endpoint string `json:"endpoint"`
	Policy   string `json:"policy"`
	Limit    *int64 `json:"limit,string,omitempty"`
	Window   int64  `json:"window,string"` // microseconds
	Until    int64  `json:"until,string"`  // Redis time, microseconds; 0 never
	Reason   string `json:"reason"`
	Revision int64  `json:"revision,string,omitempty"`
	Created  int64  `json:"created,string,omitempty"`
}

func (o *Override) record() record {
	r := record{
		Project: o.Project, Endpoint: o.Endpoint, Policy: o.Policy,
		Limit: o.Limit, Window: o.Window.Microseconds(), Reason: o.Reason,
	}
	if !o.ExpiresAt.IsZero() {
		r.Until = o.ExpiresAt.UnixMicro()
	}
	return r
}

// decodeOverride reads what Redis holds. What is not an override as Set writes them is an error.
func decodeOverride(org, id, text string) (Override, error) {
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Override{}, fmt.Errorf("%w: override %q of org %q cannot be read; delete it: %w", ErrUnavailable, id, org, err)
	}
	o := Override{
		ID: id, Org: org, Project: r.Project, Endpoint: r.Endpoint, Policy: r.Policy,
		Limit: r.Limit, Window: time.Duration(r.Window) * time.Microsecond, Reason: r.Reason,
		Revision: r.Revision, UpdatedAt: time.UnixMicro(r.Revision).UTC(), CreatedAt: time.UnixMicro(r.Created).UTC(),
	}
	if r.Until != 0 {
		o.ExpiresAt = time.UnixMicro(r.Until).UTC()
	}
	if err := o.Validate(); err != nil {
		return Override{}, fmt.Errorf("%w: override %q of org %q cannot be used; delete it: %w", ErrUnavailable, id, org, err)
	}
	return o, nil
}
