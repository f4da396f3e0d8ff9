package middleware_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// The map of fields is the handler's own. Values are the caller's, who may be asked for them later.
func TestHandlerDoesNotReachTheCallersFields(t *testing.T) {
	t.Parallel()
	r := request("GET", "/")
	r.Header["Accept"] = append(make([]string, 0, 4), "text/plain")
	r.Header["Authorization"] = append(make([]string, 0, 4), "Digest a", "Bearer "+goodKey, "Digest b")
	r.Header.Del("X-Api-Key")
	before := r.Header.Clone()
	bearer := middleware.Authenticate(demoCallers(), middleware.WithSources(middleware.Header("X-API-Key"), middleware.Bearer()))
	// Two fields are refused, but the bearer is taken out all the same: observers see the request.
	var seen *http.Request
	watched := middleware.Authenticate(demoCallers(), middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) { seen = e.Request })))
	if _, _, refusal := admit(t, watched, r); refusal == nil || !slices.Equal(seen.Header["Authorization"], []string{"Digest a", "Digest b"}) {
		t.Fatalf("refusal %v, an observer saw %v", refusal, seen.Header)
	}
	r.Header.Del("Authorization")
	delete(before, "Authorization")
	r.Header.Set("X-Api-Key", goodKey)
	before.Set("X-Api-Key", goodKey)
	a, _, refusal := admit(t, bearer, r)
	if refusal != nil {
		t.Fatal(refusal)
	}
	inner := a.Request().Header
	inner.Add("Accept", "image/png")
	inner.Set("X-New", "1")
	inner["Accept"] = append(inner["Accept"], "audio/ogg")
	if got := fmt.Sprint(r.Header); got != fmt.Sprint(before) {
		t.Errorf("the caller has %s, want %v", got, before)
	}
	if got := r.Header["Accept"][:cap(r.Header["Accept"])]; !slices.Equal(got, []string{"text/plain", "", "", ""}) {
		t.Errorf("behind the caller's values is %q", got)
	}
	if inner.Get("X-Api-Key") != "" {
		t.Error("the handler sees the credential")
	}
}

// A stage within another takes the credential out of a request of its own.
func TestOuterStageKeepsItsRequest(t *testing.T) {
	t.Parallel()
	outer, _, refusal := admit(t, middleware.LimitBy(middleware.Everyone(), limiterFunc(allow), ratelimit.PerMinute(10)), request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	given := outer.Request()
	inner, _, refusal := admit(t, middleware.Authenticate(demoCallers()), given)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if given.Header.Get("X-Api-Key") != goodKey || inner.Request().Header.Get("X-Api-Key") != "" {
		t.Errorf("outside the fields are %v, inside %v; want the credential outside alone", given.Header, inner.Request().Header)
	}
}

// A handler may outlive its request, as behind http.TimeoutHandler, and meet a stage then. The race detector looks.
func TestStageWithinOneThatEnds(t *testing.T) {
	t.Parallel()
	var observed sync.Mutex
	watched := middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) {
		observed.Lock()
		defer observed.Unlock()
		if e.Request == nil || e.Identity == nil {
			t.Errorf("event %+v", e)
		}
	}))
	auth := middleware.Authenticate(demoCallers(), watched)
	inner := auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(10)).Meter(&ledger{}, "stores", "search")
	for range 200 {
		a, _, refusal := admit(t, auth, request("GET", "/"))
		if refusal != nil {
			t.Fatal(refusal)
		}
		var late sync.WaitGroup
		given := a.Request()
		late.Go(func() {
			within, refusal := inner.Admit(http.Header{}, given, "GET /")
			switch {
			case refusal == nil:
				within.Done(http.StatusOK, 0)
			case refusal.Status != http.StatusServiceUnavailable:
				t.Error(refusal)
			}
		})
		a.Done(http.StatusServiceUnavailable, 0)
		late.Wait()
	}
}

// TestAdmissionShowsNoCredential prints what a handler may come to print.
func TestAdmissionShowsNoCredential(t *testing.T) {
	t.Parallel()
	a, _, refusal := admit(t, middleware.Authenticate(demoCallers()), request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for name, value := range map[string]any{"admission": a, "context": a.Request().Context(), "request": a.Request(), "a struct": struct{ A any }{a}} {
			if text := fmt.Sprintf(format, value); strings.Contains(text, goodKey) {
				t.Errorf("%s of the %s shows the credential: %s", format, name, text)
			}
		}
	}
	if got := fmt.Sprint(a); got != "admission of GET /v1/search" {
		t.Errorf("it prints %q", got)
	}
}
