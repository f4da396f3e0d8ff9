package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Option adds a part to New, or changes a default.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

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
	// Action is "override.set", "override.delete", "override.clear", "project.set", "key.issue", "key.change", "key.rotate",
	// "key.revoke", "credential.revoke", "limits.reset", "plan.set", "plan.delete", "token.revoke" or "token.lift".
	Action string
	// Org, Project and ID are what it was done to. Project is "" for an override or a count of the whole org and
	// for "override.delete"; ID is "" for "override.clear", and for "limits.reset" the key, if it was one's. A
	// plan has its name as ID, and neither Org nor Project. For "token.revoke" and "token.lift" the ID is the kind, the
	// issuer and the value, escaped and joined by ":", as in the audit trail.
	Org, Project, ID string
	// Endpoint and Policy are, for "limits.reset", whose counts were; there is one Change for each endpoint.
	// Policy is "" for all of them.
	Endpoint, Policy string
}

// WithPrefix sets the path that the handler is mounted under, such as "/admin": segments of letters,
// digits and ". _ ~ -". Requests come with it, so do not strip it; Location fields go out with it. The
// default is none.
func WithPrefix(prefix string) Option {
	return optionFunc(func(c *config) error {
		const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-/"
		if prefix != "" && (prefix[0] != '/' || prefix == "/" || path.Clean(prefix) != prefix || strings.Trim(prefix, allowed) != "") {
			return fmt.Errorf("%w option: WithPrefix(%.100q) must be like \"/admin\", without a slash at the end", ErrInvalid, prefix)
		}
		c.server.Prefix = prefix
		return nil
	})
}

// WithOverrides serves the overrides.
func WithOverrides(overrides *ratelimit.Overrides) Option {
	return optionFunc(func(c *config) error {
		if overrides == nil {
			return fmt.Errorf("%w option: WithOverrides(nil)", ErrInvalid)
		}
		c.limits.Overrides = overrides
		return nil
	})
}

// WithKeys serves the keys of a store, and issues new ones with an issuer on the same store.
func WithKeys(store authkey.Store, issuer *authkey.Issuer) Option {
	return optionFunc(func(c *config) error {
		if store == nil || issuer == nil {
			return fmt.Errorf("%w option: WithKeys needs a store and an issuer, neither nil", ErrInvalid)
		}
		if s, ok := store.(interface{ Err() error }); ok && s.Err() != nil {
			return fmt.Errorf("%w option: WithKeys: %w", ErrInvalid, s.Err())
		}
		c.keys.Store, c.keys.Issuer = store, issuer
		return nil
	})
}

// WithRevocations serves what is revoked of bearer tokens. Give it a store with the lifetime of the one that verifiers
// have.
func WithRevocations(store *revocation.Store) Option {
	return optionFunc(func(c *config) error {
		if store == nil {
			return fmt.Errorf("%w option: WithRevocations(nil)", ErrInvalid)
		}
		c.revocations.Store = store
		return nil
	})
}

// WithUsage serves usage.
func WithUsage(reader UsageReader) Option {
	return optionFunc(func(c *config) error {
		if reader == nil {
			return fmt.Errorf("%w option: WithUsage(nil)", ErrInvalid)
		}
		c.usage.Reader = reader
		return nil
	})
}

// WithAuditLog serves audit trails, and verifies them.
func WithAuditLog(log *auditlog.Log) Option {
	return optionFunc(func(c *config) error {
		if log == nil {
			return fmt.Errorf("%w option: WithAuditLog(nil)", ErrInvalid)
		}
		c.trail.Log = log
		return nil
	})
}

// WithAudit calls a function after each successful change, before it is answered. It must be safe for
// concurrent use. Several are called in the order given.
func WithAudit(report func(Change)) Option {
	return optionFunc(func(c *config) error {
		if report == nil {
			return fmt.Errorf("%w option: WithAudit(nil)", ErrInvalid)
		}
		c.audit = append(c.audit, report)
		return nil
	})
}

// WithLogger logs why a request was answered with 500 or 503, which the answer does not tell. The default
// is not to log.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(c *config) error {
		if logger == nil {
			return fmt.Errorf("%w option: WithLogger(nil)", ErrInvalid)
		}
		c.server.Log = logger
		return nil
	})
}

// WithPlans serves the plans. They belong to no org: an Actor with an Org has no access to them.
func WithPlans(plans *ratelimit.Plans) Option {
	return optionFunc(func(c *config) error {
		if plans == nil {
			return fmt.Errorf("%w option: WithPlans(nil)", ErrInvalid)
		}
		c.limits.Plans = plans
		return nil
	})
}

// WithLimits serves the limits of the endpoints that WithRoute declares, as a limiter finds them. Give it
// one with a longer timeout than that of requests where Redis is far. Each endpoint costs one call of it, and two
// in a dry run. A *ratelimit.Limiter also serves dry runs and resets; one that has Admit alone serves neither.
func WithLimits(limiter middleware.Limiter) Option {
	return optionFunc(func(c *config) error {
		if limiter == nil {
			return fmt.Errorf("%w option: WithLimits(nil)", ErrInvalid)
		}
		c.limits.Limiter = limiter
		return nil
	})
}

// WithRoute declares an endpoint, as middleware.Endpoint names it, and its policies, of which a stage's
// Policies tells. Those with a partition of the caller's own, as LimitBy has, belong to no project and
// are left out, with their candidates. An endpoint is declared once.
func WithRoute(endpoint string, policies ...ratelimit.Policy) Option {
	return optionFunc(func(c *config) error {
		declared, err := peek.NewEndpoint(endpoint, policies...)
		if err != nil {
			return fmt.Errorf("%w option: WithRoute(%.100q): %w", ErrInvalid, endpoint, err)
		}
		for _, other := range c.limits.Endpoints {
			if other.Name == endpoint {
				return fmt.Errorf("%w option: WithRoute(%.100q) is there twice", ErrInvalid, endpoint)
			}
		}
		c.limits.Endpoints = append(c.limits.Endpoints, declared)
		return nil
	})
}

// WithRequiredPreconditions answers 428 "precondition_required" to whoever writes or deletes what has an ETag
// without saying what it is to be changed from: If-Match with the ETag, or with * for whatever is there, or
// If-None-Match: * to create. So nobody overwrites what somebody else did meanwhile. The default takes a write
// without a precondition.
func WithRequiredPreconditions() Option {
	return optionFunc(func(c *config) error {
		c.server.RequirePreconditions = true
		return nil
	})
}

// WithIdempotency honours the field Idempotency-Key where a secret is issued and where tokens are revoked, on every
// replica: a request that is sent again with the same one, of 1 to 128 visible ASCII characters, does nothing for 24
// hours. If the first succeeded, it is 409 "secret_already_issued" with the members key and credential or, of a
// revocation, 200 with the first answer; while that is under way, and for up to 30 seconds after it ended without an
// answer, 409 "in_progress"; with another body, 422 "idempotency_mismatch". A request that was refused may be sent
// again. Each costs two calls of Redis. Without the option a request with the field is 400: it would promise what
// nobody keeps.
func WithIdempotency(rdb redis.UniversalClient) Option {
	return optionFunc(func(c *config) error {
		conn, err := lua.NewConn(rdb)
		if err != nil {
			return fmt.Errorf("%w option: WithIdempotency: %w", ErrInvalid, err)
		}
		c.server.Claims = conn
		return nil
	})
}

// WithTrustedProxies states the networks of your own proxies, so that the audit trail has the address of whoever is
// behind them, as middleware.WithTrustedProxies reads it. By default it has that of the connection.
func WithTrustedProxies(networks ...netip.Prefix) Option {
	return optionFunc(func(c *config) error {
		if len(networks) == 0 {
			return fmt.Errorf("%w option: WithTrustedProxies needs at least one network", ErrInvalid)
		}
		if err := middleware.ValidateProxies(networks); err != nil {
			return fmt.Errorf("%w option: WithTrustedProxies: %w", ErrInvalid, err)
		}
		c.proxies = networks
		return nil
	})
}
