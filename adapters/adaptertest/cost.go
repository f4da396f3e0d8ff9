package adaptertest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const answerCost = `
	400
	Cache-Control: no-store
	Content-Type: application/problem+json
	X-Request-Id: t1

	{"type":"about:blank","title":"Bad Request","status":400,"detail":"The cost of the request cannot be told.","code":"invalid_cost","request_id":"t1"}`

// bodyCost reads the cost from the body, and puts the body back.
func bodyCost(r *http.Request) (int64, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64))
	if err != nil {
		return 0, err
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	return strconv.ParseInt(string(body), 10, 64)
}

// echoBody answers with the body of the request.
func echoBody(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(body)
}

// take takes as many units as the query says.
func take(w http.ResponseWriter, r *http.Request) {
	admission, _ := middleware.FromContext(r.Context())
	units, _ := strconv.ParseInt(r.URL.Query().Get("units"), 10, 64)
	err := admission.Take(r.Context(), w.Header(), r.URL.Query().Get("policy"), units)
	if refusal, ok := errors.AsType[*middleware.Error](err); ok {
		refusal.Render(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "took %d: %v", units, err)
}

// costs are about what a request takes.
func costs() []scenario {
	rows := ratelimit.PerMinute(10).Named("rows")
	fromBody := func(w *world) ([]Route, []middleware.Stage) {
		stage := w.auth().RateLimit(w, rows).Cost("rows", bodyCost)
		return []Route{{Method: "POST", Pattern: "/rows", Stage: stage, Handler: http.HandlerFunc(echoBody)}}, nil
	}
	later := func(w *world) middleware.Stage {
		return w.auth().RateLimit(w, rows).Cost("rows", middleware.Later).Meter(w, "maps", "rows")
	}
	const post, ask = "POST /rows\nX-API-Key: good\n\n", "GET /items/7?policy=rows&units="
	return []scenario{{
		name: "Cost/FromBody", why: "the handler reads the body that the cost was read from",
		mount: fromBody, sends: []exchange{{post + "7", rowsAnswer(`r=3;t=60`, "7")}, {post + "3", rowsAnswer(`r=0;t=60`, "3")}},
	}, {
		name: "Cost/Zero", why: "it takes nothing",
		mount: fromBody, sends: []exchange{{post + "0", rowsAnswer(`r=10`, "0")}},
	}, {
		name: "Cost/Refused", why: "what is refused leaves the limit as it was",
		mount: fromBody, sends: []exchange{{post + "7", rowsAnswer(`r=3;t=60`, "7")}, {post + "4", rowsRefusal(true)}, {post + "3", rowsAnswer(`r=0;t=60`, "3")}},
	}, {
		name: "Cost/AboveLimit", why: "no waiting helps, so there is no Retry-After",
		mount: fromBody, sends: []exchange{{post + "11", rowsRefusal(false)}},
	}, {
		name: "Cost/Unreadable", why: "it is the client's mistake, and nothing is charged",
		mount: fromBody, sends: []exchange{{post + "many", answerCost}, {post + "-1", answerCost}, {post + "9999999999999999", answerCost}},
		calls: "authenticate 3, refresh 0, limit 0",
	}, {
		name: "Take/Granted", why: "the fields tell what is left after it",
		stage: later, handler: take, sends: []exchange{{ask + "4\nX-API-Key: good", rowsAnswer(`r=6;t=60`, "took 4: <nil>")}},
		calls: "authenticate 1, refresh 0, limit 2", usage: `acme/shop maps rows "" 1`,
		events: `
			authenticate allowed GET /items/{id}
			rate_limit allowed GET /items/{id}
			take allowed GET /items/{id}
			handler allowed GET /items/{id} 200 13`,
	}, {
		name: "Take/Refused", why: "a handler answers as the stage would have done",
		stage: later, handler: take, sends: []exchange{
			{ask + "7\nX-API-Key: good", rowsAnswer(`r=3;t=60`, "took 7: <nil>")}, {ask + "4\nX-API-Key: good", rowsRefusal(true)},
		},
	}, {
		name: "Take/AboveLimit", why: "no waiting helps, so there is no Retry-After",
		stage: later, handler: take, sends: []exchange{{ask + "11\nX-API-Key: good", rowsRefusal(false)}},
	}, {
		name: "Take/UnknownPolicy", why: "a mistake of the handler is none of the client's",
		stage: later, handler: take, sends: []exchange{{"GET /items/7?policy=none&units=1\nX-API-Key: good",
			rowsAnswer("r=10", `took 1: middleware: Take("none"): no stage of GET /items/{id} has such a policy`)}},
	}}
}

func rowsAnswer(left, body string) string {
	return "200\nContent-Type: text/plain\nRatelimit: \"rows\";" + left + "\nRatelimit-Policy: \"rows\";q=10;w=60\n\n" + body
}

// rowsRefusal is the refusal of more than 3 when 7 are used, or of more than all.
func rowsRefusal(waitingHelps bool) string {
	if waitingHelps {
		return `
			429
			Cache-Control: no-store
			Content-Type: application/problem+json
			Ratelimit: "rows";r=3;t=60
			Ratelimit-Policy: "rows";q=10;w=60
			Retry-After: 60
			X-Request-Id: t1

			{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["rows"],"violations":[{"policy":"rows","partition":"project","retry_after":60}]}`
	}
	return `
		429
		Cache-Control: no-store
		Content-Type: application/problem+json
		Ratelimit: "rows";r=10
		Ratelimit-Policy: "rows";q=10;w=60
		X-Request-Id: t1

		{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"The request asks for more than its limit allows at all.","code":"limit_reached","request_id":"t1","violated-policies":["rows"],"violations":[{"policy":"rows","partition":"project"}]}`
}

// failures are about limiters that cannot decide, and identities that are no longer current.
func failures() []scenario {
	two := ratelimit.PerMinute(2)
	guarded := func(w *world) middleware.Stage { return w.auth().RequireScope("search").RateLimit(w, two) }
	down := func(w *world) { w.broken = fmt.Errorf("%w: connection refused", ratelimit.ErrUnavailable) }
	refresh := func(f func(held *authkey.Identity) (*authkey.Identity, error)) func(*world) {
		return func(w *world) { w.epoch, w.refreshed = 2, f }
	}
	return []scenario{{
		name: "Failure/Closed", why: "nobody knows, so it is 503 and never 429",
		stage: limited(two), before: down, sends: []exchange{{get, answerUnavailable}},
		events: `
			authenticate allowed GET /items/{id}
			rate_limit failed GET /items/{id} unavailable`,
	}, {
		name: "Failure/Open", why: "it passes, and no field claims to have counted",
		stage:  func(w *world) middleware.Stage { return w.auth().RateLimit(w, two).OnFailure(middleware.FailOpen) },
		before: down, sends: []exchange{{get, answerOK}},
		events: `
			authenticate allowed GET /items/{id}
			rate_limit opened GET /items/{id} unavailable
			handler allowed GET /items/{id} 200 2`,
	}, {
		name: "Failure/NoOrg", why: "an identity that nothing can be charged to is a fault of the service",
		stage: limited(two), sends: []exchange{{"GET /items/7\nX-API-Key: lost", answerUnavailable}},
	}, {
		name: "Stale/Refreshed", why: "a changed identity is read anew, once, and then passes",
		before: func(w *world) { w.epoch = 2 }, stage: guarded, sends: []exchange{{get, answerFirst}},
		calls: "authenticate 1, refresh 1, limit 2",
	}, {
		name: "Stale/Revoked", why: "a key revoked a moment ago is refused, whatever was remembered of it", stage: guarded,
		before: refresh(func(*authkey.Identity) (*authkey.Identity, error) { return nil, authkey.ErrRevoked }),
		sends:  []exchange{{get, answerInvalid}}, calls: "authenticate 1, refresh 1, limit 1",
	}, {
		name: "Stale/NobodyCanTell", why: "an outage is never 401", stage: guarded,
		before: refresh(func(*authkey.Identity) (*authkey.Identity, error) { return nil, authkey.ErrUnavailable }),
		sends:  []exchange{{get, answerUnavailable}},
	}, {
		name: "Stale/GuardAsksAgain", why: "a scope taken a moment ago is gone",
		before: refresh(func(held *authkey.Identity) (*authkey.Identity, error) {
			fresh := *held
			fresh.Scopes, fresh.Epoch = []string{"other"}, 2
			return &fresh, nil
		}),
		stage: func(w *world) middleware.Stage {
			return w.auth().RequireScope("search", "write").RateLimit(w, two)
		},
		sends: []exchange{{get, strings.Replace(answerScope, "search admin", "search write", 1)}},
		calls: "authenticate 1, refresh 1, limit 1",
	}, {
		name: "Stale/Forever", why: "it ends, and nobody is let in",
		before: refresh(func(held *authkey.Identity) (*authkey.Identity, error) { return held, nil }),
		stage:  guarded, sends: []exchange{{get, answerUnavailable}}, calls: "authenticate 1, refresh 2, limit 3",
	}}
}
