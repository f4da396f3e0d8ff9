package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestRemoveWhileOthersEnd takes a credential out while the stage around ends: the request outside stays as it was.
func TestRemoveWhileOthersEnd(t *testing.T) {
	outer := middleware.LimitBy(middleware.Key{Name: "x", Of: func(*http.Request) string { return "x" }}, limiterFunc(allow), ratelimit.PerMinute(10))
	sources := []middleware.Source{middleware.Header("X-Api-Key")}
	for _, n := range "abcdefgh" {
		sources = append(sources, middleware.Query(string(n)))
	}
	inner := middleware.Authenticate(demoCallers(), middleware.WithSources(sources...))
	changed := 0
	for range 300 {
		r := httptest.NewRequest(http.MethodGet, "/?"+strings.Repeat("z=1&", 200), nil)
		r.Header.Set("X-Api-Key", goodKey)
		a, _, refusal := admit(t, outer, r)
		if refusal != nil {
			t.Fatal(refusal)
		}
		given := a.Request()
		var late sync.WaitGroup
		started := make(chan struct{})
		late.Go(func() {
			close(started)
			if within, refusal := inner.Admit(http.Header{}, given, "GET /"); refusal == nil {
				within.Done(200, 0)
			}
		})
		<-started
		for range 2000 {
			_ = given.Header
		}
		a.Done(503, 0)
		late.Wait()
		if given.Header.Get("X-Api-Key") != goodKey {
			changed++
		}
	}
	if changed > 0 {
		t.Errorf("%d of 300 times the request outside was changed", changed)
	}
}
