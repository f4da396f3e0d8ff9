package meter

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter/journal"
)

// Option changes a default of New or NewReader. For a Reader only WithTimeout matters.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	interval   time.Duration
	timeout    time.Duration
	retention  time.Duration
	maxPending int
	journals   *journal.Dir // nil: there are none
	now        func() time.Time
}

const day = 24 * time.Hour

func defaults() config {
	return config{
		interval: time.Second, timeout: 2 * time.Second, retention: 400 * day,
		maxPending: 100_000, now: time.Now,
	}
}

// WithInterval sets how often a Meter writes what is pending: 10 ms to 1 hour, by default 1 second. It is
// also what a crash loses at most while Redis answers, where there is no journal.
func WithInterval(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.interval = d
		return within("WithInterval", d, 10*time.Millisecond, time.Hour)
	})
}

// WithTimeout bounds each call to Redis: 1 ms to 1 minute, by default 2 seconds.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.timeout = d
		return within("WithTimeout", d, time.Millisecond, time.Minute)
	})
}

// WithRetention sets how long Redis keeps an hour after the last write to it: 1 hour to 3660 days, by
// default 400 days. Less than 8 days counts as 8 days, so that an exporter finds the hour. Of meters that
// write to one hour the one that keeps it longest decides, and an hour that is kept stays so.
func WithRetention(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.retention = d
		return within("WithRetention", d, time.Hour, 3660*day)
	})
}

// WithMaxPending bounds how many distinct names (org, project, product, kind, source and hour) are kept
// in memory until they are written: 1 to 10,000,000, by default 100,000. Those take some 15 MB if they are
// of few orgs, and some 85 MB if each is of another.
func WithMaxPending(n int) Option {
	return optionFunc(func(c *config) error {
		if n < 1 || n > 10_000_000 {
			return fmt.Errorf("%w option: WithMaxPending(%d) must be 1 to 10000000", ErrInvalid, n)
		}
		c.maxPending = n
		return nil
	})
}

// WithJournal keeps what is pending on disk too, in a file of a directory, so that it outlives the process; by default
// there is no journal. It is written every 100 ms, with a batch before that is sent, and with its verdict after. Stats
// tells what a crash would lose (LossBound). A Meter that starts later with the same directory, on the same machine,
// writes to Redis what processes that died have left there, under their names, so that what Redis has already is
// dropped. It looks for that when it starts and every minute.
//
// Give each service and each Redis a directory of its own, on a local disk; package journal tells the rest. What was left
// more than a week ago cannot be told from what Redis has: it is not written, see Stats.Unsure. A disk that is full ends
// nothing: what cannot be kept is kept in memory alone, and Stats tells. A disk that hangs holds up writing to Redis,
// and Close by a second, but no request. In memory it takes about as much again as what is pending.
func WithJournal(dir string, opts ...journal.Option) Option {
	return optionFunc(func(c *config) (err error) {
		if c.journals, err = journal.In(dir, opts...); err != nil {
			return fmt.Errorf("%w option: WithJournal: %w", ErrInvalid, err)
		}
		return nil
	})
}

func within(option string, d, low, high time.Duration) error {
	if d < low || d > high {
		return fmt.Errorf("%w option: %s(%v) must be %v to %v", ErrInvalid, option, d, low, high)
	}
	return nil
}

// configure applies options to the defaults and opens the client, and joins all that is wrong with
// either.
func configure(rdb redis.UniversalClient, opts []Option) (*Reader, config, error) {
	c := defaults()
	conn, err := lua.NewConn(rdb)
	faults := []error{err}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(&c))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, c, err
	}
	return &Reader{conn: conn, timeout: c.timeout}, c, nil
}
