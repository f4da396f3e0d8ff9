package ratelimit

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit/internal/share"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ShiftClock makes the limiter's estimate of Redis time wrong.
func (l *Limiter) ShiftClock(d time.Duration) { l.clock.offset.Add(d.Microseconds()) }

// KeptPlans returns how many plans of a bucket the limiter keeps in memory of those that it was given.
func (l *Limiter) KeptPlans(names []string) int {
	for _, name := range names {
		l.plans.Add(name, &overrideSet{})
	}
	return l.plans.Len()
}

// UsedAndAfter returns what a state counts at now under a capacity, what is held included, and how long until
// that is at most units.
func UsedAndAfter(a Algorithm, s lua.State, capacity, now, units int64) (used, after int64) {
	w := window{State: &s, algorithm: a, capacity: capacity}
	return w.used(now) + s.Held, w.after(now, units)
}

// ResultOf explains a state, without overrides.
func ResultOf(c Charge, s lua.State, now int64) Result {
	return resultOf(&c, c.Cost, &effective{limit: c.Policy.Limit, burst: c.Policy.Burst, window: c.Policy.Window, source: SourcePolicy, level: LevelPolicy}, &s, now)
}

// Around returns when the period that holds a moment begins and ends.
func (p Period) Around(at time.Time) (start, end time.Time) { return p.around(at) }

// BoundLocal has a limiter keep no more counts and holds than that while Redis is away.
func (l *Limiter) BoundLocal(most int) { l.local.table = share.NewTable(most) }
