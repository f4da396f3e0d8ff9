package middleware_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// tenants narrows a cached identity to the plan of the moment, in a copy, as adaptertest does too.
type tenants struct {
	*callers
	plan, project string
}

func (n *tenants) Authenticate(ctx context.Context, p authkey.Presented) (*authkey.Identity, error) {
	id, err := n.callers.Authenticate(ctx, p)
	if err != nil {
		return nil, err
	}
	own := *id
	own.Plan, own.Project = n.plan, n.project
	return &own, nil
}

// TestCopiedIdentity: what is kept with an identity is of nobody who differs, though it shares the notes.
func TestCopiedIdentity(t *testing.T) {
	who := &tenants{callers: noted(), plan: "free", project: "one"}
	p := &preparer{limit: 10}
	stage := middleware.PreparedBy(middleware.Authenticate(who).RateLimit(p, ratelimit.PerMinute(10)), p.prepare)
	passing(t, stage, 3)
	who.plan, who.project = "gold", "two"
	before := p.direct
	passing(t, stage, 3)
	if p.direct == before && len(p.made) == 1 {
		t.Errorf("project two was decided by what was prepared for %s/%s", p.made[0].Project, p.made[0].Plan)
	}
	_ = http.Header{}
}
