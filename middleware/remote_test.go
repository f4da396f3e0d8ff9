package middleware_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/remotestore"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

var _ middleware.Authenticator = (*remotestore.Authenticator)(nil)

// remote is a service that knows one key, and gives the answer it holds about all others.
type remote struct {
	status     int
	kind, body string
	asked      int
}

func (s *remote) RoundTrip(r *http.Request) (*http.Response, error) {
	var question struct{ Key string }
	if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
		return nil, err
	}
	s.asked++
	status, kind, body := s.status, s.kind, s.body
	if question.Key == goodKey {
		status, kind, body = http.StatusOK, "application/json", `{"org":"acme","project":"shop","key":"k1","kind":"secret"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (s *remote) authenticator(t *testing.T) *remotestore.Authenticator {
	t.Helper()
	who, err := remotestore.New("https://auth.internal/validate", remotestore.WithTransport(s),
		remotestore.WithTimeout(calm), remotestore.WithBreaker(5, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return who
}

const (
	jsonType    = "application/json"
	unavailable = "503 unavailable 1s"
)

// A remote service that fails is an outage to a client, whatever it said of the key before.
func TestRemoteService(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		service remote
		want    string
	}{
		"unknown":               {remote{status: http.StatusUnauthorized, kind: jsonType, body: "{}"}, unknown},
		"disabled":              {remote{status: http.StatusForbidden, kind: jsonType, body: "{}"}, unknown},
		"suspended":             {remote{status: http.StatusPaymentRequired, kind: jsonType, body: "{}"}, "403 project_suspended 0s"},
		"unknown, without JSON": {remote{status: http.StatusUnauthorized}, unavailable},
		"away from an ingress":  {remote{status: http.StatusNotFound, kind: "text/plain", body: "default backend - 404"}, unavailable},
		"overloaded":            {remote{status: http.StatusTooManyRequests}, unavailable},
		"broken":                {remote{status: http.StatusInternalServerError}, unavailable},
		"somewhere else":        {remote{status: http.StatusFound}, unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &guesses{stage: middleware.Authenticate(row.service.authenticator(t))}
			g.calls(t, 1, "guess", here, row.want)
		})
	}
}

// Guesses that a service refuses are counted in whatever words it does, and its odd answers are nobody's failure. In
// no case do they keep others out.
func TestGuessesAtARemoteService(t *testing.T) {
	t.Parallel()
	const guesses30, limit = 30, 20
	for name, row := range map[string]struct {
		service        remote
		first, last    string
		asked, charges int
	}{
		"unknown":       {remote{status: http.StatusUnauthorized, kind: jsonType, body: "{}"}, unknown, blocked60, limit + 1, limit + 1},
		"malformed":     {remote{status: http.StatusBadRequest, kind: jsonType, body: `{"code":"malformed"}`}, unknown, blocked60, limit + 1, limit + 1},
		"400":           {remote{status: http.StatusBadRequest}, unavailable, unavailable, guesses30, 0},
		"an ingress":    {remote{status: http.StatusNotFound, kind: "text/plain", body: "default backend - 404"}, unavailable, unavailable, guesses30, 0},
		"no JSON":       {remote{status: http.StatusOK, kind: "text/html", body: "<html>"}, unavailable, unavailable, guesses30, 0},
		"a broken page": {remote{status: http.StatusInternalServerError}, unavailable, unavailable, 5, 0}, // which opens the breaker
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBudget()
			g := &guesses{stage: middleware.Authenticate(row.service.authenticator(t),
				middleware.WithFailureBudget(b, ratelimit.PerMinute(limit).Fixed(), middleware.ClientNetwork()))}
			for i := range guesses30 {
				want := row.first
				if i >= limit {
					want = row.last
				}
				g.calls(t, 1, fmt.Sprint("guess", i), here, want)
			}
			if row.service.asked != row.asked || b.calls() != row.charges {
				t.Errorf("%d questions and %d charges, want %d and %d", row.service.asked, b.calls(), row.asked, row.charges)
			}
			if row.service.status < http.StatusInternalServerError {
				g.calls(t, 1, goodKey, there, "200")
			}
		})
	}
}
