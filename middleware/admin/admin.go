package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"

	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/keys"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/limits"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/openapi"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/revocations"
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
	server      rest.Server
	limits      limits.Resources
	keys        keys.Resources
	revocations revocations.Resources // of bearer tokens
	usage       usage.Resources
	trail       trail.Resources
	audit       []func(Change)
	// reports takes reports of leaked keys; nil: nobody does.
	reports http.Handler
	proxies []netip.Prefix // behind which clients are
}

func (c *config) handler(authorizer Authorizer) *Handler {
	if c.keys.Store != nil {
		c.limits.FindKey, c.limits.PlanOfProject = c.keys.Find, c.keys.PlanOf
	}
	c.keys.AdminScopes = Scopes
	server := &c.server
	server.Authorize = func(r *http.Request) (rest.Actor, error) {
		actor, err := authorizer.Authorize(r)
		return rest.Actor(actor), err
	}
	server.Observe, server.Report = c.observe, c.report
	routes := c.routes()
	return &Handler{mux: server.Handler(append(routes, described(server.Prefix, routes))), nowhere: server.Nowhere()}
}

// routes is the table of all that is served.
func (c *config) routes() []rest.Route {
	return append(slices.Concat(c.limits.Routes(), c.keys.Routes(), c.revocations.Routes(), c.usage.Routes(), c.trail.Routes()), c.reported())
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
func (c *config) observe(call *rest.Call) context.Context {
	address := ""
	if addr, _ := middleware.ClientAddr(call.Request, c.proxies...); addr.IsValid() {
		address = addr.String()
	}
	return audit.NewContext(call.Context(), audit.Actor{Name: call.Actor.Name, RequestID: call.RequestID, Address: address})
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
