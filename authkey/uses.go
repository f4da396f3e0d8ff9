package authkey

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults and bounds of Uses.
const (
	defaultNoteEvery = time.Minute
	minNoteEvery     = time.Second
	maxNoteEvery     = time.Hour
	maxUses          = 100_000 // credentials that are watched at a time
	usesPerCall      = 1_000   // what one call of the store is told: it has a timeout of its own
	noteTimeout      = 10 * time.Second
)

// Uses remembers when credentials are found good, also where a network or a limit refuses them then, and writes that to a store once in a while: what an operator wants
// to know before he removes one. A request costs it no I/O. Give it to a Verifier with WithUses; several may share it.
// Make it with NewUses, and Close it. Safe for concurrent use.
//
// What it writes is the last use of each credential, as of the last writing; a process that dies loses what came
// after that. It watches up to 100,000 credentials at a time, and forgets those that were not used for a while.
type Uses struct {
	store UseStore
	every time.Duration
	now   func() time.Time

	mu    sync.Mutex
	cells map[string]*useCell // by the id of the credential

	passing chan struct{} // one Flush at a time
	stop    context.CancelFunc
	stopped chan struct{}

	written, failed, dropped atomic.Uint64
}

// useCell is one credential that is watched.
type useCell struct {
	key, credential string
	last            atomic.Int64 // microseconds since 1970; 0: not yet
	written         int64        // what the store knows; for Flush alone
	handed          time.Time    // when a verifier was last given the cell; guarded by mu
}

// UsesOption sets up NewUses.
type UsesOption interface{ applyUses(*Uses) error }

type usesOption func(*Uses) error

func (o usesOption) applyUses(u *Uses) error { return o(u) }

// WithNoteEvery sets how often uses are written, 1 s to an hour. Default a minute.
func WithNoteEvery(d time.Duration) UsesOption {
	return usesOption(func(u *Uses) error {
		if d < minNoteEvery || d > maxNoteEvery {
			return fmt.Errorf("%w: WithNoteEvery(%v): want %v to %v", ErrInvalid, d, minNoteEvery, maxNoteEvery)
		}
		u.every = d
		return nil
	})
}

// NewUses returns a Uses that writes to a store, in a goroutine that Close ends. Faults are ErrInvalid, all joined.
func NewUses(store UseStore, opts ...UsesOption) (*Uses, error) {
	u := &Uses{
		store: store, every: defaultNoteEvery, now: time.Now, cells: map[string]*useCell{},
		passing: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	var faults []error
	if store == nil {
		faults = append(faults, fmt.Errorf("%w: NewUses: the store is nil, or notes no uses", ErrInvalid))
	} else if s, ok := store.(interface{ Err() error }); ok {
		faults = append(faults, s.Err())
	}
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, nilOption(n))
			continue
		}
		faults = append(faults, opt.applyUses(u))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.stop = cancel
	go u.run(ctx)
	return u, nil
}

// run writes at each interval. The first is cut short at random, so that processes that start together do not write
// together.
func (u *Uses) run(ctx context.Context) {
	defer close(u.stopped)
	wait := time.NewTimer(time.Duration(rand.Int64N(int64(u.every)))) //nolint:gosec // no secret
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
			wait.Reset(u.every)
			timed, cancel := context.WithTimeout(ctx, noteTimeout)
			_ = u.Flush(timed) // what failed is counted, and written next time
			cancel()
		}
	}
}

// Flush writes the uses that the store does not know yet, after the Flush that is running, if one is. What fails stays
// to be written. Errors are the store's.
func (u *Uses) Flush(ctx context.Context) error {
	select {
	case u.passing <- struct{}{}:
		defer func() { <-u.passing }()
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
	for cells := range slices.Chunk(u.pending(), usesPerCall) {
		if err := u.write(ctx, cells); err != nil {
			return err
		}
	}
	return nil
}

// write tells the store of some cells.
func (u *Uses) write(ctx context.Context, cells []*useCell) error {
	uses, at := make([]Use, len(cells)), make([]int64, len(cells))
	for i, c := range cells {
		at[i] = c.last.Load()
		uses[i] = Use{Key: c.key, Credential: c.credential, At: time.UnixMicro(at[i]).UTC()}
	}
	if err := u.store.NoteUses(ctx, uses); err != nil {
		u.failed.Add(uint64(len(uses)))
		return err
	}
	for i, c := range cells {
		c.written = at[i]
	}
	u.written.Add(uint64(len(uses)))
	return nil
}

// pending returns the cells that have something to write, and forgets those that nobody has any more: no cached entry
// outlives maxLife.
func (u *Uses) pending() []*useCell {
	u.mu.Lock()
	defer u.mu.Unlock()
	var cells []*useCell
	idle := u.now().Add(-2 * max(maxLife, u.every))
	for id, c := range u.cells {
		switch last := c.last.Load(); {
		case last > c.written:
			cells = append(cells, c)
		case c.handed.Before(idle) && time.UnixMicro(last).Before(idle):
			delete(u.cells, id)
		}
	}
	return cells
}

// Close ends the writing, after a last Flush within ctx, whose error it returns. To close it again is harmless, and
// tries once more to write what is left.
func (u *Uses) Close(ctx context.Context) error {
	u.stop()
	<-u.stopped
	return u.Flush(ctx)
}

// UseStats are counts since a Uses was made, and its size now.
type UseStats struct {
	Written uint64 // uses that the store has
	Failed  uint64 // uses that could not be written, and are tried again
	Dropped uint64 // credentials that were not watched, since there were too many
	Watched int    // credentials that are watched
}

// Stats returns the counts. The numbers are not of one instant.
func (u *Uses) Stats() UseStats {
	u.mu.Lock()
	watched := len(u.cells)
	u.mu.Unlock()
	return UseStats{Written: u.written.Load(), Failed: u.failed.Load(), Dropped: u.dropped.Load(), Watched: watched}
}

// cell returns where the uses of a credential are noted; nil where there is no room, and for a nil Uses.
func (u *Uses) cell(key, credential string) *useCell {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.cells[credential]
	if c == nil {
		if len(u.cells) >= maxUses {
			u.dropped.Add(1)
			return nil
		}
		c = &useCell{key: key, credential: credential}
		u.cells[credential] = c
	}
	c.handed = u.now()
	return c
}

// note remembers a use. Uses within a second of another are not told apart, so that a busy credential is not written to
// by every request. No allocation; nil notes nothing.
func (c *useCell) note(now time.Time) {
	if c == nil {
		return
	}
	at, last := now.UnixMicro(), c.last.Load()
	if at-last >= time.Second.Microseconds() {
		c.last.CompareAndSwap(last, at) // or somebody else just did
	}
}
