package adaptertest

import (
	"fmt"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// answerFailures is that to a network which is blocked. It tells of no limit, and challenges nobody to try again.
const answerFailures = `
	429
	Cache-Control: no-store
	Content-Type: application/problem+json
	Retry-After: 60
	X-Request-Id: t1

	{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"Too many requests with credentials that are not valid came from this network.","code":"too_many_failures","request_id":"t1"}`

// budgets are about how many failures a network may have. All requests come from one.
func budgets() []scenario {
	const guess = "GET /items/7\nX-API-Key: nobody"
	two := func(w *world) middleware.Stage {
		return w.auth(middleware.WithFailureBudget(w, ratelimit.PerMinute(2), middleware.ClientNetwork())).RateLimit(w, ratelimit.PerMinute(9))
	}
	return []scenario{{
		name: "Budget/Blocked", why: "who guesses is told to wait, with a good key too, and nobody is asked then",
		stage: two, sends: []exchange{{guess, answerInvalid}, {guess, answerInvalid}, {guess, answerFailures}, {guess, answerFailures}, {get, answerFailures}},
		calls: "authenticate 3, refresh 0, limit 3",
		events: `
			failures allowed GET /items/{id}
			authenticate refused GET /items/{id} invalid_credential
			failures allowed GET /items/{id}
			authenticate refused GET /items/{id} invalid_credential
			failures refused GET /items/{id}
			authenticate refused GET /items/{id} too_many_failures
			authenticate refused GET /items/{id} too_many_failures
			authenticate refused GET /items/{id} too_many_failures`,
	}, {
		name: "Budget/NotCounted", why: "only a credential that nobody knows is a guess",
		stage: two, sends: []exchange{
			{"GET /items/7", answerMissing}, {"GET /items/7\nX-API-Key: malformed", answerInvalid}, {"GET /items/7\nX-API-Key: revoked", answerInvalid},
			{"GET /items/7\nX-API-Key: expired", answerInvalid}, {"GET /items/7\nX-API-Key: down", answerUnavailable},
		},
		calls: "authenticate 4, refresh 0, limit 0",
	}, {
		name: "Budget/Open", why: "without a limiter a failure is refused as what it is",
		before: func(w *world) { w.broken = fmt.Errorf("%w: connection refused", ratelimit.ErrUnavailable) },
		stage:  two, sends: []exchange{{guess, answerInvalid}, {guess, answerInvalid}},
		events: `
			failures opened GET /items/{id} unavailable
			authenticate refused GET /items/{id} invalid_credential
			failures opened GET /items/{id} unavailable
			authenticate refused GET /items/{id} invalid_credential`,
	}}
}
