package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// shares is a limiter that is away, and its share: so many units of each policy. It keeps what it is asked.
type shares struct {
	away, local error // what Admit and AdmitLocal fail with; nil: they do not
	replicas    int

	mu      sync.Mutex
	left    int64
	asked   []ratelimit.Request // of AdmitLocal
	settled []ratelimit.Request
	renewed int
	back    []ratelimit.Request
}

func (s *shares) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	if s.away != nil {
		return ratelimit.Decision{}, s.away
	}
	return allow(r)
}

func (s *shares) Replicas() int { return s.replicas }

func (s *shares) AdmitLocal(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r)
	if s.local != nil {
		return ratelimit.Decision{}, s.local
	}
	d, _ := allow(r)
	d.Hold = "held here"
	for i := range d.Results {
		result := &d.Results[i]
		if result.Exceeded = result.Cost > s.left; result.Exceeded {
			d.Allowed, d.Hold, result.RetryAfter = false, "", 7*time.Second
		}
	}
	if d.Allowed {
		s.left -= d.Results[0].Cost
	}
	return d, nil
}

func (s *shares) Settle(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = append(s.settled, r)
	return allow(r)
}

func (s *shares) Renew(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed++
	return allow(r)
}

func (s *shares) Refund(_ context.Context, r ratelimit.Request, _ time.Time) (ratelimit.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back = append(s.back, r)
	return allow(r)
}

// holdsOf returns under which names something was settled.
func (s *shares) holdsOf() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.settled {
		names = append(names, r.Hold)
	}
	return names
}

func gone() *shares { return &shares{away: ratelimit.ErrUnavailable, replicas: 2, left: 3} }

// last returns the last event of a step.
func (o *events) last(step middleware.Step) (last middleware.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.all {
		if e.Step == step {
			last = e
		}
	}
	return last
}

// TestFailLocal passes what the share allows and refuses the rest as the limit would; nobody is told of numbers.
func TestFailLocal(t *testing.T) {
	t.Parallel()
	key := middleware.Key{Name: "network", Of: func(*http.Request) string { return "here" }}
	for name, stage := range map[string]func(l *shares, o middleware.Option) middleware.Stage{
		"identity": func(l *shares, o middleware.Option) middleware.Stage {
			return middleware.Authenticate(demoCallers(), o).RateLimit(l, ratelimit.PerMinute(10)).OnFailure(middleware.FailLocal)
		},
		"nobody": func(l *shares, o middleware.Option) middleware.Stage {
			return middleware.LimitBy(key, l, ratelimit.PerMinute(10)).OnFailure(middleware.FailLocal).With(o)
		},
		"behind a monitor": func(l *shares, o middleware.Option) middleware.Stage {
			return middleware.Authenticate(demoCallers(), o).RateLimit(l, ratelimit.PerMinute(10)).Monitor().OnFailure(middleware.FailLocal)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, seen := gone(), new(events)
			s := stage(l, middleware.WithObserver(seen))
			if name == "behind a monitor" {
				l.left = 100 // a share of what is monitored refuses nothing
			}
			for range 3 {
				a, h, refusal := admit(t, s, request("GET", "/"))
				if refusal != nil || len(h) != 0 || len(a.Decision().Results) != 0 {
					t.Fatalf("refusal %v, header %v, decision %+v; want a pass that tells nothing of limits", refusal, h, a.Decision())
				}
				a.Done(http.StatusOK, 0)
				if e := seen.last(middleware.StepRateLimit); e.Outcome != middleware.OutcomeLocal || e.Decision == nil || !errors.Is(e.Err, ratelimit.ErrUnavailable) {
					t.Errorf("event %+v, want the outcome local with its decision and the outage", e)
				}
			}
			if name == "behind a monitor" {
				return
			}
			_, h, refusal := admit(t, s, request("GET", "/"))
			if refusal == nil || refusal.Status != http.StatusTooManyRequests || refusal.Code != middleware.CodeLimited || refusal.RetryAfter != 7*time.Second || len(h) != 0 {
				t.Errorf("refusal %+v, header %v; want 429, to come again in 7s, and no fields", refusal, h)
			}
			if e := seen.last(middleware.StepRateLimit); e.Outcome != middleware.OutcomeRefused || !errors.Is(e.Err, ratelimit.ErrUnavailable) {
				t.Errorf("event %+v, want it refused, because of the outage", e)
			}
		})
	}
}

// TestFailLocalIsClosed where the share cannot decide, or may not.
func TestFailLocalIsClosed(t *testing.T) {
	t.Parallel()
	over, hangUp := context.WithCancel(t.Context())
	hangUp()
	token := func(p authkey.Pending) func(*callers) {
		return func(c *callers) { c.known[goodKey].Token = &authkey.Token{Pending: p} }
	}
	for name, tt := range map[string]struct {
		change func(*shares)
		ctx    context.Context
		who    func(*callers)
		status int
		asked  int
	}{
		"no room":                         {func(s *shares) { s.local = ratelimit.ErrUnavailable }, t.Context(), nil, 503, 1},
		"a client that left":              {nil, over, nil, 503, 0},
		"a request that no limiter takes": {func(s *shares) { s.away = ratelimit.ErrInvalid }, t.Context(), nil, 400, 0},
		"an identity that stays stale":    {func(s *shares) { s.away = ratelimit.ErrStale }, t.Context(), nil, 503, 0},
		"a limiter that is off":           {func(s *shares) { s.away = errors.Join(ratelimit.ErrOff, ratelimit.ErrUnavailable) }, t.Context(), nil, 0, 0},
		"a token that nobody looked for":  {nil, t.Context(), token(authkey.RevocationPending), 503, 0},
		"a token that may pass":           {nil, t.Context(), token(authkey.RevocationPendingOpen), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, who := gone(), demoCallers()
			who.refreshed = who.known
			if tt.change != nil {
				tt.change(l)
			}
			if tt.who != nil {
				tt.who(who)
			}
			s := middleware.Authenticate(who).RateLimit(l, ratelimit.PerMinute(10)).OnFailure(middleware.FailLocal)
			_, h, refusal := admit(t, s, request("GET", "/").WithContext(tt.ctx))
			if status := statusOf(refusal); status != tt.status || len(h) != 0 {
				t.Errorf("refusal %v, header %v; want status %d (0: none), and no fields", refusal, h, tt.status)
			}
			if len(l.asked) != tt.asked {
				t.Errorf("the share was asked %d times, want %d", len(l.asked), tt.asked)
			}
		})
	}
}

func statusOf(refusal *middleware.Error) int {
	if refusal == nil {
		return 0
	}
	return refusal.Status
}

// TestFailLocalNeedsAShare tells at once what is wrong with a chain.
func TestFailLocalNeedsAShare(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(demoCallers())
	for name, tt := range map[string]struct {
		limiter middleware.Limiter
		want    string
	}{
		"no LocalLimiter": {limiterFunc(allow), "is no LocalLimiter"},
		"no replicas":     {&shares{}, "ratelimit.WithReplicas"},
		"no limiter":      {(*ratelimit.Limiter)(nil), "the limiter is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := auth.RateLimit(tt.limiter, ratelimit.PerMinute(1)).OnFailure(middleware.FailLocal).Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Err = %v, want one that says %q", err, tt.want)
			}
		})
	}
	if err := auth.RateLimit(&shares{}, ratelimit.PerMinute(1)).OnFailure(middleware.FailLocal).OnFailure(middleware.FailOpen).Err(); err == nil {
		t.Error("a chain that was wrong once is right")
	}
}

// TestTakeFromTheShare: further costs are decided as the first was, and given back where they were taken.
func TestTakeFromTheShare(t *testing.T) {
	t.Parallel()
	l, seen := gone(), new(events)
	s := middleware.Authenticate(demoCallers(), middleware.WithObserver(seen)).RateLimit(l, ratelimit.PerMinute(10)).OnFailure(middleware.FailLocal)
	a, h, refusal := admit(t, s, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if err := a.Take(t.Context(), h, "requests", 2); err != nil || seen.last(middleware.StepTake).Outcome != middleware.OutcomeLocal {
		t.Errorf("Take of 2 = %v, outcome %s; want them from the share", err, seen.last(middleware.StepTake).Outcome)
	}
	var limited *middleware.Error
	if err := a.Take(t.Context(), h, "requests", 1); !errors.As(err, &limited) || limited.Status != http.StatusTooManyRequests {
		t.Errorf("Take of what is not there = %v, want 429", err)
	}
	if err := a.Refund(t.Context(), h, "requests", 3); err != nil || len(l.back) != 2 || l.back[0].Hold != "held here" || l.back[1].Hold != "held here" {
		t.Errorf("Refund = %v, asked for %+v; want both given back where they were taken", err, l.back)
	}
	if len(h) != 0 {
		t.Errorf("header %v, want no fields", h)
	}
	l.away = nil // Redis is back
	if err := a.Take(t.Context(), h, "requests", 1); err != nil || h.Get("RateLimit") == "" {
		t.Errorf("Take from Redis = %v, header %v; want fields", err, h)
	}
	a.Done(http.StatusOK, 0)
}

// TestHoldOfTheShare is settled under the name that the share gave it; the hold that Redis may have is given up for itself.
func TestHoldOfTheShare(t *testing.T) {
	t.Parallel()
	l, seen := gone(), new(events)
	s := middleware.Authenticate(demoCallers(), middleware.WithObserver(seen)).
		RateLimit(l, ratelimit.Concurrent(10), ratelimit.PerMinute(10).Reserved(time.Minute).Named("tokens")).OnFailure(middleware.FailLocal)
	a, h, refusal := admit(t, s, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if err := a.Settle(t.Context(), h, "tokens", 0); err != nil || len(h) != 0 {
		t.Errorf("Settle = %v, header %v; want it done, and no fields", err, h)
	}
	a.Done(http.StatusOK, 0)
	if names := l.holdsOf(); len(names) != 2 || names[0] != "held here" || names[1] != "held here" {
		t.Errorf("settled %q, want twice what is held here", names)
	}
	if e := seen.last(middleware.StepSettle); e.Outcome != middleware.OutcomeAllowed {
		t.Errorf("event %+v, want the rest settled", e)
	}
	if own := l.asked[0].Hold; own == "" || own == "held here" {
		t.Errorf("asked under %q, want the name that Redis may know", own)
	}
}
