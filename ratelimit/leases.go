package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// leases are those of a limiter. Safe for concurrent use.
type leases struct {
	sync.WaitGroup // of those who are taking one

	mu      sync.Mutex
	holders map[*Prepared]struct{} // who has one
	closed  atomic.Bool            // set while mu is held
}

// begin says that a lease is about to be taken, and returns false once closed. Who began calls Done.
func (ls *leases) begin() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed.Load() {
		return false
	}
	ls.Add(1)
	return true
}

// forget ends the leases of a bucket, whose counts were reset: there is nothing to give back to.
func (ls *leases) forget(number int) {
	ls.mu.Lock()
	holders := slices.Collect(maps.Keys(ls.holders))
	ls.mu.Unlock()
	for _, p := range holders {
		if l := p.lease.Load(); l != nil && p.bucket == number && p.lease.CompareAndSwap(l, nil) {
			l.drain()
			ls.note(p)
		}
	}
}

// note remembers who has a lease, and forgets who has none.
func (ls *leases) note(p *Prepared) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if p.lease.Load() != nil {
		ls.holders[p] = struct{}{}
	} else {
		delete(ls.holders, p)
	}
}

// end lets nobody take a lease any more, and gives back what is left of all. It returns the first error.
func (ls *leases) end() (err error) {
	ls.mu.Lock()
	ls.closed.Store(true)
	ls.mu.Unlock()
	ls.Wait()
	ls.mu.Lock()
	holders := slices.Collect(maps.Keys(ls.holders))
	ls.mu.Unlock()
	for _, p := range holders {
		if l := p.lease.Load(); l != nil {
			err = cmp.Or(err, l.end())
		}
	}
	return err
}

// close is end, as long as ctx lasts.
func (ls *leases) close(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- ls.end() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("ratelimit: Close: not all leases are given back: %w", err)
	}
	return nil
}
