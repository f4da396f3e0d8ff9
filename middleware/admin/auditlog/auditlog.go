// Package auditlog reads the audit trails that changes of keys, projects, overrides, plans and counts leave in Redis,
// and verifies that nobody altered them.
//
//	log, err := auditlog.New(rdb, auditlog.WithSealer(sealer))
//	entries, next, err := log.Entries(ctx, "acme", auditlog.Query{Order: auditlog.NewestFirst})
//
//	report, err := log.Verify(ctx, "acme", &anchor) // what Verify said yesterday, kept elsewhere
//	if err == nil && report.OK {
//		anchor = report.Head
//	}
//
// Entries are chained (see package audit). So a trail shows that an entry was changed, removed, inserted or moved, and
// with a sealer that one was not written by this service. It does not show that its latest entries were removed; nor, as a
// seal speaks for its entry alone, that entries were removed, moved or repeated and all that follows was linked anew; nor,
// to whoever has no sealer, that all of it was written anew. A Head shows all that, of what came before it: keep one
// outside of Redis, and verify against it. Somebody who can write to Redis can always destroy a trail.
//
// Each org has a trail, and "" is that of the plans. A trail keeps about its last 100,000 entries; Verify tells where it
// begins. What the service does with requests is not here, but in the events of package middleware.
package auditlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/seal"
)

// What callers branch on. Compare with errors.Is.
var (
	// ErrInvalid: an argument is out of its bounds.
	ErrInvalid = errors.New("auditlog: invalid")
	// ErrUnavailable: Redis did not answer, or not in time.
	ErrUnavailable = errors.New("auditlog: unavailable")
	// ErrDamaged: the last entry of a trail is none that a change wrote. Verify tells more.
	ErrDamaged = errors.New("auditlog: damaged")
)

// Log reads audit trails. Safe for concurrent use; it has nothing to close.
type Log struct {
	conn    *lua.Conn
	timeout time.Duration
	sealer  *seal.Sealer
}

// Option changes a default of New.
type Option interface{ apply(*Log) error }

type optionFunc func(*Log) error

func (f optionFunc) apply(l *Log) error { return f(l) }

// WithTimeout bounds each call to Redis: 1 ms to 1 minute, by default 2 seconds.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(l *Log) error {
		if d < time.Millisecond || d > time.Minute {
			return fmt.Errorf("%w option: WithTimeout(%v) must be 1ms to 1m", ErrInvalid, d)
		}
		l.timeout = d
		return nil
	})
}

// WithSealer has the seals of entries verified: give it the sealer of those who make changes. An entry without a seal
// is then broken, so a trail that began before there were seals is. Keys that new seals are no longer made with stay in
// the sealer for as long as the trail has entries of theirs: nothing seals those again. By default seals are not looked at. Nil is an
// error.
func WithSealer(s *seal.Sealer) Option {
	return optionFunc(func(l *Log) error {
		if s == nil {
			return fmt.Errorf("%w option: WithSealer(nil) must be a sealer that seal.New returned", ErrInvalid)
		}
		l.sealer = s
		return nil
	})
}

// New returns a Log on a Redis client: standalone, Sentinel, Cluster or Ring. It does not dial. The error joins all
// that is wrong with the arguments.
func New(rdb redis.UniversalClient, opts ...Option) (*Log, error) {
	conn, err := lua.NewConn(rdb)
	l := &Log{conn: conn, timeout: 2 * time.Second}
	faults := []error{err}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(l))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return l, nil
}

// Head names the last entry of a trail, and with it all entries before. Its zero is that of an empty trail.
type Head struct {
	Seq  int64  `json:"seq"` // from 1
	Link string `json:"link"`
}

// Head returns that of an org's trail, or with "" that of the plans'. It verifies nothing. One call to Redis. Errors:
// ErrInvalid, ErrUnavailable, ErrDamaged.
func (l *Log) Head(ctx context.Context, org string) (Head, error) {
	if err := validOrg(org); err != nil {
		return Head{}, err
	}
	entries, err := l.read(ctx, org, lua.TrailRange{Count: 1, Newest: true})
	if err != nil || len(entries) == 0 {
		return Head{}, err
	}
	if entries[0].Damaged {
		return Head{}, fmt.Errorf("%w: the last entry of the trail of org %q", ErrDamaged, org)
	}
	return headOf(&entries[0]), nil
}

func headOf(e *lua.TrailEntry) Head { return Head{Seq: e.Seq, Link: e.Link} }

func (l *Log) read(ctx context.Context, org string, r lua.TrailRange) ([]lua.TrailEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	entries, err := l.conn.Trail(ctx, org, r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return entries, nil
}

const maxOrg = 128

func validOrg(org string) error {
	if len(org) > maxOrg {
		return fmt.Errorf("%w: org of %d bytes, must be at most %d", ErrInvalid, len(org), maxOrg)
	}
	return nil
}
