package client

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Error is what a server refuses with, as RFC 9457 has it. Its texts are the server's: do not write them to a
// terminal as they are. An answer that is no such document leaves all but Status and Detail empty.
type Error struct {
	// Status is that of the answer, whatever the document says.
	Status int `json:"-"`
	// Code is what programs branch on, Detail for people.
	Code   string `json:"code"`
	Detail string `json:"detail"`
	// RequestID finds the request in the server's log.
	RequestID string `json:"request_id"`
	// Errors are the fields of the body that are to blame.
	Errors []Fault `json:"errors"`
	// Key and Credential are what was made already, where a repeated request is refused for that.
	Key        string `json:"key"`
	Credential string `json:"credential"`
}

// Fault is one field that is not as it should be. Pointer is its place, as RFC 6901 has it.
type Fault struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error names status and code. Both are safe to write; the detail is not among them.
func (p *Error) Error() string { return fmt.Sprintf("client: refused with %d %q", p.Status, p.Code) }

// refusal returns what an answer outside of 2xx comes to.
func refusal(response *http.Response, body []byte) error {
	status := response.StatusCode
	if status >= 300 && status < 400 {
		return fmt.Errorf("%w: %d to %.200q; redirects are not followed, for the token would go along: name the right server",
			ErrAnswer, status, response.Header.Get("Location"))
	}
	p := &Error{}
	if !isJSON(response.Header, "application/problem+json") || json.Unmarshal(body, p) != nil {
		p = &Error{
			Detail:    fmt.Sprintf("%d %s, not from an admin route as it seems; is the server's URL right?", status, http.StatusText(status)),
			RequestID: response.Header.Get("X-Request-Id"),
		}
	}
	p.Status = status
	return p
}
