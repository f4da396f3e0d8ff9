package auditlog

import (
	"bytes"
	"slices"
	"strconv"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/seal"
)

const org = "acme"

func sealerOf(tb testing.TB, secret string) *seal.Sealer {
	tb.Helper()
	s, err := seal.New(seal.NewKey("1", bytes.Repeat([]byte(secret), 32)))
	if err != nil {
		tb.Fatalf("seal.New: %v", err)
	}
	return s
}

// writeOn appends entries to a trail as audit.lua does.
func writeOn(tb testing.TB, s *seal.Sealer, of string, trail []lua.TrailEntry, n int) []lua.TrailEntry {
	tb.Helper()
	last := lua.TrailEntry{}
	if len(trail) > 0 {
		last = trail[len(trail)-1]
	}
	for range n {
		line, err := audit.NewLine(tb.Context(), s, audit.Entry{Action: "key.change", Org: of, ID: strconv.FormatInt(last.Seq, 10)})
		if err != nil {
			tb.Fatalf("NewLine: %v", err)
		}
		last = lua.TrailEntry{Seq: last.Seq + 1, Link: audit.Link(last.Link, last.Seq+1, line.Sum), Line: line}
		trail = append(trail, last)
	}
	return trail
}

func verify(trail []lua.TrailEntry, s *seal.Sealer, anchor *Head) Report {
	c := chain{org: org, sealer: s, anchor: anchor}
	for i := range trail {
		if !c.add(&trail[i]) {
			return c.Report
		}
	}
	return c.end()
}

// relink makes the links of a trail right from an entry on, as somebody can who writes it anew.
func relink(trail []lua.TrailEntry, from int) {
	for i := from; i < len(trail); i++ {
		before := ""
		if i > 0 {
			before = trail[i-1].Link
		}
		trail[i].Seq = int64(i + 1)
		trail[i].Link = audit.Link(before, trail[i].Seq, trail[i].Line.Sum)
	}
}

// TestAnchors holds for anchors that are older than the head, and for trails that were trimmed.
func TestAnchors(t *testing.T) {
	t.Parallel()
	trail := writeOn(t, nil, org, nil, 9)
	other := writeOn(t, nil, org, nil, 9)
	at := func(trail []lua.TrailEntry, seq int) *Head { return new(headOf(&trail[seq-1])) }
	forged := slices.Clone(trail[4:])
	forged[0].Line = other[4].Line
	relinked := slices.Clone(trail)
	relinked[0].Line = other[0].Line
	relink(relinked, 0)
	for _, tt := range []struct {
		name   string
		trail  []lua.TrailEntry
		anchor *Head
		broken int64 // 0: OK
		why    string
	}{
		{"nothing", nil, nil, 0, ""},
		{"still nothing", nil, &Head{}, 0, ""},
		{"all gone", nil, at(trail, 9), 1, whyEnd},
		{"since it was empty", trail, &Head{}, 0, ""},
		{"in the middle", trail, at(trail, 5), 0, ""},
		{"the same head", trail, at(trail, 9), 0, ""},
		{"cut before it", trail[:5], at(trail, 6), 6, whyEnd},
		{"cut after it", trail[:5], at(trail, 5), 0, ""},
		{"another at it", trail, at(other, 5), 5, whyAnchor},
		{"written anew before it", relinked, at(trail, 5), 5, whyAnchor},
		{"written anew, and longer", writeOn(t, nil, org, nil, 12), at(trail, 9), 9, whyAnchor},
		{"trimmed before it", trail[3:], at(trail, 5), 0, ""},
		{"trimmed up to it", trail[4:], at(trail, 5), 0, ""},
		{"trimmed with it", trail[5:], at(trail, 5), 0, ""},
		{"trimmed beyond it", trail[6:], at(trail, 5), 6, whyBegin},
		{"trimmed since it was empty", trail[1:], &Head{}, 1, whyBegin},
		{"the first after it forged", forged, at(trail, 4), 5, whyLink},
		{"the first forged, and its link unknown", forged[:1], nil, 0, ""},
	} {
		got := verify(tt.trail, nil, tt.anchor)
		if got.OK != (tt.broken == 0) || got.BrokenAt != tt.broken || got.Why != tt.why {
			t.Errorf("%s: %+v, want it broken at %d: %q", tt.name, got, tt.broken, tt.why)
		}
		if got.OK && (got.Entries != int64(len(tt.trail)) || len(tt.trail) > 0 && (got.First != headOf(&tt.trail[0]) || got.Head != headOf(&tt.trail[len(tt.trail)-1]))) {
			t.Errorf("%s: %+v of %d entries", tt.name, got, len(tt.trail))
		}
	}
}

func TestSealKeysRotate(t *testing.T) {
	t.Parallel()
	old, young := seal.NewKey("1", bytes.Repeat([]byte("k"), 32)), seal.NewKey("2", bytes.Repeat([]byte("y"), 32))
	sealer := func(keys ...seal.Key) *seal.Sealer {
		s, err := seal.New(keys...)
		if err != nil {
			t.Fatalf("seal.New: %v", err)
		}
		return s
	}
	trail := writeOn(t, sealer(young, old), org, writeOn(t, sealer(old), org, nil, 3), 2)
	for name, tt := range map[string]struct {
		sealer *seal.Sealer
		broken int64
	}{
		"both": {sealer(young, old), 0}, "the other way round": {sealer(old, young), 0}, "old": {sealer(old), 4}, "young": {sealer(young), 1}, "none": {nil, 0},
	} {
		if got := verify(trail, tt.sealer, nil); got.BrokenAt != tt.broken {
			t.Errorf("%s: %+v, want it broken at %d", name, got, tt.broken)
		}
	}
}

// FuzzEdit writes anything over one field of an entry: with a sealer and an anchor it is seen, unless it is what was
// there.
func FuzzEdit(f *testing.F) {
	f.Add(uint8(1), uint8(0), "", int64(0))
	f.Add(uint8(0), uint8(1), `{"action":"key.change"}`, int64(0))
	f.Add(uint8(4), uint8(2), "1:", int64(0))
	f.Add(uint8(2), uint8(4), "", int64(1))
	ours := sealerOf(f, "k")
	trail := writeOn(f, ours, org, nil, 5)
	head := headOf(&trail[4])
	f.Fuzz(func(t *testing.T, at, field uint8, text string, seq int64) {
		edited := slices.Clone(trail)
		e := &edited[int(at)%len(trail)]
		switch field % 5 {
		case 0:
			e.Line.Text = text
		case 1:
			e.Line.Sum = text
		case 2:
			e.Line.Seal = text
		case 3:
			e.Link = text
		case 4:
			e.Seq = seq
		}
		same := *e == trail[int(at)%len(trail)]
		if got := verify(edited, ours, &head); got.OK != same {
			t.Errorf("%+v, want it found: %t", got, !same)
		}
	})
}
