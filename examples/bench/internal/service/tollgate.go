package service

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// gate is what a service with tollgate has.
type gate struct {
	rdb     redis.UniversalClient
	keys    *authkey.Verifier
	auth    *middleware.Authenticated
	limiter *ratelimit.Limiter
	usage   *meter.Meter
}

func newGate(s Setup) (*gate, error) {
	g := &gate{rdb: s.Place.Client()}
	format, err1 := rival.Format()
	var err2, err3, err4 error
	ofLimiter, ofVerifier := s.Place.Options()
	g.keys, err2 = authkey.New(redisstore.New(g.rdb), append(ofVerifier, authkey.WithFormat(format))...)
	g.limiter, err3 = ratelimit.New(g.rdb, ofLimiter...)
	g.usage, err4 = meter.New(g.rdb)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, errors.Join(err, g.rdb.Close())
	}
	g.auth = middleware.Authenticate(g.keys)
	return g, nil
}

func keyOnly(_ context.Context, s Setup) (*Service, error) {
	g, err := newGate(s)
	if err != nil {
		return nil, err
	}
	return mounted(httpkit.Middleware(g.auth), g.close), nil
}

// byHand is for who needs no middleware: it tells the caller by the key and counts, and hands nothing to the handler.
func byHand(_ context.Context, s Setup) (*Service, error) {
	g, err := newGate(s)
	if err != nil {
		return nil, err
	}
	return mounted(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			keys := r.Header["X-Api-Key"]
			if len(keys) != 1 {
				http.Error(w, "one key, please", http.StatusUnauthorized)
				return
			}
			who, err := g.keys.Authenticate(r.Context(), authkey.PresentedAt(&keys[0]))
			if err != nil {
				http.Error(w, "unknown key", http.StatusUnauthorized)
				return
			}
			rival.Counter(g.usage, who)(1, time.Now())
			next.ServeHTTP(w, r)
		})
	}, g.close), nil
}

func strict(_ context.Context, s Setup) (*Service, error) { return limited(s, rival.StrictPolicy()) }

func leased(_ context.Context, s Setup) (*Service, error) {
	return limited(s, rival.LeasedPolicy(s.Ahead))
}

// limited is a service with all stages.
func limited(s Setup, policy ratelimit.Policy) (*Service, error) {
	g, err := newGate(s)
	if err != nil {
		return nil, err
	}
	stage := g.auth.RateLimit(g.limiter, policy).Meter(g.usage, "stores", "search")
	return mounted(httpkit.Middleware(stage), g.close), nil
}

func (g *gate) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(g.limiter.Close(ctx), g.usage.Close(ctx), g.rdb.Close())
}
