package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// gates returns how one replica answers to a token, on a route with a limit and on one without.
func (s *service) gates(t *testing.T, issuer *authtest.Issuer, org string) map[string]func(token string) int {
	t.Helper()
	set, err := bearer.NewKeySet(bearer.Key{ID: issuer.Key().ID, Algorithm: issuer.Key().Alg, Public: issuer.Key().Public()})
	if err != nil {
		t.Fatalf("NewKeySet: %v", err)
	}
	verifier, err := bearer.New([]bearer.Issuer{{
		URL: issuer.URL(), Audiences: []string{authtest.Audience}, Keys: set, MaxLifetime: time.Hour, Org: org,
	}}, bearer.WithRevocations(s.revocations), bearer.WithTimeout(waitLong))
	if err != nil {
		t.Fatalf("bearer.New: %v", err)
	}
	auth := middleware.Authenticate(verifier)
	pass := func(stage middleware.Stage) func(string) int {
		return func(token string) int {
			r := httptest.NewRequest(http.MethodGet, "/v1/search", http.NoBody)
			r.Header.Set("Authorization", "Bearer "+token)
			admission, refused := stage.Admit(http.Header{}, r, search)
			if refused != nil {
				return refused.Status
			}
			admission.Done(http.StatusOK, 0)
			return http.StatusOK
		}
	}
	return map[string]func(string) int{"limited": pass(auth.RateLimit(s.limiter, ratelimit.PerMinute(1000))), "not limited": pass(auth)}
}

// A token that passes is refused from the answer of a revocation on, on every replica, and passes from that of a lift
// on; no other token is.
func TestNextRequestObeysRevocations(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		for _, kind := range []string{"token", "subject", "session", "client"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				org := redistest.Org(t)
				base := "/v1/orgs/" + org + "/revocations"
				replicas := []*service{newService(t, rdb), newService(t, rdb)}
				claims := authtest.Claims{"jti": "t/1", "sub": "mia@example.com", "sid": "s 1", "client_id": "https://app.example/?a=b"}
				value := claims[map[string]string{"token": "jti", "subject": "sub", "session": "sid", "client": "client_id"}[kind]].(string)
				token := issuer.Mint(claims)
				other := issuer.Mint(authtest.Claims{"jti": "t/2", "sub": "noa", "sid": "s 2", "client_id": "app"})
				gates := []map[string]func(string) int{replicas[0].gates(t, issuer, org), replicas[1].gates(t, issuer, org)}
				everywhere := func(what string, want int) {
					t.Helper()
					for n := range gates {
						for route, ask := range gates[1-n] { // where it was not changed comes first
							if got, same := ask(token), ask(other); got != want || same != 200 {
								t.Fatalf("%s: the route that is %s of replica %d answers %d, want %d, and %d to another token", what, route, 1-n, got, want, same)
							}
						}
					}
				}
				everywhere("a good token", 200)
				if kind != "token" {
					serve(t, replicas[0].admin, request("POST", base, revoking(kind, issuer.URL(), value, `,"before":"2026-01-01T00:00:00Z"`))).want(t, 200, "")
					everywhere("made after the moment", 200)
				}
				serve(t, replicas[0].admin, request("POST", base, revoking(kind, issuer.URL()+"/", value, ""))).want(t, 200, "")
				everywhere("revoked of another issuer", 200)
				serve(t, replicas[0].admin, request("POST", base, revoking(kind, issuer.URL(), value, ""))).want(t, 200, "")
				everywhere("revoked", 401)
				serve(t, replicas[1].admin, request("DELETE", base+lifting(kind, issuer.URL(), value), "")).want(t, 204, "")
				everywhere("lifted", 200)
			})
		}
	})
}

// What is revoked of one org is nothing to another, whoever asks, although their issuer is one.
func TestRevocationsOfOthersReachNothing(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		theirs, mine := redistest.Org(t), redistest.Org(t)
		there, here := "/v1/orgs/"+theirs+"/revocations", "/v1/orgs/"+mine+"/revocations"
		tenant := handlerOf(t, admin.Actor{Name: "t", Org: mine, Scopes: []string{"*"}}, admin.WithRevocations(s.revocations), admin.WithIdempotency(rdb))
		body, token := revoking("subject", issuer.URL(), "mia", ""), issuer.Mint(authtest.Claims{"sub": "mia"})
		serve(t, s.admin, request("POST", there, body)).want(t, 200, "")
		before := serve(t, s.admin, request("GET", there, "")).text
		for _, r := range []*http.Request{
			request("GET", there, ""), request("POST", there, body), request("POST", there, body, "Idempotency-Key", "k"),
			request("DELETE", there+lifting("subject", issuer.URL(), "mia"), ""), request("DELETE", here+lifting("subject", issuer.URL(), "mia"), ""),
		} {
			serve(t, tenant, r).want(t, 404, "not_found")
		}
		if a := serve(t, tenant, request("GET", here, "")).want(t, 200, ""); a.text != `{"items":[]}` {
			t.Errorf("of his own org he sees %s", a.text)
		}
		if after := serve(t, s.admin, request("GET", there, "")).text; after != before {
			t.Errorf("it was %s, is %s", before, after)
		}
		for org, want := range map[string]int{theirs: 401, mine: 200} {
			for route, ask := range s.gates(t, issuer, org) {
				if got := ask(token); got != want {
					t.Errorf("the route that is %s answers %d, want %d", route, got, want)
				}
			}
		}
		// A cursor of their list is none of mine's secrets: it tells nothing, and reaches nothing.
		serve(t, s.admin, request("POST", there, revoking("subject", issuer.URL(), "noa", ""))).want(t, 200, "")
		next := serve(t, s.admin, request("GET", there+"?limit=1", "")).want(t, 200, "").object["next"].(string)
		if a := serve(t, tenant, request("GET", here+"?cursor="+next, "")).want(t, 200, ""); a.text != `{"items":[]}` {
			t.Errorf("with their cursor he sees %s", a.text)
		}
	})
}

// The script that revokes and the one that lifts write down who did it and why.
func TestAuditOfRevocations(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		var changes []admin.Change
		s := newService(t, rdb)
		org := redistest.Org(t)
		base := "/v1/orgs/" + org
		h := handlerOf(t, admin.Actor{Name: "mia"}, admin.WithRevocations(s.revocations), admin.WithAuditLog(newAuditLog(t, rdb)),
			admin.WithAudit(func(c admin.Change) { changes = append(changes, c) }))
		serve(t, h, request("POST", base+"/revocations", revoking("client", "i:1", "c 1", ""), "X-Request-Id", "r-1")).want(t, 200, "")
		serve(t, h, request("DELETE", base+"/revocations"+lifting("client", "i:1", "c 1"), "", "X-Request-Id", "r-2")).want(t, 204, "")
		serve(t, h, request("DELETE", base+"/revocations"+lifting("client", "i:1", "c 1"), "")).want(t, 404, "not_found")
		items := serve(t, h, request("GET", base+"/audit?order=oldest", "")).want(t, 200, "").items(t)
		if len(items) != 2 || len(changes) != 2 {
			t.Fatalf("trail %v, changes %v", items, changes)
		}
		id := lua.Name{Kind: lua.NameClient, Issuer: "i:1", Value: "c 1"}.Field()
		for i, action := range []string{"token.revoke", "token.lift"} {
			item, change := items[i], changes[i]
			if item["action"] != action || item["actor"] != "mia" || item["address"] != "192.0.2.1" || item["request_id"] != fmt.Sprint("r-", i+1) || item["id"] != id {
				t.Errorf("entry %v", item)
			}
			if change.Action != action || change.Actor.Name != "mia" || change.Org != org || change.ID != id || change.Project != "" {
				t.Errorf("change %+v", change)
			}
		}
		after, _ := items[0]["after"].(map[string]any)
		if after["kind"] != "client" || after["issuer"] != "i:1" || after["value"] != "c 1" || after["reason"] != "left" {
			t.Errorf("the entry says %v", after)
		}
		if a := serve(t, h, request("GET", base+"/audit:verify", "")).want(t, 200, ""); a.object["ok"] != true {
			t.Errorf("%s", a.text)
		}
	})
}

// A repeat under an Idempotency-Key does nothing, not even after a lift, and is answered as the first request was.
func TestRepeatRevokesNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		one, other := newService(t, rdb, admin.WithIdempotency(rdb)).admin, newService(t, rdb, admin.WithIdempotency(rdb)).admin
		base := "/v1/orgs/" + redistest.Org(t) + "/revocations"
		ask := func(h http.Handler, value, key string) *answer {
			return serve(t, h, request("POST", base, revoking("subject", "i", value, ""), "Idempotency-Key", key))
		}
		first := ask(one, "mia", "k").want(t, 200, "")
		if again := ask(other, "mia", "k").want(t, 200, ""); again.text != first.text {
			t.Errorf("a repeat is answered %s, the first was %s", again.text, first.text)
		}
		ask(other, "noa", "k").want(t, 422, "idempotency_mismatch")
		serve(t, one, request("DELETE", base+lifting("subject", "i", "mia"), "")).want(t, 204, "")
		ask(other, "mia", "k").want(t, 200, "")
		if a := serve(t, one, request("GET", base, "")).want(t, 200, ""); len(a.items(t)) != 0 {
			t.Errorf("a repeat has revoked %s", a.text)
		}
		ask(other, "mia", "k2").want(t, 200, "")
		if a := serve(t, one, request("GET", base, "")).want(t, 200, ""); len(a.items(t)) != 1 {
			t.Errorf("another request has not: %s", a.text)
		}
		// What was refused did nothing, so the word is free.
		ask(one, "", "k3").want(t, 422, "invalid_fields")
		ask(one, "mia", "k3").want(t, 200, "")
	})
}

// Of many repeats at once one revokes, and each is answered with that or told to wait.
func TestRepeatedRevocationsRace(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	s := newService(t, rdb, admin.WithIdempotency(rdb), admin.WithAuditLog(newAuditLog(t, rdb)))
	base := "/v1/orgs/" + redistest.Org(t)
	answers := make([]*answer, 16)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			answers[i] = serve(t, s.admin, request("POST", base+"/revocations", revoking("subject", "i", "mia", ""), "Idempotency-Key", "k"))
		})
	}
	all.Wait()
	texts := map[string]bool{}
	for _, a := range answers {
		switch {
		case a.status == 200:
			texts[a.text] = true
		case a.status != 409 || a.object["code"] != "in_progress" || a.header.Get("Retry-After") == "":
			t.Errorf("answer %d %s", a.status, a.text)
		}
	}
	if items := serve(t, s.admin, request("GET", base+"/audit", "")).items(t); len(items) != 1 || len(texts) != 1 {
		t.Errorf("%d entries of the trail, answers %v", len(items), texts)
	}
}

// What is remembered of an answer and is none is told as an outage.
func TestRepeatOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	h := newService(t, rdb, admin.WithIdempotency(rdb)).admin
	org := redistest.Org(t)
	r := func() *http.Request {
		return request("POST", "/v1/orgs/"+org+"/revocations", revoking("subject", "i", "mia", ""), "Idempotency-Key", "k")
	}
	serve(t, h, r()).want(t, 200, "")
	scan := rdb.Scan(t.Context(), 0, lua.IdempotencyKey(org, "")+"*", 10000).Iterator()
	n := 0
	for scan.Next(t.Context()) {
		n++
		if err := rdb.HSet(t.Context(), scan.Val(), "key", `{"kind"`).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
	}
	if n != 1 {
		t.Fatalf("Redis remembers %d requests, want one", n)
	}
	serve(t, h, r()).want(t, 503, "unavailable")
}
