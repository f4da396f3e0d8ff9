package meter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// workers is how many shards are written at a time, so that a Redis node that does not answer does not
// hold up the others for long.
const workers = 8

// run writes what is pending at each interval, until ctx ends.
func (m *Meter) run(ctx context.Context) {
	tick := time.NewTicker(m.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = m.Flush(ctx) // what failed is in the Stats, and is sent again next time
		}
	}
}

// Flush writes what is pending now, after the flush that is running, if one is. What fails is not tried
// again and stays pending. The error is ErrNotFlushed and wraps the worst cause, which is
// lua.ErrUsageRefused only if nothing else failed; nil means that Redis has all that was recorded before
// the call.
func (m *Meter) Flush(ctx context.Context) error {
	select {
	case m.passing <- struct{}{}:
		defer func() { <-m.passing }()
	case <-ctx.Done():
		return m.notFlushed(ctx.Err())
	}
	if err := m.pass(ctx); err != nil {
		return m.notFlushed(err)
	}
	return nil
}

// Close ends recording, and writes what is pending, again and again, until all is written or refused, or
// ctx ends: give it a deadline. The error is ErrNotFlushed and tells how many units are lost if the
// process ends now, unless there is a journal: it is removed when all is written, and has what is left else. For that it
// has a second more than ctx; a disk that hangs for longer is not waited for, and the file has what was written before. To
// close it again is harmless, and tries once more to write what is left.
func (m *Meter) Close(ctx context.Context) error {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.closed = true
		s.retire()
		s.mu.Unlock()
	}
	m.stop()
	done := make(chan error, 1)
	go func() { done <- m.finish(ctx) }() // nothing else ends a write to a disk that hangs
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
	}
	if m.Stats().Pending == 0 {
		return nil // what the file has is in Redis too, which drops what comes again
	}
	return m.notFlushed(ctx.Err())
}

// grace is how long after its context Close waits for what is left to be in the journal.
const grace = time.Second

// finish waits for what runs, and settles what is pending and the journal.
func (m *Meter) finish(ctx context.Context) error {
	m.loops.Wait() // soon: their context has ended
	err := m.drain(ctx)
	if err == nil {
		_ = m.journal.Remove() // what fails is in the Stats, and is settled wherever it is found
	} else {
		m.writeJournal(context.WithoutCancel(ctx))
	}
	return err
}

// drain writes what is pending, again and again.
func (m *Meter) drain(ctx context.Context) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := m.Flush(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, lua.ErrUsageRefused) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

func (m *Meter) notFlushed(cause error) error {
	stats := m.Stats()
	return fmt.Errorf("%w: %d units of %d names are pending: %w", ErrNotFlushed, stats.Pending, stats.Entries, cause)
}

// pass makes one attempt for everything that is pending, and returns the worst that happened.
func (m *Meter) pass(ctx context.Context) error {
	var (
		next  atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex
		worst error
	)
	for range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(m.shards)); i = next.Add(1) - 1 {
				err := m.flushShard(ctx, &m.shards[i])
				mu.Lock()
				worst = worse(worst, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return worst
}

// worse returns the error that matters more: one that leaves a batch open before a refusal.
func worse(a, b error) error {
	if a == nil || b != nil && errors.Is(a, lua.ErrUsageRefused) && !errors.Is(b, lua.ErrUsageRefused) {
		return b
	}
	return a
}

// flushShard writes what is pending for the orgs of a shard. They share a Redis node: when it does not
// answer for one, the rest waits for the next pass.
func (m *Meter) flushShard(ctx context.Context, s *shard) error {
	var worst error
	for _, a := range s.waiting() {
		if ctx.Err() != nil {
			return worse(worst, ctx.Err())
		}
		err := m.flushAccount(ctx, s, a)
		worst = worse(worst, err)
		if err != nil && classify(err) != lua.ClassConfig {
			break
		}
	}
	return worst
}

// waiting returns the accounts that have something pending, and forgets the others. Those whose last
// batch is still open come last, so that they hold up nobody.
func (s *shard) waiting() []*account {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh, open []*account
	for org, a := range s.accounts {
		switch {
		case !a.dueSince.IsZero():
			open = append(open, a)
		case len(a.units) > 0:
			fresh = append(fresh, a)
		default:
			delete(s.accounts, org)
		}
	}
	return append(fresh, open...)
}

// flushAccount writes what is pending for an org: what an earlier pass left open, and then what came
// since.
func (m *Meter) flushAccount(ctx context.Context, s *shard, a *account) error {
	if a.unproved {
		if err := m.prove(ctx, s, a); err != nil {
			return err
		}
	}
	err := m.sendDue(ctx, s, a)
	if len(a.due) > 0 {
		return err
	}
	m.freeze(s, a)
	return worse(err, m.sendDue(ctx, s, a))
}

// sendDue sends the batches of an org in their order, once they are in the journal. It stops at one that Redis did not
// decide, which is sent again, as it is, before any other.
func (m *Meter) sendDue(ctx context.Context, s *shard, a *account) error {
	if len(a.due) > 0 && m.journal.Commit(ctx) != nil && ctx.Err() != nil {
		return ctx.Err() // a journal that cannot be written holds up nothing
	}
	var refused error
	for len(a.due) > 0 {
		err := m.send(ctx, a.due[0])
		switch {
		case err == nil:
			m.flushed(s, a)
		case errors.Is(err, lua.ErrUsageRefused) && a.overtaken:
			refused = err
			m.leaveBatch(s, a)
		case errors.Is(err, lua.ErrUsageRefused):
			refused = err
			m.putBack(s, a)
		default:
			return err
		}
	}
	return refused
}

func (m *Meter) send(ctx context.Context, batch lua.UsageBatch) error {
	ctx, cancel := context.WithTimeout(ctx, m.config.timeout)
	defer cancel()
	err := m.ledger.AddUsage(ctx, batch)
	if err != nil {
		m.failures.add(classify(err))
		return fmt.Errorf("usage of org %.128q: %w", batch.Org, err)
	}
	return nil
}

// classify names the class of a failed flush. A refused batch is data that is not ours.
func classify(err error) lua.Class {
	if errors.Is(err, lua.ErrUsageRefused) {
		return lua.ClassConfig
	}
	return lua.Classify(err)
}
