package leak

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Option changes a default of New.
type Option interface{ apply(*Handler) error }

type optionFunc func(*Handler) error

func (f optionFunc) apply(h *Handler) error { return f(h) }

// Action is what was done to a key, or is to be.
type Action string

// The actions.
const (
	None       Action = "none"        // only told; or the credential has ended already
	Revoked    Action = "revoked"     // the credential that leaked
	KeyRevoked Action = "key_revoked" // the key, with all its credentials
	Shortened  Action = "shortened"   // the credential that leaked now ends sooner
)

// Policy is what happens to a key of which a credential leaked. The zero Policy is Notify.
type Policy struct {
	action Action
	within time.Duration
}

// Revoke ends the credential that leaked, at once. The key stays with its other credentials, its limits and its usage,
// so that its owner goes on with a rotation.
func Revoke() Policy { return Policy{action: Revoked} }

// RevokeKey ends the key with all its credentials, at once and for good.
func RevokeKey() Policy { return Policy{action: KeyRevoked} }

// Shorten lets the credential that leaked end after d at the latest, 1 second to 366 days: time for its owner to rotate the
// key, whose other credentials stay. What ends sooner stays as it is.
func Shorten(d time.Duration) Policy { return Policy{action: Shortened, within: d} }

// Notify changes nothing: WithNotify is what tells.
func Notify() Policy { return Policy{action: None} }

const maxWithin = 366 * 24 * time.Hour

func (p Policy) validate() error {
	if p.action == Shortened && (p.within < time.Second || p.within > maxWithin) {
		return fmt.Errorf("%w option: WithPolicy: Shorten(%v) must be %v to %v", ErrInvalid, p.within, time.Second, maxWithin)
	}
	return nil
}

// rule says for which keys a policy is.
type rule struct {
	env    string
	kind   authkey.Kind
	policy Policy
}

// WithPolicy says what happens to keys of an env and a kind; "" is any. The first that fits counts. Foreign keys have
// no env. For what no policy fits, the default is Notify for publishable keys, which are in everybody's hands as it
// is, and Revoke for others.
func WithPolicy(env string, kind authkey.Kind, policy Policy) Option {
	return optionFunc(func(h *Handler) error {
		switch kind {
		case "", authkey.KindSecret, authkey.KindPublishable, authkey.KindAdmin:
		default:
			return fmt.Errorf("%w option: WithPolicy: kind %.20q must be %q, %q, %q or empty", ErrInvalid, kind, authkey.KindSecret, authkey.KindPublishable, authkey.KindAdmin)
		}
		if _, err := authkey.NewFormat("any", env); env != "" && err != nil {
			return fmt.Errorf("%w option: WithPolicy: env %.20q: no key has it", ErrInvalid, env)
		}
		h.policies = append(h.policies, rule{env, kind, policy})
		return policy.validate()
	})
}

func (h *Handler) policyOf(env string, kind authkey.Kind) Policy {
	for _, r := range h.policies {
		if (r.env == "" || r.env == env) && (r.kind == "" || r.kind == kind) {
			return r.policy
		}
	}
	if kind == authkey.KindPublishable {
		return Notify()
	}
	return Revoke()
}

// WithNotify calls a function for each token that is a key of ours, when its policy was applied and before the report
// is answered. It is called again when a report comes again: Report.Done then is None. It must be safe for concurrent
// use, and quick: there may be 500 in a report, for all of which GitHub waits 30 seconds. Several are called in the
// order given.
func WithNotify(notify func(context.Context, Report)) Option {
	return optionFunc(func(h *Handler) error {
		if notify == nil {
			return fmt.Errorf("%w option: WithNotify(nil)", ErrInvalid)
		}
		h.notify = append(h.notify, notify)
		return nil
	})
}

// WithRawTokens answers with the tokens as they came instead of their hashes. GitHub takes both.
func WithRawTokens() Option {
	return optionFunc(func(h *Handler) error {
		h.raw = true
		return nil
	})
}

// WithForeignKeys also looks for tokens that are not of the form of keys minted here. Nothing but a question to the
// store tells junk from them, one for each pepper.
func WithForeignKeys() Option {
	return optionFunc(func(h *Handler) error {
		h.foreign = true
		return nil
	})
}

// WithLogger logs why a report was refused: at the level Debug where any stranger can bring that about, else Warn. It
// tells no token. The default is not to log.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(h *Handler) error {
		if logger == nil {
			return fmt.Errorf("%w option: WithLogger(nil)", ErrInvalid)
		}
		h.log = logger
		return nil
	})
}
