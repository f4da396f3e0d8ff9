package middleware_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
)

// inAnHour is after the end of a token that was minted now.
func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// bearing serves requests of service.call, which shows a key, as ones that show it as a bearer token.
func bearing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+r.Header.Get("X-Api-Key"))
		r.Header.Del("X-Api-Key")
		h.ServeHTTP(w, r)
	})
}

// revoking are the ways to take a token back, each by another of its names.
var revoking = []struct {
	name string
	kind revocation.Kind
	take func(ctx context.Context, s *revocation.Store, org, issuer, name string) (revocation.Revocation, error)
}{
	{"token", revocation.KindToken, func(ctx context.Context, s *revocation.Store, org, issuer, name string) (revocation.Revocation, error) {
		return s.Revoke(ctx, org, issuer, name, inAnHour(), "test")
	}},
	{"subject", revocation.KindSubject, func(ctx context.Context, s *revocation.Store, org, issuer, name string) (revocation.Revocation, error) {
		return s.RevokeSubject(ctx, org, issuer, name, time.Time{}, "test")
	}},
	{"session", revocation.KindSession, func(ctx context.Context, s *revocation.Store, org, issuer, name string) (revocation.Revocation, error) {
		return s.RevokeSession(ctx, org, issuer, name, time.Time{}, "test")
	}},
	{"client", revocation.KindClient, func(ctx context.Context, s *revocation.Store, org, issuer, name string) (revocation.Revocation, error) {
		return s.RevokeClient(ctx, org, issuer, name, time.Time{}, "test")
	}},
}

// named returns the claims of a token whose names all end alike.
func named(end string) authtest.Claims {
	return authtest.Claims{"jti": "token-" + end, "sub": "subject-" + end, "sid": "session-" + end, "client_id": "client-" + end}
}

// Callers call two replicas without a pause, while a third party revokes their token. No call that begins once that is
// acknowledged passes; none that is refused is charged or counted, and each that passed is, once. One replica
// remembers the tokens that it verified.
func TestRevocationActsOnTheNextRequestUnderLoad(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	eachDeployment(t, func(t *testing.T, dial func(*testing.T) redis.UniversalClient) {
		for name, route := range map[string]tokenRoute{"limit": limitedRoute, "no limit": unlimitedRoute, "group": groupRoute} {
			for _, way := range revoking {
				t.Run(name+"/"+way.name, func(t *testing.T) {
					replicas := []*tokenService{
						newTokenService(t, dial, tokenSetup{issuers: []*authtest.Issuer{issuer}, route: route}),
						newTokenService(t, dial, tokenSetup{issuers: []*authtest.Issuer{issuer}, route: route, cached: true}),
					}
					services := []*service{&replicas[0].service, &replicas[1].service}
					for _, s := range services {
						s.handler = bearing(s.handler)
					}
					org := redistest.Org(t)
					token, other := mint(issuer, org, named("one")), mint(issuer, org, named("other"))
					store, err := revocation.New(dial(t)) // the third party
					if err != nil {
						t.Fatal(err)
					}
					load := startLoad(t, services, authkey.NewPresented(token), taking{status: 401, code: middleware.CodeInvalid})
					load.warm.Wait()
					_, err = way.take(t.Context(), store, org, issuer.URL(), way.name+"-one")
					load.acknowledged.Store(true)
					load.done.Wait()
					if err != nil {
						t.Fatal(err)
					}
					if n := load.late.Load(); n != 0 {
						t.Errorf("%d calls that began after the acknowledgement were not refused", n)
					}
					served := replicas[0].served.Load() + replicas[1].served.Load()
					if served != load.passed.Load() || served == 0 {
						t.Errorf("handlers served %d, callers saw %d", served, load.passed.Load())
					}
					accounted(t, replicas, org, served, name != "no limit")
					replicas[0].passes(t, "another token", other)
					if err := store.Lift(t.Context(), org, way.kind, issuer.URL(), way.name+"-one"); err != nil {
						t.Fatal(err)
					}
					replicas[1].passes(t, "the token, once the revocation is lifted", token)
				})
			}
		}
	})
}

// passes reports a token that service.call does not pass with.
func (s *service) passes(t *testing.T, what, token string) {
	t.Helper()
	if status, code := s.call(authkey.NewPresented(token)); status != http.StatusNoContent {
		t.Errorf("%s: %d %s, want 204", what, status, code)
	}
}

// accounted reports calls of one caller that were charged or metered otherwise than once for each that was served.
func accounted(t *testing.T, replicas []*tokenService, org string, served int64, limited bool) {
	t.Helper()
	if !limited {
		return
	}
	id := replicas[0].caller.Load()
	for partition, used := range replicas[0].used(t, org, id.Project, id.Key) {
		if used != served {
			t.Errorf("the limit by %s has used %d, want %d", partition, used, served)
		}
	}
	metered(t, []*service{&replicas[0].service, &replicas[1].service}, org, served)
}
