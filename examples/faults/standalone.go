package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/examples/faults/internal/wire"
)

// standalone returns the faults of one server.
func standalone() []row.Fault {
	return []row.Fault{
		{
			Name: "F3", What: "hung server",
			Open: direct(func(s *place) (inject, heal action) {
				return func(context.Context) error { return s.Pause() }, func(context.Context) error { return s.Resume() }
			}),
		},
	}
}

// place is a server, the way to it where a fault lies there, and a client past that way.
type place struct {
	*proc.Server
	link  *wire.Link
	admin *redis.Client
}

type action = func(ctx context.Context) error

type opener = func(ctx context.Context) (*row.Scene, error)

// direct is a row whose service reaches its server without anything between.
func direct(fault func(p *place) (inject, heal action), args ...string) opener {
	return func(ctx context.Context) (*row.Scene, error) {
		p, err := begin(ctx, args)
		if err != nil {
			return nil, err
		}
		inject, heal := fault(p)
		return &row.Scene{
			Client: func() redis.UniversalClient { return redis.NewClient(row.Small(p.Addr())) },
			Admin:  p.admin, Inject: inject, Heal: heal, Close: p.close,
		}, nil
	}
}

func begin(ctx context.Context, args []string) (*place, error) {
	server, err := proc.Start(ctx, proc.Config{Args: args})
	if err != nil {
		return nil, err
	}
	return &place{Server: server, admin: redis.NewClient(&redis.Options{Addr: server.Addr()})}, nil
}

func (p *place) close() {
	_ = p.admin.Close() // nothing is under way
	if p.link != nil {
		p.link.Close()
	}
	p.Server.Close()
}
