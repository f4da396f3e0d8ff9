package telemetry

import "strings"

// project is whose disagreements are counted.
type project struct{ org, project string }

// top finds those that come most often, in little memory, by the algorithm of Misra and Gries (Finding
// Repeated Elements, 1982). Each that is kept has a weight, one more for each time that it comes. When another
// comes and there is no room, a round takes one from all weights, and the other is not kept; one whose weight
// is zero makes room.
//
// A round erases size+1 events, so of n events there were at most n/(size+1) rounds. One that is not kept came
// no more often than there were rounds: that is all that can be missed. A round takes time in proportion to
// size, which the events that it erases have paid for.
type top struct {
	size   int
	kept   map[project]*entry
	rounds uint64
	spare  []project // of those kept, all whose weight is zero, and some that came again since
}

type entry struct {
	weight                  uint64
	wouldRefuse, wouldAllow uint64 // since it is kept
	missed                  uint64 // before that, at most
}

func newTop(size int) top { return top{size: size, kept: make(map[project]*entry)} }

// add counts an event, which is of one kind or the other.
func (t *top) add(who project, wouldRefuse, wouldAllow uint64) {
	e := t.kept[who]
	if e == nil {
		if len(t.kept) >= t.size && !t.makeRoom() {
			return
		}
		e = &entry{missed: t.rounds}
		t.kept[project{strings.Clone(who.org), strings.Clone(who.project)}] = e
	}
	e.weight++
	e.wouldRefuse += wouldRefuse
	e.wouldAllow += wouldAllow
}

// makeRoom forgets one whose weight is zero, or else does a round.
func (t *top) makeRoom() bool {
	for len(t.spare) > 0 {
		who := t.spare[len(t.spare)-1]
		t.spare = t.spare[:len(t.spare)-1]
		if t.kept[who].weight == 0 {
			delete(t.kept, who)
			return true
		}
	}
	t.rounds++
	for who, e := range t.kept {
		if e.weight--; e.weight == 0 {
			t.spare = append(t.spare, who)
		}
	}
	return false
}

// counts returns those kept, in no order.
func (t *top) counts() []ProjectCount {
	counts := make([]ProjectCount, 0, len(t.kept))
	for who, e := range t.kept {
		counts = append(counts, ProjectCount{who.org, who.project, e.wouldRefuse, e.wouldAllow, e.missed})
	}
	return counts
}
