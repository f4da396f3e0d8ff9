package admin

import (
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

// WithLeakReports serves POST /v1/leak-reports with a handler such as one of package leak. It needs no credential of the
// admin route: the handler itself must tell whose report it believes. Pages of other sites can reach it too.
func WithLeakReports(handler http.Handler) Option {
	return optionFunc(func(c *config) error {
		if handler == nil {
			return fmt.Errorf("%w option: WithLeakReports(nil)", ErrInvalid)
		}
		c.reports = handler
		return nil
	})
}

// reported is the route of leak reports.
func (c *config) reported() rest.Route {
	return rest.Route{Pattern: "/leak-reports", Given: c.reports != nil, Handler: c.reports, Operations: []rest.Operation{{
		Method: http.MethodPost, ID: "reportLeaks", Public: true,
		Summary: "Take a report of leaked keys as GitHub's secret scanning sends it, signed: at most 500 tokens and 1 MiB.",
		BodyOf:  []leak.Match{}, Answers: map[int]any{http.StatusOK: []leak.Feedback{}},
	}}}
}
