package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/examples/faults/internal/wire"
)

// scripts are those of the scripts that a server keeps, and of what it answers in their place.
func scripts() []row.Fault {
	flushed := alone{fault: func(p *place) (inject, heal action) {
		return repeat(10*time.Millisecond, p.do("script", "flush"))
	}}
	return []row.Fault{
		{Name: "F15", What: "scripts forgotten again and again", Serves: true, Open: flushed.open},
		{Name: "F16", What: "scripts forgotten, batches in pipelines", Serves: true, Open: pipelined},
		forgetful("F17", "no script is ever known by its digest", true, "EVALSHA"),
		forgetful("F17/all", "no script is ever known", false, "EVALSHA", "EVAL"),
	}
}

// forgetful is a row whose server answers NOSCRIPT for ever.
func forgetful(name, what string, serves bool, commands ...string) row.Fault {
	var f *wire.Forgetful
	return row.Fault{
		Name: name, What: what, Serves: serves,
		Open: func(ctx context.Context) (*row.Scene, error) {
			var link *wire.Forgetful
			scene, err := alone{fault: func(p *place) (inject, heal action) {
				return func(context.Context) error { link.Forget(commands...); return nil },
					func(context.Context) error { link.Remember(); return nil }
			}}.open(ctx)
			if err != nil {
				return nil, err
			}
			admin, _ := scene.Admin.(*redis.Client) // of alone
			if link, err = wire.NewForgetful(ctx, admin.Options().Addr); err != nil {
				scene.Close()
				return nil, err
			}
			f = link
			scene.Client = func() redis.UniversalClient { return redis.NewClient(row.Small(link.Addr())) }
			end := scene.Close
			scene.Close = func() { link.Close(); end() }
			return scene, nil
		},
		Check: func(context.Context, *row.Run) error {
			forgot, sent := f.Forgot("EVALSHA"), f.Sent("EVAL")
			if forgot == 0 || sent > forgot {
				return fmt.Errorf("%d calls were not known by their digest, %d were sent with their text", forgot, sent)
			}
			return nil
		},
	}
}

// pipelined is a cluster of one master, to which batches of different buckets go in one pipeline.
func pipelined(ctx context.Context) (*row.Scene, error) {
	scene, err := alone{
		args: []string{"--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"},
		fault: func(p *place) (inject, heal action) {
			return repeat(10*time.Millisecond, p.do("script", "flush"))
		},
	}.open(ctx)
	if err != nil {
		return nil, err
	}
	admin, _ := scene.Admin.(*redis.Client) // of alone
	if err := errors.Join(admin.ClusterAddSlotsRange(ctx, 0, 16_383).Err(), ready(ctx, admin)); err != nil {
		scene.Close()
		return nil, err
	}
	scene.Client = func() redis.UniversalClient {
		o := row.Small(admin.Options().Addr)
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{o.Addr}, PoolSize: o.PoolSize, ClientName: o.ClientName, ContextTimeoutEnabled: o.ContextTimeoutEnabled,
			MaintNotificationsConfig: o.MaintNotificationsConfig,
			DialTimeout:              o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, PoolTimeout: o.PoolTimeout,
		})
	}
	scene.Servers = 2 // the client may know the one by two names
	scene.Admin = redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{admin.Options().Addr}, MaintNotificationsConfig: row.Plain()})
	end := scene.Close
	scene.Close = func() { _ = scene.Admin.Close(); end() }
	return scene, nil
}

// ready waits until a server takes writes for all slots.
func ready(ctx context.Context, rdb *redis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := rdb.Set(ctx, "ready", 1, 0).Err()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// states are those in which a server is there and refuses to serve.
func states() []row.Fault {
	simple := func(name, what string, fault func(p *place) (inject, heal action), args ...string) row.Fault {
		return row.Fault{Name: name, What: what, Open: alone{args: args, fault: fault}.open}
	}
	evicted := simple("F19", "keys evicted", evicting)
	evicted.MayLose, evicted.LateUnknown, evicted.Harmless = 1, true, true
	evicted.Return = 3 * time.Second // whose key was gone is remembered as unknown for two
	return []row.Fault{
		simple("F18", "out of memory, noeviction", func(p *place) (inject, heal action) {
			return p.set("maxmemory", "1mb"), p.set("maxmemory", "0")
		}),
		evicted,
		simple("F20", "turned into a replica", func(p *place) (inject, heal action) {
			return p.do("replicaof", "127.0.0.1", 1), p.do("replicaof", "no", "one")
		}),
		simple("F21", "a replica that has lost its master", func(p *place) (inject, heal action) {
			return inOrder(p.set("replica-serve-stale-data", "no"), p.do("replicaof", "127.0.0.1", 1)), p.do("replicaof", "no", "one")
		}),
		simple("F22", "too few replicas to write", func(p *place) (inject, heal action) {
			return p.set("min-replicas-to-write", "1"), p.set("min-replicas-to-write", "0")
		}),
		simple("F23", "loading its data", loading, "--loading-process-events-interval-bytes", "1024"),
		simple("F24", "busy with a script", spinning),
		simple("F25", "too many clients", crowded),
	}
}

// evicting fills a server whose policy takes keys at random, and brings back the records of keys, as an operator would.
func evicting(p *place) (inject, heal action) {
	saved := map[string]string{}
	inject = func(ctx context.Context) error {
		for _, pattern := range []string{"tg1:{*}:key:*", "tg1:{*}:credential:*"} {
			for keys := p.admin.Scan(ctx, 0, pattern, 1000).Iterator(); keys.Next(ctx); {
				text, err := p.admin.Dump(ctx, keys.Val()).Result()
				if err != nil {
					return err
				}
				saved[keys.Val()] = text
			}
		}
		if err := p.set("maxmemory-policy", "allkeys-random", "maxmemory", "3mb")(ctx); err != nil {
			return err
		}
		return p.admin.Do(ctx, "debug", "populate", 30_000, "filler").Err()
	}
	return inject, func(ctx context.Context) error {
		if err := p.set("maxmemory", "0")(ctx); err != nil {
			return err
		}
		for key, text := range saved {
			if err := p.admin.RestoreReplace(ctx, key, 0, text).Err(); err != nil {
				return err
			}
		}
		return nil
	}
}

// loading has a server write all down and read it again, which takes it a second.
func loading(p *place) (inject, heal action) {
	begin, end := p.meanwhile(func(ctx context.Context, rdb *redis.Client) error { return rdb.Do(ctx, "debug", "reload").Err() })
	return inOrder(p.do("debug", "populate", 10_000), p.set("key-load-delay", "100"), begin), end
}

// spinning runs a script that does not end by itself.
func spinning(p *place) (inject, heal action) {
	begin, end := p.meanwhile(func(ctx context.Context, rdb *redis.Client) error {
		if err := rdb.Eval(ctx, "while true do end", nil).Err(); !redis.HasErrorPrefix(err, "Script killed") {
			return fmt.Errorf("the script ended with: %w", err)
		}
		return nil
	})
	return inOrder(p.set("busy-reply-threshold", "50"), begin), inOrder(p.do("script", "kill"), end)
}

// crowded lets nobody in, and throws out who is, but for one connection that mends it.
func crowded(p *place) (inject, heal action) {
	var door *redis.Conn
	inject = func(ctx context.Context) error {
		door = p.admin.Conn()
		if err := door.ConfigSet(ctx, "maxclients", "1").Err(); err != nil {
			return err
		}
		return door.Do(ctx, "client", "kill", "type", "normal", "skipme", "yes").Err()
	}
	return inject, func(ctx context.Context) error {
		return errors.Join(door.ConfigSet(ctx, "maxclients", "1000").Err(), door.Close())
	}
}
