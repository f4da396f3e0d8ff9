package middleware

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Stage is a step of the way and all steps before it: an *Authenticated, a *Limited, a *LimitedBy or a
// *Metered. The interface is sealed. Stages are immutable and safe for concurrent use.
type Stage interface {
	// Err returns what is wrong with the way the stage was built, nil if nothing. Adapters panic with it
	// when the stage is mounted.
	Err() error
	// Admit runs the steps that have not run for this request. It may set fields of the response header.
	// Then it returns the open admission, whose Request goes to the handler and whose Done must be called
	// after it; or the refusal, which the adapter renders. endpoint is what Endpoint returned.
	Admit(header http.Header, r *http.Request, endpoint string) (*Admission, *Error)
	// AdmitInto is Admit with room for the admission: a zero one, which an adapter has in something that it allocates for
	// each request anyway. It is left as it is where a stage around this one has an admission, which is returned then.
	AdmitInto(room *Admission, header http.Header, r *http.Request, endpoint string) (*Admission, *Error)
	// Policies returns the policies of all limits of the stage, as coded.
	Policies() []ratelimit.Policy

	last() *step
}

// step is one node of a chain. A chain shares its beginning with others; the address of a step is what
// tells that it ran.
type step struct {
	before *step
	err    error
	config *config
	run    func(a *Admission, header http.Header) *Error // before the handler; may be nil
	guard  func(a *Admission, header http.Header) *Error // as run, and once more when the identity was refreshed
	limit  *limit
	meter  *meter
}

func (s *step) last() *step { return s }

func (s *step) Err() error {
	if s == nil {
		return errors.New("middleware: the stage is nil; make it with Authenticate or LimitBy")
	}
	err := s.err
	if s.limit != nil {
		err = errors.Join(err, s.limit.unvalued())
	}
	if s.before != nil {
		return errors.Join(s.before.Err(), err)
	}
	return err
}

func (s *step) Admit(header http.Header, r *http.Request, endpoint string) (*Admission, *Error) {
	if a, nested := FromContext(r.Context()); nested {
		return s.admitTo(a, header, r, endpoint)
	}
	return s.begin(new(Admission), header, r, endpoint)
}

func (s *step) AdmitInto(room *Admission, header http.Header, r *http.Request, endpoint string) (*Admission, *Error) {
	if a, nested := FromContext(r.Context()); nested {
		return s.admitTo(a, header, r, endpoint)
	}
	return s.begin(room, header, r, endpoint)
}

func (s *step) begin(a *Admission, header http.Header, r *http.Request, endpoint string) (*Admission, *Error) {
	return s.admitTo(a, header, a.carry(r, endpoint, s.config), endpoint)
}

func (s *step) admitTo(a *Admission, header http.Header, r *http.Request, endpoint string) (*Admission, *Error) {
	err := a.enter(s, r, endpoint)
	if err == nil {
		err = s.admit(a, header)
	}
	if err == nil {
		err = a.looked()
	}
	if err != nil {
		a.refuse()
		a.release() // if no stage around this one has it
		if err.render == nil {
			err.render = s.config.render
		}
		return nil, err
	}
	if !a.opened() { // a stage around this one is done meanwhile
		return nil, errUnavailable(errDone)
	}
	if !a.shared { // from here on it is
		a.shared = true
	}
	return a, nil
}

// opened hands the admission on, unless it is closed.
func (a *Admission) opened() bool {
	a.lock()
	defer a.unlock()
	if a.closed {
		return false
	}
	a.open++
	a.began = a.now()
	return true
}

// enter brings the request as the stage was given it. A stage within one that is done, because a handler
// outlived it, lets nothing pass.
func (a *Admission) enter(s *step, r *http.Request, endpoint string) *Error {
	a.lock()
	defer a.unlock()
	if a.closed {
		return errUnavailable(errDone)
	}
	a.request, a.chain = r, s
	if endpoint != Unmatched { // nearer to the handler, the route is known better
		a.endpoint = endpoint
	}
	return nil
}

func (a *Admission) enterStep(s *step) {
	a.lock()
	defer a.unlock()
	a.config = s.config
	if a.began.IsZero() && a.watched() { // which it was not around this step
		a.began = time.Now()
	}
}

func (a *Admission) refuse() {
	a.lock()
	defer a.unlock()
	a.refused = true
}

func (s *step) Policies() []ratelimit.Policy {
	if s == nil {
		return nil
	}
	policies := s.before.Policies()
	if s.limit != nil {
		policies = append(policies, s.limit.policies...)
	}
	return policies
}

// admit runs the chain from its beginning, leaving out what already ran.
func (s *step) admit(a *Admission, header http.Header) *Error {
	if s.before != nil {
		if err := s.before.admit(a, header); err != nil {
			return err
		}
	}
	if a.hasRun(s) {
		return nil
	}
	a.enterStep(s)
	if s.run != nil {
		if err := s.run(a, header); err != nil {
			return err
		}
	}
	if s.guard != nil {
		if err := s.guard(a, header); err != nil {
			return err
		}
	}
	a.lock()
	defer a.unlock()
	a.ran = append(a.ran, s)
	return nil
}

// then returns a chain that goes on with next.
func (s *step) then(next step) *step {
	next.before = s
	if s == nil {
		next.err = errors.Join(s.Err(), next.err)
		next.config = newConfig()
	} else if next.config == nil {
		next.config = s.config
	}
	return &next
}

// Unmatched is the endpoint of all requests that no route matched.
const Unmatched = "unmatched"

// Endpoint returns the name of an endpoint: the method and the route template, as "GET /items/{id}". An
// empty template is Unmatched. HEAD counts as GET, and a method that HTTP does not define is "OTHER", so
// that clients cannot invent endpoints. The template is written as net/http does; a tail that matches
// anything is "{...}". Adapters convert what their router uses.
func Endpoint(method, template string) string {
	if template == "" {
		return Unmatched
	}
	switch method {
	case http.MethodGet, http.MethodHead:
		method = http.MethodGet
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
	default:
		method = "OTHER"
	}
	return method + " " + template
}

// EndpointOfPattern returns the name of the endpoint that a pattern of http.ServeMux stands for, such as
// http.Request.Pattern. method is the request's, for patterns that name none.
func EndpointOfPattern(method, pattern string) string {
	if own, rest, ok := strings.Cut(pattern, " "); ok {
		method, pattern = own, strings.TrimLeft(rest, " \t")
	}
	switch {
	case strings.HasSuffix(pattern, "{$}"):
		pattern = strings.TrimSuffix(pattern, "{$}")
	case strings.HasSuffix(pattern, "/"):
		pattern += "{...}"
	case strings.HasSuffix(pattern, "...}"):
		pattern = pattern[:strings.LastIndexByte(pattern, '{')] + "{...}"
	}
	return Endpoint(method, pattern)
}
