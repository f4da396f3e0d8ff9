package jwks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

const (
	// minPause and maxPause bound the pauses after failures, which double.
	minPause = time.Second
	maxPause = time.Minute
	// rediscover is how old what a discovery document said may be.
	rediscover = 24 * time.Hour
)

// flight is a fetch that is under way, for all who wait for it.
type flight struct {
	done   chan struct{}
	cancel context.CancelFunc
	void   bool // what it brings is not wanted any more; final when done is closed
}

// wait returns nil when the flight has landed.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin starts the one flight of an entry; anew asks caches on the way for what is behind them. c.mu is held, the
// cache is not closed, and no flight is under way.
func (c *Cache) begin(e *entry, anew bool) *flight {
	e.stop()
	ctx, cancel := context.WithCancel(c.ctx)
	f := &flight{done: make(chan struct{}), cancel: cancel}
	e.flight, e.attempted = f, time.Now()
	known, h := e.endpoint, e.held.Load()
	c.fetches.Go(func() {
		defer cancel()
		began := time.Now()
		got := e.fetch(ctx, &c.config, known, h, anew)
		c.land(e, f, &got, began)
		if c.observe != nil {
			c.observe(got.report(e.name, time.Since(began)))
		}
	})
	return f
}

// land takes in what a flight brought, and sets the time of the next.
func (c *Cache) land(e *entry, f *flight, got *catch, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	e.spent += time.Since(began)
	if e.fetched++; got.err != nil {
		e.failed++
	}
	if f.void {
		return
	}
	e.flight, e.err, e.endpoint = nil, got.err, got.endpoint
	var pause time.Duration
	if got.err == nil {
		e.failures, e.absent = 0, map[uint64]bool{}
		e.held.Store(&held{
			set: got.set, sum: got.sum, began: began, stale: began.Add(got.life), expires: began.Add(got.life + e.stale),
		})
		pause = spread(got.life*4/5, got.life/10)
	} else {
		pause = min(minPause<<min(e.failures, 10), maxPause)
		pause = max(minPause, spread(pause*7/8, pause/4))
		e.failures++
		e.next = time.Now().Add(pause)
	}
	if !c.closed {
		e.timer = time.AfterFunc(pause, func() { c.refresh(e) })
	}
}

// refresh begins what is due.
func (c *Cache) refresh(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && !e.evicted && e.flight == nil {
		c.begin(e, false)
	}
}

// spread returns a duration around d, so that processes that began together do not stay together.
func spread(d, width time.Duration) time.Duration {
	return d - width/2 + rand.N(width) //nolint:gosec // no secret
}

// catch is what a flight brought.
type catch struct {
	set  *bearer.KeySet
	sum  [sha256.Size]byte
	life time.Duration
	endpoint
	discovery error // of a look at a discovery document that was not needed
	err       error
}

// endpoint is where a set is, and when the discovery document said so.
type endpoint struct {
	address    string
	discovered time.Time
}

// fetch brings the set of an entry: by the address that is known, or else by the discovery document, which is asked
// again each day, and when there is nothing at the address any more. What panics is a fetch that failed, for in a
// goroutine of its own nobody else could recover.
func (e *entry) fetch(ctx context.Context, c *config, known endpoint, h *held, anew bool) (got catch) {
	got.endpoint = known
	defer func() {
		if r := recover(); r != nil {
			got.err = fmt.Errorf("a %T panicked", r)
		}
	}()
	fresh := e.outright
	if e.outright {
		got.address = e.url
	} else if time.Since(known.discovered) >= rediscover || known.address == "" {
		fresh = got.discover(ctx, c, e)
		if got.address == "" {
			got.err, got.discovery = got.discovery, nil
			return got
		}
	}
	body, header, err := c.get(ctx, e.client, got.address, anew)
	var refused *statusError
	if errors.As(err, &refused) && (refused.code == http.StatusNotFound || refused.code == http.StatusGone) && !fresh {
		if got.discover(ctx, c, e) && got.address != known.address {
			body, header, err = c.get(ctx, e.client, got.address, anew)
		}
	}
	if err != nil {
		got.err = err
		return got
	}
	got.life = lifeOf(header, e.ttl)
	got.sum = sha256.Sum256(body)
	if h != nil && h.sum == got.sum { // the same pointer, for what hangs on it
		got.set = h.set
		return got
	}
	if got.set, err = bearer.ParseKeySet(body); err != nil { // no fault of the caller's, as authkey.ErrInvalid would be
		got.err = fmt.Errorf("%s: %s", nameOf(got.address), strings.TrimPrefix(err.Error(), authkey.ErrInvalid.Error()+": "))
	}
	return got
}

// discover takes the address from the discovery document, and reports whether that went well; else what was known
// stays.
func (got *catch) discover(ctx context.Context, c *config, e *entry) bool {
	address, err := c.discover(ctx, e)
	if err != nil {
		got.discovery = err
		return false
	}
	got.address, got.discovered = address, time.Now()
	return true
}
