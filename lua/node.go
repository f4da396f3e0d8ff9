package lua

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Node tells which server has a bucket, as something to compare: batches of buckets with equal nodes can travel in one
// pipeline. On a client of one server all are equal, and all their checks can be one batch (together); on a Ring each
// bucket is by itself. It asks the client, which on a cluster may have to ask a server where slots are.
func (c *Conn) Node(ctx context.Context, bucket string) (node any, together bool, err error) {
	switch client := c.rdb.(type) {
	case interface {
		MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	}:
		node, err = client.MasterForKey(ctx, "{"+bucket+"}")
		return node, false, err
	case interface {
		ForEachShard(ctx context.Context, f func(ctx context.Context, client *redis.Client) error) error
	}:
		return bucket, false, nil
	}
	return nil, true, nil
}
