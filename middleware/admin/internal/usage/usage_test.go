package usage_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/usage"
	"github.com/tollgate-go/tollgate/middleware/meter"
)

// bounds is a reader whose items are the bounds of what it was asked for.
type bounds struct{}

func (bounds) Usage(_ context.Context, q meter.Query) ([]meter.Item, error) {
	return []meter.Item{{Period: q.From}, {Period: q.To}}, nil
}

// Whatever the query is, it is served or refused as one.
func FuzzQuery(f *testing.F) {
	server := rest.Server{
		Authorize: func(*http.Request) (rest.Actor, error) { return rest.Actor{}, nil }, Log: slog.New(slog.DiscardHandler),
	}
	h := server.Handler((&usage.Resources{Reader: bounds{}}).Routes())
	for _, seed := range []string{
		"", "limit=1", "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&step=day", "cursor=bnVsbA", "%", "a=b;c", "limit=1&limit=2", "to=0000-01-01T00:00:00Z", "to=9999-12-31T23:30:00Z",
		"cursor=eyJmIjowLCJ0IjowLCJsIjp7InBlcmlvZCI6IjIwMjYtMDEtMDFUMDA6MDA6MDBaIn0sInMiOiJob3VyIn0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/v1/orgs/o/usage", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var problem struct {
			Code string `json:"code"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Code != 200 && (w.Code != 400 || problem.Code != "invalid_query") {
			t.Errorf("?%s: %d %s, %v", query, w.Code, w.Body, err)
		}
	})
}
