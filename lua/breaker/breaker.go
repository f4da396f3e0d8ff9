// Package breaker stops asking a server that does not answer, and notices when it does again: the circuit breaker of
// Nygard's "Release It!". While the server is away a call costs nothing but its refusal, instead of a time-out each; one
// call at a time goes through and tells whether it is back.
//
//	b := breaker.New(breaker.Settings{Name: "keys", Failed: isOutage})
//	err := b.Do(func() error { return ask(ctx) })
//	if errors.Is(err, breaker.ErrOpen) { ... } // nobody was asked
//
// Have one for each server, so that one that is dead does not stop others. Do not put it before a call whose failure says
// nothing of the next, nor before one that repeats itself at its leisure: that pays for its time-outs with nobody waiting.
package breaker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	trips = 5                      // failures in a row that open it
	pause = 200 * time.Millisecond // between probes
)

// ErrOpen says that the server was not asked, for it has failed again and again. Nothing was done.
var ErrOpen = errors.New("the server failed several times in a row, and is left alone for a moment")

// Settings are what a Breaker goes by.
type Settings struct {
	// Name is told to Changed.
	Name string
	// Failed reports whether an error, which is never nil, says that the server is away, slow or overloaded. Others are
	// answers of a server that is well. Nil: every error says so. context.Canceled is not asked about: whoever went away
	// tells neither.
	Failed func(error) bool
	// Changed is told once that the breaker opened, and once that it closed again, in this order, by whoever's call
	// brought it about; nobody else waits meanwhile. A change that is over before it could be told is not. Probes that
	// fail are no change. Nil: nobody is told.
	Changed func(name string, open bool)
}

// Breaker lets calls through, or refuses them. After 5 failures in a row it is open and refuses each call. Every 200 ms it
// lets one through as a probe: a success closes it. Safe for concurrent use; it starts no goroutine. Make it with New.
type Breaker struct {
	settings Settings
	circuit  *gobreaker.TwoStepCircuitBreaker[struct{}]

	open    atomic.Bool   // or a probe is under way
	failing atomic.Bool   // what came last was a failure; while it is not, a success is no news to the circuit
	round   atomic.Uint64 // how often the circuit has changed
	told    atomic.Bool   // what Changed was told last
	telling sync.Mutex
}

// New returns a Breaker that is closed.
func New(s Settings) *Breaker {
	b := &Breaker{settings: s}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          s.Name,
		Timeout:       pause,
		ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= trips },
		IsSuccessful:  func(err error) bool { return !b.note(b.failed(err)) },
		IsExcluded:    canceled,
		OnStateChange: b.change,
	})
	return b
}

func (b *Breaker) failed(err error) bool {
	return err != nil && (b.settings.Failed == nil || b.settings.Failed(err))
}

func canceled(err error) bool { return errors.Is(err, context.Canceled) }

// note and change are called by the circuit, which holds its lock.
func (b *Breaker) note(failed bool) bool {
	b.failing.Store(failed)
	return failed
}

func (b *Breaker) change(_ string, _, to gobreaker.State) {
	b.round.Add(1)
	if to != gobreaker.StateHalfOpen {
		b.open.Store(to == gobreaker.StateOpen)
	}
}

// tell tells Changed what it does not know yet. Where somebody else is at it, he looks again when he is done.
func (b *Breaker) tell() {
	for b.told.Load() != b.open.Load() && b.telling.TryLock() {
		b.tellOnce()
	}
}

func (b *Breaker) tellOnce() {
	defer b.telling.Unlock()
	open := b.open.Load()
	if b.told.Swap(open) != open && b.settings.Changed != nil {
		b.settings.Changed(b.settings.Name, open)
	}
}

// Pass is for one call that was let through. Its zero value is of no breaker, and does nothing.
type Pass struct {
	of    *Breaker
	probe func(error) // nil while the server is well
	round uint64
}

// Allow lets a call through, or returns ErrOpen. Whoever was let through calls Done, once, and no later than nobody waits
// for the call any more: until a probe is done, everybody else is refused. While the server is well it takes no lock and
// allocates nothing.
func (b *Breaker) Allow() (Pass, error) {
	p := Pass{of: b, round: b.round.Load()}
	if !b.open.Load() {
		return p, nil
	}
	var err error
	if p.probe, err = b.circuit.Allow(); err != nil { // open, or a probe is under way
		return Pass{}, ErrOpen
	}
	return p, nil
}

// Done tells what the call came to. What began before the breaker last opened or closed says nothing any more.
func (p Pass) Done(err error) {
	b, report := p.of, p.probe
	if b == nil {
		return
	}
	if report == nil {
		if p.round != b.round.Load() || !b.failing.Load() && (canceled(err) || !b.failed(err)) {
			return
		}
		var refused error
		if report, refused = b.circuit.Allow(); refused != nil {
			return // it has just opened
		}
	}
	report(err)
	b.tell()
}

// Do calls f and returns its error, or ErrOpen without calling it. A panic of f is a failure, and goes on.
func (b *Breaker) Do(f func() error) error {
	pass, err := b.Allow()
	if err != nil {
		return err
	}
	err = errPanic
	defer func() { pass.Done(err) }()
	err = f()
	return err
}

var errPanic = errors.New("the call panicked")

// Broken reports whether it has opened and not closed since: as Changed was told, or is about to be. No lock.
func (b *Breaker) Broken() bool { return b.open.Load() }

// Open reports whether a call would be refused now, which is not so while a probe is due. It takes no lock while the server
// is well.
func (b *Breaker) Open() bool {
	if !b.open.Load() {
		return false
	}
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return true
	case gobreaker.StateHalfOpen:
		n := b.circuit.Counts()
		return n.Requests > n.TotalExclusions
	default:
		return false
	}
}
