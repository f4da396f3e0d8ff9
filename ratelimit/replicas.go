package ratelimit

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Bounds of WithReplicas and WithHeartbeat.
const (
	maxGroup     = 128
	maxReplicas  = 1_000_000
	minHeartbeat = 10 * time.Millisecond
	maxHeartbeat = time.Minute
	lives        = 3 // heartbeats that may be missed
)

// WithReplicas has a Limiter learn how many processes share its limits, so that each knows its share while Redis is away:
// see Limiter.AdmitLocal. Every process of a group, which is named by 1 to 128 bytes, the name of the service for one,
// tells Redis each second that it is alive, in one small call; who was not heard of for three does not count. A process
// that has several limiters on one Redis gives it to each, with a group for each.
//
// Assume is how many the process takes the group to have until it was told, 1 to 1,000,000: as many as there usually are.
// Of what it was told last it goes by the highest number of three, and keeps that while Redis does not answer. What
// happens to the group meanwhile it cannot know: a process that is started then goes by assume, and what it may let pass
// comes on top; the share of one that ends nobody has, and one that begins anew has it once more.
//
// It starts one goroutine, which Close ends. By default there is none, and AdmitLocal decides nothing.
func WithReplicas(group string, assume int) Option {
	return optionFunc(func(c *config) error {
		if group == "" || len(group) > maxGroup || assume < 1 || assume > maxReplicas {
			return fmt.Errorf("%w option: WithReplicas(%.150q, %d) must have a group of 1 to %d bytes, and assume 1 to %d", ErrInvalid, group, assume, maxGroup, maxReplicas)
		}
		c.group, c.assume = group, assume
		return nil
	})
}

// WithHeartbeat sets how often WithReplicas tells Redis that the process is alive: 10 ms to 1 minute, by default each
// second, the same at all processes of a group. A process counts for three times as long.
func WithHeartbeat(interval time.Duration) Option {
	return optionFunc(func(c *config) error {
		if interval < minHeartbeat || interval > maxHeartbeat {
			return fmt.Errorf("%w option: WithHeartbeat(%v) must be %v to %v", ErrInvalid, interval, minHeartbeat, maxHeartbeat)
		}
		c.heartbeat = interval
		return nil
	})
}

// Replicas returns how many processes the Limiter takes its limits to be shared by, itself among them: as it heard last, or
// was told to assume. 0 without WithReplicas. Safe for concurrent use.
func (l *Limiter) Replicas() int { return int(l.replicas.alive.Load()) }

// replicas is what a Limiter knows of its group.
type replicas struct {
	*config

	process string
	alive   atomic.Int64
	told    [lives]int // how many were, the last times
	stop    context.CancelFunc
	ended   chan struct{}
}

// start begins to beat, if the options say so.
func (r *replicas) start(c *config) {
	if c.group == "" {
		return
	}
	r.config, r.process, r.ended = c, rand.Text(), make(chan struct{})
	for i := range r.told {
		r.told[i] = c.assume
	}
	r.alive.Store(int64(c.assume))
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go r.run(ctx)
}

// run beats until ctx ends.
func (r *replicas) run(ctx context.Context) {
	defer close(r.ended)
	ticker := time.NewTicker(r.heartbeat)
	defer ticker.Stop()
	for n := 0; ; {
		if alive, err := r.beat(ctx); err == nil {
			r.told[n%lives] = alive
			r.alive.Store(int64(slices.Max(r.told[:])))
			n++
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (r *replicas) beat(ctx context.Context) (alive int, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.heartbeat)
	defer cancel()
	return r.conn.Beat(ctx, r.group, r.process, lives*r.heartbeat)
}

// close ends the beats and leaves the group. Where Redis does not hear of that, it finds out by itself.
func (r *replicas) close(ctx context.Context) {
	if r.stop == nil {
		return
	}
	r.stop()
	<-r.ended // which returns as soon as ctx of run ends
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	_ = r.conn.Leave(ctx, r.group, r.process)
}
