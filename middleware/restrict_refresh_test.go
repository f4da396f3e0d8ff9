package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// A change between the cache and the limit acts as if it had been there from the beginning.
func TestRestrictionsOnRefresh(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for name, row := range map[string]struct {
		edit   func(*authkey.Identity) // of what Refresh finds
		status int
		code   string
		want   http.Header
	}{
		"nothing changed": {func(*authkey.Identity) {}, 0, "", nil},
		"network":         {func(id *authkey.Identity) { id.Networks = prefixes("192.0.2.0/24") }, 403, middleware.CodeNetwork, nil},
		"origin":          {publishable, 403, middleware.CodeOrigin, nil},
		"rotated":         {func(id *authkey.Identity) { id.SupersededAt = since }, 0, "", http.Header{"Deprecation": {"@1772323200"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := demoCallers()
			fresh := *known.known[goodKey]
			fresh.Epoch = 2
			row.edit(&fresh)
			known.refreshed = map[string]*authkey.Identity{goodKey: &fresh}
			limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
				if r.Epoch != 2 {
					return ratelimit.Decision{}, ratelimit.ErrStale
				}
				if row.status != 0 {
					t.Error("it was charged")
				}
				return allow(r)
			})
			r := request(http.MethodGet, "/")
			r.RemoteAddr = "203.0.113.1:1"
			r.Header.Set("Origin", "https://evil.test")
			cors := middleware.WithCORS(middleware.CORS{Origins: []string{"*"}})
			_, h, refusal := admit(t, middleware.Authenticate(known, cors).RateLimit(limiter, ratelimit.PerMinute(9)), r)
			refusedAs(t, refusal, row.status, row.code)
			for field := range row.want {
				if h.Get(field) != row.want.Get(field) {
					t.Errorf("%s: %q, want %q", field, h.Get(field), row.want.Get(field))
				}
			}
			if got, want := h.Get("Access-Control-Allow-Origin"), row.code != middleware.CodeOrigin; (got != "") != want {
				t.Errorf("Access-Control-Allow-Origin is %q; may the page read it: %v", got, want)
			}
		})
	}
}

// A handler may take without a header to write to.
func TestRestrictionsOnRefreshInHandler(t *testing.T) {
	t.Parallel()
	known := demoCallers()
	fresh := *known.known[goodKey]
	fresh.Epoch, fresh.SupersededAt = 2, time.Unix(1, 0)
	known.refreshed = map[string]*authkey.Identity{goodKey: &fresh}
	epoch := int64(1)
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		if r.Epoch != epoch {
			return ratelimit.Decision{}, ratelimit.ErrStale
		}
		return allow(r)
	})
	auth := middleware.Authenticate(known, middleware.WithCORS(middleware.CORS{Origins: []string{"*"}}))
	r := request(http.MethodGet, "/")
	r.Header.Set("Origin", "https://shop.test")
	a, _, refusal := admit(t, auth.RateLimit(limiter, ratelimit.PerMinute(9)), r)
	refusedAs(t, refusal, 0, "")
	epoch = 2
	if err := a.Take(t.Context(), nil, "requests", 1); err != nil || a.Identity() != &fresh {
		t.Errorf("Take: %v, by %v", err, a.Identity())
	}
	epoch, fresh.Networks = 3, prefixes("2001:db8::/32")
	var refused *middleware.Error
	if err := a.Take(t.Context(), nil, "requests", 1); !errors.As(err, &refused) || refused.Code != middleware.CodeNetwork {
		t.Errorf("Take from another network: %v", err)
	}
}

func TestSuspendedOnRefresh(t *testing.T) {
	t.Parallel()
	known := &suspending{callers: demoCallers()}
	limiter := limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) { return ratelimit.Decision{}, ratelimit.ErrStale })
	_, h, refusal := admit(t, middleware.Authenticate(known).RateLimit(limiter, ratelimit.PerMinute(1)), request(http.MethodGet, "/"))
	refusedAs(t, refusal, http.StatusForbidden, middleware.CodeSuspended)
	w := httptest.NewRecorder()
	refusal.Render(w, request(http.MethodGet, "/"))
	if w.Header().Get("WWW-Authenticate") != "" || h.Get("RateLimit") != "" || strings.Contains(w.Body.String(), "key") {
		t.Errorf("got %v and %s", w.Header(), w.Body)
	}
}

// suspending finds a project suspended that was not.
type suspending struct{ *callers }

func (suspending) Refresh(context.Context, authkey.Presented, *authkey.Identity) (*authkey.Identity, error) {
	return nil, authkey.ErrSuspended
}

func TestOutgoingCredential(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 3, 1, 12, 30, 0, 999, time.FixedZone("", 3600))
	until := time.Date(2026, 3, 2, 0, 30, 15, 999_999_999, time.FixedZone("", 3600))
	const deprecation, sunset = "@1772364600", "Sun, 01 Mar 2026 23:30:15 GMT"
	for name, row := range map[string]struct {
		since, until        time.Time
		stage               func(*middleware.Authenticated) middleware.Stage
		status              int
		deprecation, sunset string
	}{
		"the newest":            {time.Time{}, until, nil, 0, "", ""},
		"outgoing":              {since, until, nil, 0, deprecation, sunset},
		"outgoing without end":  {since, time.Time{}, nil, 0, deprecation, ""},
		"refused for its scope": {since, until, func(s *middleware.Authenticated) middleware.Stage { return s.RequireScope("admin") }, 403, deprecation, sunset},
		"refused by a limit": {since, until, func(s *middleware.Authenticated) middleware.Stage {
			return s.RateLimit(limiterFunc(deny), ratelimit.PerMinute(1))
		}, 429, deprecation, sunset},
		"refused by its network": {since, until, nil, 403, deprecation, sunset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := changed(func(id *authkey.Identity) {
				id.SupersededAt, id.ExpiresAt = row.since, row.until
				if row.stage == nil && row.status != 0 {
					id.Networks = prefixes("2001:db8::/32")
				}
			})
			var stage middleware.Stage = middleware.Authenticate(known)
			if row.stage != nil {
				stage = row.stage(middleware.Authenticate(known))
			}
			_, h, refusal := admit(t, stage, request(http.MethodGet, "/"))
			if (refusal == nil) != (row.status == 0) || refusal != nil && refusal.Status != row.status {
				t.Errorf("refused with %v, want %d", refusal, row.status)
			}
			if h.Get("Deprecation") != row.deprecation || h.Get("Sunset") != row.sunset {
				t.Errorf("got %v, want %q and %q", h, row.deprecation, row.sunset)
			}
		})
	}
}

// deny refuses everything.
func deny(r ratelimit.Request) (ratelimit.Decision, error) {
	d, err := allow(r)
	d.Allowed, d.Results[0].Exceeded = false, true
	return d, err
}

// An authenticator that answers with nobody when it is asked anew lets nobody pass.
func TestRefreshThatNamesNobody(t *testing.T) {
	t.Parallel()
	known := demoCallers()
	known.refreshed = map[string]*authkey.Identity{goodKey: nil}
	limiter := limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) { return ratelimit.Decision{}, ratelimit.ErrStale })
	stage := middleware.Authenticate(known).RateLimit(limiter, ratelimit.PerMinute(1))
	_, refusal := stage.Admit(http.Header{}, request(http.MethodGet, "/"), "GET /")
	if refusal == nil || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("refusal %v, want 503", refusal)
	}
}
