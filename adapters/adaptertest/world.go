package adaptertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// world is what the stages of one scenario ask and tell, all in memory. It is the Authenticator, the
// Limiter, the Recorder and the Observer. Scenarios change it before they send.
type world struct {
	mu sync.Mutex

	// known is who a credential stands for, bad what is wrong with it; any other is unknown.
	known map[string]*authkey.Identity
	bad   map[string]error
	// epoch is the stamp that a limiter compares an identity's with. Refresh gives the current one.
	epoch int64
	// refreshed, if set, replaces what Refresh does.
	refreshed func(held *authkey.Identity) (*authkey.Identity, error)
	// broken makes the limiter fail.
	broken error
	// revoked tells that tokens are; pending is what a limiter is left to do about it, if it is asked; blind makes it
	// look for none.
	revoked, blind bool
	pending        authkey.Pending
	// told says what came with each credential.
	told []string
	// used counts for each limit.
	used map[string]int64
	// holds are by their name and count.
	holds map[string]bool

	authenticated, refreshes, decided int
	recorded, observed                []string
}

// newWorld returns a world that knows the credentials "good", which may do all, "reader", a secret key
// that may only read, "page", a publishable one, "other" of another project, "lost" without an org, "token", which is
// none of a key, and one for each way to be bad.
func newWorld() *world {
	identity := func(project string, kind authkey.Kind, scopes ...string) *authkey.Identity {
		return &authkey.Identity{
			Org: "acme", Project: project, Key: "key-" + project, Credential: "id-" + project,
			Kind: kind, Scopes: scopes, Products: []string{"maps"}, Method: "key", Epoch: 1,
		}
	}
	w := &world{epoch: 1, used: map[string]int64{}, holds: map[string]bool{}}
	w.known = map[string]*authkey.Identity{
		"good":   identity("shop", authkey.KindSecret, "search", authkey.ScopeWrite),
		"reader": identity("shop", authkey.KindSecret, "search"),
		"page":   identity("shop", authkey.KindPublishable, authkey.ScopeWrite),
		"other":  identity("yard", authkey.KindSecret, authkey.ScopeWrite),
		"lost":   {Kind: authkey.KindSecret, Method: "key"},
		"token": {
			Org: "acme", Project: "shop", Key: "user-7", Kind: authkey.KindSecret, Method: "bearer", Scopes: []string{"search"},
			Roles: []string{"editor"}, Permissions: []string{"maps.read"}, Features: []string{"beta"},
			Token: &authkey.Token{
				Issuer: "https://login.test", ID: "t7", Subject: "user-7", ACR: "silver",
				Claims: map[string]json.RawMessage{"tier": json.RawMessage(`["gold","lead"]`)},
			},
		},
	}
	w.pending = authkey.RevocationPending
	w.bad = map[string]error{
		"malformed": authkey.ErrMalformed, "revoked": authkey.ErrRevoked, "disabled": authkey.ErrDisabled,
		"expired": authkey.ErrExpired, "early": authkey.ErrNotYetValid,
		"down":  fmt.Errorf("%w: connection refused", authkey.ErrUnavailable),
		"proof": &authkey.ProofError{Code: middleware.CodeProof},
		"nonce": &authkey.ProofError{Code: middleware.CodeNonce, Nonce: "n-7"},
		"guest": authkey.ErrForbidden,
	}
	return w
}

// auth returns the stage that most scenarios begin with. It tells waits without jitter.
func (w *world) auth(opts ...middleware.Option) *middleware.Authenticated {
	return middleware.Authenticate(w, append([]middleware.Option{middleware.WithObserver(w), middleware.WithRetryJitter(0)}, opts...)...)
}

func (w *world) Authenticate(_ context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.authenticated++
	if p := presented.Presentation(); p != nil {
		certified := p.Certificate != nil
		w.told = append(w.told, fmt.Sprintf("%q %q %q %q %v", p.Scheme, p.Method, p.Path, p.Proofs, certified))
	}
	return w.find(presented)
}

func (w *world) find(presented authkey.Presented) (*authkey.Identity, error) {
	if id := w.known[presented.Reveal()]; id != nil {
		if id.Token == nil {
			return id, nil
		}
		return w.token(presented.Presentation(), *id)
	}
	if err := w.bad[presented.Reveal()]; err != nil {
		return nil, err
	}
	return nil, authkey.ErrUnknown
}

// token returns the identity of a token that is not revoked, or leaves that to the limiter, which is asked anyway.
func (w *world) token(p *authkey.Presentation, id authkey.Identity) (*authkey.Identity, error) {
	if p != nil && p.DeferRevocation {
		token := *id.Token
		token.Pending, id.Token = w.pending, &token
		return &id, nil
	}
	if w.revoked {
		return nil, authkey.ErrRevoked
	}
	return &id, nil
}

func (w *world) Refresh(_ context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refreshes++
	if w.refreshed != nil {
		return w.refreshed(held)
	}
	found, err := w.find(presented)
	if err != nil {
		return nil, err
	}
	fresh := *found
	fresh.Epoch = w.epoch
	return &fresh, nil
}

// Admit counts as the real limiter does, but its windows never end.
func (w *world) Admit(_ context.Context, request ratelimit.Request) (ratelimit.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decided++
	if w.broken != nil {
		return ratelimit.Decision{}, w.broken
	}
	if request.Epoch != 0 && request.Epoch != w.epoch {
		return ratelimit.Decision{}, ratelimit.ErrStale
	}
	looks := request.Token != nil && !w.blind
	if looks && w.revoked {
		return ratelimit.Decision{}, ratelimit.ErrRevoked
	}
	d := ratelimit.Decision{Allowed: true, At: time.Unix(1_700_000_000, 0), TokenChecked: looks}
	keys := make([]string, len(request.Charges))
	for i, c := range request.Charges {
		key, err := keyOf(&request, &c)
		candidate := c.Policy.Candidate != ""
		if err != nil && !candidate {
			return ratelimit.Decision{}, err
		}
		keys[i] = key
		exceeded := err != nil || c.Policy.Limit == 0 || w.used[keys[i]]+c.Cost > c.Policy.Limit
		d.Allowed = d.Allowed && (!exceeded || c.Policy.Monitor || candidate)
		d.Results = append(d.Results, ratelimit.Result{Exceeded: exceeded})
	}
	for i, c := range request.Charges {
		holds, fits := c.Policy.Lease > 0 && !c.AtOnce, !d.Results[i].Exceeded
		if fits && (d.Allowed || c.Policy.Candidate != "" && !holds) {
			w.used[keys[i]] += c.Cost
		}
		if fits && d.Allowed && holds {
			d.Hold = request.Hold
			w.holds[d.Hold+keys[i]] = true
		}
		d.Results[i] = result(&c, w.used[keys[i]], d.Results[i].Exceeded)
	}
	return d, nil
}

// keyOf names the count of a charge.
func keyOf(request *ratelimit.Request, c *ratelimit.Charge) (string, error) {
	value, err := partition(request, c)
	return fmt.Sprintf("%q", []string{request.Org, value, request.Endpoint, c.Policy.Name}), err
}

func partition(request *ratelimit.Request, c *ratelimit.Charge) (string, error) {
	value := c.Value
	if request.Org != "" {
		switch c.Policy.Partition {
		case ratelimit.ByProject, "":
			value = request.Project
		case ratelimit.ByKey:
			value = request.Key
		case ratelimit.ByOrg:
			value = request.Org
		}
	}
	if value == "" {
		return "", fmt.Errorf("%w request: no value for partition %s", ratelimit.ErrInvalid, c.Policy.Partition)
	}
	return string(c.Policy.Partition) + "=" + value, nil
}

func result(c *ratelimit.Charge, used int64, exceeded bool) ratelimit.Result {
	r := ratelimit.Result{
		Policy: c.Policy.Name, Algorithm: c.Policy.Algorithm, Partition: c.Policy.Partition, Unit: c.Policy.Unit, Monitor: c.Policy.Monitor, Candidate: c.Policy.Candidate,
		Limit: c.Policy.Limit, Window: c.Policy.Window, Source: ratelimit.SourcePolicy,
		Cost: c.Cost, Exceeded: exceeded, Used: used, Remaining: c.Policy.Limit - used,
	}
	wait := c.Policy.Window
	if c.Policy.Algorithm == ratelimit.Concurrency { // another request may be done at any moment
		wait = 0
		r.Unit = cmp.Or(r.Unit, "concurrent-requests")
	}
	r.Unit = cmp.Or(r.Unit, "requests")
	switch {
	case c.Policy.Limit == 0:
		r.NextAfter = ratelimit.Never
	case used > 0:
		r.NextAfter, r.ResetAfter = wait, wait
	}
	if exceeded {
		r.RetryAfter = wait
		if c.Cost > c.Policy.Limit || c.Policy.Limit == 0 {
			r.RetryAfter = ratelimit.Never
		}
	}
	return r
}

func (w *world) Record(u middleware.Usage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recorded = append(w.recorded, fmt.Sprintf("%s/%s %s %s %q %d", u.Org, u.Project, u.Product, u.Kind, u.Source, u.Units))
}

func (w *world) Observe(e middleware.Event) {
	line := fmt.Sprintf("%s %s %s", e.Step, e.Outcome, e.Endpoint)
	if e.Step == middleware.StepHandler {
		line += fmt.Sprintf(" %d %d", e.Status, e.Size)
	}
	var refusal *middleware.Error
	if errors.As(e.Err, &refusal) {
		line += " " + refusal.Code
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observed = append(w.observed, line)
}

// calls says how often the world was asked.
func (w *world) calls() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("authenticate %d, refresh %d, limit %d", w.authenticated, w.refreshes, w.decided)
}

// usage has a line for each record: org/project product kind "source" units.
func (w *world) usage() string { return w.list(&w.recorded) }

// events has a line for each event: step outcome endpoint, then status and size or the code of an error.
func (w *world) events() string { return w.list(&w.observed) }

func (w *world) list(lines *[]string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(*lines) == 0 {
		return "none"
	}
	return strings.Join(*lines, "\n")
}
