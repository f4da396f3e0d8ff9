package limittest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	linearCallers = 8
	linearCalls   = 30 // of each caller
)

// linearLimits are the limits of two policies. About a half of what is asked for fits.
var linearLimits = [2]int64{160, 170}

// question asks both policies for units at once, or gives some back that were taken; answer is what it was
// told.
type question struct {
	costs      [2]int64
	peek, back bool
}

type answer struct {
	allowed         bool
	used, remaining [2]int64
}

// asker is what is tested: caller i asks, and waits for the answer.
type asker func(i int, q question) (answer, error)

// counts are the units taken from both policies, whose windows do not roll.
type counts [2]int64

// decide is what a limiter does if only one asks at a time: a request takes from both policies if both
// have the room, or from none.
func (c counts) decide(q question) (answer, counts) {
	a := answer{allowed: true}
	for i, cost := range q.costs {
		a.allowed = a.allowed && (q.back || c[i]+cost <= linearLimits[i])
	}
	for i, cost := range q.costs {
		switch {
		case q.back:
			c[i] -= cost
		case a.allowed && !q.peek:
			c[i] += cost
		}
		a.used[i], a.remaining[i] = c[i], linearLimits[i]-c[i]
	}
	return a, c
}

var sequential = porcupine.Model{
	Init: func() any { return counts{} },
	Step: func(state, input, output any) (bool, any) {
		want, next := state.(counts).decide(input.(question))
		return output.(answer) == want, next
	},
}

// record has callers ask at the same time and returns the history. The first question of each takes; some
// of what was taken is given back.
func record(t *testing.T, seed uint64, ask asker) []porcupine.Operation {
	t.Helper()
	began := time.Now()
	histories := make([][]porcupine.Operation, linearCallers)
	together(linearCallers, func(i int) {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		var last question // that took
		for n := range linearCalls {
			q := question{costs: [2]int64{1 + rng.Int64N(3), 1 + rng.Int64N(3)}, peek: n > 0 && rng.IntN(4) == 0}
			if last.costs[0] > 0 && rng.IntN(6) == 0 {
				q = question{costs: last.costs, back: true}
			}
			call := time.Since(began)
			got, err := ask(i, q)
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
				return
			}
			histories[i] = append(histories[i], porcupine.Operation{
				ClientId: i, Input: q, Call: call.Nanoseconds(), Output: got, Return: time.Since(began).Nanoseconds(),
			})
			switch {
			case q.back:
				last = question{}
			case got.allowed && !q.peek:
				last = q
			}
		}
	})
	return slices.Concat(histories...)
}

// linearizable reports whether a history could be that of callers who came one by one, each between its
// question and its answer.
func linearizable(t *testing.T, history []porcupine.Operation) bool {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(sequential, history, time.Minute)
	if result == porcupine.Unknown {
		t.Fatal("nobody could tell within a minute whether the history is linearizable")
	}
	return result == porcupine.Ok
}

// replicas returns an asker whose callers are spread over two limiters, each with a client of its own. What
// is given back is refunded, or settled where it is held.
func replicas(t *testing.T, rdb redis.UniversalClient, of func(limit int64) ratelimit.Policy) asker {
	t.Helper()
	second := redistest.Standalone
	if _, ok := rdb.(*redis.ClusterClient); ok {
		second = func(tb testing.TB, _ ...redistest.Option) redis.UniversalClient { return redistest.Cluster(tb) }
	}
	lanes := [2]*lane{newLane(t, rdb), newLane(t, second(t))}
	lanes[1].org = lanes[0].org
	a, b := of(linearLimits[0]).Named("a"), of(linearLimits[1]).Named("b")
	var last [linearCallers]ratelimit.Decision // that took
	return func(i int, q question) (answer, error) {
		l := lanes[i%2]
		r := l.request(q.costs[0], a, b)
		r.Charges[1].Cost, r.Peek = q.costs[1], q.peek
		var d ratelimit.Decision
		var err error
		switch {
		case q.back && a.Lease > 0:
			r.Hold = last[i].Hold
			for n := range r.Charges {
				r.Charges[n].Held, r.Charges[n].Cost = q.costs[n], 0
			}
			d, err = l.limiter.Settle(t.Context(), r)
		case q.back:
			d, err = l.limiter.Refund(t.Context(), r, last[i].At)
		default:
			d, err = l.limiter.Admit(t.Context(), r)
		}
		if err != nil {
			return answer{}, err
		}
		if d.Allowed && !q.peek && !q.back {
			last[i] = d
		}
		ra, rb := d.Results[0], d.Results[1]
		return answer{d.Allowed, [2]int64{ra.Used, rb.Used}, [2]int64{ra.Remaining, rb.Remaining}}, nil
	}
}

// TestLinearizable holds that whatever callers of two replicas do at the same time could have been done by
// one after the other: no unit is taken twice or forgotten, nobody sees what is half done or was true
// before, and what is told is exact.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	policies := map[string]func(limit int64) ratelimit.Policy{"concurrency": ratelimit.Concurrent}
	for _, k := range kinds {
		policies[k.name] = func(limit int64) ratelimit.Policy { return k.of(limit, long) }
		policies[k.name+", reserved"] = func(limit int64) ratelimit.Policy { return k.of(limit, long).Reserved(time.Hour) }
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		for name, of := range policies {
			for seed := range uint64(2) {
				t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
					history := record(t, seed, replicas(t, rdb, of))
					metAll(t, history)
					if !linearizable(t, history) {
						t.Error("the history is not linearizable")
					}
				})
			}
		}
	})
}

// metAll checks that a history is worth looking at.
func metAll(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	met := map[string]bool{}
	for i, op := range history {
		q, a := op.Input.(question), op.Output.(answer)
		met["allowed"] = met["allowed"] || a.allowed && !q.peek && !q.back
		met["refused"] = met["refused"] || !a.allowed
		met["peeked"] = met["peeked"] || q.peek
		met["given back"] = met["given back"] || q.back
		for _, other := range history[:i] {
			if other.ClientId != op.ClientId && other.Call < op.Return && op.Call < other.Return {
				met["at the same time"] = true
			}
		}
	}
	for what, ok := range met {
		if !ok {
			t.Errorf("nothing was %s", what)
		}
	}
	if !met["at the same time"] {
		t.Error("nobody asked at the same time")
	}
}
