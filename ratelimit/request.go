package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// Request asks whether one caller may do one thing now. It is plain data.
type Request struct {
	// Org, Project and Key are the identity. All empty: nobody is authenticated, no override applies,
	// and every charge needs a Value.
	Org, Project, Key string
	// Epoch is the stamp that the identity was read under. Zero is not compared.
	Epoch int64
	// Token is the bearer token by which the identity was authenticated, where its revocation is still to be looked
	// up: the same call does, on an Admit. Nil, the default: nothing is looked up. It needs an Org.
	Token *Token
	// Plan is the name of the Plan that the identity points to. Empty, the default, or not the name of one: the
	// policies as coded count, where no override does.
	Plan string
	// Endpoint is the method and the route template. Counts are kept for each endpoint.
	Endpoint string
	// Charges are decided together, all or nothing: 1 to 64, with different policy names.
	Charges []Charge
	// Peek decides and takes nothing.
	Peek bool
	// Hold names what the request holds, where a policy has a Lease: up to 128 bytes that no other request
	// of the org has at the time. Admit makes one if it is empty; one that is known before makes it possible
	// to settle a request whose answer was lost. Who asks again under one that is held needs room as if it were
	// new, and holds it once.
	Hold string

	preview *Override // in place of the org's that has its selector
}

// Token is a bearer token under all names that it can be revoked by, as its claims say them, byte for byte: iss, then
// jti, sub, sid, and client_id or azp. What is empty is no name of it. It is plain data, and is not changed.
type Token struct {
	Issuer                       string // up to 512 bytes
	ID, Subject, Session, Client string // up to 256 bytes each
	// IssuedAt is iat. A token without one is refused by every revocation of its subject, session or client, as if it
	// were older than that.
	IssuedAt time.Time
}

// Charge asks a policy for units.
type Charge struct {
	Policy Policy
	// Cost is the units to take, 0 to 999,999,999,999,999. Zero takes nothing, and only a limit of zero
	// refuses it.
	Cost int64
	// Value is which of the policy's partitions is charged, where Org, Project and Key do not tell.
	Value string
	// AtOnce takes the cost at once, although the policy has a Lease. Concurrency only holds.
	AtOnce bool
	// Held is, for Settle and Renew, the cost that Admit was asked for.
	Held int64
}

// validate joins every fault of a request; each is ErrInvalid.
func (r *Request) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w request: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if r.Org == "" && (r.Project != "" || r.Key != "" || r.Plan != "") {
		fault("Org is empty, but Project, Key or Plan is not")
	}
	if len(r.Org) > maxTenant || len(r.Project) > maxTenant || len(r.Key) > maxTenant {
		fault("Org, Project and Key must be at most %d bytes", maxTenant)
	}
	if len(r.Hold) > maxTenant {
		fault("Hold must be at most %d bytes", maxTenant)
	}
	if err := r.validCaller(); err != nil {
		faults = append(faults, err)
	}
	if len(r.Charges) == 0 || len(r.Charges) > lua.MaxPolicies {
		fault("%d Charges, must be 1 to %d", len(r.Charges), lua.MaxPolicies)
	}
	for i := range r.Charges {
		c := &r.Charges[i]
		if err := c.Policy.Validate(); err != nil {
			faults = append(faults, err)
		}
		if c.Cost < 0 || c.Cost > MaxLimit {
			fault("Cost %d of policy %q must be 0 to %d", c.Cost, c.Policy.Name, int64(MaxLimit))
		}
		if c.AtOnce && c.Policy.Algorithm == Concurrency {
			fault("policy %q only holds; it takes nothing AtOnce", c.Policy.Name)
		}
		candidate := c.Policy.Candidate != "" // which refuses nothing, not even a request that it cannot count
		if r.value(c) == "" && !candidate {
			fault("policy %q is partitioned by %s, and there is no value for it", c.Policy.Name, c.Policy.partition())
		}
		if len(c.Value) > maxValue && !candidate || len(r.Endpoint) > maxEndpoint {
			fault("Value and Endpoint must be at most %d and %d bytes", maxValue, maxEndpoint)
		}
		for j := range i {
			if r.Charges[j].Policy.name() == c.Policy.name() {
				fault("two policies are named %q", c.Policy.name())
			}
		}
	}
	return errors.Join(faults...)
}

// validCaller joins the faults of what comes with each call: Epoch and Token.
func (r *Request) validCaller() error {
	t := r.Token
	switch {
	case r.Org == "" && (r.Epoch != 0 || t != nil):
		return fmt.Errorf("%w request: Org is empty, but there is an Epoch or a Token", ErrInvalid)
	case t != nil && (len(t.Issuer) > lua.MaxIssuer || max(len(t.ID), len(t.Subject), len(t.Session), len(t.Client)) > lua.MaxName):
		return fmt.Errorf("%w request: the Token's Issuer must be at most %d bytes; its ID, Subject, Session and Client at most %d each",
			ErrInvalid, lua.MaxIssuer, lua.MaxName)
	}
	return nil
}

// value returns which partition of its kind a charge goes to.
func (r *Request) value(c *Charge) string {
	if r.Org != "" {
		switch c.Policy.partition() {
		case ByProject:
			return r.Project
		case ByKey:
			return r.Key
		case ByOrg:
			return r.Org
		}
	}
	return c.Value
}

func (r *Request) charge(c *Charge, e *effective) lua.Charge {
	charge := lua.Charge{
		Algorithm: algorithms[c.Policy.Algorithm].script,
		Limit:     e.limit, Burst: e.burst, Window: e.window.Microseconds(), Start: e.start,
		Units: c.Cost, Held: c.Held, Change: changes[e.change], Role: c.Policy.role(),
		Holds: c.Policy.Lease > 0, Lease: c.lease().Microseconds(),
	}
	if c.Policy.Algorithm == Concurrency {
		charge.Window = charge.Lease
	}
	if e.level == LevelPolicy {
		charge.Change = lua.NoChange
	}
	return charge
}

// changes tells what the script calls a Change.
var changes = map[Change]lua.Change{
	KeepUsed: lua.KeepUsed, Proportional: lua.Proportional, Additive: lua.Additive, ResetUsed: lua.ResetUsed,
}

// lease returns for how long the cost is held; zero if it is taken at once.
func (c *Charge) lease() time.Duration {
	if c.AtOnce {
		return 0
	}
	return c.Policy.Lease
}

func (r *Request) key(c *Charge) string {
	kind, value, algorithm, endpoint := string(c.Policy.partition()), r.value(c), algorithms[c.Policy.Algorithm].key, r.Endpoint
	if c.Policy.Shared {
		endpoint = ""
	}
	if r.Org == "" {
		return lua.AnonymousLimitKey(kind, value, endpoint, c.Policy.name(), algorithm)
	}
	return lua.LimitKey(r.Org, kind, value, endpoint, c.Policy.name(), algorithm)
}
