package row

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/load"
)

// settle waits until the machine carries the load: where calls fail although all is well, callers slow down.
func (r *Run) settle(ctx context.Context, crowd *load.Crowd) error {
	for {
		before, failed := r.made(well), r.failed.Load()
		if err := until(ctx, "calls while all is well", func() bool { return r.made(well) >= before+leastWell }); err != nil {
			return err
		}
		if r.failed.Load()-failed <= leastWell/100 || crowd.Slow() > mostPause {
			return nil
		}
	}
}

// warm has all connections of the pool made and used, by commands that run at the same time: one that was never used is
// set up first, and hides what happens to one that was.
func (r *Run) warm(ctx context.Context) error {
	switch rdb := r.rdb.(type) {
	case *redis.Client:
		return warm(ctx, rdb)
	case *redis.ClusterClient:
		return rdb.ForEachMaster(ctx, warm)
	}
	return fmt.Errorf("a %T cannot be warmed", r.rdb)
}

func warm(ctx context.Context, rdb *redis.Client) error {
	var group, taken sync.WaitGroup
	taken.Add(PoolSize)
	errs := make([]error, PoolSize)
	for i := range errs {
		group.Go(func() {
			conn := rdb.Conn() // keeps its connection, so that each of these has another
			errs[i] = conn.Ping(ctx).Err()
			taken.Done()
			taken.Wait()
			errs[i] = errors.Join(errs[i], conn.Close())
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// until polls a condition that load brings about.
func until(ctx context.Context, what string, reached func() bool) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	over := time.NewTimer(patience)
	defer over.Stop()
	for !reached() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return fmt.Errorf("no %s in %v", what, patience)
		}
	}
	return nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
