package journal

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/lua"
)

// state is what a journal has open. It is made from the same bytes that the file has, so that it is what a replay of
// the file finds.
type state struct {
	orgs  map[string]*account
	last  int64  // when the last record was made
	units uint64 // open in batches and pending
}

// account is what is open for one org.
type account struct {
	after   int64    // the number of its last batch
	batches []Record // frozen, in their order
	pending map[name]*int64
}

type name struct {
	hour int64
	lua.UsageName
}

var errOrder = errors.New("the numbers of an org's batches do not rise")

func newState() *state { return &state{orgs: make(map[string]*account)} }

// apply reads the records of a payload. After an error the state is of no use.
func (s *state) apply(payload []byte) error {
	for r := (reading{rest: string(payload)}); r.rest != ""; {
		rec, err := r.record()
		if err != nil {
			return err
		}
		s.last = max(s.last, rec.At)
		a := s.orgs[rec.Org]
		if a == nil {
			a = &account{pending: make(map[name]*int64)}
			s.orgs[strings.Clone(rec.Org)] = a
		}
		switch rec.Kind {
		case Pending:
			s.add(a, &rec)
		case Frozen:
			if rec.Number <= a.after {
				return errOrder
			}
			s.freeze(a, &rec)
		case Settled:
			s.settle(a, rec.Number)
		}
		a.after = max(a.after, rec.Number)
		if len(a.batches) == 0 && len(a.pending) == 0 {
			delete(s.orgs, rec.Org)
		}
	}
	return nil
}

func (s *state) add(a *account, rec *Record) {
	for _, e := range rec.Entries {
		n := name{rec.Hour, e.UsageName}
		held := a.pending[n]
		if held == nil {
			held = new(int64)
			n.UsageName = cloned(n.UsageName)
			a.pending[n] = held
		}
		s.units += uint64(e.Units) - uint64(*held)
		*held = e.Units
	}
}

func (s *state) freeze(a *account, rec *Record) {
	for i, e := range rec.Entries {
		n := name{rec.Hour, e.UsageName}
		if held := a.pending[n]; held != nil {
			s.units -= uint64(*held)
			delete(a.pending, n)
		}
		s.units += uint64(e.Units)
		rec.Entries[i].UsageName = cloned(e.UsageName)
	}
	rec.Org = strings.Clone(rec.Org)
	a.batches = append(a.batches, *rec)
}

func (s *state) settle(a *account, number int64) {
	for i := range a.batches {
		if a.batches[i].Number == number {
			for _, e := range a.batches[i].Entries {
				s.units -= uint64(e.Units)
			}
			a.batches = slices.Delete(a.batches, i, i+1)
			return
		}
	}
}

// cloned returns a name that does not hold on to the payload that it was read from.
func cloned(n lua.UsageName) lua.UsageName {
	return lua.UsageName{
		Project: strings.Clone(n.Project), Product: strings.Clone(n.Product),
		Kind: strings.Clone(n.Kind), Source: strings.Clone(n.Source),
	}
}

// records returns what is open as the fewest records that tell it: by org, batches before what is pending.
func (s *state) records() []Record {
	var all []Record
	for _, org := range slices.Sorted(maps.Keys(s.orgs)) {
		a := s.orgs[org]
		all = append(all, a.batches...)
		names := slices.SortedFunc(maps.Keys(a.pending), compare)
		for len(names) > 0 {
			rec := Record{Kind: Pending, Org: org, Number: a.after, At: s.last, Hour: names[0].hour}
			for len(names) > 0 && names[0].hour == rec.Hour && len(rec.Entries) < lua.MaxUsageEntries {
				rec.Entries = append(rec.Entries, lua.UsageEntry{UsageName: names[0].UsageName, Units: *a.pending[names[0]]})
				names = names[1:]
			}
			all = append(all, rec)
		}
	}
	return all
}

func compare(x, y name) int {
	return cmp.Or(
		cmp.Compare(x.hour, y.hour), cmp.Compare(x.Project, y.Project), cmp.Compare(x.Product, y.Product),
		cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Source, y.Source),
	)
}
