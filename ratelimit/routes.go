package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

// queues are those of a limiter: one for each server.
type queues struct {
	*config

	mu     sync.Mutex
	byNode map[any]*queue
	closed bool
	routes [bucket.Count]atomic.Pointer[route]
	finds  singleflight.Group
}

// route is where a bucket was found. Slots move seldom, and the client follows them wherever a check was sent first.
type route struct {
	*queue
	until time.Time
}

const routeLife = time.Second

// of returns the queue of a bucket.
func (qs *queues) of(ctx context.Context, number int, began time.Time) (*queue, error) {
	r := qs.routes[number].Load()
	if r != nil && (r.together || began.Before(r.until)) {
		return r.queue, nil
	}
	ctx, cancel := context.WithDeadline(ctx, began.Add(qs.timeout))
	defer cancel()
	found := qs.finds.DoChan(bucket.Name(number), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), qs.timeout)
		defer cancel()
		return qs.find(ctx, number)
	})
	select {
	case result := <-found:
		if result.Err != nil {
			return nil, fmt.Errorf("where the bucket lies: %w", result.Err)
		}
		return result.Val.(*queue), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("where the bucket lies: %w", ctx.Err())
	}
}

// find asks the client where a bucket lies, which may have to ask a server, and whose servers may hang.
func (qs *queues) find(ctx context.Context, number int) (*queue, error) {
	node, err := qs.conn.Node(ctx, bucket.Name(number))
	if err != nil {
		return nil, err
	}
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.byNode[node.ID]
	if q == nil {
		q = &queue{config: qs.config, breaker: node.Breaker, together: node.Together, closed: qs.closed, idle: make(chan struct{})}
		qs.byNode[node.ID] = q
	}
	qs.routes[number].Store(&route{queue: q, until: time.Now().Add(routeLife)})
	return q, nil
}

// close closes all queues, and waits until nothing is under way or ctx ends.
func (qs *queues) close(ctx context.Context) error {
	qs.mu.Lock()
	qs.closed = true
	open := make([]*queue, 0, len(qs.byNode))
	for _, q := range qs.byNode {
		open = append(open, q)
	}
	qs.mu.Unlock()
	for _, q := range open {
		q.close()
	}
	for _, q := range open {
		select {
		case <-q.idle:
		case <-ctx.Done():
			return fmt.Errorf("ratelimit: Close: checks are still under way: %w", ctx.Err())
		}
	}
	return nil
}
