package auditlog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/seal"
)

// attack changes a trail of three entries or more at one place, and tells what is needed to see it.
type attack struct {
	change func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry
	needs  func(at, last int) need
}

// need is what makes an attack visible.
type need int

const (
	nothing  need = iota // the chain alone
	toldSeq              // the chain alone: the Seq of the First
	anchored             // an anchor
	sealed               // a sealer
	either               // one of both
)

func always(n need) func(int, int) need { return func(int, int) need { return n } }

// lastNeeds is for what breaks the links of those that follow, if any.
func lastNeeds(n need) func(at, last int) need {
	return func(at, last int) need {
		if at == last {
			return n
		}
		return nothing
	}
}

var attacks = map[string]attack{
	"text": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Line.Text = other[at].Line.Text
		return trail
	}, always(nothing)},
	"sum": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Line.Sum = other[at].Line.Sum
		return trail
	}, always(nothing)},
	"text and sum": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Line = other[at].Line
		return trail
	}, always(nothing)},
	"seal": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Line.Seal = other[at].Line.Seal
		return trail
	}, always(sealed)},
	"link": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Link = other[at].Link
		return trail
	}, always(nothing)},
	"number": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Seq++
		return trail
	}, always(nothing)},
	"an entry forged whole": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Line = other[at].Line
		relink(trail[:at+1], at)
		return trail
	}, lastNeeds(either)},
	"forged, and all that follows": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		trail[at].Line = other[at].Line
		relink(trail, at)
		return trail
	}, always(either)},
	"removed": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		return slices.Delete(trail, at, at+1)
	}, func(at, last int) need {
		switch at {
		case 0:
			return toldSeq
		case last:
			return anchored
		}
		return nothing
	}},
	"removed, and all that follows relinked": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		trail = slices.Delete(trail, at, at+1)
		relink(trail, at)
		return trail
	}, always(anchored)},
	"repeated, and all that follows relinked": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		at = min(at, len(trail)-2) // one more at the end looks like one that came later
		trail = slices.Insert(trail, at, trail[at])
		relink(trail, at)
		return trail
	}, always(anchored)},
	"swapped, and all that follows relinked": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		next := (at + 1) % len(trail)
		trail[at].Line, trail[next].Line = trail[next].Line, trail[at].Line
		relink(trail, min(at, next))
		return trail
	}, always(anchored)},
	"cut": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		return trail[:at]
	}, always(anchored)},
	"trimmed": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		return trail[at+1:]
	}, func(at, last int) need {
		if at == last {
			return anchored
		}
		return toldSeq
	}},
	"inserted": {func(trail []lua.TrailEntry, at int, other []lua.TrailEntry) []lua.TrailEntry {
		return slices.Insert(trail, at, other[at])
	}, always(nothing)},
	"repeated": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		return slices.Insert(trail, at, trail[at])
	}, always(nothing)},
	"swapped": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		next := (at + 1) % len(trail)
		trail[at], trail[next] = trail[next], trail[at]
		return trail
	}, always(nothing)},
	"swapped texts": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		next := (at + 1) % len(trail)
		trail[at].Line, trail[next].Line = trail[next].Line, trail[at].Line
		return trail
	}, always(nothing)},
	"damaged": {func(trail []lua.TrailEntry, at int, _ []lua.TrailEntry) []lua.TrailEntry {
		trail[at] = lua.TrailEntry{Damaged: true}
		return trail
	}, always(nothing)},
}

// TestAttacksAreSeen draws a trail and a place, and holds for each attack that it is seen by who has what it takes,
// and by nobody else: what this package's documentation says it does not show, it does not.
func TestAttacksAreSeen(t *testing.T) {
	t.Parallel()
	ours, theirs := sealerOf(t, "k"), sealerOf(t, "x")
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				n := rapid.IntRange(3, 9).Draw(rt, "entries")
				at := rapid.IntRange(0, n-1).Draw(rt, "at")
				trail := writeOn(t, ours, org, nil, n)
				head := headOf(&trail[n-1])
				other := writeOn(t, theirs, org, nil, n)
				if got := verify(trail, ours, &head); !got.OK || got.Entries != int64(n) || got.Head != head || got.First.Seq != 1 {
					rt.Fatalf("as written: %+v", got)
				}
				attacked := a.change(slices.Clone(trail), at, other)
				for _, power := range []struct {
					sealer *seal.Sealer
					anchor *Head
				}{{nil, nil}, {ours, nil}, {nil, &head}, {ours, &head}} {
					got := verify(attacked, power.sealer, power.anchor)
					seen := !got.OK || got.First.Seq > 1
					var want bool
					switch a.needs(at, n-1) {
					case nothing, toldSeq:
						want = true
					case anchored:
						want = power.anchor != nil
					case sealed:
						want = power.sealer != nil
					case either:
						want = power.anchor != nil || power.sealer != nil
					}
					if seen != want {
						rt.Fatalf("entry %d of %d, sealer: %t, anchor: %t: seen: %t, want %t: %+v", at+1, n, power.sealer != nil, power.anchor != nil, seen, want, got)
					}
					if !got.OK && (got.BrokenAt < 1 || got.BrokenAt > int64(n)+1 || got.Why == "" || got.Entries >= int64(n)+1) {
						rt.Fatalf("entry %d of %d: %+v", at+1, n, got)
					}
				}
			})
		})
	}
}
