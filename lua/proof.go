package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrProofUsed says that a proof of possession was used before.
var ErrProofUsed = errors.New("lua: the proof was used before")

// UseProof marks a proof as used, for so long. ErrProofUsed where it was marked before; any other error means that it
// may be marked now.
//
// One command, and no script, since SET NX decides by itself. It is sent once: were a client to repeat it after a
// lost reply, it would meet its own mark, and could not tell that from another's.
func (c *Conn) UseProof(ctx context.Context, thumbprint, id string, life time.Duration) error {
	key := ProofKey(thumbprint, id)
	reply, err := guard(ctx, c, key, func() (any, error) {
		return bounded(ctx, func() (any, error) {
			cmd := once{redis.NewCmd(ctx, "set", key, 1, "nx", "px", max(life.Milliseconds(), 1))}
			if err := c.rdb.Process(ctx, cmd); err != nil {
				return nil, err
			}
			return cmd.Result()
		})
	})
	switch {
	case errors.Is(err, redis.Nil):
		return ErrProofUsed
	case err != nil:
		return err
	case reply != "OK":
		return fmt.Errorf("%w: SET answered %T", ErrReply, reply)
	}
	return nil
}
