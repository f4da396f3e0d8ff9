package middleware_test

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestKillSwitch has a limiter that is off, whatever its stage was told to do OnFailure: of a limit that everybody exceeds.
func TestKillSwitch(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	eachDeployment(t, func(t *testing.T, dial func(*testing.T) redis.UniversalClient) {
		for name, row := range map[string]struct {
			setup  tokenSetup
			revoke bool
			status int
			sent   []string
		}{
			"no commands":          {tokenSetup{unrevoked: true}, false, 204, nil},
			"a look for the token": {tokenSetup{}, false, 204, []string{"evalsha"}},
			"a revoked token":      {tokenSetup{}, true, 401, []string{"evalsha"}},
		} {
			for _, policy := range []middleware.Failure{middleware.FailClosed, middleware.FailOpen} {
				t.Run(name, func(t *testing.T) {
					org, seen, rdb := redistest.Org(t), &roundTrips{}, dial(t)
					rdb.AddHook(seen)
					row.setup.issuers = []*authtest.Issuer{issuer}
					row.setup.policies = []ratelimit.Policy{ratelimit.PerHour(1)}
					row.setup.chosen = func(l *middleware.Limited) *middleware.Limited { return l.OnFailure(policy) }
					s := newTokenServiceOn(t, rdb, dial(t), row.setup)
					token := mint(issuer, org, authtest.Claims{"jti": org})
					s.want(t, "on", token, 204)
					s.want(t, "on, and the limit is reached", token, 429)
					if row.revoke {
						revoked(t, dial(t), org, issuer, org)
					}
					s.limiter.SetOff(true)
					seen.take()
					for range 3 {
						w := s.want(t, "off", token, row.status)
						if sent := seen.take(); !slices.Equal(sent, row.sent) {
							t.Errorf("sent %v, want %v", sent, row.sent)
						}
						if w.Header().Get("RateLimit") != "" || w.Header().Get("RateLimit-Policy") != "" {
							t.Errorf("off, and yet it tells of limits: %v", w.Header())
						}
					}
					if s.limiter.SetOff(false); !row.revoke {
						s.want(t, "on again", token, 429)
					}
				})
			}
		}
	})
}
