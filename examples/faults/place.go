package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/examples/faults/internal/wire"
)

type (
	action = func(ctx context.Context) error
	opener = func(ctx context.Context) (*row.Scene, error)
)

// alone says how the one server of a row is begun and broken.
type alone struct {
	args    []string                         // of the server
	client  func(addr string) *redis.Options // of the service; nil is row.Small
	through bool                             // a wire.Link lies between
	fault   func(p *place) (inject, heal action)
}

// place is the server of a row, the way to it if a fault lies there, and clients: one past that way, and the last that
// the service was given.
type place struct {
	*proc.Server
	link    *wire.Link
	admin   *redis.Client
	service *redis.Client
}

// open is the Open of a row.
func (a alone) open(ctx context.Context) (*row.Scene, error) {
	server, err := proc.Start(ctx, proc.Config{Args: a.args})
	if err != nil {
		return nil, err
	}
	p := &place{Server: server, admin: redis.NewClient(&redis.Options{Addr: server.Addr(), MaintNotificationsConfig: row.Plain()})}
	addr := server.Addr()
	if a.through {
		if p.link, err = wire.New(addr); err != nil {
			p.close()
			return nil, err
		}
		addr = p.link.Addr()
	}
	client := a.client
	if client == nil {
		client = row.Small
	}
	inject, heal := a.fault(p)
	return &row.Scene{
		Client: func() redis.UniversalClient {
			p.service = redis.NewClient(client(addr))
			return p.service
		},
		Admin: p.admin, Inject: inject, Heal: heal, Close: p.close,
	}, nil
}

func (p *place) close() {
	_ = p.admin.Close() // nothing is under way
	if p.link != nil {
		p.link.Close()
	}
	p.Server.Close()
}

// do runs a command past the fault.
func (p *place) do(args ...any) action {
	return func(ctx context.Context) error {
		if err := p.admin.Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("%v: %w", args, err)
		}
		return nil
	}
}

// set changes settings of the server: name, value, name, value.
func (p *place) set(settings ...string) action {
	return func(ctx context.Context) error {
		for i := 0; i < len(settings); i += 2 {
			if err := p.admin.ConfigSet(ctx, settings[i], settings[i+1]).Err(); err != nil {
				return fmt.Errorf("CONFIG SET %s %s: %w", settings[i], settings[i+1], err)
			}
		}
		return nil
	}
}

// inOrder does one after the other.
func inOrder(actions ...action) action {
	return func(ctx context.Context) error {
		for _, a := range actions {
			if err := a(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// meanwhile begins something that goes on by itself, by a client of its own that waits for it, and returns what waits
// for its end.
func (p *place) meanwhile(f func(ctx context.Context, rdb *redis.Client) error) (begin, end action) {
	done := make(chan error, 1)
	begin = func(ctx context.Context) error {
		rdb := redis.NewClient(&redis.Options{Addr: p.Addr(), ReadTimeout: time.Minute, MaxRetries: -1, MaintNotificationsConfig: row.Plain()})
		go func() {
			err := f(ctx, rdb)
			_ = rdb.Close() // nothing is under way
			done <- err
		}()
		return nil
	}
	return begin, func(context.Context) error { return <-done }
}

// repeat does something again and again until it is stopped.
func repeat(every time.Duration, a action) (begin, end action) {
	stopped, done := make(chan struct{}), make(chan error, 1)
	begin = func(ctx context.Context) error {
		go func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				if err := a(ctx); err != nil {
					done <- err
					return
				}
				select {
				case <-tick.C:
				case <-stopped:
					done <- nil
					return
				}
			}
		}()
		return nil
	}
	return begin, func(context.Context) error {
		close(stopped)
		return <-done
	}
}
