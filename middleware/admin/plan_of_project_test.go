package admin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// planSpy is a limiter that remembers under which plan it was asked.
type planSpy struct{ plan string }

func (s *planSpy) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	s.plan = r.Plan
	return ratelimit.Decision{Results: make([]ratelimit.Result, len(r.Charges))}, nil
}

// The admin route explains limits under the plan that the gate decides under.
func TestLimitsAreThoseOfTheProjectsPlan(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newService(t, rdb)
		project := "/v1/orgs/" + redistest.Org(t) + "/projects/p"
		bare := serve(t, s.admin, request("POST", project+"/keys", "")).want(t, 201, "")
		own := serve(t, s.admin, request("POST", project+"/keys", `{"plan":"silver"}`)).want(t, 201, "")
		spy := &planSpy{}
		h := handlerOf(t, admin.Actor{}, admin.WithKeys(s.store, s.issuer), admin.WithLimits(spy), admin.WithRoute(search, ratelimit.PerMinute(1)))
		look := func(query string) string {
			spy.plan = "?"
			serve(t, h, request("GET", project+"/limits"+query, "")).want(t, 200, "")
			return spy.plan
		}
		if got := look(""); got != "" {
			t.Errorf("before the project has a plan: %q", got)
		}
		serve(t, s.admin, request("PUT", project, `{"state":"active","plan":"gold"}`)).want(t, 201, "")
		identity, err := s.verifier.Authenticate(t.Context(), authkey.NewPresented(bare.object["secret"].(string)))
		if err != nil || identity.Plan != "gold" {
			t.Fatalf("the gate knows %+v, %v", identity, err)
		}
		for query, want := range map[string]string{
			"": "gold", "?key=" + bare.object["id"].(string): "gold", "?key=" + own.object["id"].(string): "silver", "?plan=bronze": "bronze",
		} {
			if got := look(query); got != want {
				t.Errorf("%s: under %q, want %q", query, got, want)
			}
		}
	})
}

// A body cannot make an answer that is many times as long.
func TestFaultsOfARecordAreBounded(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	body := `{"kind":"publishable","origins":[` + strings.Repeat(`"",`, 40_000) + `""]}`
	a := serve(t, h, request("POST", keys, body)).want(t, 422, "invalid_fields")
	if n := len(a.object["errors"].([]any)); n > 20 || len(a.text) > len(body)/10 {
		t.Errorf("%d errors in %d bytes, for a body of %d", n, len(a.text), len(body))
	}
}
