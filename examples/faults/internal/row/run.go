package row

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/gate"
	"github.com/tollgate-go/tollgate/examples/faults/internal/load"
)

// What each row has.
const (
	callers   = 200
	pause     = 120 * time.Millisecond
	mostPause = 2 * time.Second
	leastWell = 400  // calls before the fault
	least     = 1000 // calls in it
	leastBack = 200  // calls after the first success
	coldKeys  = 300
	coldEvery = 10 // one in so many calls of the fault is by somebody who is in no cache
	ofControl = 4  // one in so many asks nobody, and shows how late the machine is
)

// patience bounds each step of a row. It is long because a busy machine is no fault of the gate.
const patience = 30 * time.Second

// phase is where a row is.
type phase int32

const (
	well phase = iota
	broken
	back
)

// Outcome is what became of a call.
type Outcome uint8

// The outcomes.
const (
	Acknowledged Outcome = iota // it passed and was counted, the answer says
	Opened                      // it passed, and nobody knows whether it was counted
	Refused                     // 503: nobody knows whether it was counted
	Cancelled                   // the caller hung up: as Refused
	Limited                     // 429
	Unknown                     // 401
	Wrong                       // no answer of a gate
)

// Made is a call that was made.
type Made struct {
	gate.Asked

	Outcome Outcome
	Began   time.Time
	Took    time.Duration

	phase phase
}

// Run is one run of a fault.
type Run struct {
	*Fault
	*Scene
	Line

	Gate  *gate.Gate
	Calls []Made
	// Injected is when Inject was called.
	Injected time.Time
	// Counts is what Redis counted in the end.
	Counts *gate.Counts

	rdb     redis.UniversalClient
	tenants *gate.Tenants
	label   string
	control *load.Control
	failing string // why calls failed after the fault, until the first success
	phase   atomic.Int32
	healed  atomic.Int64 // when, in nanoseconds since 1970
	first   atomic.Int64 // success since then
	after   atomic.Int64 // calls that ended since the first success
	next    atomic.Int64
	failed  atomic.Int64 // calls that were not acknowledged

	mu     sync.Mutex
	counts [back + 1]int
}

var (
	rows  atomic.Int64
	quiet sync.Once
)

// silent is a logger of go-redis that does not fill the output with what a row breaks on purpose.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Run runs the row. The error says that it could not be run, or what a gate of the suite finds wrong with the line.
func (f *Fault) Run(ctx context.Context) (Line, error) {
	r := &Run{Fault: f, label: f.Name + "#" + strconv.FormatInt(rows.Add(1), 10), Line: Line{Fault: f.Name, What: f.What}}
	quiet.Do(func() { redis.SetLogger(silent{}) })
	var err error
	play := r.run
	if f.Play != nil {
		play = func(ctx context.Context) error { return f.Play(ctx, &r.Line) }
	}
	pprof.Do(ctx, pprof.Labels(labelKey, r.label), func(ctx context.Context) { err = play(ctx) })
	if err != nil {
		err = fmt.Errorf("%s, %s: %w", f.Name, f.What, err)
	}
	return r.Line, err
}

func (r *Run) run(ctx context.Context) (err error) {
	if r.Scene, err = r.Open(ctx); err != nil {
		return err
	}
	defer r.Close()
	if r.tenants, err = gate.Seed(ctx, r.Admin, coldKeys); err != nil {
		return err
	}
	if r.Absent {
		if err := r.Inject(ctx); err != nil {
			return fmt.Errorf("inject: %w", err)
		}
	}
	r.rdb = r.Client()
	defer func() { _ = r.rdb.Close() }() // it may be closed already
	if r.Gate, err = gate.New(r.rdb, r.Fault.Gate); err != nil {
		return err
	}
	if err := r.play(ctx); err != nil {
		return err
	}
	if err := r.end(ctx); err != nil {
		return err
	}
	return r.Judge(ctx)
}

// play is the fault from beginning to end, under load.
func (r *Run) play(ctx context.Context) error {
	if !r.Absent {
		if err := r.warm(ctx); err != nil {
			return err
		}
		if r.Baseline = r.connections(ctx); r.Baseline < PoolSize {
			return fmt.Errorf("%d connections have the name %s, want %d", r.Baseline, ClientName, PoolSize)
		}
	}
	r.base = r.goroutines()
	crowd := load.Start(ctx, callers, pause, r.call)
	defer crowd.Stop()
	if !r.Absent {
		if err := r.settle(ctx, crowd); err != nil {
			return err
		}
	}
	r.control = load.NewControl(orElse(r.Budget, gate.Budget))
	r.phase.Store(int32(broken))
	began := time.Now()
	r.Injected = began
	r.Gate.Limiter.SetOff(r.Off)
	if !r.Absent {
		if err := r.Inject(ctx); err != nil {
			return fmt.Errorf("inject: %w", err)
		}
	}
	lasts := orElse(r.Lasts, time.Second)
	if err := until(ctx, "calls in the fault", func() bool { return r.made(broken) >= least && time.Since(began) >= lasts }); err != nil {
		return err
	}
	if err := r.Heal(ctx); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	r.Gate.Limiter.SetOff(false)
	crowd.Slow() // to find a success takes fewer than to hide a fault in
	crowd.Slow()
	r.healed.Store(time.Now().UnixNano())
	r.phase.Store(int32(back))
	r.Causes = r.Gate.Causes()
	r.Late = load.Quantile(r.control.Late(), 1)
	err := until(ctx, "a success after the fault", func() bool { return r.first.Load() > 0 })
	r.failing = r.Gate.Causes()
	if err != nil {
		return fmt.Errorf("%w: %s", err, r.failing)
	}
	return until(ctx, "calls after the fault", func() bool { return r.after.Load() >= leastBack })
}

// call makes one call, and writes down what became of it.
func (r *Run) call(ctx context.Context) {
	m := Made{phase: phase(r.phase.Load())}
	if m.phase == broken && rand.IntN(ofControl) == 0 { //nolint:gosec // a choice is no secret
		r.control.Call(ctx)
		return
	}
	m.ID = strconv.FormatInt(r.next.Add(1), 10)
	m.Tenant, m.Route = r.tenants.Warm[rand.IntN(len(r.tenants.Warm))], gate.Shared //nolint:gosec // a choice is no secret
	if rand.IntN(2) == 0 {                                                          //nolint:gosec // as above
		m.Route = gate.Each
	}
	if m.phase == broken && rand.IntN(coldEvery) == 0 { //nolint:gosec // as above
		if cold, ok := r.tenants.Cold(); ok {
			m.Tenant, m.Route = cold, gate.Each
		}
	}
	cancel := context.CancelFunc(func() {})
	if m.phase == broken && r.Cancel > 0 {
		ctx, cancel = context.WithCancel(ctx)
		defer time.AfterFunc(r.Cancel, cancel).Stop()
	}
	began := time.Now()
	answer := r.Gate.Call(ctx, m.Tenant, m.Route, m.ID)
	m.Began, m.Took = began, answer.Took
	var wrong string
	m.Outcome, wrong = judge(&answer)
	if m.Outcome == Refused && ctx.Err() != nil {
		m.Outcome = Cancelled
	}
	cancel()
	r.note(&m, wrong)
}

// judge says what an answer is, and what is wrong with it.
func judge(a *gate.Answer) (outcome Outcome, wrong string) {
	switch {
	case a.Panic != nil:
		return Wrong, fmt.Sprintf("panic: %v", a.Panic)
	case a.Status == http.StatusOK && a.Counted:
		return Acknowledged, ""
	case a.Status == http.StatusOK:
		return Opened, ""
	case a.Status == http.StatusServiceUnavailable && a.Counted:
		return Refused, "503 with RateLimit fields"
	case a.Status == http.StatusServiceUnavailable && a.RetryAfter == "":
		return Refused, "503 without Retry-After"
	case a.Status == http.StatusServiceUnavailable:
		return Refused, ""
	case a.Status == http.StatusTooManyRequests:
		return Limited, ""
	case a.Status == http.StatusUnauthorized:
		return Unknown, ""
	case a.Status == http.StatusTeapot:
		return Wrong, "the answer of somebody else"
	}
	return Wrong, fmt.Sprintf("status %d", a.Status)
}

func (r *Run) note(m *Made, wrong string) {
	now := time.Now()
	if healed := r.healed.Load(); m.Outcome == Acknowledged && healed > 0 {
		r.first.CompareAndSwap(0, now.UnixNano())
	}
	if m.Outcome != Acknowledged {
		r.failed.Add(1)
	}
	if r.first.Load() > 0 {
		r.after.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Calls = append(r.Calls, *m)
	r.counts[m.phase]++
	if wrong != "" && len(r.wrong) < 5 {
		r.wrong = append(r.wrong, wrong)
	}
}

// made returns how many calls of a phase have ended.
func (r *Run) made(p phase) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[p]
}
