package main

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	search   = "GET /v1/search"
	waitLong = 10 * time.Second // a busy machine is no reason to fail
)

// service is a service with its admin route, and an org of its own.
type service struct {
	url, org string
	verifier func() (*authkey.Verifier, error)
	limiter  *ratelimit.Limiter
	meter    *meter.Meter
	revoked  *revocation.Store
}

var policy = ratelimit.PerMinute(10).Fixed()

func newService(t *testing.T, rdb redis.UniversalClient) *service {
	t.Helper()
	s := &service{org: redistest.Org(t)}
	var err error
	check := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	format, err := authkey.NewFormat("acme", "test")
	check("NewFormat")
	store := redisstore.New(rdb, redisstore.WithTimeout(waitLong/2))
	issuer, err := authkey.NewIssuer(store, format)
	check("NewIssuer")
	s.verifier = func() (*authkey.Verifier, error) {
		return authkey.New(store, authkey.WithFormat(format), authkey.WithTimeout(waitLong))
	}
	s.limiter, err = ratelimit.New(rdb, ratelimit.WithTimeout(waitLong))
	check("ratelimit.New")
	overrides, err := ratelimit.NewOverrides(rdb, ratelimit.WithTimeout(waitLong))
	check("NewOverrides")
	plans, err := ratelimit.NewPlans(rdb, ratelimit.WithTimeout(waitLong))
	check("NewPlans")
	s.revoked, err = revocation.New(rdb, revocation.WithTimeout(waitLong))
	check("revocation.New")
	s.meter, err = meter.New(rdb)
	check("meter.New")
	t.Cleanup(func() {
		if err := s.meter.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	trail, err := auditlog.New(rdb, auditlog.WithTimeout(waitLong))
	check("auditlog.New")
	handler, err := admin.New(
		admin.Tokens(admin.Token{Name: "ops", Secret: adminToken, Scopes: []string{admin.ScopeAll}}),
		admin.WithPrefix("/admin"), admin.WithRequiredPreconditions(), admin.WithIdempotency(rdb),
		admin.WithOverrides(overrides), admin.WithPlans(plans), admin.WithKeys(store, issuer), admin.WithUsage(s.meter), admin.WithAuditLog(trail),
		admin.WithLimits(s.limiter), admin.WithRoute(search, policy), admin.WithRevocations(s.revoked),
	)
	check("admin.New")
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s.url = server.URL + "/admin"
	return s
}

// call runs a command for the org of the service; a word with a space in it has it as "_".
func (s *service) call(t *testing.T, code int, stdin, line string) outcome {
	t.Helper()
	args := []string{"--org", s.org, "--timeout", "10s"}
	for word := range strings.FieldsSeq(line) {
		args = append(args, strings.ReplaceAll(word, "_", " "))
	}
	return processAt(time.Now, s.url, stdin, args...).want(t, code)
}

// object runs a command with --json, and decodes what it prints.
func (s *service) object(t *testing.T, stdin, line string) map[string]any {
	t.Helper()
	o := s.call(t, cli.Done, stdin, "--json "+line)
	var object map[string]any
	if err := json.Unmarshal([]byte(o.stdout), &object); err != nil {
		t.Fatalf("%s prints %s: %v", line, o.stdout, err)
	}
	return object
}

// items runs a command that lists with --json.
func (s *service) items(t *testing.T, line string) []map[string]any {
	t.Helper()
	list, ok := s.object(t, "", line)["items"].([]any)
	if !ok {
		t.Fatalf("%s prints no list", line)
	}
	items := make([]map[string]any, len(list))
	for i := range list {
		items[i] = list[i].(map[string]any)
	}
	return items
}

// take charges the limit of the service once, and reports whether that passed.
func (s *service) take(t *testing.T) bool {
	t.Helper()
	d, err := s.limiter.Admit(t.Context(), ratelimit.Request{
		Org: s.org, Project: "shop", Key: "k", Endpoint: search, Charges: []ratelimit.Charge{{Policy: policy, Cost: 1}},
	})
	if err != nil {
		t.Fatalf("Admit: %v", err)
	}
	return d.Allowed
}
