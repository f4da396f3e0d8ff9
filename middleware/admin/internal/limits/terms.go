package limits

import (
	"errors"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// bodyOf reads a body. What is not in it stays as the policy has it.
func bodyOf(c *rest.Call) (ratelimit.Override, error) {
	t := terms{Override: ratelimit.Override{Org: c.Org}}
	err := c.Body(t.all()...)
	return t.override(), err
}

// terms is an override while it is read, and what a plan's rule has of one.
type terms struct {
	ratelimit.Override

	burst *int64
}

func (t *terms) all() []strict.Field {
	return append(t.fields(), strict.Text("project", &t.Project),
		strict.Parsed("starts_at", "a time as RFC 3339 has it, or leave it out", &t.StartsAt, rest.ParseTime),
		strict.Parsed("expires_at", `a time as RFC 3339 has it, or "never"`, &t.ExpiresAt, rest.ParseTimeOrNever),
		strict.Text("reason", &t.Reason))
}

func (t *terms) fields() []strict.Field {
	return []strict.Field{
		strict.Text("endpoint", &t.Endpoint), strict.Text("policy", &t.Policy),
		strict.Integer("limit", &t.Limit), strict.Parsed("window", `a duration, such as "1m30s"`, &t.Window, parseWindow),
		strict.Integer("burst", &t.burst),
		strict.Parsed("access", `"blocked" or "unlimited", or leave it out`, &t.Access, rest.OneOf(ratelimit.Blocked, ratelimit.Unlimited)),
		strict.Parsed("change", `"proportional", "additive" or "reset", or leave it out`, &t.Change,
			rest.OneOf(ratelimit.Proportional, ratelimit.Additive, ratelimit.ResetUsed)),
	}
}

func (t *terms) override() ratelimit.Override {
	if t.burst != nil {
		t.Burst = *t.burst
	}
	return t.Override
}

// parseWindow takes no zero, which would keep the policy's window, and which nobody writes to mean that.
func parseWindow(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && d == 0 {
		return 0, errors.New("zero")
	}
	return d, err
}
