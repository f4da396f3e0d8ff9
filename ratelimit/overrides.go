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

// Precondition says what a change of an override starts from: Always, IfAbsent, or the Revision that
// the caller has seen. With it, concurrent edits lose nothing: who comes second gets ErrConflict.
type Precondition int64

// Preconditions that are not a revision.
const (
	Always   = Precondition(lua.AnyRevision)
	IfAbsent = Precondition(lua.NoRevision)
)

// Overrides changes the limits of projects and orgs. A change is effective for every request that
// begins after the call has returned, on every replica: it raises the org's epoch in the same script, which also
// appends an entry to the org's audit trail, in the name of the audit.Actor of the context: override.set,
// override.delete or override.clear. Safe for concurrent use; it has nothing to close.
type Overrides struct{ config }

// NewOverrides returns an Overrides on a Redis client. It does not dial. WithTimeout bounds each call,
// 2 seconds by default: administration can wait longer than a request.
func NewOverrides(rdb redis.UniversalClient, opts ...Option) (*Overrides, error) {
	c, err := administer(rdb, opts)
	if err != nil {
		return nil, err
	}
	return &Overrides{c}, nil
}

// Set writes an override, in place of the one with the same selector if there is one, and returns it
// as stored; created tells that there was none. Errors: ErrInvalid (also for an ExpiresAt that has
// passed, or more than 1,000 overrides in the org), ErrConflict, ErrUnavailable.
func (s *Overrides) Set(ctx context.Context, o Override, pre Precondition) (stored Override, created bool, err error) {
	if err := o.Validate(); err != nil {
		return Override{}, false, err
	}
	o.StartsAt, o.ExpiresAt = o.StartsAt.UTC().Truncate(time.Microsecond), o.ExpiresAt.UTC().Truncate(time.Microsecond)
	o.ID = o.selector().id()
	record := o.record()
	text, err := record.text()
	if err != nil {
		return Override{}, false, err
	}
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: "override.set", Org: o.Org, Project: o.Project, ID: o.ID, After: json.RawMessage(text)})
	if err != nil {
		return Override{}, false, fmt.Errorf("%w override: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	text = withSeal(text, s.sealer.Seal(overrideDomain, o.Org, o.ID, text))
	change, err := s.conn.SetOverride(ctx, o.Org, o.ID, lua.Expected(pre), text, record.Until, line)
	if err != nil {
		return Override{}, false, overrideError("set", err)
	}
	o.Revision = change.Revision
	o.UpdatedAt, o.CreatedAt = time.UnixMicro(change.Revision).UTC(), time.UnixMicro(change.CreatedAt).UTC()
	o.State = o.stateAt(time.UnixMicro(change.Now))
	return o, change.Created, nil
}

// Get returns one override of an org, also when it has ended. Errors: ErrInvalid, ErrNotFound,
// ErrUnavailable.
func (s *Overrides) Get(ctx context.Context, org, id string) (Override, error) {
	all, err := s.List(ctx, org)
	if err != nil {
		return Override{}, err
	}
	for i := range all {
		if all[i].ID == id {
			return all[i], nil
		}
	}
	return Override{}, fmt.Errorf("%w: %q of org %q", ErrNotFound, id, org)
}

// List returns all overrides of an org, also those that have ended, ordered by project, endpoint and
// policy. There are at most 1,000. Errors: ErrInvalid, ErrUnavailable.
func (s *Overrides) List(ctx context.Context, org string) ([]Override, error) {
	if err := validOrg(org); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	epoch, stored, err := s.conn.Overrides(ctx, org)
	if err != nil {
		return nil, overrideError("list", err)
	}
	all := make([]Override, 0, len(stored))
	for id, text := range stored {
		o, err := decodeOverride(s.sealer, org, id, text)
		if err != nil {
			return nil, err
		}
		o.State = o.stateAt(time.UnixMicro(epoch.Now))
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Override) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Policy, b.Policy))
	})
	return all, nil
}

// Delete removes one override. Errors: ErrInvalid, ErrNotFound, ErrConflict, ErrUnavailable.
func (s *Overrides) Delete(ctx context.Context, org, id string, pre Precondition) error {
	if err := validOrg(org); err != nil {
		return err
	}
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: "override.delete", Org: org, ID: id})
	if err != nil {
		return fmt.Errorf("%w override: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return overrideError("delete", s.conn.DeleteOverride(ctx, org, id, lua.Expected(pre), line))
}

// Clear removes all overrides of a project, or with project "" those that hold for the whole org, and
// returns how many there were. Errors: ErrInvalid, ErrUnavailable.
func (s *Overrides) Clear(ctx context.Context, org, project string) (int, error) {
	if err := validOrg(org); err != nil {
		return 0, err
	}
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: "override.clear", Org: org, Project: project})
	if err != nil {
		return 0, fmt.Errorf("%w override: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	n, err := s.conn.ClearOverrides(ctx, org, project, line)
	return n, overrideError("clear", err)
}

var errEnded = fmt.Errorf("%w override: ExpiresAt has passed", ErrInvalid)

func overrideError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, lua.ErrOverrideNotFound):
		return ErrNotFound
	case errors.Is(err, lua.ErrOverrideRevision):
		return ErrConflict
	case errors.Is(err, lua.ErrOverrideTooMany):
		return fmt.Errorf("%w override: the org has %d already; delete some", ErrInvalid, lua.MaxOverrides)
	case errors.Is(err, lua.ErrOverrideEnded):
		return errEnded
	}
	return fmt.Errorf("%w: %s overrides: %w", ErrUnavailable, op, err)
}
