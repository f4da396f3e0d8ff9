package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// shared is the world as a limiter of which this process has half while it is out of reach.
type shared struct{ *world }

func (s shared) AdmitLocal(ctx context.Context, request ratelimit.Request) (ratelimit.Decision, error) {
	request.Epoch, request.Token, request.Charges = 0, nil, slices.Clone(request.Charges)
	for i := range request.Charges {
		request.Charges[i].Policy.Limit /= 2
	}
	broken := s.broken
	s.broken = nil
	defer func() { s.broken = broken }()
	return s.Admit(ctx, request)
}

// answerShare is of a request beyond the share: as of one beyond the limit, but that nobody counted, so no field tells.
const answerShare = `
	429
	Cache-Control: no-store
	Content-Type: application/problem+json
	Retry-After: 60
	X-Request-Id: t1

	{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["requests"],"violations":[{"policy":"requests","partition":"project","retry_after":60}]}`

// shares are about limits that go by a share while their limiter is out of reach.
func shares() []scenario {
	stage := func(w *world) middleware.Stage {
		return w.auth().RateLimit(shared{w}, ratelimit.PerMinute(4)).OnFailure(middleware.FailLocal)
	}
	down := func(w *world) { w.broken = fmt.Errorf("%w: connection refused", ratelimit.ErrUnavailable) }
	return []scenario{{
		name: "Local/Share", why: "what the share allows passes, the rest is refused as by the limit, and no field claims to have counted",
		stage: stage, before: down, sends: []exchange{{get, answerOK}, {get, answerOK}, {get, answerShare}},
		events: `
			authenticate allowed GET /items/{id}
			rate_limit local GET /items/{id} unavailable
			handler allowed GET /items/{id} 200 2
			authenticate allowed GET /items/{id}
			rate_limit local GET /items/{id} unavailable
			handler allowed GET /items/{id} 200 2
			authenticate allowed GET /items/{id}
			rate_limit refused GET /items/{id} limit_reached`,
	}, {
		name: "Local/Take", why: "what the handler takes comes from the share, too",
		stage: stage, before: down, sends: []exchange{{get, answerShare}},
		handler: func(w http.ResponseWriter, r *http.Request) {
			a, _ := middleware.FromContext(r.Context())
			err := a.Take(r.Context(), w.Header(), "requests", 1)
			var refusal *middleware.Error
			if err == nil && errors.As(a.Take(r.Context(), w.Header(), "requests", 1), &refusal) {
				refusal.Render(w, r)
				return
			}
			fmt.Fprintf(w, "Take: %v, then no refusal", err)
		},
	}, {
		name: "Local/Reachable", why: "while the limiter answers, nobody asks for the share",
		stage: func(w *world) middleware.Stage {
			return w.auth().RateLimit(shared{w}, ratelimit.PerMinute(2)).OnFailure(middleware.FailLocal)
		},
		sends: []exchange{{get, answerFirst}, {get, answerSecond}, {get, answerThird}}, calls: "authenticate 3, refresh 0, limit 3",
	}}
}
