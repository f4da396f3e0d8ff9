package export

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// Option changes a default of New.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	interval    time.Duration
	grace       time.Duration
	timeout     time.Duration
	sendTimeout time.Duration
	batch       int
	source      string
	log         *slog.Logger
}

func defaults() config {
	return config{
		interval: time.Minute, grace: 15 * time.Minute, timeout: 2 * time.Second, sendTimeout: 30 * time.Second,
		batch: lua.MaxUsageRanges, source: "tollgate", log: slog.New(slog.DiscardHandler),
	}
}

// WithInterval sets how often Run looks for what is due: 10 ms to 1 day, by default 1 minute.
func WithInterval(d time.Duration) Option {
	return within("WithInterval", d, 10*time.Millisecond, 24*time.Hour, func(c *config) { c.interval = d })
}

// WithGrace sets for how long an hour is left alone after its end, or after usage came that was late, by the clock of
// Redis: 0 to 7 days, by default 15 minutes. What comes later is exported too, as events of its own.
func WithGrace(d time.Duration) Option {
	return within("WithGrace", d, 0, 7*24*time.Hour, func(c *config) { c.grace = d })
}

// WithTimeout bounds each call to Redis: 1 ms to 1 minute, by default 2 seconds.
func WithTimeout(d time.Duration) Option {
	return within("WithTimeout", d, time.Millisecond, time.Minute, func(c *config) { c.timeout = d })
}

// WithSendTimeout bounds each call of the sink: 1 ms to 10 minutes, by default 30 seconds.
func WithSendTimeout(d time.Duration) Option {
	return within("WithSendTimeout", d, time.Millisecond, 10*time.Minute, func(c *config) { c.sendTimeout = d })
}

// WithBatch sets how many events the sink is given at most in a call: 1 to 500, by default 500. An event has some 400
// bytes of JSON, and at most about 8 KB.
func WithBatch(events int) Option {
	return optionFunc(func(c *config) error {
		c.batch = events
		if events < 1 || events > lua.MaxUsageRanges {
			return fmt.Errorf("%w option: WithBatch(%d) must be 1 to %d", ErrInvalid, events, lua.MaxUsageRanges)
		}
		return nil
	})
}

// WithSource sets the source of the events, a URI reference that tells this service from others with the same
// receiver, such as "https://api.example.com/usage". By default "tollgate". With another source events are others: do
// not change it while events are on their way.
func WithSource(uri string) Option {
	return optionFunc(func(c *config) error {
		c.source = uri
		if u, err := url.Parse(uri); err != nil || uri == "" || len(uri) > 1024 || u.User != nil {
			return fmt.Errorf("%w option: WithSource must be a URI reference of 1 to 1024 bytes without a user", ErrInvalid)
		}
		return nil
	})
}

// WithLogger logs when exporting begins to fail, and when it does so no more. The default is not to log.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(c *config) error {
		if logger == nil {
			return fmt.Errorf("%w option: WithLogger(nil)", ErrInvalid)
		}
		c.log = logger
		return nil
	})
}

func within(option string, d, low, high time.Duration, set func(*config)) Option {
	return optionFunc(func(c *config) error {
		if d < low || d > high {
			return fmt.Errorf("%w option: %s(%v) must be %v to %v", ErrInvalid, option, d, low, high)
		}
		set(c)
		return nil
	})
}

// configure applies options to the defaults, opens the client, and joins all that is wrong with the arguments.
func configure(rdb redis.UniversalClient, sink Sink, opts []Option) (*lua.Conn, config, error) {
	c := defaults()
	conn, err := lua.NewConn(rdb)
	faults := []error{err}
	if missing(sink) {
		faults = append(faults, fmt.Errorf("%w: the sink is nil", ErrInvalid))
	}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(&c))
	}
	return conn, c, errors.Join(faults...)
}

func missing(sink Sink) bool {
	f, ok := sink.(Func)
	return sink == nil || ok && f == nil
}
