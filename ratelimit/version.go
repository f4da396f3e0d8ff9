package ratelimit

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// ErrOutdated says that a Redis or Valkey server has a version in which whoever may run a script can take the server
// over. Compare with errors.Is.
var ErrOutdated = errors.New("ratelimit: Redis should be updated")

// CheckVersion asks each master of a Redis client for its version. Call it when a service starts, beside CheckStorage,
// and log what it returns as a warning: the versions work, and their number may say less than they hold.
//
// Errors, joined: ErrOutdated for each server before Redis 6.2.20, 7.2.11, 7.4.6, 8.0.4 and 8.2.2, or before Valkey 7.2.11,
// 8.0.6 and 8.1.4 (CVE-2025-49844, 46817, 46818 and 46819), which names the server, its version, and the one to have.
// Distributions and providers put such fixes into builds of older versions, as Debian does, and the number does not tell: ask
// theirs. A server that does not tell its version is no error; ErrUnavailable is for one that does not answer, or refuses INFO.
//
// It makes one call to each master, and returns within 2 seconds and as soon as ctx ends.
func CheckVersion(ctx context.Context, rdb redis.UniversalClient) error {
	conn, err := lua.NewConn(rdb)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	masters, err := conn.Memory(ctx)
	faults := make([]error, 0, len(masters)+1)
	for _, m := range masters {
		if want := m.Outdated(); want != "" {
			faults = append(faults, fmt.Errorf("%w: %q is %s, in which whoever may run a script can take the server over (CVE-2025-49844): "+
				"have %s or later, or make sure that who built it mended it under the old number", ErrOutdated, m.Addr, m.Version, want))
		}
	}
	if err != nil {
		faults = append(faults, unavailable(err))
	}
	return errors.Join(faults...)
}
