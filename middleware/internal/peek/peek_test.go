package peek_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestNewEndpoint(t *testing.T) {
	t.Parallel()
	minute := ratelimit.PerMinute(10)
	for _, c := range []struct {
		name     string
		endpoint string
		policies []ratelimit.Policy
		want     string // the names that are left, or what the error tells
	}{
		{"none", "GET /a", nil, ""},
		{"several", "GET /a", []ratelimit.Policy{minute, minute.Named("keys").By(ratelimit.ByKey), minute.Named("org").By(ratelimit.ByOrg)}, "requests keys org"},
		{"without a name", "GET /a", []ratelimit.Policy{{Limit: 1, Window: time.Minute}}, "requests"},
		{"of the caller's own", "GET /a", []ratelimit.Policy{minute.By("network"), minute.Named("b")}, "b"},
		{"unmatched", middleware.Unmatched, []ratelimit.Policy{minute}, "requests"},
		{"a candidate", "GET /a", []ratelimit.Policy{minute, minute.Named("next").InPlaceOf("")}, "requests next"},
		{"a candidate of what is left out", "GET /a", []ratelimit.Policy{minute.By("network"), minute.Named("next").InPlaceOf("")}, ""},
		{"a candidate of nothing", "GET /a", []ratelimit.Policy{minute.Named("next").InPlaceOf("x")}, "error: not a live policy"},
		{"no method", "/a", nil, "error: must be like"},
		{"no path", "GET a", nil, "error: must be like"},
		{"too long", "GET /" + strings.Repeat("a", 512), nil, "error: must be like"},
		{"twice", "GET /a", []ratelimit.Policy{minute, minute}, "error: two policies are named \"requests\""},
		{"invalid", "GET /a", []ratelimit.Policy{{Limit: -1}}, "error: Limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at, err := peek.NewEndpoint(c.endpoint, c.policies...)
			if text, ok := strings.CutPrefix(c.want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("error %v, want %q", err, text)
				}
				return
			}
			var names []string
			for _, p := range at.Policies {
				names = append(names, p.Name)
			}
			if got := strings.Join(names, " "); err != nil || got != c.want || at.Name != c.endpoint {
				t.Errorf("%q %q, %v, want %q", at.Name, got, err, c.want)
			}
		})
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	at, err := peek.NewEndpoint("GET /a", ratelimit.PerMinute(10), ratelimit.PerHour(20).Named("hour"))
	if err != nil {
		t.Fatal(err)
	}
	of := peek.Subject{Org: "o", Project: "p", Plan: "gold"}
	var asked ratelimit.Request
	answering := func(results int) peek.Asker {
		return func(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
			asked = r
			return ratelimit.Decision{Results: make([]ratelimit.Result, results)}, nil
		}
	}
	decision, err := of.Look(t.Context(), &at, 3, answering(2))
	if err != nil || len(decision.Results) != 2 {
		t.Errorf("%v, %v", decision, err)
	}
	if !asked.Peek || asked.Org != "o" || asked.Project != "p" || asked.Key != "-" || asked.Plan != "gold" || asked.Endpoint != "GET /a" ||
		len(asked.Charges) != 2 || asked.Charges[1].Policy.Name != "hour" || asked.Charges[1].Cost != 3 {
		t.Errorf("asked %+v", asked)
	}
	of.Key = "k"
	if _, err := of.Look(t.Context(), &at, 0, answering(1)); err == nil || asked.Key != "k" {
		t.Errorf("one answer for two policies of key %q: %v", asked.Key, err)
	}
	broken := errors.New("broken")
	if _, err := of.Look(t.Context(), &at, 0, func(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
		return ratelimit.Decision{}, broken
	}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 1500 * time.Millisecond: "1.5s",
		10 * time.Second: "10s", ratelimit.Never: "never",
	} {
		if got := peek.WaitText(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}
