package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// ErrEviction says that a Redis server has a maxmemory-policy other than noeviction. When its memory is full
// it drops limits and keys, and no call tells: quotas begin anew, and API keys become unknown. Compare with
// errors.Is.
var ErrEviction = errors.New("ratelimit: Redis may drop limits and keys")

// checkTimeout bounds CheckStorage as administration is bounded.
const checkTimeout = 2 * time.Second

// CheckStorage asks each master of a Redis client whether it keeps what it is given. Call it when a service
// starts, and log what it returns: a Redis that evicts is a fault to be mended, and rarely a reason not to
// serve. The policy can be changed at any time, so watch it with telemetry.WithRedis too.
//
//	if err := ratelimit.CheckStorage(ctx, rdb); err != nil {
//		log.Printf("warning: %v", err)
//	}
//
// Errors, joined: ErrEviction for each server whose policy is not noeviction, also while its maxmemory is 0
// and it drops nothing yet, which the text then says; ErrUnavailable where nobody knows, for a server that
// does not answer, refuses INFO or does not tell its policy. All of them name the server, and how to mend
// it. lua.Conn.Memory tells the same as data.
//
// It makes one call to each master, and returns within 2 seconds and as soon as ctx ends.
func CheckStorage(ctx context.Context, rdb redis.UniversalClient) error {
	conn, err := lua.NewConn(rdb)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	masters, err := conn.Memory(ctx)
	faults := make([]error, 0, len(masters)+1)
	for _, m := range masters {
		faults = append(faults, storageError(m))
	}
	if err != nil {
		faults = append(faults, unavailable(err))
	}
	return errors.Join(faults...)
}

func storageError(m lua.Memory) error {
	const mend = "set maxmemory-policy noeviction"
	switch m.Eviction() {
	case lua.EvictionOff:
		return nil
	case lua.EvictionLatent:
		return fmt.Errorf("%w: %q has maxmemory-policy %q, which drops nothing only as long as maxmemory is 0: %s",
			ErrEviction, m.Addr, m.Policy, mend)
	case lua.EvictionOn:
		return fmt.Errorf("%w: %q has maxmemory-policy %q and dropped %d keys since it started: %s",
			ErrEviction, m.Addr, m.Policy, max(m.EvictedKeys, 0), mend)
	}
	return fmt.Errorf("%w: %q does not tell its maxmemory-policy: make sure that it is noeviction", ErrUnavailable, m.Addr)
}
