package lua

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/breaker"
)

// Node is the server that has a bucket.
type Node struct {
	// ID is something to compare: batches of buckets with equal IDs can travel in one pipeline. On a client of one server
	// all are equal; on a Ring each bucket is by itself.
	ID any
	// Together tells that there is one server, so that checks of all buckets can be one batch.
	Together bool
	// Breaker is the server's; nil where the Conn is not Guarded.
	Breaker *breaker.Breaker
}

// Node tells which server has a bucket. It asks the client, which on a cluster may have to ask a server where slots are:
// it returns as soon as ctx ends.
func (c *Conn) Node(ctx context.Context, bucket string) (n Node, err error) {
	server, err := c.server(ctx, "{"+bucket+"}")
	if err != nil {
		return Node{}, err
	}
	if c.guards != nil {
		n.Breaker = c.guards.of(addrOf(server))
	}
	switch _, many := finder(c.rdb); {
	case !many:
		n.Together = true
	case isRing(c.rdb):
		n.ID = bucket
	default:
		n.ID = server
	}
	return n, nil
}

// isRing reports whether a client has servers that know nothing of each other.
func isRing(rdb redis.UniversalClient) bool {
	_, ring := rdb.(interface {
		GetShardClientForKey(key string) (*redis.Client, error)
	})
	return ring
}
