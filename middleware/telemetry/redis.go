package telemetry

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

const (
	infoStep    = "info"
	infoAge     = 30 * time.Second
	infoTimeout = time.Second
)

// evictions are the values of a label, all of them sent each time: what is absent cannot be alerted on.
var evictions = []lua.Eviction{lua.EvictionOff, lua.EvictionLatent, lua.EvictionOn, lua.EvictionUnknown}

// WithRedis adds whether the servers of a Redis client drop keys, limits among them, when their memory is
// full. It is for the client of the limiter and the verifier; clients of other servers are added up.
//
// A scrape reads it, one INFO for each master, unless it was read within 30 seconds, and waits for that no
// longer than 1 second. A server that does not answer is missing from tollgate_redis_masters, and
// tollgate_redis_errors_total{step="info"} counts the reading. tollgate_redis_evicted_keys_total counts from
// the first scrape on. Replicas of a service tell of the same servers: take the max of them, not the sum.
func WithRedis(rdb redis.UniversalClient) Option {
	return optionFunc(func(c *config) error {
		conn, err := lua.NewConn(rdb)
		if err != nil {
			return fmt.Errorf("%w: WithRedis(nil): %w", ErrInvalid, err)
		}
		c.servers = append(c.servers, &servers{conn: conn})
		return nil
	})
}

// servers are the masters of a client, as they were when they were last read.
type servers struct {
	conn *lua.Conn

	mu      sync.Mutex
	read    time.Time
	masters map[lua.Eviction]int
	dropped map[string]int64 // by address, since the server started
	evicted uint64           // since the first reading, of all
}

// refresh reads anew what is too old. Who comes meanwhile waits for the same reading, and a failed one is
// as good as any: a Redis in trouble is not asked more often.
func (s *servers) refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.read.IsZero() && time.Since(s.read) < infoAge {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), infoTimeout)
	defer cancel()
	masters, err := s.conn.Memory(ctx)
	s.read, s.masters = time.Now(), make(map[lua.Eviction]int, len(evictions))
	dropped := make(map[string]int64, len(masters))
	if err != nil { // those that did not answer come back, perhaps
		maps.Copy(dropped, s.dropped)
	}
	for _, m := range masters {
		s.masters[m.Eviction()]++
		if m.EvictedKeys < 0 {
			continue // not told
		}
		dropped[m.Addr] = m.EvictedKeys
		// What a server dropped before it was first seen is no event of this process.
		if before, known := s.dropped[m.Addr]; known && m.EvictedKeys >= before {
			s.evicted += uint64(m.EvictedKeys - before)
		} else if known {
			s.evicted += uint64(m.EvictedKeys) // it started anew
		}
	}
	s.dropped = dropped
	return err
}

// readServers refreshes all servers at the same time, and counts what failed.
func (c *Collector) readServers() {
	var group sync.WaitGroup
	for _, s := range c.servers {
		group.Go(func() {
			if err := s.refresh(); err != nil {
				c.redisErrors.WithLabelValues(infoStep, string(lua.Classify(err))).Inc()
			}
		})
	}
	group.Wait()
}

func (c *Collector) collectServers(to chan<- prometheus.Metric) {
	if len(c.servers) == 0 {
		return
	}
	var dropped uint64
	found := make(map[lua.Eviction]int, len(evictions))
	for _, s := range c.servers {
		s.mu.Lock()
		dropped += s.evicted
		for eviction, n := range s.masters {
			found[eviction] += n
		}
		s.mu.Unlock()
	}
	for _, eviction := range evictions {
		to <- gauge(redisMasters, float64(found[eviction]), string(eviction))
	}
	to <- count(redisEvicted, dropped)
}
