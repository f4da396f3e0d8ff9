package inprocess

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/examples/bench/internal/service"
)

// Request is a step in which a handler answers a request, the same one each time, with a writer that keeps nothing. Any
// other answer than 200 is an error.
func Request(ctx context.Context, name string, h http.Handler, credential http.Header) (Step, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example.com"+service.Path, http.NoBody)
	if err != nil {
		return Step{}, err
	}
	r.RequestURI, r.RemoteAddr = service.Path, "192.0.2.7:50000"
	r.Header = credential.Clone()
	r.Header.Set("Accept", "application/json")
	w := &writer{header: make(http.Header)}
	return Step{Name: name, Do: func() error {
		clear(w.header)
		w.status = http.StatusOK
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			return fmt.Errorf("answered %d: %v", w.status, w.header)
		}
		return nil
	}}, nil
}

type writer struct {
	header http.Header
	status int
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(b []byte) (int, error) { return len(b), nil }
func (w *writer) WriteHeader(status int)      { w.status = status }
