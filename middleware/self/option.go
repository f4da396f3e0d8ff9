package self

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Option adds a part to New, or changes a default.
type Option interface{ apply(*Handler) error }

type optionFunc func(*Handler) error

func (f optionFunc) apply(h *Handler) error { return f(h) }

// UsageReader tells what was used. *meter.Meter and *meter.Reader are ones. Implementations are safe for
// concurrent use; their errors are those of meter.Reader, and items come in its order.
type UsageReader interface {
	Usage(ctx context.Context, query meter.Query) ([]meter.Item, error)
}

// WithPrefix sets the path that the handler is mounted under, such as "/v1/self": segments of letters, digits and
// ". _ ~ -". Requests come with it, so do not strip it. The default is none.
func WithPrefix(prefix string) Option {
	return optionFunc(func(h *Handler) error {
		const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-/"
		if prefix != "" && (prefix[0] != '/' || prefix == "/" || path.Clean(prefix) != prefix || strings.Trim(prefix, allowed) != "") {
			return fmt.Errorf("%w option: WithPrefix(%.100q) must be like \"/self\", without a slash at the end", ErrInvalid, prefix)
		}
		h.prefix = prefix
		return nil
	})
}

// WithLimits serves the limits of the endpoints that WithRoute declares, as a limiter finds them. Each endpoint costs
// one call of it, that takes nothing: 20 a request at most.
func WithLimits(limiter middleware.Limiter) Option {
	return optionFunc(func(h *Handler) error {
		if limiter == nil {
			return fmt.Errorf("%w option: WithLimits(nil)", ErrInvalid)
		}
		h.limiter = limiter
		return nil
	})
}

// WithRoute declares an endpoint, as middleware.Endpoint names it, and its policies, of which a stage's Policies
// tells. Those are left out that no caller feels: monitored ones and candidates; and those with a partition of the
// caller's own, as LimitBy has. An endpoint is declared once.
func WithRoute(endpoint string, policies ...ratelimit.Policy) Option {
	return optionFunc(func(h *Handler) error {
		declared, err := peek.NewEndpoint(endpoint, policies...)
		if err != nil {
			return fmt.Errorf("%w option: WithRoute(%.100q): %w", ErrInvalid, endpoint, err)
		}
		if slices.ContainsFunc(h.endpoints, func(other peek.Endpoint) bool { return other.Name == endpoint }) {
			return fmt.Errorf("%w option: WithRoute(%.100q) is there twice", ErrInvalid, endpoint)
		}
		declared.Policies = slices.DeleteFunc(declared.Policies, func(p ratelimit.Policy) bool { return p.Monitor || p.Candidate != "" })
		h.endpoints = append(h.endpoints, declared)
		return nil
	})
}

// WithUsage serves usage. A request costs one call of the reader, which for the longest range of 92 days makes 23 to
// Redis.
func WithUsage(reader UsageReader) Option {
	return optionFunc(func(h *Handler) error {
		if reader == nil {
			return fmt.Errorf("%w option: WithUsage(nil)", ErrInvalid)
		}
		h.reader = reader
		return nil
	})
}

// WithLogger logs why a request was answered with 500 or 503, which the answer does not tell. The default is not to
// log.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(h *Handler) error {
		if logger == nil {
			return fmt.Errorf("%w option: WithLogger(nil)", ErrInvalid)
		}
		h.log = logger
		return nil
	})
}
