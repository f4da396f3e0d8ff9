package httpkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

type everyone struct{}

func (everyone) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return &authkey.Identity{Org: "acme", Project: "shop", Key: "k", Kind: authkey.KindSecret, Notes: new(authkey.Notes)}, nil
}
func (a everyone) Refresh(c context.Context, p authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return a.Authenticate(c, p)
}

type rec chan middleware.Usage

func (r rec) Record(u middleware.Usage) { r <- u }

// TestLateHandlerWithin fails behind a timeout: it is not billed as if it had answered.
func TestLateHandlerWithin(t *testing.T) {
	usage := make(rec, 9)
	events := make(chan middleware.Event, 9)
	auth := middleware.Authenticate(everyone{}, middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) {
		if e.Step == middleware.StepHandler {
			events <- e
		}
	})))
	search := auth.Meter(usage, "stores", "search").Billable(func(s int) bool { return s < 500 })
	release := make(chan struct{})
	inner := httpkit.Middleware(search)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		<-release
		w.WriteHeader(http.StatusInternalServerError)
	}))
	h := httpkit.Middleware(auth)(http.TimeoutHandler(inner, time.Millisecond, "late"))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Api-Key", "some-key")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	close(release)
	e := <-events
	t.Logf("client got %d; event status %d size %d", w.Code, e.Status, e.Size)
	select {
	case u := <-usage:
		t.Fatalf("billed %+v: client got %d, the handler answered 500", u, w.Code)
	default:
	}
}
