package export

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// promoted is a ledger that asks another server from some time on.
type promoted struct {
	*stage
	to *lua.Conn
}

func (p *promoted) ClaimUsage(ctx context.Context, hour lua.UsageHour, after *lua.UsageClaim, most int) (*lua.UsageClaim, error) {
	if p.to != nil {
		return p.to.ClaimUsage(ctx, hour, after, most)
	}
	return p.stage.ClaimUsage(ctx, hour, after, most)
}

func (p *promoted) SettleUsage(ctx context.Context, claim *lua.UsageClaim) (bool, error) {
	if p.to != nil {
		return p.to.SettleUsage(ctx, claim)
	}
	return p.stage.SettleUsage(ctx, claim)
}

// TestFailoverWithinAnHour lets a replica that lacks nothing take over while an hour of many names is exported. A cursor
// of the old server skips names of the new one, which are not lost.
func TestFailoverWithinAnHour(t *testing.T) {
	t.Parallel()
	primary := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	replica := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { _ = errors.Join(primary.Close(), replica.Close()) })
	host, port, err := net.SplitHostPort(primary.Options().Addr)
	if err := errors.Join(err, replica.Do(t.Context(), "REPLICAOF", host, port).Err()); err != nil {
		t.Fatalf("REPLICAOF: %v", err)
	}
	synced := func() {
		for t.Context().Err() == nil && primary.Do(t.Context(), "WAIT", 1, 1000).Val() != int64(1) {
			continue
		}
	}
	s, want := newStage(t, primary), projects(3000)
	for i := 0; i < len(want); i += 300 {
		part := map[string]int64{}
		for j := i; j < i+300; j++ {
			name := "p" + strconv.Itoa(j)
			part[name] = want[name]
		}
		s.add(t, 0, part)
	}
	synced()
	var r receiver
	ledger, calls := &promoted{stage: s}, 0
	e := s.exporter(t, Func(func(ctx context.Context, events []Event) error {
		if calls++; calls == 4 {
			synced()
			if err := replica.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
				t.Errorf("REPLICAOF: %v", err)
			}
			ledger.to, _ = lua.NewConn(replica)
		}
		return r.Send(ctx, events)
	}))
	e.ledger = ledger
	once(t, e)
	after := newStage(t, replica)
	after.org = s.org
	last := after.exporter(t, &r)
	for range 2 {
		once(t, last)
	}
	r.want(t, want)
	if due := last.Stats().Due; due != 0 || calls < 4 {
		t.Errorf("%d hours are due after all is exported in %d calls", due, calls)
	}
}

// TestHourThatBeginsAnew holds that what comes after an hour is gone has ids of its own, also where a part of the hour
// was sent and not settled.
func TestHourThatBeginsAnew(t *testing.T) {
	for name, cut := range map[string]string{"exported": "", "sent": "before settle"} {
		t.Run(name, func(t *testing.T) {
			eachStage(t, func(t *testing.T, s *stage) {
				seen := map[string]Event{}
				e := s.exporter(t, Func(func(_ context.Context, events []Event) error {
					for _, event := range events {
						seen[event.ID] = event
					}
					return nil
				}))
				s.fail = func(step string) error {
					if step == cut {
						return errCut
					}
					return nil
				}
				s.add(t, 0, map[string]int64{"shop": 57})
				if err := e.Once(t.Context()); !errors.Is(err, errCut) && err != nil {
					t.Fatalf("Once: %v", err)
				}
				s.fail = nil
				hour := strconv.FormatInt(noon.Unix(), 10)
				if err := s.Client().Del(t.Context(), lua.UsageKey(s.org, hour)).Err(); err != nil {
					t.Fatalf("DEL: %v", err)
				}
				s.add(t, 0, map[string]int64{"shop": 57})
				once(t, e)
				began := map[time.Time]bool{}
				for _, event := range seen {
					began[event.Data.Began] = true
					if event.Data.Units != 57 || event.Data.From != 0 || event.Data.Began.Before(noon.Add(time.Hour)) {
						t.Errorf("the event is %+v", event)
					}
				}
				if len(seen) != 2 || len(began) != 2 {
					t.Errorf("the receiver has %v, want two events that began at two times", seen)
				}
			})
		})
	}
}
