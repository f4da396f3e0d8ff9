package middleware

import (
	"slices"
	"time"
)

// Done ends the passage of a stage after the handler, with the status and the size of the response in
// bytes. An adapter calls it exactly once for each admission that Admit returned, also when the handler
// panicked (status 500) or took the connection over (101). The outermost call counts the usage; what the others say is
// not looked at.
func (a *Admission) Done(status int, size int64) {
	seen, held, last := a.end()
	if !last {
		return
	}
	if !seen.refused {
		for _, s := range seen.ran {
			if s.meter != nil {
				s.meter.done(&seen, status)
			}
		}
	}
	if seen.watched() {
		e := Event{Step: StepHandler, Outcome: OutcomeAllowed, Status: status, Size: size}
		if seen.refused {
			e.Outcome = OutcomeRefused // by a stage within this one
		}
		seen.observe(e, seen.began)
	}
	if held {
		a.release()
	}
}

// end closes one stage's passage. With the last one it closes the admission and returns it as it is then,
// apart from a handler that may go on with it. held tells that something may be held.
func (a *Admission) end() (_ sight, held, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open--; a.open != 0 {
		return sight{}, false, false
	}
	a.closed = true
	a.released = a.released || a.renewal == nil // what is held is renewed
	return a.sight, !a.released, true
}

func (a *Admission) hasRun(s *step) bool { return slices.Contains(a.ran, s) }

// watched tells whether anybody observes the running step.
func (s *sight) watched() bool { return len(s.config.observers) > 0 }

// now returns the time for an event's duration; without an observer nobody looks at the clock.
func (s *sight) now() time.Time {
	if !s.watched() {
		return time.Time{}
	}
	return time.Now()
}

// observe tells an event to the observers of the running step.
func (s *sight) observe(e Event, began time.Time) {
	if !s.watched() {
		return
	}
	e.Endpoint, e.Request, e.Identity, e.Duration = s.endpoint, s.request, s.identity, time.Since(began)
	for _, o := range s.config.observers {
		o.Observe(e)
	}
}
