package admin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestCandidateWithoutItsLivePolicy: it goes where that goes, and is refused where that never was.
func TestCandidateWithoutItsLivePolicy(t *testing.T) {
	t.Parallel()
	next := ratelimit.PerMinute(5).Named("next").InPlaceOf("net")
	_, err := admin.New(admin.BearerToken(token), admin.WithLimits(noLimiter{}), admin.WithRoute("GET /c", policy, next))
	if !errors.Is(err, admin.ErrInvalid) || !strings.Contains(fmt.Sprint(err), `"next" is a candidate for "net"`) {
		t.Errorf("New: %v, want ErrInvalid that names both", err)
	}
	net := ratelimit.PerMinute(1).Named("net").By("network")
	s := newService(t, redistest.Standalone(t), admin.WithRoute("GET /c", net, next, policy, policy.Named("b").InPlaceOf("requests")))
	var got []string
	for _, item := range serve(t, s.admin, request("GET", "/v1/orgs/"+redistest.Org(t)+"/projects/p/limits?endpoint=GET+/c", "")).want(t, 200, "").items(t) {
		got = append(got, fmt.Sprint(item["policy"]))
	}
	if fmt.Sprint(got) != "[requests b]" {
		t.Errorf("limits of %v, want requests and b", got)
	}
}
