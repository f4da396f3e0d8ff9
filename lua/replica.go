package lua

import (
	"context"
	_ "embed"
	"fmt"
	"time"
)

//go:embed replica.lua
var replicaSource string

var replicaScript = newScript(replicaSource)

// Beat says that a process of a group is alive, and returns how many are: those that beat within the last life, the
// process itself among them. A life is at least a microsecond. To beat again is harmless. One command, which returns as
// soon as ctx ends.
func (c *Conn) Beat(ctx context.Context, group, process string, life time.Duration) (alive int, err error) {
	return c.replica(ctx, group, process, max(life.Microseconds(), 1))
}

// Leave takes a process off its group, before its life is over. To leave again is harmless. One command.
func (c *Conn) Leave(ctx context.Context, group, process string) error {
	_, err := c.replica(ctx, group, process, 0)
	return err
}

func (c *Conn) replica(ctx context.Context, group, process string, life int64) (alive int, err error) {
	reply, err := c.run(ctx, replicaScript, []string{ReplicasKey(group)}, []any{process, life})
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok || n < 0 || n == 0 && life > 0 {
		return 0, fmt.Errorf("%w: replica answered %v", ErrReply, reply)
	}
	return int(n), nil
}
