package row

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/examples/faults/internal/gate"
	"github.com/tollgate-go/tollgate/middleware"
)

// Line is what is told of a row.
type Line struct {
	Fault        string        `json:"fault"`
	What         string        `json:"what"`
	Calls        int64         `json:"calls"`
	Broken       int64         `json:"broken"` // calls in the fault
	Failed       int64         `json:"failed"` // of those, not acknowledged
	Acknowledged int64         `json:"acknowledged"`
	Ambiguous    int64         `json:"ambiguous"`
	Opened       int64         `json:"opened"` // of those, passed
	Counted      int64         `json:"counted"`
	Lost         int64         `json:"lost"`
	Over         int64         `json:"over"`
	Limited      int64         `json:"limited"`
	Unknown      int64         `json:"unknown"`
	Handled      int64         `json:"handled"` // requests that came to the handler
	Metered      int64         `json:"metered"` // usage in Redis
	Added        time.Duration `json:"added"`   // p99.9 of what the gate added in the fault
	Late         time.Duration `json:"late"`    // how late the machine was meanwhile, at most
	First        time.Duration `json:"first"`   // success after the return
	Baseline     int           `json:"connections"`
	Causes       string        `json:"causes"` // why calls failed in the fault

	base  int // goroutines
	wrong []string
}

const (
	slack = 10 * time.Millisecond // what a call may take above its budget
	waits = 3                     // how often it may wait for the machine
)

// Judge holds the line against the gates of the suite, and joins what does not pass.
//
// What the gate adds is held against the budget and the slack, after how late the machine was meanwhile is taken off: in
// place of some calls, callers wait for a timer that takes as long as the budget, in a goroutine of its own, and are as
// late as the machine makes them. That is taken off once for each of the three things that a call to Redis waits for: the
// goroutine that sends it, the timer, its own turn. On a machine that is at rest it is a millisecond or two. Where it is
// more than the budget itself, no time is judged, nor that nothing fails: the machine's column then says so. What is
// counted, lost, answered and left is judged always.
func (r *Run) Judge(ctx context.Context) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	l, allowed := &r.Line, int64(r.MayLose*float64(r.Line.Acknowledged))
	for _, text := range l.wrong {
		fault("wrong answer: %s", text)
	}
	if l.Over > 0 || l.Counted > l.Acknowledged+l.Ambiguous {
		fault("counted %d, acknowledged %d, ambiguous %d: %d too many", l.Counted, l.Acknowledged, l.Ambiguous, l.Over)
	}
	if l.Lost > allowed || l.Counted < l.Acknowledged-allowed {
		fault("counted %d, acknowledged %d: %d lost, %d may be", l.Counted, l.Acknowledged, l.Lost, allowed)
	}
	if opens := r.Fault.Gate.Failure != middleware.FailClosed || r.Off; opens != (l.Opened > 0) {
		fault("%d calls passed that nobody counted; may they: %t", l.Opened, opens)
	}
	if l.Limited > 0 || l.Unknown > 0 && !r.LateUnknown {
		fault("%d calls were told 429 and %d 401", l.Limited, l.Unknown)
	}
	if l.Broken < least {
		fault("%d calls in the fault, want %d", l.Broken, least)
	}
	switch {
	case r.Serves && l.Failed > 0 && waits*l.Late < gate.Budget:
		fault("%d calls failed, and none had to:%s", l.Failed, l.Causes)
	case !r.Serves && !r.Harmless && l.Failed == 0:
		fault("no call failed: the fault shows nothing")
	}
	if budget := orElse(r.Budget, gate.Budget); l.Late <= gate.Budget && l.Added-waits*l.Late > budget+slack+instrumented {
		fault("p99.9 of what the gate added is %v, of which the machine is %d times %v; the budget is %v", l.Added, waits, l.Late, budget)
	}
	if most := orElse(r.Return, time.Second); l.Late <= gate.Budget && l.First > most+slack+waits*l.Late {
		fault("the first success came %v after the return, want %v; until then:%s", l.First, most, r.failing)
	}
	if !r.NoUsage && (l.Metered > l.Handled || l.Metered < l.Handled-int64(r.MayLose*float64(l.Handled))) {
		fault("usage of %d is in Redis, %d requests came through", l.Metered, l.Handled)
	}
	if r.Check != nil {
		faults = append(faults, r.Check(ctx, r))
	}
	return errors.Join(faults...)
}
