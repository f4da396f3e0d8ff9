package measure

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ServerCPU returns the CPU time, user and system, that Redis servers have used since they started: that of all masters
// of a cluster client.
func ServerCPU(ctx context.Context, rdb redis.UniversalClient) (time.Duration, error) {
	seconds, err := Info(ctx, rdb, "cpu", "used_cpu_user", "used_cpu_sys")
	return time.Duration(seconds * float64(time.Second)), err
}

// Info returns the sum of fields of a section of INFO, over all masters of a cluster client.
func Info(ctx context.Context, rdb redis.UniversalClient, section string, fields ...string) (float64, error) {
	return overMasters(ctx, rdb, func(ctx context.Context, one *redis.Client) (sum float64, err error) {
		text, err := one.Info(ctx, section).Result()
		if err != nil {
			return 0, err
		}
		for _, field := range fields {
			n, err := number(text, field, ":")
			if err != nil {
				return 0, fmt.Errorf("measure: INFO %s of %s: %w", section, one.Options().Addr, err)
			}
			sum += n
		}
		return sum, nil
	})
}

// Stored returns how many bytes Redis uses without what its connections use: INFO tells that late, and beside few keys
// it is much. It sums over all masters of a cluster client.
func Stored(ctx context.Context, rdb redis.UniversalClient) (float64, error) {
	return overMasters(ctx, rdb, func(ctx context.Context, one *redis.Client) (float64, error) {
		var list, info *redis.StringCmd
		_, err := one.TxPipelined(ctx, func(p redis.Pipeliner) error { // at one moment
			list, info = p.ClientList(ctx), p.Info(ctx, "memory")
			return nil
		})
		if err != nil {
			return 0, err
		}
		used, err := number(info.Val(), "used_memory", ":")
		for client := range strings.Lines(list.Val()) {
			if err != nil {
				break
			}
			var buffers float64
			buffers, err = number(strings.ReplaceAll(client, " ", "\n"), "tot-mem", "=")
			used -= buffers
		}
		if err != nil {
			return 0, fmt.Errorf("measure: memory of %s: %w", one.Options().Addr, err)
		}
		return used, nil
	})
}

// overMasters sums a number of each master of a client.
func overMasters(ctx context.Context, rdb redis.UniversalClient, of func(context.Context, *redis.Client) (float64, error)) (sum float64, err error) {
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		var mu sync.Mutex
		err := c.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error {
			n, err := of(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			sum += n
			return err
		})
		return sum, err
	case *redis.Client:
		return of(ctx, c)
	}
	return 0, fmt.Errorf("measure: a client of type %T: want a redis.Client or a redis.ClusterClient", rdb)
}

// number finds a field in lines of a name, a separator and a number.
func number(lines, field, separator string) (float64, error) {
	for line := range strings.Lines(lines) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+separator); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no field %s", field)
}
