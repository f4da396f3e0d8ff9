// Package admin is the admin route: an http.Handler that changes limits, hands out and revokes keys and
// tells usage. What it changes holds for the very next request, on every replica.
//
//	handler, err := admin.New(admin.Tokens(
//		admin.Token{Name: "ops", Secret: secret, Scopes: []string{admin.ScopeAll}},
//	),
//		admin.WithPrefix("/admin"),
//		admin.WithOverrides(overrides),
//		admin.WithPlans(plans),
//		admin.WithKeys(store, issuer),
//		admin.WithUsage(usage),
//		admin.WithLimits(limiter),
//		admin.WithRoute("GET /v1/search", search.Policies()...),
//	)
//	mux.Handle("/admin/", handler)
//
// Every part is an option, and answers 404 "not_served" where it was not given. Below the prefix:
//
//	GET PUT DELETE  /v1/orgs/{org}/overrides                       list, write, clear with ?project=
//	GET DELETE      /v1/orgs/{org}/overrides/{id}
//	POST            /v1/orgs/{org}/overrides/dry-run               ?project=&key=&plan=
//	GET DELETE      /v1/orgs/{org}/projects/{project}/limits       show with ?endpoint=&key=&plan=, reset with
//	                                                               ?endpoint=&policy=&key=&partition=
//	GET POST        /v1/orgs/{org}/projects/{project}/keys         list, issue
//	GET DELETE      /v1/orgs/{org}/projects/{project}/keys/{id}    read, revoke with ?reason=
//	GET             /v1/orgs/{org}/usage                           ?project=&from=&to=&step=
//	GET             /v1/plans                                      list
//	GET PUT DELETE  /v1/plans/{name}
//
// HEAD works wherever GET does. A list is {"items":[...],"next":"..."}; next, where there is one, is the
// cursor= of the next page, and limit= sets the length of a page. Times are RFC 3339 in UTC, durations as
// in Go ("1m30s"). An override and a plan have a strong ETag (RFC 9110, section 8.8.3); If-Match, and If-None-Match: *
// for a write, make concurrent edits lose nothing; to read one with If-None-Match is 304 while it is the same.
//
// An override has the fields of a [ratelimit.Override]: project, endpoint and policy select; limit, window,
// burst, access ("blocked", "unlimited") and change ("proportional", "additive", "reset") say what of the
// policy is another; starts_at and expires_at say when, and reason why. What is absent stays as the policy has
// it. Answers add its state: "pending", "active" or "ended". The list takes ?project=, ?endpoint=, ?state= and
// ?ending_before= with a time; so ?state=active&ending_before=2026-12-01T00:00:00Z is what is about to end.
//
// A dry run takes what a PUT of an override would, writes nothing, and shows what each policy of each endpoint
// comes to for a project before and after: the limit, what is used, and whether it passes, that is lets the next
// request of cost 1 pass. The project is the override's, or that of ?project= for an override of the whole org.
// Where its state is "pending", it is shown as if it had begun.
//
// The limits show each policy of each endpoint: how it counts, what its limit is and why (source is "policy",
// "plan:" and a name or "override:" and an id, level how specific that is), what of it is used, held and
// remaining, after how long there is more and all of it again. To DELETE them forgets what was used and held, of
// the endpoint and the policy that are named, or of all: what is counted by project; with ?key=, what is counted
// by key, of that key; and what is counted for the whole org only if partition=org asks for it. A shared count is
// one for all endpoints.
//
// A plan is {"rules":[...]}: what the identities that point to it have in common. A rule has endpoint, policy,
// limit, window, burst, access and change as an override has. A key gets its plan when it is issued. The limits
// and a dry run are those under the plan that ?plan= names or that the key of ?key= has. Plans belong to no org, so
// an [Actor] with an Org finds none and issues no keys with one; where an [Authorizer] gives no Org, the path tells
// it. Where WithKeys is given, a key of ?key= that is not the project's is 404. To PUT a plan again as it is mends one that a failure kept from some orgs, whatever the precondition; so does
// to DELETE it again, although that is then 404.
//
// An actor has scopes: overrides, limits, plans and keys each have one to read and one to write, such as
// "keys:write"; usage has "usage:read". A dry run needs "overrides:read". Without the scope an operation is 403
// "insufficient_scope"; of another org than the actor's everything is 404.
//
// Errors are problems (RFC 9457) with a code to branch on, and errors, where single fields of a body are
// to blame: [{"pointer","code","message"}]. A secret is shown in one answer only: the one that issues it.
//
// Do not mount the handler where strangers need not reach it: a listener of its own is best. It is not
// behind the limits that it changes. It takes no cookies, so give it an [Authorizer] that takes none.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"

	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/keys"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/limits"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/openapi"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/trail"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/usage"
)

// ErrInvalid says that something given to New is nil or out of its bounds.
var ErrInvalid = errors.New("admin: invalid")

// Handler is the admin route. Make it with New. Safe for concurrent use; it has nothing to close.
type Handler struct {
	mux     http.Handler
	nowhere http.Handler
}

// New returns the handler. It needs an authorizer, and serves the parts that its options name. It does
// no I/O. The error joins all that is wrong with the arguments; each fault is ErrInvalid.
func New(authorizer Authorizer, opts ...Option) (*Handler, error) {
	c := &config{server: rest.Server{Log: slog.New(slog.DiscardHandler)}}
	faults := []error{validAuthorizer(authorizer)}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(c))
	}
	if len(c.limits.Endpoints) > 0 && c.limits.Limiter == nil {
		faults = append(faults, fmt.Errorf("%w option: WithRoute needs WithLimits too", ErrInvalid))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c.handler(authorizer), nil
}

// config is what options change.
type config struct {
	server rest.Server
	limits limits.Resources
	keys   keys.Resources
	usage  usage.Resources
	trail  trail.Resources
	audit  []func(Change)
}

func (c *config) handler(authorizer Authorizer) *Handler {
	if c.keys.Store != nil {
		c.limits.FindKey = c.keys.Find
	}
	server := &c.server
	server.Authorize = func(r *http.Request) (rest.Actor, error) {
		actor, err := authorizer.Authorize(r)
		return rest.Actor(actor), err
	}
	server.Observe, server.Report = observe, c.report
	routes := c.routes()
	return &Handler{mux: server.Handler(append(routes, described(server.Prefix, routes))), nowhere: server.Nowhere()}
}

// routes is the table of all that is served.
func (c *config) routes() []rest.Route {
	return slices.Concat(c.limits.Routes(), c.keys.Routes(), c.usage.Routes(), c.trail.Routes())
}

// described is the route of the description of all others and itself.
func described(prefix string, routes []rest.Route) rest.Route {
	var text json.RawMessage
	self := rest.Route{Pattern: "/openapi.json", Given: true, Operations: []rest.Operation{{
		Method: http.MethodGet, ID: "describe", Summary: "This description.", Public: true,
		Answers: map[int]any{http.StatusOK: map[string]any{}},
		Do: func(c *rest.Call) (rest.Reply, error) {
			_, err := c.Query()
			return rest.Reply{Body: text}, err
		},
	}}}
	text = openapi.Document(prefix, append(slices.Clone(routes), self))
	return self
}

// observe says in the context of an action whose it is, for the audit trail that stores write.
func observe(c *rest.Call) context.Context {
	address, _, err := net.SplitHostPort(c.Request.RemoteAddr)
	if err != nil {
		address = ""
	}
	return audit.NewContext(c.Context(), audit.Actor{Name: c.Actor.Name, RequestID: c.RequestID, Address: address})
}

func (c *config) report(call *rest.Call, change rest.Change) {
	for _, report := range c.audit {
		report(Change{
			Actor: Actor(call.Actor), RequestID: call.RequestID, Action: change.Action,
			Org: call.Org, Project: change.Project, ID: change.ID, Endpoint: change.Endpoint, Policy: change.Policy,
		})
	}
}

// ServeHTTP serves a request, whose path begins with the prefix.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect a path such as //v1 to where it is not mounted.
	if p := r.URL.EscapedPath(); p == "" || p[0] != '/' || path.Clean(p) != p {
		h.nowhere.ServeHTTP(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}
