package export

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestOncePassesOverDamage(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		for hour := range 4 {
			s.add(t, hour, map[string]int64{"a": 1, "b": 2})
		}
		key := func(hour int) string { return lua.UsageKey(s.org, strconv.FormatInt(noon.Unix()+3600*int64(hour), 10)) }
		rdb := s.Client()
		if err := rdb.HSet(t.Context(), key(1), "b:stores:search:", "many").Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
		if err := errors.Join(rdb.Del(t.Context(), key(2)).Err(), rdb.Set(t.Context(), key(2), "x", 0).Err()); err != nil {
			t.Fatalf("SET: %v", err)
		}
		var r receiver
		e := s.exporter(t, &r)
		for range 2 {
			if err := e.Once(t.Context()); !errors.Is(err, ErrUnavailable) || lua.Classify(err) != lua.ClassConfig {
				t.Errorf("Once = %v; want ErrUnavailable of class config", err)
			}
			r.want(t, map[string]int64{"a": 3, "b": 4})
			if stats := e.Stats(); stats.Due != 2 {
				t.Errorf("Stats = %+v, want 2 due", stats)
			}
		}
		if stats := e.Stats(); stats.Failures[lua.ClassConfig] != 4 {
			t.Errorf("Stats = %+v, want 4 failures", stats)
		}
		if err := errors.Join(rdb.Del(t.Context(), key(2)).Err(), rdb.HSet(t.Context(), key(1), "b:stores:search:", "2").Err()); err != nil {
			t.Fatalf("mend: %v", err)
		}
		once(t, e)
		r.want(t, map[string]int64{"a": 3, "b": 6})
		if stats := e.Stats(); stats.Due != 0 {
			t.Errorf("Stats = %+v, want nothing due", stats)
		}
	})
}

// forgetful is a ledger that settles nothing.
type forgetful struct{ *stage }

func (forgetful) SettleUsage(context.Context, *lua.UsageClaim) (bool, error) { return false, nil }

func TestOnceEndsWhereNothingIsSettled(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		s.add(t, 0, projects(5))
		var r receiver
		e := s.exporter(t, &r, WithBatch(2))
		e.ledger = forgetful{s}
		if err := e.Once(t.Context()); !errors.Is(err, lua.ErrReply) {
			t.Errorf("Once = %v; want lua.ErrReply", err)
		}
		once(t, s.exporter(t, &r))
		r.want(t, projects(5))
	})
}

// TestOnceGoesRound holds that a sink which never takes some events gets all others.
func TestOnceGoesRound(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { _ = rdb.Close() })
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	const orgs = 300
	for i := range orgs {
		s := &stage{Conn: conn, org: "org-" + strconv.Itoa(i)}
		s.add(t, 0, map[string]int64{s.org: 1})
	}
	var r receiver
	bad := map[string]bool{"org-7": true, "org-8": true}
	sink := Func(func(ctx context.Context, events []Event) error {
		if slices.ContainsFunc(events, func(e Event) bool { return bad[e.Data.Org] }) {
			return errCut
		}
		return r.Send(ctx, events)
	})
	e, err := New(rdb, sink, WithGrace(0), WithBatch(1+rand.IntN(3)))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	for range 6 {
		if err := e.Once(t.Context()); !errors.Is(err, ErrNotSent) || !errors.Is(err, errCut) {
			t.Fatalf("Once = %v; want ErrNotSent", err)
		}
	}
	// What shares a bucket with the two may wait for them.
	if got := len(r.units); got < orgs-2*orgs/20 {
		t.Errorf("%d of %d orgs are exported", got, orgs)
	}
	stats := e.Stats()
	if stats.Due != orgs-len(r.units) || stats.SinkFailures != 6 {
		t.Errorf("Stats = %+v, want %d due and 6 failures", stats, orgs-len(r.units))
	}
	clear(bad)
	once(t, e)
	want := map[string]int64{}
	for i := range orgs {
		want["org-"+strconv.Itoa(i)] = 1
	}
	r.want(t, want)
	if len(e.Stats().Failures) != 0 {
		t.Errorf("Stats = %+v, want no failure of Redis", e.Stats())
	}
}
