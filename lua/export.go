package lua

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

//go:embed due.lua
var dueSource string

//go:embed claim.lua
var claimSource string

//go:embed settle.lua
var settleSource string

var (
	dueScript    = newScript(dueSource)
	claimScript  = newScript(integerSource + claimSource)
	settleScript = newScript(settleSource)
)

// MaxUsageRanges is how many ranges a claim has at most.
const MaxUsageRanges = 500

const hourSeconds = 3600

// UsageHour is an hour of an org, given as the Unix time when it begins.
type UsageHour struct {
	Org  string
	Hour int64
}

// UsageDue is what is to be exported of a bucket.
type UsageDue struct {
	Now   int64 // Redis time, seconds since 1970
	All   int   // hours that are due, listed or not
	Hours []UsageHour
	// Since tells of each of Hours, in seconds since 1970, when it ended, or when usage came that was late.
	Since []int64
}

// UsageRange is a piece of what was used of one name: the units after the first From of them, up to To.
type UsageRange struct {
	UsageName
	From, To int64
}

// UsageClaim is what of an hour is to be exported next.
type UsageClaim struct {
	UsageHour
	Ranges []UsageRange
	// Last tells that there is nothing more of the hour to claim. Else settle this claim, and go on with ClaimUsage.
	Last bool
	// Odd is a field of the hour, or of what is exported of it, that is no count; "" if there is none. It is passed
	// over, and the hour stays due.
	Odd string

	cursor string // where to go on
	writes string // as it was when the hour was begun with
}

// DueUsage lists the hours of a bucket's orgs that ended, or had usage that was late, at least grace ago and are not
// exported as a whole. Those that are due longest come first; skip leaves out so many of them, and at most count are
// listed. ErrReply where another program wrote to the index. One command.
func (c *Conn) DueUsage(ctx context.Context, bucket string, grace time.Duration, skip, count int) (UsageDue, error) {
	key := UsageDueKey(bucket)
	reply, err := c.run(ctx, dueScript, []string{key}, []any{int64(grace / time.Second), skip, count})
	if err != nil {
		return UsageDue{}, err
	}
	items, ok := reply.([]any)
	if !ok || len(items) < 2 || len(items)%2 != 0 {
		return UsageDue{}, fmt.Errorf("%w: due answered %T", ErrReply, reply)
	}
	now, ok1 := items[0].(int64)
	all, ok2 := items[1].(int64)
	listed, err := textsOf(items[2:])
	if err != nil || !ok1 || !ok2 {
		return UsageDue{}, fmt.Errorf("%w: due answered %v", ErrReply, items[:2])
	}
	due := UsageDue{Now: now, All: int(all)}
	for i := 0; i < len(listed); i += 2 {
		hour, ok := usageHourOf(listed[i])
		since, err := strconv.ParseFloat(listed[i+1], 64)
		if !ok || err != nil {
			return UsageDue{}, fmt.Errorf("%w: member %.200q of %q is no hour; remove it", ErrReply, listed[i], key)
		}
		due.Hours, due.Since = append(due.Hours, hour), append(due.Since, int64(since))
	}
	return due, nil
}

// ClaimUsage fixes what of an hour is to be exported next, at most so many ranges, 1 to MaxUsageRanges. After is the
// claim before this one of the same hour; nil to begin. A claim that is not settled is answered again, range by range,
// to everybody who asks. One command.
func (c *Conn) ClaimUsage(ctx context.Context, hour UsageHour, after *UsageClaim, most int) (*UsageClaim, error) {
	if most < 1 || most > MaxUsageRanges {
		return nil, fmt.Errorf("lua: a claim of %d ranges, must be 1 to %d", most, MaxUsageRanges)
	}
	claim := &UsageClaim{UsageHour: hour, cursor: "0"}
	if after != nil {
		claim.cursor, claim.writes, claim.Odd = after.cursor, after.writes, after.Odd
	}
	reply, err := c.run(ctx, claimScript, []string{hour.key(), hour.exportKey()}, []any{claim.cursor, most})
	if err != nil {
		return nil, err
	}
	items, ok := reply.([]any)
	if !ok || len(items) < 4 || (len(items)-4)%3 != 0 {
		return nil, fmt.Errorf("%w: claim answered %T", ErrReply, reply)
	}
	if err := claim.decode(items, after == nil); err != nil {
		return nil, err
	}
	return claim, nil
}

// decode reads what claim.lua answered.
func (u *UsageClaim) decode(items []any, first bool) error {
	next, ok1 := items[0].(string)
	again, ok2 := items[1].(int64)
	writes, ok3 := items[2].(string)
	odd, ok4 := items[3].(string)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return fmt.Errorf("%w: claim answered %v", ErrReply, items[:4])
	}
	if first {
		u.writes = writes
	}
	if odd != "" {
		u.Odd = odd
	}
	u.Ranges = make([]UsageRange, 0, (len(items)-4)/3)
	for i := 4; i < len(items); i += 3 {
		field, _ := items[i].(string)
		from, ok1 := items[i+1].(int64)
		to, ok2 := items[i+2].(int64)
		entry, ok := usageEntryOf(field, "0")
		switch {
		case !ok1 || !ok2 || from < 0 || from >= to:
			return fmt.Errorf("%w: claim answered a range of %v to %v", ErrReply, items[i+1], items[i+2])
		case !ok:
			u.Odd = field // it stays claimed, and nobody exports it
		default:
			u.Ranges = append(u.Ranges, UsageRange{entry.UsageName, from, to})
		}
	}
	if again == 0 || len(u.Ranges) == 0 { // what is odd is not settled, so asking again would not end
		u.Last, u.cursor = next == "0", next
	}
	return nil
}

// SettleUsage takes note that all of a claim is exported. With the last claim of an hour the hour is not due any more,
// unless usage came meanwhile or something is odd. To settle a claim twice, or one that somebody else settled, is
// harmless. One command.
func (c *Conn) SettleUsage(ctx context.Context, claim *UsageClaim) error {
	args := make([]any, 2, 2+3*len(claim.Ranges))
	if args[0], args[1] = "", claim.writes; claim.Last && claim.Odd == "" {
		args[0] = claim.member()
	}
	for i := range claim.Ranges {
		r := &claim.Ranges[i]
		args = append(args, r.field(), r.From, r.To)
	}
	keys := []string{claim.key(), claim.exportKey(), UsageDueKey(bucket.Of(claim.Org))}
	reply, err := c.run(ctx, settleScript, keys, args)
	if err != nil {
		return err
	}
	if n, err := integers(reply); err != nil || len(n) != 2 {
		return fmt.Errorf("%w: settle answered %v", ErrReply, reply)
	}
	return nil
}

func (h UsageHour) text() string      { return strconv.FormatInt(h.Hour, 10) }
func (h UsageHour) key() string       { return UsageKey(h.Org, h.text()) }
func (h UsageHour) exportKey() string { return UsageExportKey(h.Org, h.text()) }
func (h UsageHour) member() string    { return h.text() + ":" + h.Org }

// usageHourOf is the inverse of member.
func usageHourOf(member string) (h UsageHour, ok bool) {
	hour, org, ok := strings.Cut(member, ":")
	n, err := strconv.ParseInt(hour, 10, 64)
	h = UsageHour{org, n}
	return h, ok && err == nil && h.member() == member
}
