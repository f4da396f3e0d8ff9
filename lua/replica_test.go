package lua_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// beat is one call of a history, at a time, and how many are alive afterwards.
type beat struct {
	at      int64 // microseconds since the epoch
	process string
	leaves  bool
	alive   int64
}

const beatLife = 3 * time.Second

// TestBeat has processes come, go silent and leave, by a clock that the test sets.
func TestBeat(t *testing.T) {
	t.Parallel()
	life := beatLife.Microseconds()
	freeze(t, func(t *testing.T, f *frozen) {
		for _, tt := range []struct {
			name  string
			beats []beat
		}{
			{"one", []beat{{at: 0, process: "a", alive: 1}, {at: 1, process: "a", alive: 1}, {at: 10 * life, process: "a", alive: 1}}},
			{"three", []beat{{at: 0, process: "a", alive: 1}, {at: 0, process: "b", alive: 2}, {at: 5, process: "c", alive: 3}, {at: 6, process: "a", alive: 3}}},
			{"the last microsecond of a life", []beat{{at: 0, process: "a", alive: 1}, {at: life - 1, process: "b", alive: 2}}},
			{"the first after it", []beat{{at: 0, process: "a", alive: 1}, {at: life, process: "b", alive: 1}, {at: life, process: "a", alive: 2}}},
			{"who beats again lives on", []beat{{at: 0, process: "a", alive: 1}, {at: life - 1, process: "a", alive: 1}, {at: life + 5, process: "b", alive: 2}}},
			{"leaving", []beat{
				{at: 0, process: "a", alive: 1}, {at: 0, process: "b", alive: 2}, {at: 1, process: "a", leaves: true, alive: 1},
				{at: 2, process: "a", leaves: true, alive: 1}, {at: 3, process: "b", leaves: true, alive: 0}, {at: 4, process: "b", leaves: true, alive: 0},
			}},
			{"who never came leaves", []beat{{at: 0, process: "a", leaves: true, alive: 0}, {at: 0, process: "b", alive: 1}, {at: 0, process: "a", leaves: true, alive: 1}}},
			{"a clock set back a little keeps all", []beat{{at: life, process: "a", alive: 1}, {at: 0, process: "b", alive: 2}}},
			{"set back by more than a life, it forgets", []beat{{at: life + 1, process: "a", alive: 1}, {at: 0, process: "b", alive: 1}, {at: 1, process: "a", alive: 2}}},
			{"any name", []beat{{at: 0, process: "", alive: 1}, {at: 0, process: "\x00 {x}", alive: 2}, {at: 0, process: "held", alive: 3}}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				group := redistest.Org(t)
				t.Cleanup(func() { f.rdb.Del(context.WithoutCancel(t.Context()), lua.ReplicasKey(group)) })
				for i, b := range tt.beats {
					f.now = b.at
					if b.leaves {
						if err := f.conn.Leave(t.Context(), group, b.process); err != nil {
							t.Fatalf("%d: Leave: %v", i, err)
						}
					} else if alive, err := f.conn.Beat(t.Context(), group, b.process, beatLife); err != nil || int64(alive) != b.alive {
						t.Fatalf("%d: Beat of %q at %d = %d, %v; want %d", i, b.process, b.at, alive, err, b.alive)
					}
					if n := f.rdb.ZCard(t.Context(), lua.ReplicasKey(group)).Val(); n != b.alive {
						t.Fatalf("%d: %d processes are listed, want %d", i, n, b.alive)
					}
				}
			})
		}
	})
}

func TestBeatEndsByItself(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, group := connOf(t, rdb), redistest.Org(t)
		for range 2 {
			if _, err := conn.Beat(t.Context(), group, "a", time.Minute); err != nil {
				t.Fatalf("Beat: %v", err)
			}
			if ttl := rdb.PTTL(t.Context(), lua.ReplicasKey(group)).Val(); ttl <= 0 || ttl > time.Minute {
				t.Errorf("the list lasts %v, want up to a minute", ttl)
			}
		}
		if _, err := conn.Beat(t.Context(), group, "b", 0); err != nil {
			t.Errorf("Beat for no time: %v, want it taken for a microsecond", err)
		}
	})
}

// TestBeatMendsDamage finds something else under the key.
func TestBeatMendsDamage(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, group := connOf(t, rdb), redistest.Org(t)
		for _, leaves := range []bool{false, true} {
			if err := rdb.Set(t.Context(), lua.ReplicasKey(group), "not ours", time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			if leaves {
				if err := conn.Leave(t.Context(), group, "a"); err != nil {
					t.Errorf("Leave: %v", err)
				}
			} else if alive, err := conn.Beat(t.Context(), group, "a", time.Minute); err != nil || alive != 1 {
				t.Errorf("Beat = %d, %v; want 1", alive, err)
			}
		}
	})
}

func TestBeatEndsWithItsContext(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if alive, err := connOf(t, rdb).Beat(ctx, redistest.Org(t), "a", time.Second); !errors.Is(err, context.Canceled) || alive != 0 {
			t.Errorf("Beat = %d, %v; want %v", alive, err, context.Canceled)
		}
	})
}
