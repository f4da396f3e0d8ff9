package limittest_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

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
	ask := replicas(t, rdb, sliding)
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
	ask := replicas(t, rdb, sliding)
	var asked [linearCallers]int
	return func(i int, q question) (answer, error) {
		if q.peek || q.back {
			return ask(i, q)
		}
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
	ask := replicas(t, rdb, sliding)
	return func(i int, q question) (answer, error) {
		if q.back {
			return ask(i, q)
		}
		a, err := ask(i, question{costs: [2]int64{q.costs[0], 0}, peek: q.peek})
		if err != nil {
			return answer{}, err
		}
		b, err := ask(i, question{costs: [2]int64{0, q.costs[1]}, peek: q.peek})
		b.allowed = a.allowed && b.allowed
		return b, err
	}
}

// sliding is the policy that the others begin with.
func sliding(limit int64) ratelimit.Policy { return ratelimit.Per(limit, long) }
