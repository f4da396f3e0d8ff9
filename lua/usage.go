package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

//go:embed integer.lua
var integerSource string // a part of each script that reads counts

//go:embed usage.lua
var usageSource string

var usageScript = newScript(integerSource + usageSource)

// ErrUsageRefused says that a batch of usage was not added and never will be: what is stored for its
// hour is no count, or a sum would be too large. Its units may be sent again under another number.
var ErrUsageRefused = errors.New("lua: usage batch refused")

// Bounds of a batch of usage.
const (
	MaxUsageEntries = 500                 // entries in a batch
	MaxUsageUnits   = 999_999_999_999_999 // units of an entry
	// UsageMarkTime is how long Redis remembers what was the last batch of a process, and so how long a
	// batch may be sent again.
	UsageMarkTime = 7 * 24 * time.Hour
	// MinUsageKeep is how long an hour is kept at least, so that an exporter finds it.
	MinUsageKeep = UsageMarkTime + 24*time.Hour
)

// UsageName says what was used by which project of an org. Any text, also "".
type UsageName struct{ Project, Product, Kind, Source string }

// UsageEntry is what was used of one name.
type UsageEntry struct {
	UsageName
	Units int64 // 1 to MaxUsageUnits
}

// UsageBatch is what one process adds to one hour of an org.
type UsageBatch struct {
	Org  string
	Hour int64 // the Unix time in seconds when the hour begins, 0 or more
	// Process and Number tell the batch from all others of the org: a name that no other process has,
	// and a number from 1 that rises with each batch.
	Process string
	Number  int64
	// Entries are 1 to MaxUsageEntries.
	Entries []UsageEntry
	// Keep is how long Redis keeps the hour from now on, at least a millisecond. Less than MinUsageKeep counts as that,
	// and an hour that is kept for longer already stays so.
	Keep time.Duration
}

// AddUsage adds a batch: all of it or nothing, and once, however often it is called with it. Batches of
// one org must be decided in the order of their numbers: nil or ErrUsageRefused decides a batch. Any
// other error leaves it open; send the same batch again, before the next. One command.
func (c *Conn) AddUsage(ctx context.Context, b UsageBatch) error {
	if len(b.Entries) == 0 || len(b.Entries) > MaxUsageEntries {
		return fmt.Errorf("lua: a usage batch has %d entries, must have 1 to %d", len(b.Entries), MaxUsageEntries)
	}
	args := make([]any, 0, 5+2*len(b.Entries))
	at := UsageHour{b.Org, b.Hour}
	args = append(args, b.Number, UsageMarkTime.Milliseconds(), b.Keep.Milliseconds(), b.Hour+hourSeconds, at.member())
	for i := range b.Entries {
		args = append(args, b.Entries[i].field(), b.Entries[i].Units)
	}
	hour := b.hourKey()
	tag := bucket.Of(b.Org)
	keys := []string{UsageMarkKey(b.Org, b.Process), hour, UsageDueKey(tag), at.exportKey(), UsageKeepKey(tag)}
	reply, err := c.run(ctx, usageScript, keys, args)
	if err != nil {
		return err
	}
	n, err := integers(reply)
	if err != nil {
		return err
	}
	if len(n) != 2 || n[1] > int64(len(b.Entries)) {
		return fmt.Errorf("%w: usage answered %v", ErrReply, n)
	}
	return b.verdict(n[0], n[1], hour)
}

func (b *UsageBatch) hourKey() string { return UsageKey(b.Org, strconv.FormatInt(b.Hour, 10)) }

// verdict puts the script's answer into words.
func (b *UsageBatch) verdict(code, place int64, hour string) error {
	switch {
	case code == 1:
		return nil
	case code == 0 && place > 0:
		return fmt.Errorf("%w: field %.200q of %.200q is no count, or would be 2^53 or more", ErrUsageRefused, b.Entries[place-1].field(), hour)
	case code == 0 && place == 0:
		return fmt.Errorf("%w: %.200q is no hash; delete it or move it away", ErrUsageRefused, hour)
	case code == 0:
		return fmt.Errorf("%w: batch %d, when it was sent before", ErrUsageRefused, b.Number)
	case code == 2:
		return fmt.Errorf("lua: a usage batch has Number %d and Keep %v, both must be positive, and Hour %d, which must not be negative", b.Number, b.Keep, b.Hour)
	}
	return fmt.Errorf("%w: usage answered code %d", ErrReply, code)
}

// Usage returns what an org used in each of some hours, given as the Unix times when they begin, in no
// particular order within an hour. One round trip. ErrReply, naming the place, where
// what is stored was not written by AddUsage.
func (c *Conn) Usage(ctx context.Context, org string, hours []int64) ([][]UsageEntry, error) {
	if len(hours) == 0 {
		return nil, nil
	}
	keys := make([]string, len(hours))
	readings := make([]reading, len(hours))
	for i, hour := range hours {
		keys[i] = UsageKey(org, strconv.FormatInt(hour, 10))
		readings[i] = readHash(keys[i])
	}
	values, err := c.read(ctx, readings...)
	if err != nil {
		return nil, err
	}
	usage := make([][]UsageEntry, len(hours))
	for i := range hours {
		stored, err := hashOf(values[i+1])
		if err != nil {
			return nil, err
		}
		usage[i] = make([]UsageEntry, 0, len(stored))
		for field, units := range stored {
			entry, ok := usageEntryOf(field, units)
			if !ok {
				return nil, fmt.Errorf("%w: field %.200q of %.200q is no usage", ErrReply, field, keys[i])
			}
			usage[i] = append(usage[i], entry)
		}
	}
	return usage, nil
}

// field names the entry within its hour.
func (n *UsageName) field() string {
	return Escape(n.Project) + ":" + Escape(n.Product) + ":" + Escape(n.Kind) + ":" + Escape(n.Source)
}

// usageEntryOf reads what field and AddUsage wrote.
func usageEntryOf(field, units string) (entry UsageEntry, ok bool) {
	parts := strings.Split(field, ":")
	if len(parts) != 4 {
		return UsageEntry{}, false
	}
	for i, to := range []*string{&entry.Project, &entry.Product, &entry.Kind, &entry.Source} {
		if *to, ok = Unescape(parts[i]); !ok {
			return UsageEntry{}, false
		}
	}
	n, err := strconv.ParseInt(units, 10, 64)
	entry.Units = n
	return entry, err == nil && n >= 0 && n < 1<<53
}
