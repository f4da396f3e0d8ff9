package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
	"github.com/tollgate-go/tollgate/examples/bench/internal/inprocess"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/examples/bench/internal/service"
)

// Names of tables and rows, as targets find them.
const (
	tableRequest    = "in process: a request"
	tableCredential = "in process: a credential" //nolint:gosec // the name of a table
	tableMemory     = "in process: a limit decided from memory"
	nameLocal       = "golang.org/x/time/rate"
	nameHit         = "tollgate: leased"
	nameDenial      = "tollgate: refused from memory"
)

// plenty is how many units leases take ahead here, where one caller makes millions of calls a second: what is measured is
// the call, not the wait for more units.
const plenty = 10_000_000

// gate compares what a request costs within the process, without a socket.
func (b *bench) gate(ctx context.Context) error {
	return b.standalone(ctx, func(s *stand) error {
		s.place.Patience = 10 * time.Second
		for _, table := range []func(context.Context) error{s.requests, s.credentials, s.memory} {
			if err := table(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// steps adds a table in which all are compared with the first.
func (b *bench) steps(ctx context.Context, name, note string, steps []inprocess.Step) error {
	table, err := inprocess.Run(ctx, b.rounds, b.step, steps)
	if err != nil {
		return err
	}
	table.Name, table.Note, table.Base = name, note, steps[0].Name
	return b.add(table)
}

func (s *stand) setup(ahead int64) service.Setup {
	setup := service.Setup{Place: s.place, Ahead: ahead}
	for i, key := range s.tenants.Keys {
		setup.Keys = append(setup.Keys, key.Reveal())
		setup.Projects = append(setup.Projects, s.tenants.Identities[i].Project)
	}
	return setup
}

func (s *stand) requests(ctx context.Context) (err error) {
	var steps []inprocess.Step
	setup := s.setup(plenty)
	for _, name := range []string{
		service.NameBare, service.NameByHand, service.NameKey, service.NameLeased, service.NameGin, service.NameEcho, service.NameEchoKey,
		service.NameEchoAll, service.NameHttprate, service.NameUlule,
	} {
		opened, e := service.Open(ctx, name, setup)
		if e != nil {
			return e
		}
		defer func() { err = errors.Join(err, opened.Close()) }()
		step, e := inprocess.Request(ctx, name, opened.Handler, service.Credential(name, setup.Keys[0]))
		if e != nil {
			return e
		}
		steps = append(steps, step)
	}
	note := "One caller. Those of net/http have a http.ServeMux; gin and echo have their own routers."
	return s.bench.steps(ctx, tableRequest, note, steps)
}

func (s *stand) credentials(ctx context.Context) error {
	rdb := s.place.Client()
	defer func() { _ = rdb.Close() }()
	format, err := rival.Format()
	if err != nil {
		return err
	}
	verifier, err := authkey.New(redisstore.New(rdb), authkey.WithFormat(format), authkey.WithCache(1000, time.Minute))
	if err != nil {
		return err
	}
	steps, err := inprocess.Credentials(ctx, verifier, s.tenants.Keys[0])
	if err != nil {
		return err
	}
	return s.bench.steps(ctx, tableCredential, "One caller.", steps)
}

func (s *stand) memory(ctx context.Context) (err error) {
	local := rate.NewLimiter(1e9, 1e9)
	steps := []inprocess.Step{{Name: nameLocal, Do: func() error { return answered(local.Allow(), true) }}}
	limit := rival.LimitAlone(s.place, s.tenants, plenty)
	for _, row := range []struct {
		name   string
		limits contest.Limits
	}{{nameHit, contest.Allowing}, {nameDenial, contest.Denying}} {
		running, e := limit.Open(ctx, row.limits, 1)
		if e != nil {
			return e
		}
		defer func() { err = errors.Join(err, running.Close()) }()
		check, want := running.Caller(), bool(row.limits)
		if !want {
			_, _ = check(ctx, 0) // takes what there is; the step tells of errors
		}
		steps = append(steps, inprocess.Step{Name: row.name, Do: func() error {
			allowed, err := check(ctx, 0)
			return errors.Join(err, answered(allowed, want))
		}})
	}
	return s.bench.steps(ctx, tableMemory, "One caller, one key; usage is not counted here.", steps)
}

func answered(allowed, want bool) error {
	if allowed != want {
		return errors.New("the answer was not the one that the limit gives")
	}
	return nil
}
