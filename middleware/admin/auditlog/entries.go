package auditlog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
)

// Entry is a change, as the trail has it.
type Entry struct {
	Seq     int64     `json:"seq"`     // its number in the trail, from 1
	Written time.Time `json:"written"` // Redis time, in whole milliseconds
	audit.Entry
	Link string `json:"link"`
	// Fault tells what is wrong with the entry by itself, "" if nothing is. One that cannot be read has nothing but
	// this and Written. Whether entries are missing, or were moved, Verify tells.
	Fault string `json:"fault,omitempty"`
}

// Order is that of entries.
type Order string

// The orders.
const (
	OldestFirst Order = "" // what is written later comes on later pages
	NewestFirst Order = "newest"
)

// Query selects entries. The zero Query is all of them.
type Query struct {
	// After is the next of the page before. Empty: from the beginning.
	After string
	// Limit is the most entries of a page, 1 to 1,000. Default 100.
	Limit int
	// Order is the default OldestFirst, or NewestFirst.
	Order Order
	// Actor, Action and ID are those of the entries, letter by letter. Empty: any. What cannot be read is in every
	// answer.
	Actor, Action, ID string
	// From and To are when the entries were written, by Redis time; To is not in it. Zero: not bounded.
	From, To time.Time
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	pageSize     = 500    // entries that one call to Redis reads
	maxScan      = 10_000 // and that one call of Entries looks at
)

// Entries returns a page of the entries of an org, or with "" of the plans, and the After of the page that follows: ""
// at the end. A page may be short, or empty, although another follows, since a call looks at no more than 10,000
// entries: up to 20 calls to Redis, each within the timeout. The entries stay in memory until all are returned.
// Errors: ErrInvalid, ErrUnavailable.
func (l *Log) Entries(ctx context.Context, org string, q Query) (entries []Entry, next string, err error) {
	part, limit, err := q.part()
	if err == nil {
		err = validOrg(org)
	}
	if err != nil {
		return nil, "", err
	}
	entries = []Entry{}
	for scanned := 0; scanned < maxScan; scanned += part.Count {
		stored, err := l.read(ctx, org, part)
		if err != nil {
			return nil, "", err
		}
		for i := range stored {
			if e := l.entry(org, &stored[i]); q.fits(&e) {
				entries = append(entries, e)
			}
			if len(entries) == limit && (i+1 < len(stored) || len(stored) == part.Count) {
				return entries, stored[i].ID, nil
			}
		}
		if len(stored) < part.Count {
			return entries, "", nil
		}
		next = stored[len(stored)-1].ID
		part = q.beyond(part, next)
	}
	return entries, next, nil
}

// entry reads what is stored, and tells what is wrong with it.
func (l *Log) entry(org string, stored *lua.TrailEntry) Entry {
	at, _ := parseID(stored.ID)
	e := Entry{Seq: stored.Seq, Written: time.UnixMilli(int64(at.ms)).UTC(), Link: stored.Link}
	if stored.Damaged {
		e.Fault = whyDamaged
		return e
	}
	if err := stored.Line.Verify(l.sealer, org); err != nil {
		e.Fault = err.Error()
	}
	if err := json.Unmarshal([]byte(stored.Line.Text), &e.Entry); err != nil {
		e.Entry, e.Fault = audit.Entry{}, whyDamaged
	}
	return e
}

// fits reports whether an entry is among those that are asked for.
func (q *Query) fits(e *Entry) bool {
	if e.Entry.Action == "" { // not read
		return true
	}
	return (q.Actor == "" || q.Actor == e.Actor) && (q.Action == "" || q.Action == e.Action) && (q.ID == "" || q.ID == e.ID)
}

// part returns what is read first, and the most entries that are returned.
func (q *Query) part() (part lua.TrailRange, limit int, err error) {
	limit = cmp.Or(q.Limit, defaultLimit)
	part = lua.TrailRange{Count: pageSize, Newest: q.Order == NewestFirst}
	var faults []error
	if limit < 1 || limit > maxLimit {
		faults = append(faults, fmt.Errorf("%w query: Limit %d must be 1 to %d", ErrInvalid, q.Limit, maxLimit))
	}
	if q.Order != OldestFirst && q.Order != NewestFirst {
		faults = append(faults, fmt.Errorf("%w query: Order must be %q, or left out", ErrInvalid, NewestFirst))
	}
	for _, bound := range []struct {
		name string
		time time.Time
		id   *string
	}{{"From", q.From, &part.From}, {"To", q.To, &part.To}} {
		if bound.time.IsZero() {
			continue
		}
		if year := bound.time.UTC().Year(); year < 1970 || year > 9999 {
			faults = append(faults, fmt.Errorf("%w query: %s %v must lie between the years 1970 and 9999, in UTC", ErrInvalid, bound.name, bound.time))
		}
		*bound.id = streamID{ms: uint64(bound.time.Add(time.Millisecond - 1).UnixMilli())}.String()
	}
	if part.To != "" {
		part.To = "(" + part.To
	}
	if q.Actor == "" && q.Action == "" && q.ID == "" {
		part.Count = min(limit+1, pageSize)
	}
	if q.After != "" {
		if _, ok := parseID(q.After); !ok {
			faults = append(faults, fmt.Errorf("%w query: After is not what Entries returned", ErrInvalid))
		}
		part = q.beyond(part, q.After)
	}
	return part, limit, errors.Join(faults...)
}

// beyond returns the rest of a part after an entry. An After may come from a query with other times.
func (q *Query) beyond(part lua.TrailRange, id string) lua.TrailRange {
	at, _ := parseID(id)
	from, _ := parseID(part.From)
	to, bounded := parseID(strings.TrimPrefix(part.To, "("))
	switch {
	case q.Order == NewestFirst && (!bounded || at.before(to)):
		part.To = "(" + id
	case q.Order == OldestFirst && !at.before(from):
		part.From = "(" + id
	}
	return part
}

// streamID names an entry of a stream.
type streamID struct{ ms, count uint64 }

func (s streamID) String() string {
	return strconv.FormatUint(s.ms, 10) + "-" + strconv.FormatUint(s.count, 10)
}

func (s streamID) before(o streamID) bool { return s.ms < o.ms || s.ms == o.ms && s.count < o.count }

// parseID reads an ID; ok is false where Redis would not have written it.
func parseID(text string) (id streamID, ok bool) {
	ms, count, _ := strings.Cut(text, "-")
	var errs [2]error
	id.ms, errs[0] = strconv.ParseUint(ms, 10, 64)
	id.count, errs[1] = strconv.ParseUint(count, 10, 64)
	return id, errors.Join(errs[:]...) == nil && id.String() == text
}
