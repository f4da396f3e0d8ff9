package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	"github.com/tollgate-go/tollgate/lua/audit"
)

//go:embed overrides.lua
var overridesSource string

var overridesScript = newScript(auditSource + stampSource + overridesSource)

// What can stand in the way of a change to an override.
var (
	ErrOverrideNotFound = errors.New("lua: no such override")
	ErrOverrideRevision = errors.New("lua: the override has another revision")
	ErrOverrideTooMany  = errors.New("lua: the org has too many overrides")
	ErrOverrideEnded    = errors.New("lua: the override would have ended before now")
)

// MaxOverrides is the most overrides that an org may have: they are read and cached as a whole.
const MaxOverrides = 1000

// Expected is the revision that a change starts from. Besides a revision it may be AnyRevision or
// NoRevision.
type Expected int64

// Expectations that are no revision.
const (
	AnyRevision Expected = 0  // change whatever is there
	NoRevision  Expected = -1 // only where nothing is there yet
)

func (e Expected) arg() string {
	switch e {
	case AnyRevision:
		return "any"
	case NoRevision:
		return "absent"
	}
	return strconv.FormatInt(int64(e), 10)
}

// OverrideChange tells what a change did. Times are Redis times in microseconds.
type OverrideChange struct {
	Created   bool  // there was none before
	Now       int64 // when the change happened
	Revision  int64 // of the override, and the org's `limits` stamp
	CreatedAt int64
}

// Overrides returns what is stored for an org, by id: JSON as SetOverride wrote it, with `revision` and
// `created` added; and the epoch that it is current for. One command, on the primary. It writes only for
// an org that has no epoch.
func (c *Conn) Overrides(ctx context.Context, org string) (Epoch, map[string]string, error) {
	values, err := c.read(ctx, readEpoch(EpochKey(org)), readHash(OverridesKey(org)))
	if err != nil {
		return Epoch{}, nil, err
	}
	epoch, err := epochOf(values)
	if err != nil {
		return Epoch{}, nil, err
	}
	all, err := hashOf(values[2])
	return epoch, all, err
}

// SetOverride writes one override: a JSON object with the members `project` and `until`, both strings.
// until is a Redis time in microseconds, 0 for none. The line is appended to the org's audit trail. Errors:
// ErrOverrideRevision, ErrOverrideTooMany, ErrOverrideEnded; any other means that the change may have happened.
func (c *Conn) SetOverride(
	ctx context.Context, org, id string, expected Expected, json string, until int64, line audit.Line,
) (OverrideChange, error) {
	change, _, err := c.changeOverrides(ctx, overridesOf(org), line, "set", id, expected.arg(), json, until, MaxOverrides)
	return change, err
}

// DeleteOverride removes one override, and appends the line to the org's audit trail. Errors:
// ErrOverrideNotFound, ErrOverrideRevision; any other means that the change may have happened.
func (c *Conn) DeleteOverride(ctx context.Context, org, id string, expected Expected, line audit.Line) error {
	_, _, err := c.changeOverrides(ctx, overridesOf(org), line, "delete", id, expected.arg())
	return err
}

// ClearOverrides removes all overrides of a project, or with "" those of the org itself, and returns
// how many there were. If there were any, the line is appended to the org's audit trail.
func (c *Conn) ClearOverrides(ctx context.Context, org, project string, line audit.Line) (int, error) {
	_, n, err := c.changeOverrides(ctx, overridesOf(org), line, "clear", project)
	return n, err
}

// overridesOf returns the keys that overrides.lua changes of an org.
func overridesOf(org string) []string {
	return []string{EpochKey(org), OverridesKey(org), AuditKey(org)}
}

// changeOverrides returns what a change did, and its code. The change is zero beside an error, but for the
// Revision of the mark beside ErrOverrideNotFound.
func (c *Conn) changeOverrides(ctx context.Context, keys []string, line audit.Line, args ...any) (OverrideChange, int, error) {
	reply, err := c.run(ctx, overridesScript, keys, append(args, lineArgs(line)...))
	if err != nil {
		return OverrideChange{}, 0, err
	}
	n, err := integers(reply)
	if err != nil {
		return OverrideChange{}, 0, err
	}
	if len(n) != 4 {
		return OverrideChange{}, 0, fmt.Errorf("%w: overrides answered %v", ErrReply, n)
	}
	switch n[0] {
	case -1:
		return OverrideChange{Revision: n[2]}, 0, ErrOverrideNotFound
	case -2:
		return OverrideChange{}, 0, ErrOverrideRevision
	case -3:
		return OverrideChange{}, 0, ErrOverrideTooMany
	case -4:
		return OverrideChange{}, 0, ErrOverrideEnded
	}
	return OverrideChange{Created: n[0] == 1, Now: n[1], Revision: n[2], CreatedAt: n[3]}, int(n[0]), nil
}
