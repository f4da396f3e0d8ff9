package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon begins an hour that was over long ago.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var errCut = errors.New("cut here")

// receiver is a service that takes events and drops those that it has.
type receiver struct {
	// before and after are asked for an error before events are taken and after it; nil is none.
	before, after func() error

	mu     sync.Mutex
	calls  int
	bytes  map[string]string // by id, as it came first
	units  map[string]int64  // by project
	ends   map[string]int64  // the highest To of each project
	highs  map[string]int64  // units by project, counted by To alone
	faults []string
}

func (r *receiver) Send(_ context.Context, events []Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before != nil {
		if err := r.before(); err != nil {
			return err
		}
	}
	if r.calls++; r.bytes == nil {
		r.bytes, r.units = make(map[string]string), make(map[string]int64)
		r.ends, r.highs = make(map[string]int64), make(map[string]int64)
	}
	for i := range events {
		r.take(&events[i])
	}
	if r.after != nil {
		return r.after()
	}
	return nil
}

func (r *receiver) take(e *Event) {
	text, err := json.Marshal(e)
	if err != nil {
		r.faults = append(r.faults, err.Error())
	}
	name := e.Data.Org + "/" + e.Data.Hour.Format(time.RFC3339) + "/" + e.Data.Project
	if d := e.Data; d.To > r.ends[name] {
		r.highs[d.Project] += d.To - max(d.From, r.ends[name])
		r.ends[name] = d.To
	}
	if held, ok := r.bytes[e.ID]; ok {
		if held != string(text) {
			r.faults = append(r.faults, "one id with two texts: "+held+", "+string(text))
		}
		return
	}
	r.bytes[e.ID] = string(text)
	r.units[e.Data.Project] += e.Data.Units
}

// want holds that each unit was counted once, by whichever way of the two.
func (r *receiver) want(t interface{ Errorf(string, ...any) }, want map[string]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !maps.Equal(r.units, want) || !maps.Equal(r.highs, want) {
		t.Errorf("the receiver counts %v by id and %v by end, want %v", r.units, r.highs, want)
	}
	for _, f := range r.faults {
		t.Errorf("%s", f)
	}
}

func (r *receiver) sent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// stage is a part of Redis that belongs to a test: the hours of its org. Others are not seen.
type stage struct {
	*lua.Conn
	org   string
	batch int64
	// fail is asked before each step, and after it; nil is never.
	fail func(step string) error
}

func (s *stage) cut(step string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(step)
}

func (s *stage) DueUsage(ctx context.Context, name string, grace time.Duration, skip, count int) (lua.UsageDue, error) {
	if err := s.cut("due"); err != nil || name != bucket.Of(s.org) {
		return lua.UsageDue{}, err
	}
	due, err := s.Conn.DueUsage(ctx, name, grace, 0, 1_000_000)
	if err != nil {
		return due, err
	}
	own := lua.UsageDue{Now: due.Now}
	for i, h := range due.Hours {
		if h.Org == s.org {
			if own.All++; own.All > skip && len(own.Hours) < count {
				own.Hours, own.Since = append(own.Hours, h), append(own.Since, due.Since[i])
			}
		}
	}
	return own, nil
}

func (s *stage) ClaimUsage(ctx context.Context, hour lua.UsageHour, after *lua.UsageClaim, most int) (*lua.UsageClaim, error) {
	if err := s.cut("before claim"); err != nil {
		return nil, err
	}
	claim, err := s.Conn.ClaimUsage(ctx, hour, after, most)
	return claim, errors.Join(err, s.cut("after claim"))
}

func (s *stage) SettleUsage(ctx context.Context, claim *lua.UsageClaim) (bool, error) {
	if err := s.cut("before settle"); err != nil {
		return false, err
	}
	done, err := s.Conn.SettleUsage(ctx, claim)
	return done, errors.Join(err, s.cut("after settle"))
}

// add meters units of a project in the hour that begins so many after noon.
func (s *stage) add(t interface {
	Helper()
	Fatalf(string, ...any)
}, hour int, units map[string]int64,
) {
	t.Helper()
	s.batch++
	b := lua.UsageBatch{
		Org: s.org, Hour: noon.Unix() + 3600*int64(hour), Process: "p", Number: s.batch, Keep: time.Hour,
	}
	for project, n := range units {
		b.Entries = append(b.Entries, lua.UsageEntry{UsageName: lua.UsageName{Project: project, Product: "stores", Kind: "search"}, Units: n})
	}
	if err := s.AddUsage(context.Background(), b); err != nil {
		t.Fatalf("AddUsage: %v", err)
	}
}

// exporter returns one that gives a sink what the stage has, as soon as it is over.
func (s *stage) exporter(t *testing.T, sink Sink, opts ...Option) *Exporter {
	t.Helper()
	_, c, err := configure(s.Client(), sink, append([]Option{WithGrace(0), WithTimeout(time.Minute), WithInterval(10 * time.Millisecond)}, opts...))
	if err != nil {
		t.Fatalf("options: %v", err)
	}
	return newExporter(s, sink, c)
}

// eachStage runs a test on both kinds of Redis.
func eachStage(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Helper()
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		test(t, newStage(t, rdb))
	})
}

func newStage(t testing.TB, rdb redis.UniversalClient) *stage {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	return &stage{Conn: conn, org: redistest.Org(t)}
}

func once(t *testing.T, e *Exporter) {
	t.Helper()
	if err := e.Once(t.Context()); err != nil {
		t.Fatalf("Once: %v", err)
	}
}

// projects returns n projects with 1, 2, 3 ... units.
func projects(n int) map[string]int64 {
	units := make(map[string]int64, n)
	for i := range n {
		units["p"+strconv.Itoa(i)] = int64(i + 1)
	}
	return units
}

func compact(t *testing.T, e Event) string {
	t.Helper()
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(e); err != nil {
		t.Fatalf("Encode: %v", err)
	}
	return text.String()
}

// claimOf is a claim of the hour at noon.
func claimOf(org string) *lua.UsageClaim {
	return &lua.UsageClaim{UsageHour: lua.UsageHour{Org: org, Hour: noon.Unix()}}
}

// event returns one that nobody claimed.
func event(org string, from, to int64) Event {
	r := lua.UsageRange{UsageName: lua.UsageName{Project: "shop", Product: "stores", Kind: "search"}, From: from, To: to}
	return newEvent("tollgate", claimOf(org), &r)
}
