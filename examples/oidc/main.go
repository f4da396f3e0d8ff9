// Command oidc is a service on net/http that takes bearer tokens of an OAuth or OpenID provider, and API keys beside
// them.
//
//	go run ./examples/oidc [-addr 127.0.0.1:8080] [-redis redis://127.0.0.1:6379] [-json]
//
// The provider runs in the same process (provider.go), so that nothing else is needed to try it. In a service of yours
// its URL is all that you know of it.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/examples/internal/demo"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/resource"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func main() { demo.Run(build) }

func build(ctx context.Context, at demo.Place) (*demo.App, error) {
	p := newProvider(at)
	s, err := newService(ctx, at, p.URL(), p.Client())
	if err != nil {
		p.End()
		return nil, err
	}
	mux := http.NewServeMux()
	s.mount(mux)
	p.mount(mux)
	return &demo.App{Handler: mux, Facts: p.facts(at, s), Text: p.text(at, s), Close: func(context.Context) error {
		defer p.End()
		return s.keySets.Close()
	}}, nil
}

// service is what a request is judged by.
type service struct {
	tokens      *bearer.Verifier
	both        *bearer.Both // tokens, and API keys beside them
	keySets     *jwks.Cache  // of the providers
	revocations *revocation.Store
	proofs      *dpop.Verifier
	limiter     *ratelimit.Limiter
	document    *resource.Document
	admin       http.Handler

	key, adminToken string // to try
}

// newService takes the tokens of one issuer that are for this service. The client is for a provider with a certificate
// that nobody else trusts.
func newService(ctx context.Context, at demo.Place, issuer string, client *http.Client) (*service, error) {
	self := "http://" + at.Addr // how clients write it, in front of all proxies
	s := service{adminToken: rand.Text()}
	var err1, err2, err3, err4 error
	s.keySets, err1 = jwks.New(jwks.WithHTTPClient(client), jwks.WithLoopback(), // yours is neither on this machine
		jwks.WithCooldown(time.Second)) // nor are its keys replaced while somebody looks on
	s.revocations, err2 = revocation.New(at.Redis, revocation.WithLifetime(time.Hour), revocation.WithTimeout(at.Budget))
	s.proofs, err3 = dpop.New(at.Redis, []string{self}, dpop.WithTimeout(at.Budget))
	s.limiter, err4 = ratelimit.New(at.Redis, ratelimit.WithTimeout(at.Budget))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	s.document, err1 = resource.New(resource.Metadata{
		Resource: self, AuthorizationServers: []string{issuer}, Scopes: []string{"search", "pay"},
		BearerMethods: []string{"header"}, DPoPAlgorithms: s.proofs.Algorithms(),
	})
	s.tokens, err2 = bearer.New([]bearer.Issuer{{
		URL: issuer, Audiences: []string{self}, Keys: s.keySets.Issuer(issuer),
		Profile: bearer.AccessTokens, MaxLifetime: s.revocations.Lifetime(),
		Org: demo.Org, // without it the token says it: org_id, or what Claims names
	}}, bearer.WithRevocations(s.revocations), bearer.WithProofs(s.proofs))
	s.admin, err3 = admin.New(admin.Tokens(admin.Token{Name: "operator", Secret: s.adminToken, Scopes: []string{admin.ScopeAll}}),
		admin.WithPrefix("/admin"), admin.WithRevocations(s.revocations))
	err4 = s.keySets.Start(ctx) // or not: then the first request fetches
	return &s, errors.Join(err1, err2, err3, err4, s.besideKeys(ctx, at))
}

// besideKeys takes API keys, too, and makes one.
func (s *service) besideKeys(ctx context.Context, at demo.Place) error {
	format, err := authkey.NewFormat("demo", "test")
	if err != nil {
		return err
	}
	store := redisstore.New(at.Redis)
	issuer, err1 := authkey.NewIssuer(store, format)
	keys, err2 := authkey.New(store, authkey.WithFormat(format), authkey.WithTimeout(at.Budget))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	_, key, err1 := issuer.Issue(ctx, authkey.NewKey{Org: demo.Org, Project: demo.Project, Scopes: []string{"search"}})
	s.key = key.Reveal()
	s.both, err2 = bearer.Beside(s.tokens, keys)
	return errors.Join(err1, err2)
}

// mount puts the stages before the handlers.
func (s *service) mount(mux *http.ServeMux) {
	metadata, observer := middleware.WithResourceMetadata(s.document.URL()), middleware.WithObserver(demo.Failures)

	auth := middleware.Authenticate(s.both, metadata, observer)
	search := auth.RequireScope("search").RateLimit(s.limiter, ratelimit.Per(10, 10*time.Second).Fixed().By(ratelimit.ByKey))
	mux.Handle("GET /v1/search", httpkit.Middleware(search)(http.HandlerFunc(whoami)))
	mux.Handle("GET /v1/whoami", httpkit.Middleware(auth)(http.HandlerFunc(whoami)))
	mux.Handle("POST /v1/logout", httpkit.Middleware(auth)(http.HandlerFunc(s.logout)))

	// Who has found such a token can do nothing with it: it needs the client's key, too.
	bound := middleware.Authenticate(s.tokens, metadata, observer,
		middleware.WithSources(middleware.DPoP()), middleware.WithDPoP(s.proofs.Algorithms()...))
	pay := bound.RequireScope("pay").RateLimit(s.limiter, ratelimit.PerMinute(60).By(ratelimit.ByKey))
	mux.Handle("POST /v1/payments", httpkit.Middleware(pay)(http.HandlerFunc(whoami)))

	// Without a credential callers are anonymous; one that is not good is refused all the same.
	optional := middleware.Authenticate(s.both, metadata, observer, middleware.WithAnonymous(demo.Org, "anonymous"))
	news := optional.RateLimit(s.limiter, ratelimit.PerMinute(600))
	mux.Handle("GET /v1/news", httpkit.Middleware(news)(http.HandlerFunc(whoami)))

	mux.Handle(s.document.Path(), s.document)
	mux.Handle("/admin/", s.admin)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.keySets.Ready() != nil {
			http.Error(w, "the issuer's keys are not there", http.StatusServiceUnavailable)
		}
	})
}

// logout ends the caller's token before its time, for all replicas: the next request is refused.
func (s *service) logout(w http.ResponseWriter, r *http.Request) {
	caller, _ := middleware.FromContext(r.Context())
	id := caller.Identity()
	if id.Token == nil {
		http.Error(w, "an API key is revoked by its owner, not by itself", http.StatusForbidden)
		return
	}
	if _, err := s.revocations.Revoke(r.Context(), id.Org, id.Token.Issuer, id.Token.ID, id.ExpiresAt, "logout"); err != nil {
		http.Error(w, "try again", http.StatusServiceUnavailable) // nobody knows whether it was done; twice is harmless
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func whoami(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(demo.Whoami(r.Context())) // the caller went away
}
