package journal

import (
	"errors"
	"fmt"
	"time"
)

// Option changes a default of In.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	interval time.Duration
	sync     Sync
	wait     time.Duration // before a journal that could not be written is tried again
}

// WithInterval sets how often what is pending is written: 10 ms to 1 minute, by default 100 ms. What was recorded since
// the last time is what `kill -9` loses.
func WithInterval(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.interval = d
		if low, high := 10*time.Millisecond, time.Minute; d < low || d > high {
			return fmt.Errorf("%w option: WithInterval(%v) must be %v to %v", ErrInvalid, d, low, high)
		}
		return nil
	})
}

// Sync says when what is written must have reached the disk.
type Sync string

// The choices.
const (
	// SyncAlways: with each write, so that a power cut loses no more than `kill -9` does. Batches wait for the disk
	// before they are sent; requests never do.
	SyncAlways Sync = "always"
	// SyncNever: when the system gets to it. The end of the process loses nothing by that; a power cut loses what the
	// system had not written, some 30 seconds' worth on Linux.
	SyncNever Sync = "never"
)

// WithSync chooses when what is written must have reached the disk; by default SyncAlways.
func WithSync(s Sync) Option {
	return optionFunc(func(c *config) error {
		c.sync = s
		if s != SyncAlways && s != SyncNever {
			return fmt.Errorf("%w option: WithSync(%.20q) must be %q or %q", ErrInvalid, string(s), SyncAlways, SyncNever)
		}
		return nil
	})
}

func configure(dir string, opts []Option) (config, error) {
	c := config{interval: 100 * time.Millisecond, sync: SyncAlways, wait: 5 * time.Second}
	var faults []error
	if dir == "" {
		faults = append(faults, fmt.Errorf("%w directory: it must not be empty", ErrInvalid))
	}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(&c))
	}
	return c, errors.Join(faults...)
}
