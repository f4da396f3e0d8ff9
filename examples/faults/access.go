package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/gate"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/lua"
)

// access are those of who may do what.
func access() []row.Fault {
	return []row.Fault{
		{Name: "F26", What: "password changed", Open: rotated},
		{Name: "F27", What: "scripts not permitted", Open: alone{
			client: func(addr string) *redis.Options {
				o := row.Small(addr)
				o.Username, o.Password = "gate", "gate"
				return o
			},
			args: []string{"--user", "gate", "on", ">gate", "~*", "&*", "+@all"},
			fault: func(p *place) (inject, heal action) {
				return p.do("acl", "setuser", "gate", "-evalsha", "-eval"), p.do("acl", "setuser", "gate", "+@all")
			},
		}.open},
	}
}

// rotated is a row whose password is changed, and whose service is told the new one a while later.
func rotated(ctx context.Context) (*row.Scene, error) {
	var password atomic.Value
	password.Store("")
	scene, err := alone{
		client: func(addr string) *redis.Options {
			o := row.Small(addr)
			o.CredentialsProvider = func() (string, string) {
				text, _ := password.Load().(string)
				return "", text
			}
			return o
		},
		fault: func(p *place) (inject, heal action) {
			var door *redis.Conn
			inject = func(ctx context.Context) error {
				door = p.admin.Conn()
				if err := door.ConfigSet(ctx, "requirepass", "new").Err(); err != nil {
					return err
				}
				return door.Do(ctx, "client", "kill", "type", "normal", "skipme", "yes").Err()
			}
			return inject, func(ctx context.Context) error {
				password.Store("new")
				return errors.Join(door.ConfigSet(ctx, "requirepass", "new").Err(), door.Close())
			}
		},
	}.open(ctx)
	if err != nil {
		return nil, err
	}
	old, _ := scene.Admin.(*redis.Client) // of alone
	scene.Admin = redis.NewClient(&redis.Options{Addr: old.Options().Addr, MaintNotificationsConfig: row.Plain(), CredentialsProvider: func() (string, string) {
		text, _ := password.Load().(string)
		return "", text
	}})
	end := scene.Close
	scene.Close = func() { _ = scene.Admin.Close(); end() }
	return scene, nil
}

// damage are those of what is written under our keys.
func damage() []row.Fault {
	spoil := func(spoil func(ctx context.Context, rdb *redis.Client, key string) error) func(p *place) (inject, heal action) {
		return func(p *place) (inject, heal action) {
			return func(ctx context.Context) error {
				for _, route := range []gate.Route{gate.Shared, gate.Each} {
					key := lua.LimitKey("org-0", "project", "project-0", string(route), "requests", lua.Sliding)
					if n, err := p.admin.Exists(ctx, key).Result(); err != nil || n == 0 {
						return fmt.Errorf("no count at %s: %w", key, err)
					}
					if err := spoil(ctx, p.admin, key); err != nil {
						return err
					}
				}
				return nil
			}, func(context.Context) error { return nil }
		}
	}
	// One of 8 projects: what was counted of it before is gone, and whoever else calls notices nothing.
	const oneOfEight = 0.25
	return []row.Fault{
		{Name: "F28", What: "a count of another type", Serves: true, MayLose: oneOfEight, Check: othersWhole, Open: alone{fault: spoil(
			func(ctx context.Context, rdb *redis.Client, key string) error {
				return errors.Join(rdb.Del(ctx, key).Err(), rdb.LPush(ctx, key, "a").Err())
			})}.open},
		{Name: "F29", What: "a count at the largest integer", Serves: true, MayLose: oneOfEight, Check: othersWhole, Open: alone{fault: spoil(
			func(ctx context.Context, rdb *redis.Client, key string) error {
				return rdb.Set(ctx, key, "9223372036854775807", 0).Err()
			})}.open},
	}
}

// othersWhole holds that nobody but the project that was spoiled lost anything.
func othersWhole(_ context.Context, r *row.Run) error {
	acknowledged := map[gate.Place]int64{}
	for i := range r.Calls {
		c := &r.Calls[i]
		if c.Outcome == row.Acknowledged {
			acknowledged[gate.Place{Org: c.Org, Project: c.Project, Route: c.Route}]++
		}
	}
	for place, want := range acknowledged {
		if got := r.Counts.Project[place]; got < want && place.Project != "project-0" {
			return fmt.Errorf("%s of %s counted %d, acknowledged were %d", place.Route, place.Project, got, want)
		}
	}
	return nil
}
