package echokit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// anyone is an Authenticator that knows everybody who shows something, and a Limiter that refuses
// whatever has a cost.
type anyone struct{}

func (anyone) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return &authkey.Identity{Org: "acme", Project: "shop"}, nil
}

func (a anyone) Refresh(ctx context.Context, p authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return a.Authenticate(ctx, p)
}

func (anyone) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	c := r.Charges[0]
	return ratelimit.Decision{Allowed: c.Cost == 0, Results: []ratelimit.Result{{
		Policy: c.Policy.Name, Limit: c.Policy.Limit, Window: c.Policy.Window, Cost: c.Cost, Exceeded: c.Cost > 0, RetryAfter: 1,
	}}}, nil
}

// watched returns a stage, and the events of its handlers.
func watched(opts ...middleware.Option) (*middleware.Authenticated, <-chan middleware.Event) {
	events := make(chan middleware.Event, 4)
	return middleware.Authenticate(anyone{}, append(opts, middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) {
		if e.Step == middleware.StepHandler {
			events <- e
		}
	})))...), events
}

func serve(t *testing.T, h http.Handler, method, target string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	r.Header.Set("X-API-Key", "key")
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func ok(c echo.Context) error { return c.String(http.StatusOK, "ok") }

// next returns the event of a request that was answered.
func next(t *testing.T, events <-chan middleware.Event) middleware.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second): // instead of hanging
		t.Fatal("the request was not counted")
		return middleware.Event{}
	}
}

func TestMountPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if err, _ := recover().(error); err == nil {
			t.Error("want a panic with an error")
		}
	}()
	echokit.Middleware(middleware.Authenticate(nil))
}

// TestRefusal shows that a refusal goes Echo's way: it is returned, and its response is committed.
func TestRefusal(t *testing.T) {
	t.Parallel()
	stage, _ := watched()
	e, handled := echo.New(), 0
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		handled++
		var refusal *middleware.Error
		if !errors.As(err, &refusal) || refusal.Code != middleware.CodeMissing || !c.Response().Committed {
			t.Errorf("error %v, committed %v", err, c.Response().Committed)
		}
	}
	e.GET("/", func(echo.Context) error { t.Error("the handler ran"); return nil }, echokit.Middleware(stage))
	if w := serve(t, e, http.MethodGet, "/", "X-API-Key", ""); w.Code != http.StatusUnauthorized || handled != 1 {
		t.Errorf("status %d, error handler ran %d times", w.Code, handled)
	}
}

var errDomain = errors.New("no such thing")

// TestReturnedError is about errors that a handler returns: what is counted is what the client got.
func TestReturnedError(t *testing.T) {
	t.Parallel()
	render := middleware.WithRenderer(func(w http.ResponseWriter, r *http.Request, e *middleware.Error) {
		e.SetHeaders(w.Header(), r)
		w.WriteHeader(e.Status)
		_, _ = w.Write([]byte("sorry: " + e.Code))
	})
	take := func(c echo.Context) error {
		a, _ := middleware.FromContext(c.Request().Context())
		return a.Take(c.Request().Context(), c.Response().Header(), "rows", 1)
	}
	for name, row := range map[string]struct {
		handler echo.HandlerFunc
		status  int
		body    string
	}{
		"a refusal":             {take, 429, "sorry: limit_reached"},
		"a wrapped refusal":     {func(c echo.Context) error { return errors.Join(errDomain, take(c)) }, 429, "sorry: limit_reached"},
		"a refusal, too late":   {func(c echo.Context) error { return errors.Join(c.String(202, "half"), take(c)) }, 202, "half"},
		"an error of Echo":      {func(echo.Context) error { return echo.NewHTTPError(404, "gone") }, 404, "{\"message\":\"gone\"}\n"},
		"an error of one's own": {func(echo.Context) error { return errDomain }, 409, "no such thing"},
		"a status never sent":   {func(c echo.Context) error { c.Response().Status = http.StatusTeapot; return nil }, 200, ""},
		"nothing":               {func(echo.Context) error { return nil }, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth, events := watched(render)
			stage := auth.RateLimit(anyone{}, ratelimit.PerMinute(5).Named("rows")).Cost("rows", middleware.Later)
			e, handled := echo.New(), 0
			e.HTTPErrorHandler = func(err error, c echo.Context) {
				if c.Response().Committed {
					return
				}
				if handled++; errors.Is(err, errDomain) {
					err = c.String(http.StatusConflict, err.Error())
				}
				e.DefaultHTTPErrorHandler(err, c)
			}
			var seen error
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error { seen = next(c); return seen }
			}, echokit.Middleware(auth))
			e.GET("/", row.handler, echokit.Middleware(stage))
			if w := serve(t, e, http.MethodGet, "/"); w.Code != row.status || w.Body.String() != row.body {
				t.Errorf("answer %d %q, want %d %q", w.Code, w.Body, row.status, row.body)
			}
			if event := next(t, events); event.Status != row.status || event.Size != int64(len(row.body)) {
				t.Errorf("counted %d %d", event.Status, event.Size)
			}
			if handled > 1 || (seen == nil) != (row.status == http.StatusOK) {
				t.Errorf("error handler wrote %d times; outside saw %v", handled, seen)
			}
		})
	}
}

// TestOuterRequest shows what middleware outside sees afterwards.
func TestOuterRequest(t *testing.T) {
	t.Parallel()
	type key struct{}
	stage, _ := watched()
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			writer := c.Response().Writer
			c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), key{}, "outer")))
			err := next(c)
			a, admitted := middleware.FromContext(c.Request().Context())
			if !admitted || a.Identity().Project != "shop" {
				t.Error("no admission in the request's context")
			}
			if got := c.Request().Header.Get("X-API-Key"); got != "" {
				t.Errorf("credential %q is back", got)
			}
			if got := c.Request().Context().Value(key{}); got != "outer" {
				t.Errorf("context has %v, want what it had outside", got)
			}
			if c.Response().Writer != writer {
				t.Error("the writer is not the one of before")
			}
			return err
		}
	}, echokit.Middleware(stage))
	e.GET("/", func(c echo.Context) error {
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), key{}, "inner")))
		return ok(c)
	})
	if w := serve(t, e, http.MethodGet, "/"); w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

// TestRequestID shows that the id that a middleware outside chose is the one in a refusal.
func TestRequestID(t *testing.T) {
	t.Parallel()
	stage, _ := watched()
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header().Set("X-Request-Id", "outer-1")
			return next(c)
		}
	}, echokit.Middleware(stage))
	w := serve(t, e, http.MethodGet, "/", "X-API-Key", "")
	if got := w.Header()["X-Request-Id"]; len(got) != 1 || got[0] != "outer-1" {
		t.Errorf("X-Request-Id %q, want the one that was there", got)
	}
}

// TestAllocations holds what the adapter itself costs, besides the stage: the writer.
func TestAllocations(t *testing.T) {
	stage := middleware.Authenticate(anyone{})
	bare, staged := echo.New(), echo.New()
	nothing := func(echo.Context) error { return nil }
	bare.GET("/items/:id", nothing)
	staged.GET("/items/:id", nothing, echokit.Middleware(stage))
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/items/7", http.NoBody)
	r.Header.Set("X-API-Key", "key")
	without := testing.AllocsPerRun(100, func() { bare.ServeHTTP(w, r) })
	alone := testing.AllocsPerRun(100, func() {
		if a, _ := stage.Admit(w.Header(), r, "GET /items/{id}"); a != nil {
			a.Done(http.StatusOK, 0)
		}
	})
	if added := testing.AllocsPerRun(100, func() { staged.ServeHTTP(w, r) }) - without - alone; added > 10 {
		t.Errorf("the adapter allocates %v times", added)
	} else {
		t.Logf("the adapter allocates %v times", added)
	}
}

func TestPreflightIsNoError(t *testing.T) {
	t.Parallel()
	auth, _ := watched(middleware.WithCORS(middleware.CORS{Origins: []string{"https://shop.example"}}))
	var reported error
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			reported = next(c)
			return reported
		}
	}, echokit.Middleware(auth))
	e.GET("/", ok)
	w := serve(t, e, http.MethodOptions, "/", "Origin", "https://shop.example", "Access-Control-Request-Method", http.MethodGet)
	if w.Code != http.StatusNoContent || reported != nil {
		t.Errorf("%d, error %v; want 204 and none", w.Code, reported)
	}
}
