package admin

import (
	"fmt"
	"net/http"
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

// withReports returns a handler that also serves leak reports, where they are given.
func (c *config) withReports(routes http.Handler) http.Handler {
	if c.reports == nil {
		return routes
	}
	mux := http.NewServeMux()
	mux.Handle(c.server.Prefix+"/v1/leak-reports", c.reports)
	mux.Handle("/", routes)
	return mux
}
