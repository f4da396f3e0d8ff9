package ratelimit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
)

// Plans keeps the plans that identities point to with Request.Plan. A change is effective for every request that
// begins after the call has returned, of every org and on every replica. It writes to 64 places in Redis, so a
// failure in between leaves it in effect for some orgs and not for others: then the error says so, and the same
// call again mends it. Of concurrent changes the last one counts, everywhere. Each change appends an entry to the
// audit trail of the plans, plan.set or plan.delete, in the name of the audit.Actor of the context. Safe for
// concurrent use; it has nothing to close.
type Plans struct{ config }

// NewPlans returns a Plans on a Redis client. It does not dial. WithTimeout bounds each call, 2 seconds by
// default.
func NewPlans(rdb redis.UniversalClient, opts ...Option) (*Plans, error) {
	c, err := administer(rdb, opts)
	if err != nil {
		return nil, err
	}
	return &Plans{c}, nil
}

// Set writes a plan, in place of the one with its name if there is one, and returns it as stored; created tells
// that there was none. Where the precondition fails although the plan has these rules already, as after a call
// that was cut, Set brings it to every org and returns what is stored.
//
// Errors: ErrInvalid (also for more than 500 plans), ErrConflict, ErrUnavailable.
func (s *Plans) Set(ctx context.Context, p Plan, pre Precondition) (stored Plan, created bool, err error) {
	if err := p.Validate(); err != nil {
		return Plan{}, false, err
	}
	p.Rules = slices.Clone(p.Rules)
	text, err := p.record().text()
	if err != nil {
		return Plan{}, false, err
	}
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: "plan.set", ID: p.Name, After: json.RawMessage(text)})
	if err != nil {
		return Plan{}, false, fmt.Errorf("%w plan: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	text = withSeal(text, s.sealer.Seal(planDomain, p.Name, text))
	change, err := s.conn.SetPlan(ctx, p.Name, lua.Expected(pre), text, line)
	if errors.Is(err, lua.ErrOverrideRevision) {
		there, getErr := s.get(ctx, p.Name)
		if getErr != nil || !sameRules(there.Rules, p.Rules) {
			return Plan{}, false, planError("set", err)
		}
		change.Revision, change.CreatedAt = there.Revision, there.CreatedAt.UnixMicro()
		err = s.conn.CopyPlan(ctx, p.Name, text, change.Revision, change.CreatedAt)
	}
	if err != nil {
		return Plan{}, false, planError("set", err)
	}
	p.Revision = change.Revision
	p.UpdatedAt, p.CreatedAt = time.UnixMicro(change.Revision).UTC(), time.UnixMicro(change.CreatedAt).UTC()
	return p, change.Created, nil
}

// Get returns one plan. Errors: ErrNotFound, ErrUnavailable.
func (s *Plans) Get(ctx context.Context, name string) (Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.get(ctx, name)
}

func (s *Plans) get(ctx context.Context, name string) (Plan, error) {
	if !validName(name) {
		return Plan{}, fmt.Errorf("%w: no plan can have this name", ErrNotFound)
	}
	_, text, err := s.conn.Plan(ctx, lua.AuthorityBucket, name)
	if err != nil {
		return Plan{}, planError("get", err)
	}
	p, exists, err := decodePlan(s.sealer, name, text)
	if err == nil && !exists {
		err = fmt.Errorf("%w: plan %q", ErrNotFound, name)
	}
	return p, err
}

// List returns all plans by name. There are at most 500. Errors: ErrUnavailable.
func (s *Plans) List(ctx context.Context) ([]Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	stored, err := s.conn.Plans(ctx)
	if err != nil {
		return nil, planError("list", err)
	}
	all := make([]Plan, 0, len(stored))
	for name, text := range stored {
		p, exists, err := decodePlan(s.sealer, name, text)
		if err != nil {
			return nil, err
		}
		if exists {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Plan) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Delete removes a plan. For identities that point to it the policy as coded counts from then on. Where it was
// deleted before, it makes sure that it is for every org, and returns ErrNotFound. Errors: ErrNotFound,
// ErrConflict, ErrUnavailable.
func (s *Plans) Delete(ctx context.Context, name string, pre Precondition) error {
	if !validName(name) {
		return fmt.Errorf("%w: no plan can have this name", ErrNotFound)
	}
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: "plan.delete", ID: name})
	if err != nil {
		return fmt.Errorf("%w plan: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return planError("delete", s.conn.DeletePlan(ctx, name, lua.Expected(pre), line))
}

func planError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, lua.ErrOverrideNotFound):
		return fmt.Errorf("%w: plan", ErrNotFound)
	case errors.Is(err, lua.ErrOverrideRevision):
		return fmt.Errorf("%w: plan", ErrConflict)
	case errors.Is(err, lua.ErrOverrideTooMany):
		return fmt.Errorf("%w plan: there are %d already; delete some", ErrInvalid, lua.MaxPlans)
	case errors.Is(err, lua.ErrPlanCut):
		return fmt.Errorf("%w: %s plan: it may be in effect for some orgs only; do it again to mend that: %w", ErrUnavailable, op, err)
	}
	return fmt.Errorf("%w: %s plan: %w", ErrUnavailable, op, err)
}
