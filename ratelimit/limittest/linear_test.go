package limittest_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

const (
	linearCallers = 8
	linearCalls   = 30 // of each caller
)

// linearLimits are the limits of two policies. Some two thirds of what is asked for fits.
var linearLimits = [2]int64{200, 220}

// question asks both policies for units at once, answer is what it was told.
type question struct {
	costs [2]int64
	peek  bool
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
		a.allowed = a.allowed && c[i]+cost <= linearLimits[i]
	}
	for i, cost := range q.costs {
		if a.allowed && !q.peek {
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

// record has callers ask at the same time and returns the history. The first question of each takes.
func record(t *testing.T, seed uint64, ask asker) []porcupine.Operation {
	t.Helper()
	began := time.Now()
	histories := make([][]porcupine.Operation, linearCallers)
	together(linearCallers, func(i int) {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		for n := range linearCalls {
			q := question{costs: [2]int64{rng.Int64N(4), rng.Int64N(4)}, peek: rng.IntN(4) == 0}
			if n == 0 {
				q = question{costs: [2]int64{1 + rng.Int64N(3), 1}}
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
		}
	})
	var all []porcupine.Operation
	for _, h := range histories {
		all = append(all, h...)
	}
	return all
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

// replicas returns an asker whose callers are spread over two limiters, each with a client of its own.
func replicas(t *testing.T, rdb redis.UniversalClient, k kind) asker {
	t.Helper()
	second := redistest.Standalone
	if _, ok := rdb.(*redis.ClusterClient); ok {
		second = func(tb testing.TB, _ ...redistest.Option) redis.UniversalClient { return redistest.Cluster(tb) }
	}
	lanes := [2]*lane{newLane(t, rdb), newLane(t, second(t))}
	lanes[1].org = lanes[0].org
	return func(i int, q question) (answer, error) {
		l := lanes[i%2]
		r := l.request(q.costs[0], k.of(linearLimits[0], long).Named("a"), k.of(linearLimits[1], long).Named("b"))
		r.Charges[1].Cost, r.Peek = q.costs[1], q.peek
		d, err := l.limiter.Admit(t.Context(), r)
		if err != nil {
			return answer{}, err
		}
		a, b := d.Results[0], d.Results[1]
		return answer{d.Allowed, [2]int64{a.Used, b.Used}, [2]int64{a.Remaining, b.Remaining}}, nil
	}
}

// TestLinearizable holds that whatever callers of two replicas do at the same time could have been done by
// one after the other: no unit is taken twice or forgotten, nobody sees what is half done or was true
// before, and what is told is exact.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		for _, k := range kinds {
			for seed := range uint64(3) {
				t.Run(fmt.Sprint(k.name, "/", seed), func(t *testing.T) {
					history := record(t, seed, replicas(t, rdb, k))
					met := map[string]bool{}
					for i, op := range history {
						met[strconv.FormatBool(op.Output.(answer).allowed)] = true
						for _, other := range history[:i] {
							if other.ClientId != op.ClientId && other.Call < op.Return && op.Call < other.Return {
								met["at the same time"] = true
							}
						}
					}
					if len(met) != 3 {
						t.Errorf("the history met only %v", met)
					}
					if !linearizable(t, history) {
						t.Error("the history is not linearizable")
					}
				})
			}
		}
	})
}

// TestBrokenIsNotLinearizable shows that the checker finds limiters that are broken.
func TestBrokenIsNotLinearizable(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*testing.T, redis.UniversalClient) asker{
		"read, then write":      readThenWrite,
		"an answer from memory": fromMemory,
		"a charge that is lost": lost,
		"half of a request":     half,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				if linearizable(t, record(t, 0, broken(t, rdb))) {
					t.Error("nobody found that it is broken")
				}
			})
		})
	}
}

// readThenWrite is what GET and SET without a script come to. All callers read before the first writes.
func readThenWrite(t *testing.T, rdb redis.UniversalClient) asker {
	t.Helper()
	key := redistest.Org(t)
	var all sync.WaitGroup
	all.Add(linearCallers)
	var first [linearCallers]sync.Once
	return func(i int, q question) (answer, error) {
		values, err := rdb.HMGet(t.Context(), key, "0", "1").Result()
		first[i].Do(func() {
			all.Done()
			all.Wait()
		})
		if err != nil {
			return answer{}, err
		}
		var c counts
		for n, v := range values {
			if s, ok := v.(string); ok {
				if c[n], err = strconv.ParseInt(s, 10, 64); err != nil {
					return answer{}, err
				}
			}
		}
		a, c := c.decide(q)
		return a, rdb.HSet(t.Context(), key, "0", c[0], "1", c[1]).Err()
	}
}

// fromMemory answers peeks with what the caller knew at first.
func fromMemory(t *testing.T, rdb redis.UniversalClient) asker {
	t.Helper()
	ask := replicas(t, rdb, kinds[0])
	var known [linearCallers]*counts
	return func(i int, q question) (answer, error) {
		if q.peek {
			a, _ := known[i].decide(q)
			return a, nil
		}
		a, err := ask(i, q)
		if known[i] == nil {
			known[i] = (*counts)(&a.used)
		}
		return a, err
	}
}

// lost forgets one charge of each caller.
func lost(t *testing.T, rdb redis.UniversalClient) asker {
	t.Helper()
	ask := replicas(t, rdb, kinds[0])
	var asked [linearCallers]int
	return func(i int, q question) (answer, error) {
		if asked[i]++; asked[i] != 5 {
			return ask(i, q)
		}
		a, err := ask(i, question{costs: q.costs, peek: true})
		a, _ = counts(a.used).decide(q)
		return a, err
	}
}

// half asks for one policy after the other.
func half(t *testing.T, rdb redis.UniversalClient) asker {
	t.Helper()
	ask := replicas(t, rdb, kinds[0])
	return func(i int, q question) (answer, error) {
		a, err := ask(i, question{costs: [2]int64{q.costs[0], 0}, peek: q.peek})
		if err != nil {
			return answer{}, err
		}
		b, err := ask(i, question{costs: [2]int64{0, q.costs[1]}, peek: q.peek})
		b.allowed = a.allowed && b.allowed
		return b, err
	}
}
