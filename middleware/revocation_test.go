package middleware_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// pass is a request before its stages, the outermost first.
type pass struct {
	tokens  *issued
	limiter *watcher
	auth    *middleware.Authenticated
	apart   *middleware.Authenticated // another stage with the same authenticator
	chosen  func(*middleware.Limited) *middleware.Limited
}

func (p *pass) limit(auth *middleware.Authenticated, name string) *middleware.Limited {
	return p.chosen(auth.RateLimit(p.limiter, ratelimit.PerMinute(9).Named(name)))
}

func (p *pass) network() *middleware.LimitedBy {
	return middleware.LimitBy(middleware.ClientNetwork(), p.limiter, ratelimit.PerMinute(9).Named("network")).OnFailure(middleware.FailOpen)
}

// ways are how a request can come to its handler. Those that nobody can pass say so.
var ways = []struct {
	name   string
	stages func(*pass) []middleware.Stage
	barred bool
}{
	{"no limit", func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth} }, false},
	{"a guard alone", func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth.RequireScope("search")} }, false},
	{"a meter alone", func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth.Meter(&ledger{}, "a", "b")} }, false},
	{"a limit", func(p *pass) []middleware.Stage { return []middleware.Stage{p.limit(p.auth, "a")} }, false},
	{"a limit and a meter", func(p *pass) []middleware.Stage {
		return []middleware.Stage{p.limit(p.auth, "a").Meter(&ledger{}, "a", "b")}
	}, false},
	{"a limit behind a guard", func(p *pass) []middleware.Stage {
		return []middleware.Stage{p.limit(p.auth.RequireScope("search"), "a")}
	}, false},
	{"a limit behind a guard that refuses", func(p *pass) []middleware.Stage {
		return []middleware.Stage{p.limit(p.auth.RequireScope("admin"), "a")}
	}, true},
	{"a limit without policies", func(p *pass) []middleware.Stage { return []middleware.Stage{p.chosen(p.auth.RateLimit(p.limiter))} }, false},
	{"a monitored limit", func(p *pass) []middleware.Stage { return []middleware.Stage{p.limit(p.auth, "a").Monitor()} }, false},
	{"a network's limit around no limit", func(p *pass) []middleware.Stage { return []middleware.Stage{p.network(), p.auth} }, false},
	{"a network's limit around a limit", func(p *pass) []middleware.Stage { return []middleware.Stage{p.network(), p.limit(p.auth, "a")} }, false},
	{"a network's limit within", func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth, p.network()} }, false},
	{"a network's limit within a limit", func(p *pass) []middleware.Stage { return []middleware.Stage{p.limit(p.auth, "a"), p.network()} }, false},
	{"a limit within", func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth, p.limit(p.auth, "a")} }, false},
	{"a limit within a limit", func(p *pass) []middleware.Stage {
		return []middleware.Stage{p.limit(p.auth, "a"), p.limit(p.auth, "b")}
	}, false},
	{"two limits in a chain of stages, the same one twice", func(p *pass) []middleware.Stage {
		s := p.limit(p.auth, "a")
		return []middleware.Stage{s, s}
	}, false},
	{"no limit within a limit, made apart", func(p *pass) []middleware.Stage { return []middleware.Stage{p.limit(p.auth, "a"), p.apart} }, false},
	{"a limit within no limit, made apart", func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth, p.limit(p.apart, "a")} }, false},
	{"no limit within a network's within a limit, made apart", func(p *pass) []middleware.Stage {
		return []middleware.Stage{p.limit(p.auth, "a"), p.network(), p.apart.RequireScope("search")}
	}, false},
}

// Whatever way a request comes, whatever its limiter does: it reaches its handler only when somebody looked for its
// token, unless nobody could and the token may pass then. And what may pass does.
func TestNobodyPassesWithoutALook(t *testing.T) {
	t.Parallel()
	kinds := map[string]authkey.Pending{"closed": authkey.RevocationPending, "open": authkey.RevocationPendingOpen, "unknown": 9}
	failures := map[string]func(*middleware.Limited) *middleware.Limited{
		"nothing chosen": func(s *middleware.Limited) *middleware.Limited { return s },
		"fails closed":   func(s *middleware.Limited) *middleware.Limited { return s.OnFailure(middleware.FailClosed) },
		"fails open":     func(s *middleware.Limited) *middleware.Limited { return s.OnFailure(middleware.FailOpen) },
		"monitors":       (*middleware.Limited).Monitor,
	}
	reached := 0
	for kindName, kind := range kinds {
		for failureName, chosen := range failures {
			for _, does := range []behaviour{looks, blind, denies, blindNo, down, monitored, staleFirst, staleEver} {
				for _, rude := range []bool{false, true} {
					for _, revoked := range []bool{false, true} {
						for _, way := range ways {
							p := &pass{tokens: newIssued(kind), limiter: &watcher{behaviour: does, revoked: revoked}, chosen: chosen}
							p.tokens.rude, p.tokens.revoked = rude, revoked
							p.auth, p.apart = middleware.Authenticate(p.tokens), middleware.Authenticate(p.tokens)
							name := fmt.Sprintf("%s, %s, %s, the limiter %s, rude %v, revoked %v", way.name, kindName, failureName, does, rude, revoked)
							refusal := p.run(way.stages(p))
							if refusal == nil {
								reached++
							}
							p.judge(t, name, refusal, way.barred)
						}
					}
				}
			}
		}
	}
	if reached < 500 {
		t.Errorf("only %d requests reached their handler, which proves little", reached)
	}
}

// run admits a request by all stages.
func (p *pass) run(stages []middleware.Stage) *middleware.Error {
	r := request(http.MethodGet, "/")
	for _, s := range stages {
		a, refusal := s.Admit(http.Header{}, r, "GET /")
		if refusal != nil {
			return refusal
		}
		r = a.Request()
	}
	return nil
}

func (p *pass) judge(t *testing.T, name string, refusal *middleware.Error, barred bool) {
	t.Helper()
	known := p.tokens.looked+p.limiter.looked > 0
	outage := p.limiter.behaviour == down || p.limiter.behaviour == monitored
	spared := p.tokens.kind == authkey.RevocationPendingOpen && outage && p.limiter.asked > 0
	if refusal == nil && !known && !spared {
		t.Errorf("%s: it reached its handler, and nobody looked", name)
	}
	if refusal == nil && p.tokens.revoked && !spared {
		t.Errorf("%s: a revoked token reached its handler", name)
	}
	if refusal == nil && barred {
		t.Errorf("%s: it reached its handler", name)
	}
	if p.limiter.revoked && p.limiter.asked > 0 && p.limiter.behaviour == looks && refusal != nil && !barred &&
		(refusal.Status != http.StatusUnauthorized || refusal.Code != middleware.CodeInvalid || !errors.Is(refusal, authkey.ErrRevoked)) {
		t.Errorf("%s: refused with %v", name, refusal)
	}
	good := p.limiter.behaviour == looks && !p.tokens.revoked && !p.tokens.rude && !barred
	if good && refusal != nil && !strings.Contains(name, "without policies") {
		t.Errorf("%s: refused with %v", name, refusal)
	}
	if refusal != nil && refusal.Status == http.StatusTooManyRequests && !known && !strings.Contains(name, "network") {
		t.Errorf("%s: it learned of a limit, and nobody looked", name)
	}
}

// What a limiter is told, and who looks how often.
func TestWhoLooks(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		stages          func(*pass) []middleware.Stage
		tokens, limiter int // looks
		asks            int // calls of the limiter, with and without a token
	}{
		"a limit looks for the authenticator": {func(p *pass) []middleware.Stage { return []middleware.Stage{p.limit(p.auth, "a")} }, 0, 1, 1},
		"without a limit it looks itself":     {func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth} }, 1, 0, 0},
		"what was looked up is so within":     {func(p *pass) []middleware.Stage { return []middleware.Stage{p.auth, p.limit(p.auth, "a")} }, 1, 0, 1},
		"one of two limits looks": {func(p *pass) []middleware.Stage {
			return []middleware.Stage{p.limit(p.auth, "a"), p.limit(p.auth, "b")}
		}, 0, 1, 2},
		"a network's limit never does": {func(p *pass) []middleware.Stage { return []middleware.Stage{p.network(), p.auth} }, 1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pass{tokens: newIssued(authkey.RevocationPending), limiter: &watcher{behaviour: looks}}
			p.chosen = func(s *middleware.Limited) *middleware.Limited { return s }
			p.auth = middleware.Authenticate(p.tokens)
			if refusal := p.run(row.stages(p)); refusal != nil {
				t.Fatal(refusal)
			}
			if p.tokens.looked != row.tokens || p.limiter.looked != row.limiter || len(p.limiter.tokens) != row.asks {
				t.Errorf("the authenticator looked %d times, the limiter %d times in %d calls; want %d, %d, %d",
					p.tokens.looked, p.limiter.looked, len(p.limiter.tokens), row.tokens, row.limiter, row.asks)
			}
			want := ratelimit.Token{Issuer: "https://login.example.com", ID: "t7", Subject: "user-7", Session: "s7", Client: "app", IssuedAt: time.Unix(1_700_000_000, 0)}
			for _, token := range p.limiter.tokens {
				if token != nil && *token != want {
					t.Errorf("the limiter was told %+v, want %+v", *token, want)
				}
			}
		})
	}
}

// A handler that takes more asks again, for it may have run for long. It is refused what a revoked token asks for;
// but what was looked up once is not taken back by an outage that the stage lets pass.
func TestTakeLooksAgain(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		kind        authkey.Pending
		first, then behaviour
		revoked     bool // meanwhile
		status      int
		looked      int
	}{
		"still good":                      {authkey.RevocationPending, looks, looks, false, 0, 2},
		"revoked meanwhile":               {authkey.RevocationPending, looks, looks, true, 401, 1},
		"stale, and looked for once more": {authkey.RevocationPending, looks, staleFirst, false, 0, 2},
		"stale and revoked":               {authkey.RevocationPending, looks, staleFirst, true, 401, 1},
		"an outage later":                 {authkey.RevocationPending, looks, down, false, 0, 1},
		"opened, then looked up":          {authkey.RevocationPendingOpen, down, looks, false, 0, 1},
		"opened, then revoked":            {authkey.RevocationPendingOpen, down, looks, true, 401, 0},
		"opened twice":                    {authkey.RevocationPendingOpen, down, down, false, 0, 0},
		"opened, then not looked for":     {authkey.RevocationPendingOpen, down, blind, false, 503, 0},
		"looked up, then not looked for":  {authkey.RevocationPending, looks, blind, false, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens, limiter := newIssued(row.kind), &watcher{behaviour: row.first}
			stage := middleware.Authenticate(tokens).RateLimit(limiter, ratelimit.PerMinute(9)).OnFailure(middleware.FailOpen)
			a, _, refusal := admit(t, stage, request(http.MethodGet, "/"))
			refusedAs(t, refusal, 0, "")
			limiter.behaviour, limiter.revoked = row.then, row.revoked
			err := a.Take(t.Context(), nil, "requests", 1)
			refused, _ := errors.AsType[*middleware.Error](err)
			if (row.status == 0) != (err == nil) || refused != nil && refused.Status != row.status {
				t.Errorf("Take: %v, want status %d", err, row.status)
			}
			if row.status == 401 && !errors.Is(err, authkey.ErrRevoked) {
				t.Errorf("Take: %v, want the cause ErrRevoked", err)
			}
			if limiter.looked != row.looked {
				t.Errorf("the limiter looked %d times, want %d", limiter.looked, row.looked)
			}
			if last := limiter.tokens[len(limiter.tokens)-1]; last == nil {
				t.Error("the last call had no token to look for")
			}
		})
	}
}
