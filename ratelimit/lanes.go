package ratelimit

import "hash/maphash"

// laneCount is how many lanes there are. Two orgs share one by chance, which nobody can choose.
const laneCount = 1024

var laneSeed = maphash.MakeSeed()

// laneOf returns the lane of an org, or of whoever else takes turns with others.
func laneOf(tenant string) int { return int(maphash.String(laneSeed, tenant) % laneCount) }

// lanes are the calls that wait for a server: those of each lane in the order in which they came. Lanes take turns, so
// that tenants who ask for much hold up no others: stochastic fairness queueing (McKenney, 1990).
type lanes struct {
	all  [laneCount]lane
	busy []int // the lanes where somebody waits, in the order of their turns
	size int
}

// lane is the calls of an org, and now and then of two.
type lane struct {
	calls []*call
	head  int // how many of them have gone
}

// add has a call wait. Where so many wait already, it returns the call that there is no room for: the last of the longest
// lane, be it this one.
func (l *lanes) add(c *call, most int) (crowdedOut *call) {
	at := &l.all[c.prepared.lane]
	if l.size >= most {
		longest := at
		for _, number := range l.busy {
			if l.all[number].size() > longest.size()+1 { // than this one with the call
				longest = &l.all[number]
			}
		}
		if longest == at {
			return c
		}
		crowdedOut = longest.last()
		l.size--
	}
	if at.size() == 0 {
		l.busy = append(l.busy, c.prepared.lane)
	}
	at.calls = append(at.calls, c)
	l.size++
	return crowdedOut
}

// take gives the calls that wait to board, until it wants no more: one of each lane at a time, or all of a lane where all
// calls are few.
func (l *lanes) take(board func(*call) bool, few int) {
	turn := 1
	if l.size <= few {
		turn = few
	}
	for len(l.busy) > 0 {
		at := &l.all[l.busy[0]]
		for range min(turn, at.size()) {
			if !board(at.calls[at.head]) {
				return
			}
			at.pop()
			l.size--
		}
		first := l.busy[0]
		l.busy = l.busy[:copy(l.busy, l.busy[1:])]
		if at.size() > 0 {
			l.busy = append(l.busy, first)
		}
	}
}

// each looks at all who wait, and takes those out that come first in their lanes and do not stay. Others who do not are
// passed over when they board.
func (l *lanes) each(stays func(*call) bool) {
	busy := l.busy[:0]
	for _, number := range l.busy {
		at := &l.all[number]
		for at.size() > 0 && !stays(at.calls[at.head]) {
			at.pop()
			l.size--
		}
		if at.size() > 0 {
			for _, c := range at.calls[at.head+1:] {
				stays(c)
			}
			busy = append(busy, number)
		}
	}
	l.busy = busy
}

func (l *lane) size() int { return len(l.calls) - l.head }

// last takes out the last call of a lane that has more than one.
func (l *lane) last() *call {
	end := len(l.calls) - 1
	c := l.calls[end]
	l.calls[end], l.calls = nil, l.calls[:end]
	return c
}

// pop forgets the first call.
func (l *lane) pop() {
	l.calls[l.head] = nil
	l.head++
	switch {
	case l.head == len(l.calls):
		l.calls, l.head = l.calls[:0], 0
	case l.head >= 64 && l.head >= len(l.calls)/2: // those who wait move up
		left := copy(l.calls, l.calls[l.head:])
		clear(l.calls[left:])
		l.calls, l.head = l.calls[:left], 0
	}
}
