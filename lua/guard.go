package lua

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/breaker"
)

// guards are the breakers of a Conn: one for each server.
type guards struct {
	changed func(server string, open bool)
	places  *breaker.Breaker // for the question which server has a key; nil where there is one server

	mu       sync.Mutex
	byServer map[string]*guarded
}

type guarded struct {
	*breaker.Breaker
	asked time.Time
}

// idle is after how long a server that nobody asks any more, as one that was replaced, is no open breaker.
const idle = time.Minute

// Guarded returns a Conn on the same client that leaves a server alone which has failed several times in a row: what only
// reads, Admit and UseProof then fail at once with breaker.ErrOpen, but for a probe from time to time. There is a breaker
// for each server, a master of a cluster or a shard of a ring, so that one that is dead does not stop the others. What
// writes goes on asking: it is administration, or repeats itself, and comes seldom. AdmitBatch and AdmitBatches go on asking
// too: who queues calls for a server asks its Breaker before they wait.
//
// changed, if it is not nil, is told of each server once that it is left alone, and once that it answers again, as
// breaker.Settings says: by its address, or "cluster" where no server tells which of them has what.
func (c *Conn) Guarded(changed func(server string, open bool)) *Conn {
	g := &guards{changed: changed, byServer: make(map[string]*guarded)}
	if _, many := finder(c.rdb); many {
		g.places = newBreaker("cluster", changed)
	}
	return &Conn{rdb: c.rdb, guards: g}
}

func newBreaker(server string, changed func(server string, open bool)) *breaker.Breaker {
	return breaker.New(breaker.Settings{Name: server, Failed: outage, Changed: changed})
}

// outage reports whether an error says that a server does not answer now.
func outage(err error) bool {
	if errors.Is(err, redis.Nil) {
		return false
	}
	switch Classify(err) {
	case ClassUnavailable, ClassTimeout, ClassOverloaded:
		return true
	}
	return false
}

// Breaker returns the breaker of the server that has a key, and nil where the Conn is not Guarded. On a cluster the client
// may have to ask a server which one that is: it returns as soon as ctx ends, and with breaker.ErrOpen while none tells.
func (c *Conn) Breaker(ctx context.Context, key string) (*breaker.Breaker, error) {
	if c.guards == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	server, err := c.server(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.guards.of(addrOf(server)), nil
}

// server returns the client of the server that has a key, which of a Conn that is not Guarded may take its time.
func (c *Conn) server(ctx context.Context, key string) (server redis.UniversalClient, err error) {
	find, many := finder(c.rdb)
	if !many {
		return c.rdb, nil
	}
	ask := func() error {
		server, err = bounded(ctx, func() (redis.UniversalClient, error) { return find(ctx, key) })
		return err
	}
	if c.guards == nil {
		return server, ask()
	}
	return server, c.guards.places.Do(ask)
}

// finder returns how a client tells which of its servers has a key, if it has many.
func finder(rdb redis.UniversalClient) (find func(ctx context.Context, key string) (*redis.Client, error), many bool) {
	switch client := rdb.(type) {
	case interface {
		MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	}:
		return client.MasterForKey, true
	case interface {
		GetShardClientForKey(key string) (*redis.Client, error)
	}:
		return func(_ context.Context, key string) (*redis.Client, error) { return client.GetShardClientForKey(key) }, true
	}
	return nil, false
}

func addrOf(rdb redis.UniversalClient) string {
	if client, ok := rdb.(interface{ Options() *redis.Options }); ok {
		return client.Options().Addr
	}
	return "redis"
}

func (g *guards) of(server string) *breaker.Breaker {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.byServer[server]
	if b == nil {
		b = &guarded{Breaker: newBreaker(server, g.changed)}
		g.byServer[server] = b
	}
	b.asked = time.Now()
	return b.Breaker
}

// OpenBreakers returns how many servers of a Guarded Conn are left alone now, of those that somebody has asked within the
// last minute. Cheap.
func (c *Conn) OpenBreakers() (n int) {
	if c == nil || c.guards == nil {
		return 0
	}
	if c.guards.places != nil && c.guards.places.Broken() {
		n++
	}
	c.guards.mu.Lock()
	defer c.guards.mu.Unlock()
	for _, b := range c.guards.byServer {
		if b.Broken() && time.Since(b.asked) < idle {
			n++
		}
	}
	return n
}

// guard calls f, which returns when ctx ends, unless the server that has the key is left alone.
func guard[T any](ctx context.Context, c *Conn, key string, f func() (T, error)) (value T, err error) {
	b, err := c.Breaker(ctx, key)
	switch {
	case err != nil:
		return value, err
	case b == nil:
		return f()
	}
	pass, err := b.Allow()
	if err != nil {
		return value, err
	}
	began, verdict := time.Now(), errPanic
	defer func() { pass.Done(verdict) }()
	value, err = f()
	if verdict = err; errors.Is(err, context.DeadlineExceeded) && time.Since(began) < patience {
		verdict = context.Canceled
	}
	return value, err
}

// patience is how long a caller has to have waited for his deadline to say something of the server. Who gives it less
// pays no more than that for a server that is away.
const patience = 20 * time.Millisecond

var errPanic = errors.New("lua: the call panicked")

// firstKey tells by which key a call of the batch finds its server.
func (b *Batch) firstKey() string {
	switch {
	case len(b.epochs) > 0:
		return b.epochs[0].Key
	case len(b.plain) > 0 && len(b.plain[0].check.Charges) > 0:
		return b.plain[0].check.Charges[0].Key
	case len(b.otherKeys) > 0:
		return b.otherKeys[0]
	}
	return ""
}
