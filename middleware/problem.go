package middleware

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Error is a refusal or, with status 204, the answer to a preflight (WithCORS). Everything exported in it may
// be shown to a stranger; why it really happened is its cause, for logs and metrics only, reached through
// errors.Is and errors.As.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code names the reason and never changes: it is what a program branches on.
	Code string
	// Message says it to a person.
	Message string
	// RetryAfter is how long to wait; zero where waiting does not help. Of a limit it is whole seconds.
	RetryAfter time.Duration
	// Violations tell which policies refused, in the order of the stage. RetryAfter is the longest of theirs,
	// or zero where one of theirs is.
	Violations []Violation

	challenges []string // values of WWW-Authenticate
	nonce      string   // of DPoP-Nonce
	cause      error
	render     Renderer
}

// Violation is a policy that refused a request.
type Violation struct {
	Policy string
	// Partition is the level that it limits, such as the project or the org.
	Partition ratelimit.Partition
	// RetryAfter is after how many whole seconds the policy would let the request pass, at least one; zero
	// where waiting does not help.
	RetryAfter time.Duration
}

// The codes of an Error.
const (
	CodeMissing      = "missing_credential"    // 401: no credential
	CodeInvalid      = "invalid_credential"    // 401: malformed, unknown, revoked, expired or disabled
	CodeMalformed    = "malformed_credential"  // 400: several fields, too long, or not a credential at all
	CodeAmbiguous    = "ambiguous_credentials" // 400: two different ones
	CodeSuspended    = "project_suspended"     // 403: the credential is good, its project is suspended
	CodeScope        = "insufficient_scope"    // 403
	CodeProduct      = "product_refused"       // 403
	CodeMode         = "mode_refused"          // 403
	CodeCost         = "invalid_cost"          // 400: the request's cost cannot be told
	CodeLimited      = "limit_reached"         // 429
	CodePayment      = "payment_required"      // 402: a quota is used up that only paying extends
	CodeSetup        = "misconfigured"         // 500: stages that cannot go together; the cause tells which
	CodeUnavailable  = "unavailable"           // 503
	typeQuota        = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	unavailableRetry = time.Second
)

// Error returns the status, the code and the cause, for logs.
func (e *Error) Error() string {
	text := "middleware: " + strconv.Itoa(e.Status) + " " + e.Code
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Render writes the refusal to a response that has not begun, with the stage's renderer. The answer to a
// preflight (WithCORS) has no body and no renderer.
func (e *Error) Render(w http.ResponseWriter, r *http.Request) {
	if e.Status == http.StatusNoContent {
		w.WriteHeader(e.Status)
		return
	}
	if e.render != nil {
		e.render(w, r, e)
		return
	}
	WriteProblem(w, r, e)
}

// Renderer writes a refusal. SetHeaders sets the fields that belong to it.
type Renderer func(w http.ResponseWriter, r *http.Request, e *Error)

// SetHeaders sets the fields that a refusal needs whatever its body is: WWW-Authenticate, DPoP-Nonce,
// Retry-After, Cache-Control and X-Request-Id. It returns the request id: the X-Request-Id that the response has already,
// or else the request, if that is 1 to 64 letters, digits or ". _ -"; else a new one.
func (e *Error) SetHeaders(h http.Header, r *http.Request) (requestID string) {
	if len(e.challenges) > 0 {
		h["Www-Authenticate"] = slices.Clone(e.challenges)
	}
	if e.nonce != "" {
		h.Set("DPoP-Nonce", e.nonce)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(seconds(e.RetryAfter), 10))
	}
	h.Set("Cache-Control", "no-store")
	id := h.Get("X-Request-Id")
	if !validRequestID(id) {
		id = r.Header.Get("X-Request-Id")
	}
	if !validRequestID(id) {
		id = rand.Text()
	}
	h.Set("X-Request-Id", id)
	return id
}

// problem is the body of RFC 9457. The draft of the RateLimit fields names violated-policies.
type problem struct {
	Type       string      `json:"type"`
	Title      string      `json:"title"`
	Status     int         `json:"status"`
	Detail     string      `json:"detail"`
	Code       string      `json:"code"`
	RequestID  string      `json:"request_id"`
	Violated   []string    `json:"violated-policies,omitempty"`
	Violations []violation `json:"violations,omitempty"`
}

type violation struct {
	Policy     string              `json:"policy"`
	Partition  ratelimit.Partition `json:"partition"`
	RetryAfter int64               `json:"retry_after,omitempty"` // seconds
}

// WriteProblem is the default Renderer: application/problem+json as RFC 9457 has it, with the members
// type, title, status, detail, code, request_id and, where a limit refused, violated-policies, a list of
// names, and violations, a list of objects with the policy, the partition and retry_after in seconds, which
// is missing where waiting does not help.
func WriteProblem(w http.ResponseWriter, r *http.Request, e *Error) {
	p := problem{
		Type: "about:blank", Title: http.StatusText(e.Status), Status: e.Status,
		Detail: e.Message, Code: e.Code,
	}
	for _, v := range e.Violations {
		p.Violated = append(p.Violated, v.Policy)
		p.Violations = append(p.Violations, violation{v.Policy, v.Partition, seconds(v.RetryAfter)})
	}
	if e.Code == CodeLimited || e.Code == CodePayment {
		p.Type, p.Title = typeQuota, "Quota exceeded"
	}
	h := w.Header()
	p.RequestID = e.SetHeaders(h, r)
	body, err := json.Marshal(p)
	if err != nil { // a problem holds nothing that JSON cannot
		panic("middleware: problem: " + err.Error())
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that went away is nobody's error
	}
}

func validRequestID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// longest bounds what is told of times, so that adding to them cannot overflow.
const longest = 9_000_000_000 * time.Second

// seconds rounds up, so that nobody comes back too early.
func seconds(d time.Duration) int64 { return int64((min(d, longest) + time.Second - 1) / time.Second) }

func errUnavailable(cause error) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Message: "The request cannot be checked at the moment.",
		RetryAfter: unavailableRetry, cause: cause,
	}
}

// refusal returns the answer to a decision that refused.
func (c *config) refusal(d *ratelimit.Decision) *Error {
	e := &Error{Status: http.StatusTooManyRequests, Code: CodeLimited, Message: "A limit was reached.", RetryAfter: time.Second}
	part, payment, never := c.random(), true, false
	for i := range d.Results {
		r := &d.Results[i]
		if !r.Exceeded || !enforced(r) {
			continue
		}
		v := Violation{r.Policy, r.Partition, c.wait(r, part)}
		e.Violations = append(e.Violations, v)
		e.RetryAfter = max(e.RetryAfter, v.RetryAfter)
		payment, never = payment && r.Payment, never || v.RetryAfter == 0
	}
	if payment && len(e.Violations) > 0 {
		e.Status, e.Code, e.Message = http.StatusPaymentRequired, CodePayment, "The quota is used up."
	}
	if never {
		e.RetryAfter, e.Message = 0, "The request asks for more than its limit allows at all."
	}
	return e
}

// wait returns how long a policy that refused wants its caller to wait, zero for ever: whole seconds, no
// less than the fields tell of it, never none, and a part of the jitter more.
func (c *config) wait(r *ratelimit.Result, part float64) time.Duration {
	if r.RetryAfter < 0 {
		return 0
	}
	wait := r.RetryAfter
	if r.Algorithm != ratelimit.Concurrency {
		wait = max(wait, r.NextAfter)
	}
	whole := max(seconds(wait), 1)
	most := min(whole/jitterPart, int64(c.jitter/time.Second))
	return time.Duration(whole+min(int64(part*float64(most+1)), most)) * time.Second
}

// jitterPart is which part of a wait its jitter is at most: a tenth.
const jitterPart = 10

// WithRetryJitter bounds the jitter of Retry-After: 0, which is none, to an hour, in whole seconds. Without
// it, all callers that one window refused would come back in the second in which the next one begins. A
// wait is lengthened by a random part of up to a tenth of it, and of up to the bound; never shortened.
// Waits below ten seconds are told as they are: rounded up, they end at different times already. The
// default is a minute. More suits a quota that many callers share the end of.
func WithRetryJitter(most time.Duration) Option {
	return optionFunc(func(c *config) error {
		if most < 0 || most > time.Hour || most%time.Second != 0 {
			return fmt.Errorf("middleware: WithRetryJitter(%v) must be 0 to %v, in whole seconds", most, time.Hour)
		}
		c.jitter = most
		return nil
	})
}

func errForbidden(code, message string) *Error {
	return &Error{Status: http.StatusForbidden, Code: code, Message: message}
}
