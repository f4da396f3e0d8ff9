package authtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Fault is how an endpoint goes wrong. The fields work together, and what they do not name stays as it is: with a
// Status of 500 alone comes the good answer, so that a client that does not look at the status is found out. The zero
// Fault is none.
type Fault struct {
	// Hold keeps the answer back.
	Hold *Hold
	// Status takes the place of the status, 200 to 599; 0: it stays.
	Status int
	// Header is set in the answer: Cache-Control, Retry-After, Content-Type.
	Header http.Header
	// Redirect sends the client to a URL, with status 302 where Status says nothing; "": it does not.
	Redirect string
	// Body takes the place of the answer: garbage, or []byte{} for an empty one; nil: it stays.
	Body []byte
	// Members go over those of the answer, if that is a JSON object: Claims{"issuer": "https://other.example"}.
	Members Claims
	// Pad adds as many spaces to the answer, without a Content-Length: a client that reads the first bytes of a huge
	// answer only finds good JSON in them.
	Pad int64
	// Drip is the time from each byte of the answer to the next; 0: it comes at once.
	Drip time.Duration
	// Cut ends the connection in the middle of the answer.
	Cut bool
}

func (f Fault) validate() error {
	var faults []error
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		faults = append(faults, fmt.Errorf("field Status is %d; it may be 0, or 200 to 599", f.Status))
	}
	if f.Pad < 0 || f.Drip < 0 {
		faults = append(faults, fmt.Errorf("fields Pad and Drip are %d and %v; they may be 0 or more", f.Pad, f.Drip))
	}
	if _, err := json.Marshal(merge(nil, f.Members)); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Break has an endpoint go wrong for the requests that arrive from now on, in place of how it went wrong before.
func (i *Issuer) Break(endpoint Endpoint, fault Fault) {
	i.t.Helper()
	if _, ok := routes[endpoint]; !ok {
		i.t.Fatalf("authtest: Break: no endpoint %q", endpoint)
	}
	if err := fault.validate(); err != nil {
		i.t.Fatalf("authtest: Break: %v", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults[endpoint] = fault
}

// Heal ends what Break began, for the requests that arrive from now on. Without an endpoint: on all of them. What is
// held stays so until it is released.
func (i *Issuer) Heal(endpoints ...Endpoint) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(endpoints) == 0 {
		clear(i.faults)
	}
	for _, endpoint := range endpoints {
		delete(i.faults, endpoint)
	}
}

// traffic is what came to an endpoint; to "" come the requests that none serves.
type traffic struct {
	hits int
	last *http.Request
}

// arrive counts a request and returns what is to go wrong with it.
func (i *Issuer) arrive(endpoint Endpoint, r *http.Request) Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.traffic[endpoint] = traffic{hits: i.traffic[endpoint].hits + 1, last: r}
	return i.faults[endpoint]
}

// Hits returns how many requests have arrived at the endpoints, answered or not. Without an endpoint: everywhere, also
// where there is nothing.
func (i *Issuer) Hits(endpoints ...Endpoint) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	hits := 0
	for _, endpoint := range endpoints {
		hits += i.traffic[endpoint].hits
	}
	if len(endpoints) == 0 {
		for _, traffic := range i.traffic {
			hits += traffic.hits
		}
	}
	return hits
}

// Last returns the last request that has arrived at an endpoint, its form parsed and its body gone; nil: there was
// none. Do not change it.
func (i *Issuer) Last(endpoint Endpoint) *http.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.traffic[endpoint].last
}

// write sends an answer, with what is wrong with it.
func (f Fault) write(w http.ResponseWriter, r *http.Request, answer *httptest.ResponseRecorder) {
	if f.Hold != nil && !f.Hold.keep(r.Context()) {
		return // nobody is there to be answered
	}
	status := cmp.Or(f.Status, answer.Code)
	maps.Copy(w.Header(), answer.Header())
	if f.Redirect != "" {
		w.Header().Set("Location", f.Redirect)
		status = cmp.Or(f.Status, http.StatusFound)
	}
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	body := f.body(answer.Body.Bytes())
	text := io.MultiReader(bytes.NewReader(body), io.LimitReader(blanks{}, f.Pad))
	switch {
	case f.Cut:
		w.Header().Set("Content-Length", strconv.FormatInt(int64(len(body))+f.Pad+1, 10))
		w.WriteHeader(status)
		_, _ = io.CopyN(w, text, int64(len(body)/2))
		flush(w)
		panic(http.ErrAbortHandler)
	case f.Drip > 0:
		w.WriteHeader(status)
		drip(r.Context(), w, text, f.Drip)
	default:
		w.WriteHeader(status)
		if f.Pad > 0 {
			flush(w) // without a Content-Length
		}
		_, _ = io.Copy(w, text) // a client that has enough goes, which is its right
	}
}

func (f Fault) body(body []byte) []byte {
	if f.Body != nil {
		body = f.Body
	}
	var members map[string]json.RawMessage
	if len(f.Members) == 0 || json.Unmarshal(body, &members) != nil {
		return body
	}
	under := make(map[string]any, len(members))
	for name, value := range members {
		under[name] = value
	}
	text, err := json.Marshal(merge(under, f.Members))
	if err != nil {
		return body // validate has seen to it that this is never so
	}
	return text
}

// blanks is spaces without end.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for n := range p {
		p[n] = ' '
	}
	return len(p), nil
}

func drip(ctx context.Context, w http.ResponseWriter, text io.Reader, each time.Duration) {
	ticker := time.NewTicker(each)
	defer ticker.Stop()
	for {
		if _, err := io.CopyN(w, text, 1); err != nil {
			return
		}
		flush(w)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// Hold keeps answers back until the test releases them, the client gives up or the test ends. The zero Hold is ready;
// safe for concurrent use; not to be copied.
type Hold struct {
	mu       sync.Mutex
	arrived  int
	changed  chan struct{} // closed at the next change
	released bool
}

// patience is how long Wait waits for a request that does not come: a test that is wrong shall say so.
const patience = 30 * time.Second

// Wait returns when at least n requests have arrived. After 30 seconds without them it ends the test.
func (h *Hold) Wait(t testing.TB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !h.until(ctx, func() bool { return h.arrived >= n }) {
		t.Fatalf("authtest: Hold: %d requests did not arrive within %v", n, patience)
	}
}

// Release lets go what is held and holds nothing from now on. Calling it again does nothing.
func (h *Hold) Release() { h.change(func() { h.released = true }) }

// keep returns at the release: true; or when the context ends: false.
func (h *Hold) keep(ctx context.Context) bool {
	h.change(func() { h.arrived++ })
	return h.until(ctx, func() bool { return h.released })
}

func (h *Hold) change(edit func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	edit()
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

func (h *Hold) until(ctx context.Context, done func() bool) bool {
	for {
		h.mu.Lock()
		if done() {
			h.mu.Unlock()
			return true
		}
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
