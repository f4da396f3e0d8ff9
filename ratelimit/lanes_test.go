package ratelimit

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
)

// of returns a call of a lane.
func of(lane int) *call { return newCall(&Prepared{limiter: new(Limiter), lane: lane}) }

// boarded takes so many calls, and returns their lanes.
func boarded(l *lanes, most int) (numbers []int) {
	l.take(func(c *call) bool {
		if len(numbers) == most {
			return false
		}
		numbers = append(numbers, c.prepared.lane)
		return true
	}, lua.MaxBatch)
	return numbers
}

// TestLanesTakeTurns: a call of a quiet lane leaves with the next flight, however many a loud one has waiting, and those of
// a lane leave in their order.
func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	var l lanes
	var loud []*call
	for range 10 * lua.MaxBatch {
		c := of(1)
		loud = append(loud, c)
		l.add(c, 1<<14)
	}
	for _, quiet := range []int{2, 3, 63} {
		l.add(of(quiet), 1<<14)
		first := boarded(&l, lua.MaxBatch)
		if n := slices.Index(first, quiet); n < 0 || n > 1 || len(first) != lua.MaxBatch {
			t.Errorf("of %d on board that of the quiet lane is number %d, want it among the first two", len(first), n)
		}
	}
	left := 0
	l.take(func(c *call) bool {
		if c != loud[3*(lua.MaxBatch-1)+left] {
			t.Fatalf("number %d of the loud lane is out of its order", left)
		}
		left++
		return true
	}, lua.MaxBatch)
	if l.size != 0 || len(l.busy) != 0 || left != 7*lua.MaxBatch+3 {
		t.Errorf("%d left, %d took", l.size, left)
	}
}

// TestLanesCrowdOut: where the queue is full, whoever has the most waiting loses its last call to one with less, and nobody
// else does.
func TestLanesCrowdOut(t *testing.T) {
	t.Parallel()
	const most = 8
	var l lanes
	var loud []*call
	for range most {
		c := of(1)
		loud = append(loud, c)
		if out := l.add(c, most); out != nil {
			t.Fatal("crowded out where there was room")
		}
	}
	if c := of(1); l.add(c, most) != c {
		t.Error("the loud one crowded out another")
	}
	for i := range most/2 + 1 {
		c := of(2)
		want := c // its lane is as long then
		if i < most/2 {
			want = loud[most-1-i]
		}
		if out := l.add(c, most); out != want {
			t.Errorf("the quiet one's call %d crowded out another than due", i)
		}
	}
	if l.size != most || l.all[1].size() != most/2 || l.all[2].size() != most/2 {
		t.Errorf("%d wait, %d and %d", l.size, l.all[1].size(), l.all[2].size())
	}
}

// TestLanesAgainstModel adds, takes and drops at random, and compares with plain lists.
func TestLanesAgainstModel(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var l lanes
	model := map[int][]*call{}
	size := 0
	pop := func(c *call) {
		lane := model[c.prepared.lane]
		if len(lane) == 0 || lane[0] != c {
			t.Fatal("not the first of its lane")
		}
		model[c.prepared.lane] = lane[1:]
		size--
	}
	for range 20_000 {
		switch most := random.IntN(200); random.IntN(4) {
		case 0:
			l.take(func(c *call) bool {
				if most--; most < 0 {
					return false
				}
				pop(c)
				return true
			}, random.IntN(300)+1)
		case 1:
			if most > 20 { // seldom
				continue
			}
			first := map[int]bool{} // that stayed
			l.each(func(c *call) bool {
				if first[c.prepared.lane] || random.IntN(2) == 0 {
					first[c.prepared.lane] = true
					return true
				}
				pop(c)
				return false
			})
		default:
			for range random.IntN(50) {
				c := of(random.IntN(5))
				if out := l.add(c, 500); out == c {
					continue
				} else if out != nil {
					lane := model[out.prepared.lane]
					if lane[len(lane)-1] != out {
						t.Fatal("crowded out one that was not the last")
					}
					model[out.prepared.lane] = lane[:len(lane)-1]
					size--
				}
				model[c.prepared.lane] = append(model[c.prepared.lane], c)
				size++
			}
		}
		if l.size != size {
			t.Fatalf("%d wait, want %d", l.size, size)
		}
	}
}
