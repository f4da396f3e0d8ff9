package middleware_test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// roundTrips is a hook that keeps what a client was told to send: each is a round trip.
type roundTrips struct {
	mu   sync.Mutex
	sent []string
}

func (c *roundTrips) add(name string) {
	if name == "hello" || name == "client" { // how go-redis begins a connection
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, name)
}

func (c *roundTrips) take() (sent []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent, c.sent = c.sent, nil
	return sent
}

func (c *roundTrips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.add(cmd.Name())
		return next(ctx, cmd)
	}
}

func (c *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.add(cmds[0].Name())
		return next(ctx, cmds)
	}
}

// tokenCalls says how many round trips to Redis a request makes, whose token is good unless it says otherwise.
var tokenCalls = []struct {
	name   string
	setup  tokenSetup
	claims authtest.Claims
	bound  bool // to a key, of which each request has a proof
	spoil  func(token string) string
	revoke bool
	status int
	sent   []string
}{
	{name: "a limit", status: 204, sent: []string{"evalsha"}},
	{name: "a limit, and tokens in a cache", setup: tokenSetup{cached: true}, status: 204, sent: []string{"evalsha"}},
	{name: "a limit, where revocations may be open", setup: tokenSetup{outage: func(error) {}}, status: 204, sent: []string{"evalsha"}},
	{name: "a limit, nothing is revoked", setup: tokenSetup{unrevoked: true}, status: 204, sent: []string{"evalsha"}},
	{name: "no limit", setup: tokenSetup{route: unlimitedRoute}, status: 204, sent: []string{"evalsha"}},
	{name: "no limit, nothing is revoked", setup: tokenSetup{route: unlimitedRoute, unrevoked: true}, status: 204},
	{name: "a limit in a group", setup: tokenSetup{route: groupRoute}, status: 204, sent: []string{"evalsha", "evalsha"}},
	{name: "a limit, the token is bound", bound: true, status: 204, sent: []string{"set", "evalsha"}},
	{name: "a limit, the token is revoked", revoke: true, status: 401, sent: []string{"evalsha"}},
	{name: "no limit, the token is revoked", setup: tokenSetup{route: unlimitedRoute}, revoke: true, status: 401, sent: []string{"evalsha"}},
	{name: "a limit, without the scope", claims: authtest.Claims{"scope": "other"}, status: 403},
	{name: "a limit, for somebody else", claims: authtest.Claims{"aud": "https://other.example"}, status: 401},
	{name: "no limit, a bad signature", setup: tokenSetup{route: unlimitedRoute}, spoil: func(token string) string {
		signed := strings.LastIndex(token, ".") + 1
		return token[:signed] + strings.Repeat("A", len(token)-signed)
	}, status: 401},
}

func TestTokenCostsOneRedisCall(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	client := authtest.NewDPoPKey(t, "ES256")
	eachDeployment(t, func(t *testing.T, dial func(*testing.T) redis.UniversalClient) {
		for _, tt := range tokenCalls {
			t.Run(tt.name, func(t *testing.T) {
				org, seen, rdb := redistest.Org(t), &roundTrips{}, dial(t)
				rdb.AddHook(seen)
				tt.setup.issuers = []*authtest.Issuer{issuer}
				s := newTokenServiceOn(t, rdb, dial(t), tt.setup)
				claims := authtest.Claims{"jti": org}
				for name, value := range tt.claims {
					claims[name] = value
				}
				if tt.bound {
					claims["cnf"] = authtest.Claims{"jkt": client.Thumbprint()}
				}
				token := mint(issuer, org, claims)
				if tt.spoil != nil {
					token = tt.spoil(token)
				}
				if tt.revoke {
					revoked(t, dial(t), org, issuer, org)
				}
				call := func() int {
					if !tt.bound {
						return s.get(token).Code
					}
					proof := client.Proof(http.MethodGet, tokenOrigin+"/v1/search", token, "")
					return s.get(token, "Authorization", "DPoP "+token, "DPoP", proof).Code
				}
				call() // the limiter reads the org's overrides, once
				seen.take()
				for range 3 {
					if status := call(); status != tt.status {
						t.Errorf("status %d, want %d", status, tt.status)
					}
					if sent := seen.take(); !slices.Equal(sent, tt.sent) {
						t.Errorf("sent %v, want %v", sent, tt.sent)
					}
				}
			})
		}
	})
}

// revoked revokes a token by its ID.
func revoked(t *testing.T, rdb redis.UniversalClient, org string, issuer *authtest.Issuer, id string) {
	t.Helper()
	store, err := revocation.New(rdb)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Revoke(t.Context(), org, issuer.URL(), id, inAnHour(), "test"); err != nil {
		t.Fatal(err)
	}
}
