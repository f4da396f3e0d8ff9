package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Tenant is a caller with a key.
type Tenant struct{ Org, Project, Key string }

// Tenants are the callers of a row: a few that call again and again, and many of whom each calls once, whose records
// are in no cache.
type Tenants struct {
	Warm []Tenant
	cold []Tenant
	next atomic.Int64
}

// How many there are of the former.
const (
	orgs     = 4
	projects = 2 // of each
)

// atOnce is how many keys are issued, and counts read, at a time.
const atOnce = 16

// Seed issues keys: those of 4 orgs with 2 projects each, and as many as told of projects that are called once.
func Seed(ctx context.Context, admin redis.UniversalClient, cold int) (*Tenants, error) {
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		return nil, err
	}
	issuer, err := authkey.NewIssuer(redisstore.New(admin), format)
	if err != nil {
		return nil, err
	}
	all := make([]Tenant, orgs*projects+cold)
	for i := range all {
		all[i] = Tenant{Org: fmt.Sprintf("org-%d", i%orgs), Project: fmt.Sprintf("project-%d", i)}
	}
	err = each(len(all), func(i int) error {
		_, key, err := issuer.Issue(ctx, authkey.NewKey{Org: all[i].Org, Project: all[i].Project})
		all[i].Key = key.Reveal()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("gate: issue a key: %w", err)
	}
	return &Tenants{Warm: all[:orgs*projects], cold: all[orgs*projects:]}, nil
}

// Cold returns a tenant who has not called yet, and false where there is none left.
func (t *Tenants) Cold() (Tenant, bool) {
	if i := t.next.Add(1) - 1; i < int64(len(t.cold)) {
		return t.cold[i], true
	}
	return Tenant{}, false
}

// Asked is one call that was made.
type Asked struct {
	Tenant

	Route Route
	ID    string
}

// Counts is what Redis counted.
type Counts struct {
	Call    map[string]int64 // by the ID of each call of the route Each
	Project map[Place]int64
}

// Place is where calls of a project are counted.
type Place struct {
	Org, Project string
	Route        Route
}

// Counted reads from Redis what was counted of calls, with a limiter of its own that takes nothing.
func Counted(ctx context.Context, admin redis.UniversalClient, calls []Asked) (*Counts, error) {
	limiter, err := ratelimit.New(admin, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	counts := &Counts{Call: make(map[string]int64, len(calls)), Project: make(map[Place]int64)}
	var mu sync.Mutex
	err = each(len(calls), func(i int) error {
		c := &calls[i]
		place := Place{c.Org, c.Project, c.Route}
		mu.Lock()
		_, known := counts.Project[place]
		if !known {
			counts.Project[place] = -1 // being read
		}
		mu.Unlock()
		if known && c.Route == Shared {
			return nil
		}
		d, err := limiter.Admit(ctx, c.peek())
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if !known {
			counts.Project[place] = d.Results[0].Used
		}
		if c.Route == Each {
			counts.Call[c.ID] = d.Results[1].Used
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("gate: read what was counted: %w", err)
	}
	return counts, nil
}

// peek asks what the call was charged to.
func (c *Asked) peek() ratelimit.Request {
	r := ratelimit.Request{Org: c.Org, Project: c.Project, Endpoint: string(c.Route), Peek: true}
	for _, p := range policies(c.Route, Limit) {
		charge := ratelimit.Charge{Policy: p}
		if p.Name == "call" {
			charge.Value = c.ID
		}
		r.Charges = append(r.Charges, charge)
	}
	return r
}

// Metered reads from Redis how many units of usage all orgs have.
func Metered(ctx context.Context, admin redis.UniversalClient) (int64, error) {
	reader, err := meter.NewReader(admin, meter.WithTimeout(10*time.Second))
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for i := range orgs {
		items, err := reader.Usage(ctx, meter.Query{
			Org: fmt.Sprintf("org-%d", i), From: time.Now().Add(-24 * time.Hour), To: time.Now().Add(24 * time.Hour),
		})
		if err != nil {
			return 0, fmt.Errorf("gate: read usage: %w", err)
		}
		for _, item := range items {
			sum += item.Units
		}
	}
	return sum, nil
}

// each calls f with 0 to n-1, a few at a time, and joins the first errors.
func each(n int, f func(i int) error) error {
	var group sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, atOnce)
	for w := range errs {
		group.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				errs[w] = f(i)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
