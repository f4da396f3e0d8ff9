package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Bounds of what a client may send, in bytes.
const (
	MaxPath  = 128 // of {org}, {project} and {id}
	maxValue = 512 // of a query parameter, but for a cursor
)

// Call is one request on its way through the handler. Org, Project and ID are of the path; "" where the
// path has none. One goroutine has it at a time.
type Call struct {
	Request          *http.Request
	RequestID        string
	Actor            Actor
	Org, Project, ID string

	w         http.ResponseWriter
	server    *Server
	operation *Operation
	text      []byte // of the body, once it was read
	read      bool
}

// Context returns the context of the request, which knows the actor.
func (c *Call) Context() context.Context { return c.Request.Context() }

// Header returns the header of the answer.
func (c *Call) Header() http.Header { return c.w.Header() }

// Report tells of a change by the actor of the call, in its org.
func (c *Call) Report(change Change) { c.server.Report(c, change) }

// Path returns the absolute path of something of the call's org.
func (c *Call) Path(segments ...string) string {
	p := c.server.Prefix + "/v1/orgs"
	for _, segment := range append([]string{c.Org}, segments...) {
		segment = url.PathEscape(segment)
		if strings.Trim(segment, ".") == "" { // a client would walk up
			segment = strings.ReplaceAll(segment, ".", "%2E")
		}
		p += "/" + segment
	}
	return p
}

func (c *Call) write(status int, contentType string, body any) {
	if status == http.StatusNoContent {
		c.w.WriteHeader(status)
		return
	}
	text := marshal(body)
	c.Header().Set("Content-Type", contentType)
	c.Header().Set("Content-Length", strconv.Itoa(len(text)))
	c.w.WriteHeader(status)
	if c.Request.Method != http.MethodHead {
		_, _ = c.w.Write(text) // a client that went away is nobody's error
	}
}

// marshal encodes what actions answer with, and holds nothing that JSON cannot.
func marshal(body any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic("admin: answer: " + err.Error())
	}
	return text
}
