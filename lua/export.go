package lua

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
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
	// Began is when Redis began to keep the hour, if that was after its end; else zero. An hour that was lost or has
	// expired, and begins anew, has ranges from 0 again, and another Began.
	Began time.Time

	cursor string // where to go on
	writes string // as it was when the scan began
	open   bool   // the scan found ranges
	again  bool   // the scan is the second
	whole  bool   // all names were seen, and what is open of them are these ranges
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
//
// An hour of more names than a claim looks at, some 500, is scanned once more in the end, since the scan may have gone
// on at another server, after a failover, and missed names. If that finds more, the hour stays due.
func (c *Conn) ClaimUsage(ctx context.Context, hour UsageHour, after *UsageClaim, most int) (*UsageClaim, error) {
	if most < 1 || most > MaxUsageRanges {
		return nil, fmt.Errorf("lua: a claim of %d ranges, must be 1 to %d", most, MaxUsageRanges)
	}
	claim := &UsageClaim{UsageHour: hour, cursor: "0"}
	if after != nil {
		claim.cursor, claim.writes, claim.Odd = after.cursor, after.writes, after.Odd
		claim.open, claim.again = after.open, after.again
	}
	keys := []string{hour.key(), hour.exportKey(), UsageDueKey(bucket.Of(hour.Org))}
	reply, err := c.run(ctx, claimScript, keys, []any{claim.cursor, most, hour.member(), hour.Hour + hourSeconds})
	if err != nil {
		return nil, err
	}
	items, ok := reply.([]any)
	if !ok || len(items) < 5 || (len(items)-5)%3 != 0 {
		return nil, fmt.Errorf("%w: claim answered %T", ErrReply, reply)
	}
	if err := claim.decode(items); err != nil {
		return nil, err
	}
	return claim, nil
}

// decode reads what claim.lua answered.
func (u *UsageClaim) decode(items []any) error {
	next, ok1 := items[0].(string)
	again, ok2 := items[1].(int64)
	writes, ok3 := items[2].(string)
	odd, ok4 := items[3].(string)
	began, ok5 := items[4].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return fmt.Errorf("%w: claim answered %v", ErrReply, items[:5])
	}
	first := u.cursor == "0"
	if first {
		u.writes, u.open = writes, false
	}
	if began > 0 {
		u.Began = time.UnixMicro(began).UTC()
	}
	if odd != "" {
		u.Odd = odd
	}
	if err := u.decodeRanges(items[5:]); err != nil {
		return err
	}
	u.open = u.open || len(u.Ranges) > 0
	if again == 0 || len(u.Ranges) == 0 { // what is odd is not settled, so asking again would not end
		u.goOn(next, first)
	}
	return nil
}

// goOn sets what comes after a claim, which may be the first of a scan.
func (u *UsageClaim) goOn(next string, first bool) {
	u.cursor = next
	if next != "0" {
		return
	}
	u.whole = (first || !u.open) && u.Odd == ""
	u.Last = u.whole || u.again || u.Odd != ""
	u.again = true
}

// decodeRanges reads the ranges of the answer.
func (u *UsageClaim) decodeRanges(items []any) error {
	u.Ranges = make([]UsageRange, 0, len(items)/3)
	for i := 0; i < len(items); i += 3 {
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
	return nil
}

// SettleUsage takes note that all of a claim is exported. With the last claim of an hour the hour is done: it is not due
// any more, unless usage came meanwhile, something is odd, or Redis forgot the claim. To settle a claim twice, or one that somebody else
// settled, is harmless. One command.
func (c *Conn) SettleUsage(ctx context.Context, claim *UsageClaim) (done bool, err error) {
	args := make([]any, 2, 2+3*len(claim.Ranges))
	if args[0], args[1] = "", claim.writes; claim.whole {
		args[0] = claim.member()
	}
	for i := range claim.Ranges {
		r := &claim.Ranges[i]
		args = append(args, r.field(), r.From, r.To)
	}
	keys := []string{claim.key(), claim.exportKey(), UsageDueKey(bucket.Of(claim.Org))}
	reply, err := c.run(ctx, settleScript, keys, args)
	if err != nil {
		return false, err
	}
	n, err := integers(reply)
	if err != nil || len(n) != 2 {
		return false, fmt.Errorf("%w: settle answered %v", ErrReply, reply)
	}
	return n[1] == 1, nil
}

// UsageExport is how far one name of an hour is exported. Units: Metered there are, Exported are settled, and Claimed
// are claimed beyond those.
type UsageExport struct {
	UsageName
	Metered, Exported, Claimed int64
}

// UsageExports tells how far each of some hours of an org is exported, given as the Unix times when they begin, in no
// particular order within an hour, and the Redis time, in seconds since 1970. A name that is exported and no longer
// metered is among them. One round trip; errors as of Usage.
func (c *Conn) UsageExports(ctx context.Context, org string, hours []int64) (exports [][]UsageExport, now int64, err error) {
	if len(hours) == 0 {
		return nil, 0, nil
	}
	readings := make([]reading, 0, 2*len(hours))
	for _, hour := range hours {
		h := UsageHour{org, hour}
		readings = append(readings, readHash(h.key()), readHash(h.exportKey()))
	}
	values, err := c.read(ctx, readings...)
	if err != nil {
		return nil, 0, err
	}
	micros, _ := values[0].(int64)
	exports = make([][]UsageExport, len(hours))
	for i := range hours {
		metered, err1 := hashOf(values[2*i+1])
		exported, err2 := hashOf(values[2*i+2])
		if err := errors.Join(err1, err2); err != nil {
			return nil, 0, err
		}
		if exports[i], err = usageExportsOf(metered, exported); err != nil {
			return nil, 0, fmt.Errorf("%w of %.200q", err, readings[2*i].key)
		}
	}
	return exports, micros / 1e6, nil
}

// usageExportsOf pairs an hour with what is exported of it.
func usageExportsOf(metered, exported map[string]string) ([]UsageExport, error) {
	delete(exported, "writes")
	delete(exported, "began")
	for field := range exported {
		if _, ok := metered[field]; !ok {
			metered[field] = "0"
		}
	}
	all := make([]UsageExport, 0, len(metered))
	for field, units := range metered {
		entry, ok := usageEntryOf(field, units)
		state := cmp.Or(exported[field], "0")
		from, to, claimed := strings.Cut(state, "-")
		if !claimed {
			to = from
		}
		settled, err1 := strconv.ParseInt(from, 10, 64)
		end, err2 := strconv.ParseInt(to, 10, 64)
		if !ok || err1 != nil || err2 != nil || settled < 0 || end < settled {
			return nil, fmt.Errorf("%w: %.40q, exported %.40q, of field %.200q", ErrReply, units, state, field)
		}
		all = append(all, UsageExport{entry.UsageName, entry.Units, settled, end - settled})
	}
	return all, nil
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
