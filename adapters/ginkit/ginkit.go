// Package ginkit mounts the stages of package middleware in gin.
//
//	auth := middleware.Authenticate(verifier)
//	search := auth.RateLimit(limiter, ratelimit.PerMinute(100)).Meter(usage, "stores", "search")
//
//	router := gin.New()
//	router.Use(gin.Recovery(), ginkit.Middleware(auth)) // before all routes, also those that do not exist
//	router.GET("/v1/stores/:id", ginkit.Middleware(search), func(c *gin.Context) {
//		admission, _ := middleware.FromContext(c.Request.Context())
//		c.JSON(200, gin.H{"project": admission.Identity().Project})
//	})
//
// # Endpoints
//
// The endpoint is gin's FullPath, written as net/http does: "GET /v1/stores/{id}", with "{...}" for
// "*path". What NoRoute or NoMethod handles is middleware.Unmatched. Redirects of gin's own, as to a path
// without a trailing slash, pass no middleware and so no stage.
//
// # Requests and errors
//
// c.Request becomes the request without the credential and with the admission in its context, and stays
// so for middleware outside, such as an access logger; what middleware inside made of it is undone. Only a
// refused request is left as it came.
//
// A refusal is written by its renderer, put into c.Errors, and aborts; the answer to a preflight aborts too, and is no
// error. A *middleware.Error that a handler puts there itself, as from Admission.Take, is written too unless the handler
// has written something.
package ginkit

import (
	"bufio"
	"errors"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tollgate-go/tollgate/adapters/internal/mount"
	"github.com/tollgate-go/tollgate/middleware"
)

// Middleware returns a handler that puts the stage before those that follow it in the chain. It panics
// with stage.Err() if the stage is not well made. The handler may be mounted many times and is safe for
// concurrent use.
//
// A panic goes on unchanged, after the stage counted it as status 500. A connection that a handler
// hijacked counts as 101; what the request holds then, such as a place among concurrent requests, it holds
// until the connection is closed.
func Middleware(stage middleware.Stage) gin.HandlerFunc {
	mount.Check("ginkit", stage)
	names := new(mount.Names)
	return func(c *gin.Context) {
		var p *passage
		var room *middleware.Admission
		if _, nested := middleware.FromContext(c.Request.Context()); !nested { // the outermost stage sees the response
			p = &passage{writer: writer{ResponseWriter: c.Writer}}
			room = &p.room
		}
		admission, refusal := stage.AdmitInto(room, c.Writer.Header(), c.Request, endpoint(c, names))
		if refusal != nil {
			if refusal.Status >= http.StatusBadRequest { // the answer to a preflight is no error
				_ = c.Error(refusal)
			}
			c.Abort()
			render(c, refusal)
			return
		}
		pass(c, admission, p)
	}
}

// passage is all that a request needs: one allocation.
type passage struct {
	room   middleware.Admission
	writer writer
}

// endpoint names the route. gin knows none for what NoRoute and NoMethod handle.
func endpoint(c *gin.Context, names *mount.Names) string {
	method, path := c.Request.Method, c.FullPath()
	if path == "" {
		return middleware.Unmatched
	}
	if name, ok := names.Get(method, path); ok {
		return name
	}
	return names.Add(method, path)
}

func pass(c *gin.Context, admission *middleware.Admission, p *passage) {
	outer, request, status := c.Writer, admission.Request(), http.StatusInternalServerError
	c.Request = request
	if p != nil {
		p.writer.admission, c.Writer = admission, &p.writer
	}
	defer func() {
		c.Request, c.Writer = request, outer
		admission.Done(status, int64(max(outer.Size(), 0)))
	}()
	before := len(c.Errors)
	c.Next()
	if !c.Writer.Written() {
		renderLast(c, c.Errors[min(before, len(c.Errors)):])
	}
	status = outer.Status()
	if p != nil && p.writer.hijacked {
		status = http.StatusSwitchingProtocols
	}
}

// renderLast writes the last refusal among errors that handlers reported.
func renderLast(c *gin.Context, reported []*gin.Error) {
	for i := len(reported) - 1; i >= 0; i-- {
		if refusal, ok := errors.AsType[*middleware.Error](reported[i]); ok {
			render(c, refusal)
			return
		}
	}
}

func render(c *gin.Context, refusal *middleware.Error) {
	refusal.Render(c.Writer, c.Request)
	c.Writer.WriteHeaderNow() // a refusal of HEAD has no body that would
}

// writer is gin's own, which tells status and size but not that the connection was taken over.
type writer struct {
	gin.ResponseWriter
	admission *middleware.Admission
	hijacked  bool
}

// Hijack implements http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.ResponseWriter.Hijack()
	if err == nil {
		w.hijacked, conn = true, w.admission.Keep(conn)
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
