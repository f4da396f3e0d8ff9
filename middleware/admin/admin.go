// Package admin is the admin route: an http.Handler that changes limits, hands out and revokes keys and
// tells usage. What it changes holds for the very next request, on every replica.
//
//	handler, err := admin.New(admin.BearerToken(token),
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
// for a write, make concurrent edits lose nothing.
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
// Errors are problems (RFC 9457) with a code to branch on, and errors, where single fields of a body are
// to blame: [{"pointer","code","message"}]. A secret is shown in one answer only: the one that issues it.
//
// Do not mount the handler where strangers need not reach it: a listener of its own is best. It is not
// behind the limits that it changes. It takes no cookies, so give it an [Authorizer] that takes none.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// ErrInvalid says that something given to New is nil or out of its bounds.
var ErrInvalid = errors.New("admin: invalid")

// Handler is the admin route. Make it with New. Safe for concurrent use; it has nothing to close.
type Handler struct {
	authorizer Authorizer
	prefix     string
	overrides  *ratelimit.Overrides
	plans      *ratelimit.Plans
	store      authkey.Store
	issuer     *authkey.Issuer
	usage      UsageReader
	limiter    middleware.Limiter
	routes     []route
	audit      []func(Change)
	log        *slog.Logger
	mux        *http.ServeMux
}

// New returns the handler. It needs an authorizer, and serves the parts that its options name. It does
// no I/O. The error joins all that is wrong with the arguments; each fault is ErrInvalid.
func New(authorizer Authorizer, opts ...Option) (*Handler, error) {
	h := &Handler{authorizer: authorizer, log: slog.New(slog.DiscardHandler)}
	faults := []error{validAuthorizer(authorizer)}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(h))
	}
	if len(h.routes) > 0 && h.limiter == nil {
		faults = append(faults, fmt.Errorf("%w option: WithRoute needs WithLimits too", ErrInvalid))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	h.mount()
	return h, nil
}

func (h *Handler) mount() {
	const ofOrg = "/orgs/{org}"
	h.mux = http.NewServeMux()
	serve := func(given bool, pattern string, methods map[string]action) {
		e := &endpoint{Handler: h, methods: methods}
		if !given {
			e.absent = notServed()
		}
		h.mux.Handle(h.prefix+"/v1"+pattern, e)
	}
	serve(h.overrides != nil, ofOrg+"/overrides", map[string]action{
		http.MethodGet: h.listOverrides, http.MethodPut: h.putOverride, http.MethodDelete: h.clearOverrides,
	})
	serve(h.overrides != nil, ofOrg+"/overrides/{id}", map[string]action{
		http.MethodGet: h.getOverride, http.MethodDelete: h.deleteOverride,
	})
	_, can := h.limiter.(previewer)
	serve(can, ofOrg+"/overrides/dry-run", map[string]action{http.MethodPost: h.previewOverride})
	serve(h.limiter != nil, ofOrg+"/projects/{project}/limits", map[string]action{
		http.MethodGet: h.listLimits, http.MethodDelete: h.resetLimits,
	})
	serve(h.store != nil, ofOrg+"/projects/{project}/keys", map[string]action{
		http.MethodGet: h.listKeys, http.MethodPost: h.issueKey,
	})
	serve(h.store != nil, ofOrg+"/projects/{project}/keys/{id}", map[string]action{
		http.MethodGet: h.getKey, http.MethodDelete: h.revokeKey,
	})
	serve(h.usage != nil, ofOrg+"/usage", map[string]action{http.MethodGet: h.listUsage})
	serve(h.plans != nil, "/plans", map[string]action{http.MethodGet: h.listPlans})
	serve(h.plans != nil, "/plans/{id}", map[string]action{
		http.MethodGet: h.getPlan, http.MethodPut: h.putPlan, http.MethodDelete: h.deletePlan,
	})
	h.mux.Handle("/", h.nowhere())
}

func (h *Handler) nowhere() *endpoint {
	return &endpoint{Handler: h, absent: problemOf(http.StatusNotFound, codeNotFound, "There is nothing here.")}
}

// ServeHTTP serves a request, whose path begins with the prefix.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect a path such as //v1 to where it is not mounted.
	if p := r.URL.EscapedPath(); p == "" || p[0] != '/' || path.Clean(p) != p {
		h.nowhere().ServeHTTP(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// Option adds a part to New, or changes a default.
type Option interface{ apply(*Handler) error }

type optionFunc func(*Handler) error

func (f optionFunc) apply(h *Handler) error { return f(h) }

// UsageReader tells what was used. *meter.Meter and *meter.Reader are ones. Implementations are safe for
// concurrent use; their errors are those of meter.Reader, and items come in its order.
type UsageReader interface {
	Usage(ctx context.Context, query meter.Query) ([]meter.Item, error)
}

// Change is what an actor has changed, for an audit trail. It holds no secret.
type Change struct {
	// Actor is who did it, and RequestID the X-Request-Id of the answer.
	Actor     Actor
	RequestID string
	// Action is "override.set", "override.delete", "override.clear", "key.issue", "key.revoke", "limits.reset", "plan.set" or
	// "plan.delete".
	Action string
	// Org, Project and ID are what it was done to. Project is "" for an override or a count of the whole org and
	// for "override.delete"; ID is "" for "override.clear", and for "limits.reset" the key, if it was one's. A
	// plan has its name as ID, and neither Org nor Project.
	Org, Project, ID string
	// Endpoint and Policy are, for "limits.reset", whose counts were; there is one Change for each endpoint.
	// Policy is "" for all of them.
	Endpoint, Policy string
}

// WithPrefix sets the path that the handler is mounted under, such as "/admin": segments of letters,
// digits and ". _ ~ -". Requests come with it, so do not strip it; Location fields go out with it. The
// default is none.
func WithPrefix(prefix string) Option {
	return optionFunc(func(h *Handler) error {
		const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-/"
		if prefix != "" && (prefix[0] != '/' || prefix == "/" || path.Clean(prefix) != prefix || strings.Trim(prefix, allowed) != "") {
			return fmt.Errorf("%w option: WithPrefix(%.100q) must be like \"/admin\", without a slash at the end", ErrInvalid, prefix)
		}
		h.prefix = prefix
		return nil
	})
}

// WithOverrides serves the overrides.
func WithOverrides(overrides *ratelimit.Overrides) Option {
	return optionFunc(func(h *Handler) error {
		if overrides == nil {
			return fmt.Errorf("%w option: WithOverrides(nil)", ErrInvalid)
		}
		h.overrides = overrides
		return nil
	})
}

// WithKeys serves the keys of a store, and issues new ones with an issuer on the same store.
func WithKeys(store authkey.Store, issuer *authkey.Issuer) Option {
	return optionFunc(func(h *Handler) error {
		if store == nil || issuer == nil {
			return fmt.Errorf("%w option: WithKeys needs a store and an issuer, neither nil", ErrInvalid)
		}
		if s, ok := store.(interface{ Err() error }); ok && s.Err() != nil {
			return fmt.Errorf("%w option: WithKeys: %w", ErrInvalid, s.Err())
		}
		h.store, h.issuer = store, issuer
		return nil
	})
}

// WithUsage serves usage.
func WithUsage(reader UsageReader) Option {
	return optionFunc(func(h *Handler) error {
		if reader == nil {
			return fmt.Errorf("%w option: WithUsage(nil)", ErrInvalid)
		}
		h.usage = reader
		return nil
	})
}

// WithAudit calls a function after each successful change, before it is answered. It must be safe for
// concurrent use. Several are called in the order given.
func WithAudit(report func(Change)) Option {
	return optionFunc(func(h *Handler) error {
		if report == nil {
			return fmt.Errorf("%w option: WithAudit(nil)", ErrInvalid)
		}
		h.audit = append(h.audit, report)
		return nil
	})
}

// WithLogger logs why a request was answered with 500 or 503, which the answer does not tell. The default
// is not to log.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(h *Handler) error {
		if logger == nil {
			return fmt.Errorf("%w option: WithLogger(nil)", ErrInvalid)
		}
		h.log = logger
		return nil
	})
}
