package ratelimit_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestHungServerKeepsNoPlanFromOthers has a third of the buckets hang until a change has come to all others.
func TestHungServerKeepsNoPlanFromOthers(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		var hung []string
		for b := range bucket.All() {
			if b != "00" && len(hung) < bucket.Count/3 {
				hung = append(hung, b)
			}
		}
		hangs := func(cmd redis.Cmder) bool {
			for _, b := range hung {
				if in(cmd, b) {
					return true
				}
			}
			return false
		}
		var written atomic.Int64
		healthy, release := make(chan struct{}), make(chan struct{})
		plans := newPlans(t, client(t, rdb, wire{
			before: func(cmd redis.Cmder) error {
				if !hangs(cmd) {
					return nil
				}
				<-release
				return errors.New("hung")
			},
			after: func(cmd redis.Cmder) error {
				if strings.HasPrefix(cmd.Name(), "eval") && cmd.Err() == nil && written.Add(1) == int64(bucket.Count-len(hung)) {
					close(healthy)
				}
				return nil
			},
		}))
		name, done := planName(t, rdb), make(chan error, 1)
		go func() {
			_, _, err := plans.Set(t.Context(), limited(name, 5), ratelimit.Always)
			done <- err
		}()
		select {
		case <-healthy:
		case <-time.After(10 * time.Second):
			t.Errorf("%d buckets have the plan, want the %d that do not hang", written.Load(), bucket.Count-len(hung))
		}
		close(release)
		if err := <-done; !errors.Is(err, ratelimit.ErrUnavailable) {
			t.Errorf("Set: %v, want ErrUnavailable", err)
		}
	})
}
