package telemetry

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestTopAgainstExactCount draws streams in which some come often and most seldom, and holds the bounds that
// the summary states after every event of them.
func TestTopAgainstExactCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 8).Draw(t, "size")
		few, many := rapid.IntRange(0, 3), rapid.IntRange(0, 40)
		short, exact := newTop(size), map[project][2]uint64{}
		for n := range uint64(rapid.IntRange(0, 200).Draw(t, "events")) {
			number := many
			if rapid.Bool().Draw(t, "often") {
				number = few
			}
			who, kind := project{"acme", fmt.Sprint(number.Draw(t, "project"))}, rapid.IntRange(0, 1).Draw(t, "kind")
			count := exact[who]
			count[kind]++
			exact[who] = count
			short.add(who, 1-uint64(kind), uint64(kind))
			checkTop(t, &short, exact, n+1)
		}
	})
}

func checkTop(t *rapid.T, short *top, exact map[project][2]uint64, n uint64) {
	bound := n / uint64(short.size+1)
	kept := map[project]bool{}
	for _, got := range short.counts() {
		who := project{got.Org, got.Project}
		kept[who] = true
		want := exact[who]
		sum, all := got.WouldRefuse+got.WouldAllow, want[0]+want[1]
		if got.WouldRefuse > want[0] || got.WouldAllow > want[1] || sum+got.Missed < all || got.Missed > bound {
			t.Fatalf("after %d events of size %d: %+v, exactly %v; the bound is %d", n, short.size, got, want, bound)
		}
	}
	if len(kept) > short.size || len(short.spare) > short.size {
		t.Fatalf("%d kept and %d spare, at most %d", len(kept), len(short.spare), short.size)
	}
	for who, want := range exact {
		if want[0]+want[1] > bound && !kept[who] {
			t.Fatalf("after %d events of size %d: %v came %v and is not kept; the bound is %d", n, short.size, who, want, bound)
		}
	}
}

// TestTopOfManySeldom shows what a stream without any frequent ones leaves: a full list, each with its doubt.
func TestTopOfManySeldom(t *testing.T) {
	t.Parallel()
	short := newTop(4)
	for i := range 1000 {
		short.add(project{"acme", fmt.Sprint(i)}, 1, 0)
	}
	counts := short.counts()
	if len(counts) != 4 || short.rounds > 200 {
		t.Errorf("%d kept after %d rounds, want 4 after at most 200", len(counts), short.rounds)
	}
	for _, c := range counts {
		if c.WouldRefuse+c.WouldAllow != 1 || c.Missed > 200 {
			t.Errorf("%+v, want one event and at most 200 missed", c)
		}
	}
}
