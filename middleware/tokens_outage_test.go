package middleware_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
)

// line is the way to a Redis. It can be cut, when nothing is sent and nobody can connect, or mute, when what is sent
// never arrives.
type line struct {
	mu        sync.Mutex
	cut, mute bool
	conns     []net.Conn
}

var errCut = errors.New("the line is cut")

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errCut
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.conns = append(l.conns, conn)
	return lineConn{conn, l}, nil
}

func (l *line) set(cut, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.mute = cut, mute
	for _, conn := range l.conns {
		if cut || !mute { // what came to nothing leaves no connection behind
			_ = conn.Close() // again, maybe
		}
	}
	if cut || !mute {
		l.conns = nil
	}
}

// lineConn hides the connection's file, so that go-redis cannot look whether it is alive.
type lineConn struct {
	net.Conn
	line *line
}

func (c lineConn) Write(p []byte) (int, error) {
	c.line.mu.Lock()
	mute := c.line.mute
	c.line.mu.Unlock()
	if mute {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// eachLine runs a test on a standalone and on a cluster, each behind a line.
func eachLine(t *testing.T, test func(t *testing.T, l *line, rdb redis.UniversalClient)) {
	t.Helper()
	for name, dial := range map[string]func(*testing.T, *line) redis.UniversalClient{
		"standalone": func(t *testing.T, l *line) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: redistest.StandaloneAddr(t), Dialer: l.dial, ContextTimeoutEnabled: true})
		},
		"cluster": func(t *testing.T, l *line) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: redistest.ClusterAddrs(t), Dialer: l.dial, ContextTimeoutEnabled: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &line{}
			rdb := dial(t, l)
			t.Cleanup(func() { _ = rdb.Close() }) // the line closed connections, which is an error then
			test(t, l, rdb)
		})
	}
}

// failing are the ways in which a limit can be set up for outages.
var failing = map[string]func(*middleware.Limited) *middleware.Limited{
	"closed":  func(s *middleware.Limited) *middleware.Limited { return s.OnFailure(middleware.FailClosed) },
	"open":    func(s *middleware.Limited) *middleware.Limited { return s.OnFailure(middleware.FailOpen) },
	"monitor": (*middleware.Limited).Monitor,
}

// Where nobody can tell whether a token is revoked, the answer is 503 whatever the limit would do, and neither 401 nor
// 200; but for those who chose WithOpenRevocations and an open limit. What is wrong with a token by itself stays 401.
func TestTokenWithoutRedis(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	routes := map[string]tokenRoute{"limit": limitedRoute, "no limit": unlimitedRoute, "group": groupRoute}
	eachLine(t, func(t *testing.T, l *line, rdb redis.UniversalClient) {
		org := redistest.Org(t)
		good := mint(issuer, org, nil)
		forged := good[:len(good)-86] + good[:86]
		for _, outage := range []string{"cut", "mute"} {
			for routeName, route := range routes {
				for limit, chosen := range failing {
					for _, open := range []bool{false, true} {
						name := outage + "/" + routeName + "/" + limit + map[bool]string{false: "/revocations closed", true: "/revocations open"}[open]
						t.Run(name, func(t *testing.T) {
							var told atomic.Int64
							setup := tokenSetup{issuers: []*authtest.Issuer{issuer}, route: route, chosen: chosen, budget: 50 * time.Millisecond}
							if open {
								setup.outage = func(error) { told.Add(1) }
							}
							s := newTokenServiceOn(t, rdb, redistest.Standalone(t), setup)
							l.set(outage == "cut", outage == "mute")
							defer l.set(false, false)
							passes := open && (limit != "closed" || routeName == "no limit")
							w := s.get(good)
							if passes {
								if w.Code != http.StatusNoContent {
									t.Errorf("%d %s, want 204", w.Code, w.Body)
								}
							} else {
								answers503(t, w)
							}
							if served := s.served.Load(); served != map[bool]int64{false: 0, true: 1}[passes] {
								t.Errorf("the handler served %d, passes is %v", served, passes)
							}
							if want := map[bool]int64{false: 0, true: 1}[open && routeName != "limit"]; told.Load() != want {
								t.Errorf("told of %d outages, want %d", told.Load(), want)
							}
							s.want(t, "a bad signature", forged, http.StatusUnauthorized)
						})
					}
				}
			}
		}
	})
}

// A token that is bound to a key waits for Redis whatever a stage chose: nobody could tell a proof from one that was
// used before.
func TestBoundTokenWithoutRedis(t *testing.T) {
	t.Parallel()
	issuer, client := authtest.NewIssuer(t), authtest.NewDPoPKey(t, "ES256")
	eachLine(t, func(t *testing.T, l *line, rdb redis.UniversalClient) {
		s := newTokenServiceOn(t, rdb, redistest.Standalone(t), tokenSetup{
			issuers: []*authtest.Issuer{issuer}, chosen: failing["open"], outage: func(error) {},
		})
		token := mint(issuer, redistest.Org(t), authtest.Claims{"cnf": authtest.Claims{"jkt": client.Thumbprint()}})
		call := func() *httptest.ResponseRecorder {
			return s.get(token, "Authorization", "DPoP "+token, "DPoP", client.Proof("GET", tokenOrigin+"/v1/search", token, ""))
		}
		if w := call(); w.Code != http.StatusNoContent {
			t.Errorf("with Redis: %d %s, want 204", w.Code, w.Body)
		}
		l.set(true, false)
		answers503(t, call())
		if served := s.served.Load(); served != 1 {
			t.Errorf("served %d, want 1", served)
		}
	})
}

// answers503 reports an answer that is not the one for an outage.
func answers503(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v %s, want 503 with Retry-After and without a challenge", w.Code, w.Header(), w.Body)
	}
}

// When Redis is back, so is what it knows.
func TestTokenWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	eachLine(t, func(t *testing.T, l *line, rdb redis.UniversalClient) {
		org := redistest.Org(t)
		s := newTokenServiceOn(t, rdb, redistest.Standalone(t), tokenSetup{issuers: []*authtest.Issuer{issuer}})
		good, bad := mint(issuer, org, nil), mint(issuer, org, authtest.Claims{"jti": org})
		revoked(t, rdb, org, issuer, org)
		s.want(t, "before, the revoked one", bad, http.StatusUnauthorized)
		s.want(t, "before, the good one", good, http.StatusNoContent)
		l.set(true, false)
		answers503(t, s.get(bad))
		answers503(t, s.get(good))
		l.set(false, false)
		s.want(t, "after, the revoked one", bad, http.StatusUnauthorized)
		s.want(t, "after, the good one", good, http.StatusNoContent)
		if used := s.used(t, org, "shop", s.caller.Load().Key); used["project"] != 2 {
			t.Errorf("used %v, want 2", used)
		}
	})
}

// An identity provider that is out of reach is not noticed while its keys may be used; then the answer is 503.
func TestTokenWithoutTheIssuer(t *testing.T) {
	t.Parallel()
	for _, cached := range []bool{false, true} {
		for name, fault := range map[string]authtest.Fault{
			"error":   {Status: http.StatusInternalServerError, Header: http.Header{"Retry-After": {"7"}}, Body: []byte("<html>")},
			"cut":     {Cut: true},
			"garbage": {Body: []byte(`{"keys":[]}`)},
		} {
			t.Run(name+map[bool]string{false: "", true: "/cached"}[cached], func(t *testing.T) {
				t.Parallel()
				issuer := authtest.NewIssuer(t)
				redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
					synctest.Test(t, func(t *testing.T) {
						issuer.Heal()
						s := newTokenServiceOn(t, rdb, rdb, tokenSetup{
							issuers: []*authtest.Issuer{issuer}, cached: cached, keys: []jwks.Option{jwks.WithTTL(time.Minute), jwks.WithStale(5 * time.Minute)},
						})
						org := redistest.Org(t)
						s.want(t, "fresh keys", mint(issuer, org, nil), http.StatusNoContent)
						issuer.Break(authtest.EndpointKeys, fault)
						time.Sleep(6*time.Minute - time.Second)
						synctest.Wait()
						token := mint(issuer, org, nil)
						s.want(t, "stale keys", token, http.StatusNoContent)
						time.Sleep(2 * time.Second)
						synctest.Wait()
						answers503(t, s.get(token))
						answers503(t, s.get(mint(issuer, org, nil)))
						issuer.Heal()
						time.Sleep(2 * time.Minute) // the longest pause between attempts, and more
						synctest.Wait()
						s.want(t, "healed", token, http.StatusNoContent)
					})
				})
			})
		}
	}
}
