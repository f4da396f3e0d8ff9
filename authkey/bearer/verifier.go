package bearer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/cache"
)

// maxToken bounds a token in bytes.
const maxToken = 8 << 10

// Verifier tells whom a bearer token stands for. Make it with New. Safe for concurrent use; it has nothing to close.
type Verifier struct {
	issuers      map[string]*issuer
	resolved     *resolved // nil: no other issuers
	opaque       *issuer   // of introspected tokens; nil: there are none
	introspector Introspector
	proofs       Proofs      // may be nil
	revocations  Revocations // may be nil
	outage       func(error) // of revocations; nil: closed
	validators   []Validator
	cache        *cache.Cache[*entry] // nil: none
	timeout      time.Duration
	now          func() time.Time
	since        cache.Since
}

// New returns a verifier of the tokens of some issuers, which need different URLs. It does no I/O and starts nothing.
// The error joins all that is wrong with the arguments; each is authkey.ErrInvalid.
func New(issuers []Issuer, opts ...Option) (*Verifier, error) {
	v := &Verifier{issuers: map[string]*issuer{}, timeout: defaultTimeout, now: time.Now, since: time.Since}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{authkey.ErrInvalid}, args...)...))
	}
	for n, o := range opts {
		if o == nil {
			fault("option number %d is nil", n+1)
			continue
		}
		faults = append(faults, o.apply(v))
	}
	for _, i := range issuers {
		compiled, err := v.compile(i, false)
		faults = append(faults, err)
		if v.issuers[i.URL] != nil {
			fault("issuer %.60q is there twice", i.URL)
		}
		v.issuers[i.URL] = compiled
	}
	if len(issuers) == 0 && v.resolved == nil && v.opaque == nil {
		fault("issuers: want at least one, or WithResolver, or WithIntrospection")
	}
	if v.outage != nil && v.revocations == nil {
		fault("WithOpenRevocations needs WithRevocations")
	}
	if v.opaque != nil {
		var err error
		issuers = append(slices.Clone(issuers), v.opaque.Issuer)
		v.opaque, err = v.compile(v.opaque.Issuer, true)
		faults = append(faults, err)
	}
	several := v.resolved != nil || slices.ContainsFunc(issuers, func(i Issuer) bool { return i.URL != issuers[0].URL })
	for _, i := range issuers {
		if several && i.Org == "" && len(i.Orgs) == 0 {
			fault("issuer %.60q: beside others it needs Org or Orgs, maybe AnyOrg, so that none speaks for the tenants of another", i.URL)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return v, nil
}

// compile checks an issuer, also against what the verifier wants.
func (v *Verifier) compile(i Issuer, introspected bool) (*issuer, error) {
	compiled, err := i.compile(introspected)
	if v.revocations != nil && (i.MaxLifetime == 0 || i.MaxLifetime > v.revocations.Lifetime()) {
		err = errors.Join(err, fmt.Errorf("%w: issuer %.60q: WithRevocations needs a MaxLifetime of up to %v, for which revocations are remembered", authkey.ErrInvalid, i.URL, v.revocations.Lifetime()))
	}
	return compiled, err
}

// IsToken reports whether a credential is shaped like a JWT, which no key of package authkey is: three parts with dots
// between them, of which the first is base64url of what begins with "{" and then whitespace or a quotation mark. No
// allocation.
func IsToken(presented authkey.Presented) bool { return isToken(presented.Reveal()) }

func isToken(text string) bool {
	return (strings.HasPrefix(text, "ey") || strings.HasPrefix(text, "ew")) && strings.Count(text, ".") == 2
}

// Authenticate returns the identity of a token. It judges what the token says of itself, then who signed it, then
// what it is bound to, whether it is revoked, and what validators say. Before a token is known to be of an issuer that
// is configured, and good as far as it says itself, nobody is asked but a Resolver or, of what is no JWT, the
// Introspector.
//
// Errors: authkey.ErrMalformed, ErrUnknown (also for a bad signature, another issuer or audience), ErrExpired,
// ErrNotYetValid, ErrRevoked, ErrForbidden (of a validator), and *authkey.ProofError refuse the token;
// authkey.ErrUnavailable says that nobody knows, and wraps the context's error where that was the cause. What is
// refused before its signature is looked at may be forged: a log that says "expired" does not say by whom.
//
// Cost: a verification of a signature, or for a cached token a SHA-256 of it and no allocation; one round trip where it has to be looked up whether
// the token is revoked (see authkey.Presentation.DeferRevocation), one where it is bound to a key.
func (v *Verifier) Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	return v.authenticate(ctx, presented, true)
}

// Refresh is Authenticate for a request that was authenticated before: its proof of possession is not used up again.
func (v *Verifier) Refresh(ctx context.Context, presented authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return v.authenticate(ctx, presented, false)
}

func (v *Verifier) authenticate(ctx context.Context, presented authkey.Presented, use bool) (*authkey.Identity, error) {
	a := allowance{caller: ctx, most: v.timeout}
	defer a.end()
	text := presented.Reveal()
	if len(text) > maxToken {
		return nil, fmt.Errorf("%w: token: it has more than %d bytes", authkey.ErrMalformed, maxToken)
	}
	known, err := v.identify(&a, text)
	if err != nil {
		return nil, err
	}
	proof, err := v.possessed(presented, known)
	if err != nil {
		return nil, err
	}
	identity, err := v.current(&a, presented.Presentation(), known)
	if err != nil {
		return nil, err
	}
	for _, validator := range v.validators {
		if err := validator(a.ctx(), identity); err != nil {
			return nil, err
		}
	}
	if use && known.binding.key != "" { // last, so that a proof is not used up for nothing
		if err := v.proofs.Use(a.ctx(), proof); err != nil {
			if refused := (*authkey.ProofError)(nil); errors.As(err, &refused) {
				return nil, err
			}
			return nil, unavailable(err)
		}
	}
	return identity, nil
}

// identify returns whom a token stands for, by the cache, by its signature or by introspection.
func (v *Verifier) identify(a *allowance, text string) (*known, error) {
	if !isToken(text) || len(v.issuers) == 0 && v.resolved == nil {
		return v.introspect(a, text)
	}
	if v.cache == nil {
		k, _, err := v.verify(a, text)
		return k, err
	}
	sum := cache.SumOf(text)
	if k, err := v.remembered(a, &sum); k != nil || err != nil {
		return k, err
	}
	k, signer, err := v.verify(a, text)
	if err == nil {
		v.remember(&sum, k, signer)
	}
	return k, err
}

// current returns the identity of a token that is not revoked, or that somebody else will look up. Who hangs up makes
// no outage.
func (v *Verifier) current(a *allowance, presentation *authkey.Presentation, k *known) (*authkey.Identity, error) {
	if v.revocations == nil {
		return k.identity, nil
	}
	if presentation != nil && presentation.DeferRevocation {
		return k.pending(v.outage != nil), nil
	}
	switch err := v.revocations.Check(a.ctx(), k.identity.Org, k.identity.Token); {
	case err == nil:
		return k.identity, nil
	case errors.Is(err, authkey.ErrRevoked):
		return nil, err
	case v.outage == nil || a.caller.Err() != nil || !errors.Is(err, authkey.ErrUnavailable):
		return nil, unavailable(err)
	default:
		v.outage(err)
		return k.identity, nil
	}
}

// pending returns the identity of a token with the word that its revocation is still to be looked up.
func (k *known) pending(open bool) *authkey.Identity {
	with := struct {
		identity authkey.Identity
		token    authkey.Token
	}{*k.identity, *k.identity.Token}
	with.identity.Token, with.token.Pending = &with.token, authkey.RevocationPending
	if open {
		with.token.Pending = authkey.RevocationPendingOpen
	}
	return &with.identity
}

// unavailable makes an error one that says that nobody knows.
func unavailable(err error) error {
	if errors.Is(err, authkey.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", authkey.ErrUnavailable, err)
}

// allowance is the time that one call may wait for others, which begins when it first has to: a timer costs more than a
// cached token.
type allowance struct {
	caller  context.Context
	most    time.Duration
	bounded context.Context // nil: nobody was waited for
	cancel  context.CancelFunc
}

// ctx returns the caller's context with the time that is left.
func (a *allowance) ctx() context.Context {
	if a.bounded == nil {
		a.bounded, a.cancel = context.WithTimeout(a.caller, a.most)
	}
	return a.bounded
}

func (a *allowance) end() {
	if a.cancel != nil {
		a.cancel()
	}
}
