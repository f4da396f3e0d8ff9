// Package echokit mounts the stages of package middleware in Echo.
//
//	auth := middleware.Authenticate(verifier)
//	search := auth.RateLimit(limiter, ratelimit.PerMinute(100)).Meter(usage, "stores", "search")
//
//	e := echo.New()
//	e.Use(echomiddleware.Recover(), echokit.Middleware(auth)) // before all routes, also those that do not exist
//	e.GET("/v1/stores/:id", func(c echo.Context) error {
//		admission, _ := middleware.FromContext(c.Request().Context())
//		return c.String(200, admission.Identity().Project)
//	}, echokit.Middleware(search))
//
// # Endpoints
//
// The endpoint is the path of Echo's route, written as net/http does: "GET /v1/stores/{id}", with "{...}"
// for "*". Requests that no route takes are middleware.Unmatched, whatever RouteNotFound does with them,
// and so is every request at a stage that Echo.Pre mounts, for nothing is routed yet.
//
// # Requests and errors
//
// c.Request becomes the request without the credential and with the admission in its context, and stays
// so for middleware outside, such as an access logger; what middleware inside made of it is undone. Only a
// refused request is left as it came.
//
// A refusal is written by its renderer and returned; Echo's error handler leaves a committed response
// alone, and one of your own finds the *middleware.Error with errors.As and should do so too. A
// *middleware.Error that a handler returns, as from Admission.Take, is written in the same way. Any other
// error goes to Echo's error handler at once, as it does in Echo's own Logger, so that what is counted is
// what the client got; then it is returned.
package echokit

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/internal/mount"
	"github.com/tollgate-go/tollgate/adapters/internal/watch"
	"github.com/tollgate-go/tollgate/middleware"
)

// Middleware returns a function that puts the stage before a handler. It panics with stage.Err() if the
// stage is not well made. The function may be mounted many times and is safe for concurrent use.
//
// A panic goes on unchanged, after the stage counted it as status 500. A connection that a handler
// hijacked counts as 101; what the request holds then, such as a place among concurrent requests, it holds
// until the connection is closed.
func Middleware(stage middleware.Stage) echo.MiddlewareFunc {
	mount.Check("echokit", stage)
	names := new(mount.Names)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			seen, room := allocate(c)
			admission, refusal := stage.AdmitInto(room, c.Response().Header(), c.Request(), endpoint(c, names))
			if refusal != nil {
				refusal.Render(c.Response(), c.Request())
				if refusal.Status < http.StatusBadRequest { // the answer to a preflight is no error
					return nil
				}
				return refusal
			}
			return pass(c, admission, seen, next)
		}
	}
}

// passage is all that a request needs: one allocation. Of the response is seen what Echo's own writer does not tell: that
// the connection was taken over, and that a flush began it, as 200, before it had a status.
type passage struct {
	room middleware.Admission
	seen watch.Response
}

// allocate returns what a stage needs of a passage. A stage within another has no admission of its own.
func allocate(c echo.Context) (*watch.Response, *middleware.Admission) {
	if _, nested := middleware.FromContext(c.Request().Context()); nested {
		return new(watch.Response), nil
	}
	p := new(passage)
	return &p.seen, &p.room
}

// endpoint names the route. Echo's Path also tells of a route with another method, and of RouteNotFound,
// which every group with middleware has: neither is a route that took the request.
func endpoint(c echo.Context, names *mount.Names) string {
	method, path := c.Request().Method, c.Path()
	if name, ok := names.Get(method, path); ok {
		return name
	}
	if path == "" || !registered(c.Echo(), method, path) {
		return middleware.Unmatched
	}
	return names.Add(method, path)
}

func registered(e *echo.Echo, method, path string) bool {
	has := func(routes []*echo.Route) bool {
		for _, r := range routes {
			if r.Method == method && r.Path == path {
				return true
			}
		}
		return false
	}
	for _, hosted := range e.Routers() {
		if has(hosted.Routes()) {
			return true
		}
	}
	return has(e.Routes())
}

func pass(c echo.Context, admission *middleware.Admission, seen *watch.Response, next echo.HandlerFunc) error {
	request, response := admission.Request(), c.Response()
	outer, status := response.Writer, http.StatusInternalServerError
	c.SetRequest(request)
	response.Writer = watch.Writer(seen, outer, admission)
	defer func() {
		response.Writer = outer
		c.SetRequest(request)
		admission.Done(status, response.Size)
	}()
	err := next(c)
	if err != nil && !response.Committed && !seen.Hijacked {
		answer(c, err)
	}
	status = cmp.Or(seen.Status, http.StatusOK) // what net/http makes of a response that nobody wrote
	if seen.Hijacked {
		status = http.StatusSwitchingProtocols
	}
	return err
}

// answer writes the response to an error that a handler returned.
func answer(c echo.Context, err error) {
	if refusal, ok := errors.AsType[*middleware.Error](err); ok {
		refusal.Render(c.Response(), c.Request())
		return
	}
	c.Error(err)
}
