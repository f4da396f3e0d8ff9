package lua

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// MaxPlans is the most plans that there may be.
const MaxPlans = 500

// AuthorityBucket is the one in which a change of a plan is decided. The others copy it.
const AuthorityBucket = "00"

const (
	// markTime is for how long a plan that was deleted leaves a mark, in microseconds: longer than a change may
	// take, for a change that was cut must not bring the plan back.
	markTime = 600 * 1_000_000
	// parallel is how many buckets are written at once: all, so that those of a server that hangs keep none of
	// another waiting.
	parallel = bucket.Count
)

// ErrPlanCut says that a change of a plan did not reach every bucket: some orgs have it, and others do not.
// Repeat it.
var ErrPlanCut = errors.New("lua: the change of the plan did not reach every bucket")

// Plan returns what a bucket has of a plan, JSON as SetPlan wrote it with `revision` and `created` added, "" if
// there is none; and the epoch that it is current for. What was deleted may have left a mark, with a member
// `deleted`. One command, on the primary; it writes only where there is no epoch.
func (c *Conn) Plan(ctx context.Context, bucket, name string) (Epoch, string, error) {
	values, err := c.read(ctx, readEpoch(PlansEpochKey(bucket)), readField(PlansKey(bucket), name))
	if err != nil {
		return Epoch{}, "", err
	}
	epoch, err := epochOf(values)
	if err != nil || values[2] == nil {
		return epoch, "", err
	}
	text, ok := values[2].(string)
	if !ok {
		return Epoch{}, "", fmt.Errorf("%w: a plan is %T", ErrReply, values[2])
	}
	return epoch, text, nil
}

// Plans returns all plans by name as AuthorityBucket has them, and marks.
func (c *Conn) Plans(ctx context.Context) (map[string]string, error) {
	values, err := c.read(ctx, readHash(PlansKey(AuthorityBucket)))
	if err != nil {
		return nil, err
	}
	return hashOf(values[1])
}

// SetPlan writes one plan, a JSON object, to every bucket, and appends the line to the audit trail of the plans.
// Errors: ErrOverrideRevision, ErrOverrideTooMany; any other means that the change may have happened, ErrPlanCut that
// it has for some orgs.
func (c *Conn) SetPlan(ctx context.Context, name string, expected Expected, json string, line audit.Line) (OverrideChange, error) {
	change, _, err := c.changeOverrides(ctx, decidedPlans(), line, "set", name, expected.arg(), json, 0, MaxPlans)
	if err != nil {
		return OverrideChange{}, err
	}
	return change, c.CopyPlan(ctx, name, json, change.Revision, change.CreatedAt)
}

// DeletePlan removes one plan from every bucket. If AuthorityBucket has it, the line is appended to the audit trail
// of the plans. Errors: ErrOverrideNotFound where AuthorityBucket has none, whatever is expected; the others then
// have none either, be it that a deletion was cut or that it lost the plan. ErrOverrideRevision; any other means that
// the change may have happened.
func (c *Conn) DeletePlan(ctx context.Context, name string, expected Expected, line audit.Line) error {
	change, _, err := c.changeOverrides(ctx, decidedPlans(), line, "delete", name, expected.arg(), markTime, MaxPlans)
	if err != nil && !errors.Is(err, ErrOverrideNotFound) {
		return err
	}
	mark := `{"deleted":"1","until":"` + strconv.FormatInt(change.Revision+markTime, 10) + `"}`
	if cut := c.CopyPlan(ctx, name, mark, change.Revision, 0); cut != nil {
		return cut
	}
	return err
}

// CopyPlan writes a revision of a plan to all other buckets, where they have none that is newer: to as many as it
// can. Error: ErrPlanCut.
func (c *Conn) CopyPlan(ctx context.Context, name, json string, revision, created int64) error {
	send := func(bucket string) (has int64, err error) {
		change, code, err := c.changeOverrides(ctx, plansOf(bucket), audit.Line{}, "copy", name, revision, json, created, MaxPlans)
		if code == 0 {
			return change.Revision, err
		}
		return revision, err
	}
	var (
		group  errgroup.Group
		mu     sync.Mutex
		faults []error
		newest int64
	)
	group.SetLimit(parallel)
	for b := range bucket.All() {
		if b == AuthorityBucket {
			continue
		}
		group.Go(func() error {
			has, err := send(b)
			mu.Lock()
			defer mu.Unlock()
			newest = max(newest, has)
			if err != nil {
				faults = append(faults, err)
			}
			return nil
		})
	}
	_ = group.Wait()
	if len(faults) > 0 {
		return fmt.Errorf("%w: %d of %d failed, one of them with: %w", ErrPlanCut, len(faults), bucket.Count, faults[0])
	}
	if newest <= revision {
		return nil
	}
	// Somebody changed it meanwhile, and the authority knows; unless it lost what it knew.
	switch has, err := send(AuthorityBucket); {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrPlanCut, err)
	case has < newest:
		return fmt.Errorf("%w: some have a newer one than bucket %s, which must have lost it", ErrPlanCut, AuthorityBucket)
	}
	return nil
}

// plansOf returns the keys that overrides.lua changes of a bucket's plans.
func plansOf(bucket string) []string { return []string{PlansEpochKey(bucket), PlansKey(bucket)} }

// decidedPlans returns the keys that overrides.lua changes where a change of a plan is decided.
func decidedPlans() []string { return append(plansOf(AuthorityBucket), AuditKey("")) }
