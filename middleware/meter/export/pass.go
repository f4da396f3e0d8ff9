package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// maxSilent is how many buckets in a row may get no answer from Redis until a pass gives up.
const maxSilent = 8

// page is how many hours are listed at a time.
const page = 100

// pass is one way through all buckets.
type pass struct {
	*Exporter
	// What was claimed and is not sent yet.
	events []Event
	claims []*lua.UsageClaim
	done   int // hours of the running bucket that are exported as a whole

	unsent, unread error // the first that the sink refused, and that Redis did not answer
	silent         bool  // Redis did not answer for the running bucket

	due    int
	behind time.Duration
}

// Once exports what is due now, after the pass that is running, if one is. It makes two calls to Redis for an hour of an
// org, and four more for each 500 names beyond the first, which are looked at twice; a call of the sink has the events of many hours of a bucket.
//
// A sink that fails ends the pass, and the next begins behind the bucket that it failed with, so that one which never
// takes some events gets all others. A pass also ends when Redis did not answer for eight buckets in a row; a cluster
// with a node that is down is asked for all others.
//
// Errors: ErrNotSent, ErrUnavailable, or both; nil: all that was due is exported, but for what came meanwhile.
func (e *Exporter) Once(ctx context.Context) error {
	select {
	case e.passing <- struct{}{}:
		defer func() { <-e.passing }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	p := &pass{Exporter: e}
	if p.run(ctx) {
		e.count(func(s *Stats) { s.Due, s.Behind = p.due, p.behind })
	}
	if err := ctx.Err(); err != nil && p.unread == nil {
		p.unread = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return errors.Join(p.unsent, p.unread)
}

// run goes through the buckets, and reports whether it came to the end.
func (p *pass) run(ctx context.Context) bool {
	silent := 0
	for i, begin := 0, p.begin; i < bucket.Count; i++ {
		if ctx.Err() != nil || silent == maxSilent {
			return false
		}
		number, sent := (begin+i)%bucket.Count, p.unsent == nil
		p.silent = false
		p.bucket(ctx, bucket.Name(number))
		if silent++; !p.silent {
			silent = 0
		}
		if sent && p.unsent != nil {
			p.begin = (number + 1) % bucket.Count
		}
	}
	return true
}

// bucket exports what is due of a bucket, or only counts it if the sink is known to fail.
func (p *pass) bucket(ctx context.Context, name string) {
	if p.unsent == nil && p.export(ctx, name) {
		return
	}
	due, err := p.list(ctx, name, 0, 1)
	if err == nil && due.All > 0 && len(due.Since) > 0 {
		p.due += due.All
		p.behind = max(p.behind, time.Duration(due.Now-due.Since[0])*time.Second)
	}
}

// export reports whether nothing of the bucket is left.
func (p *pass) export(ctx context.Context, name string) (all bool) {
	p.events, p.claims, p.done = nil, nil, 0
	for passed, listed := 0, page; listed == page; {
		due, err := p.list(ctx, name, passed-p.done, page)
		if err != nil {
			return false
		}
		for _, hour := range due.Hours {
			// An hour that holds what is not ours concerns no other.
			if err := p.hour(ctx, hour); err != nil && (p.unsent != nil || lua.Classify(err) != lua.ClassConfig) {
				return false
			}
		}
		if p.ship(ctx) != nil {
			return false
		}
		listed = len(due.Hours)
		passed += listed
		all = passed == p.done
	}
	return all
}

func (p *pass) list(ctx context.Context, name string, skip, count int) (lua.UsageDue, error) {
	return call(ctx, p, func(ctx context.Context) (lua.UsageDue, error) {
		return p.ledger.DueUsage(ctx, name, p.grace, skip, count)
	})
}

// hour claims all that an hour has. What goes into the last call of the sink is still to be shipped.
func (p *pass) hour(ctx context.Context, hour lua.UsageHour) error {
	var claim *lua.UsageClaim
	for claim == nil || !claim.Last {
		if len(p.events) == p.batch {
			if err := p.ship(ctx); err != nil {
				return err
			}
		}
		next, err := call(ctx, p, func(ctx context.Context) (*lua.UsageClaim, error) {
			return p.ledger.ClaimUsage(ctx, hour, claim, p.batch-len(p.events))
		})
		if err != nil {
			return err
		}
		if claim != nil && len(claim.Ranges) > 0 && len(next.Ranges) > 0 && claim.Ranges[0] == next.Ranges[0] {
			err := fmt.Errorf("%w: what was settled of the hour %d of org %.128q is claimed anew", lua.ErrReply, hour.Hour, hour.Org)
			p.unanswered(err)
			return err
		}
		claim = next
		for i := range claim.Ranges {
			p.events = append(p.events, newEvent(p.source, claim, &claim.Ranges[i]))
		}
		p.claims = append(p.claims, claim)
		if claim.Last && claim.Odd != "" {
			p.unanswered(fmt.Errorf("%w: field %.200q of the hour %d of org %.128q, or what is exported of it, is no count", lua.ErrReply, claim.Odd, hour.Hour, hour.Org))
		}
		if !claim.Last { // what follows may be claimed when this is settled
			if err := p.ship(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// ship sends what is claimed, and settles it.
func (p *pass) ship(ctx context.Context) error {
	if err := p.send(ctx); err != nil {
		return err
	}
	// Accepted is accepted, also if ctx ended meanwhile: what is not settled is sent again.
	ctx = context.WithoutCancel(ctx)
	for _, claim := range p.claims {
		done, err := call(ctx, p, func(ctx context.Context) (bool, error) { return p.ledger.SettleUsage(ctx, claim) })
		if err != nil {
			return err
		}
		if done {
			p.done++
		}
	}
	p.events, p.claims = nil, nil
	return nil
}

func (p *pass) send(ctx context.Context) error {
	if len(p.events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.sendTimeout)
	defer cancel()
	if err := p.sink.Send(ctx, p.events); err != nil {
		p.unsent = fmt.Errorf("%w: %d events, the first %.300q: %w", ErrNotSent, len(p.events), p.events[0].ID, err)
		p.count(func(s *Stats) { s.SinkFailures++ })
		return p.unsent
	}
	units := uint64(0)
	for i := range p.events {
		units += uint64(p.events[i].Data.Units)
	}
	p.count(func(s *Stats) {
		s.Events += uint64(len(p.events))
		s.Units += units
	})
	return nil
}

// call asks Redis within the timeout, and counts what fails.
func call[T any](ctx context.Context, p *pass, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	answer, err := ask(ctx)
	if err != nil {
		p.unanswered(err)
	}
	return answer, err
}

func (p *pass) unanswered(err error) {
	p.failed(err)
	p.silent = p.silent || lua.Classify(err) != lua.ClassConfig
	if p.unread == nil {
		p.unread = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}
