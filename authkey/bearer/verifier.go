package bearer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
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
	cache        *cache // nil: none
	timeout      time.Duration
	now          func() time.Time
}

// New returns a verifier of the tokens of some issuers, which need different URLs. It does no I/O and starts nothing.
// The error joins all that is wrong with the arguments; each is authkey.ErrInvalid.
func New(issuers []Issuer, opts ...Option) (*Verifier, error) {
	v := &Verifier{issuers: map[string]*issuer{}, timeout: defaultTimeout, now: time.Now}
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
// between them, of which the first begins a JSON object. No allocation.
func IsToken(presented authkey.Presented) bool { return isToken(presented.Reveal()) }

func isToken(text string) bool {
	return strings.HasPrefix(text, "ey") && strings.Count(text, ".") == 2
}

// Authenticate returns the identity of a token. It judges what the token says of itself, then who signed it, then
// what it is bound to, whether it is revoked, and what validators say; nothing before it is known to be of an issuer
// that is configured makes I/O.
//
// Errors: authkey.ErrMalformed, ErrUnknown (also for a bad signature, another issuer or audience), ErrExpired,
// ErrNotYetValid, ErrRevoked, ErrForbidden (of a validator), and *authkey.ProofError refuse the token;
// authkey.ErrUnavailable says that nobody knows, and wraps the context's error where that was the cause. What is
// refused before its signature is looked at may be forged: a log that says "expired" does not say by whom.
//
// Cost: a verification of a signature, or none for a cached token; one round trip where it has to be looked up whether
// the token is revoked (see authkey.Presentation.DeferRevocation), one where it is bound to a key.
func (v *Verifier) Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	return v.authenticate(ctx, presented, true)
}

// Refresh is Authenticate for a request that was authenticated before: its proof of possession is not used up again.
func (v *Verifier) Refresh(ctx context.Context, presented authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return v.authenticate(ctx, presented, false)
}

func (v *Verifier) authenticate(ctx context.Context, presented authkey.Presented, use bool) (*authkey.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	text := presented.Reveal()
	if len(text) > maxToken {
		return nil, fmt.Errorf("%w: token: it has more than %d bytes", authkey.ErrMalformed, maxToken)
	}
	known, err := v.identify(ctx, text)
	if err != nil {
		return nil, inTime(ctx, err)
	}
	proof, err := v.possessed(presented, known)
	if err != nil {
		return nil, err
	}
	identity, err := v.current(ctx, presented.Presentation(), known)
	if err != nil {
		return nil, inTime(ctx, err)
	}
	for _, validator := range v.validators {
		if err := validator(ctx, identity); err != nil {
			return nil, err
		}
	}
	if use && known.binding.key != "" { // last, so that a proof is not used up for nothing
		if err := v.proofs.Use(ctx, proof); err != nil {
			return nil, inTime(ctx, err)
		}
	}
	return identity, nil
}

// identify returns whom a token stands for, by the cache, by its signature or by introspection.
func (v *Verifier) identify(ctx context.Context, text string) (*known, error) {
	if !isToken(text) || len(v.issuers) == 0 && v.resolved == nil {
		return v.introspect(ctx, text)
	}
	if v.cache == nil {
		k, _, err := v.verify(ctx, text)
		return k, err
	}
	var room [2 << 10]byte // most tokens fit, and then need no copy on the heap
	sum := sha256.Sum256(append(room[:0], text...))
	if k, err := v.cache.get(ctx, sum, v.now()); k != nil || err != nil {
		return k, err
	}
	k, signer, err := v.verify(ctx, text)
	if err == nil {
		v.cache.put(sum, k, signer, v.now())
	}
	return k, err
}

// signer says by which key a token was verified.
type signer struct {
	issuer *issuer
	header Header
	set    *KeySet
	key    *jose.Key
}

// verify reads a token and verifies its signature.
func (v *Verifier) verify(ctx context.Context, text string) (*known, signer, error) {
	token, err := jose.Parse(text, maxToken)
	if err != nil {
		return nil, signer{}, fmt.Errorf("%w: token: %w", authkey.ErrMalformed, err)
	}
	for _, name := range []string{"jwk", "jku", "x5u", "x5c"} {
		if token.Header[name] != nil {
			return nil, signer{}, fmt.Errorf("%w: token: its header brings a key by %q", authkey.ErrMalformed, name)
		}
	}
	claims, err := jose.ReadObject(token.Payload)
	if err != nil {
		return nil, signer{}, fmt.Errorf("%w: token: %w", authkey.ErrMalformed, err)
	}
	s := signer{header: Header{KeyID: token.KeyID, Algorithm: token.Algorithm}}
	if s.issuer, err = v.issuerOf(ctx, claims); err != nil {
		return nil, s, err
	}
	if !s.issuer.signsWith(token.Algorithm) || !s.issuer.typed(token.Type) {
		return nil, s, fmt.Errorf("%w: token: its alg or typ is not one of its issuer's", authkey.ErrMalformed)
	}
	if token.HasKeyID && token.KeyID == "" {
		return nil, s, fmt.Errorf("%w: token: its kid is empty", authkey.ErrMalformed)
	}
	k, err := s.issuer.judge(claims, v.now(), false)
	if err != nil {
		return nil, s, err
	}
	if s.set, err = s.issuer.keys(ctx, s.header); err != nil {
		return nil, s, err
	}
	if s.key = s.set.find(s.header); s.key == nil {
		return nil, s, fmt.Errorf("%w: token: no key of its issuer is the one it names", authkey.ErrUnknown)
	}
	if err := s.key.Verify(token.Algorithm, token.Signed, token.Signature); err != nil {
		return nil, s, fmt.Errorf("%w: token: %w", authkey.ErrUnknown, err)
	}
	return k, s, s.issuer.identify(k)
}

// introspect asks whom a token stands for that says nothing by itself.
func (v *Verifier) introspect(ctx context.Context, text string) (*known, error) {
	if v.opaque == nil || text == "" {
		return nil, fmt.Errorf("%w: token: it is no JWT", authkey.ErrMalformed)
	}
	answer, err := v.introspector.Introspect(ctx, text)
	if err != nil {
		return nil, err
	}
	claims := jose.Object(answer)
	if iss, ok := jose.Unquote(claims["iss"]); claims["iss"] != nil && (!ok || iss != v.opaque.URL) {
		return nil, fmt.Errorf("%w: token: it is of another issuer", authkey.ErrUnknown)
	}
	k, err := v.opaque.judge(claims, v.now(), true)
	if err != nil {
		return nil, err
	}
	return k, v.opaque.identify(k)
}

// identify gives a token that is good by itself its identity.
func (i *issuer) identify(k *known) (err error) {
	if k.identity, err = i.identity(&k.token); err == nil {
		k.identity.ExpiresAt = k.expires
	}
	return err
}

// issuerOf returns the issuer that claims name, if it is one of those that are configured.
func (v *Verifier) issuerOf(ctx context.Context, claims jose.Object) (*issuer, error) {
	url, ok := plainText(claims["iss"], maxURL)
	if !ok {
		return nil, fmt.Errorf("%w: token: claim %q: want the URL of its issuer", authkey.ErrMalformed, "iss")
	}
	if i := v.issuers[url]; i != nil {
		return i, nil
	}
	if v.resolved == nil {
		return nil, fmt.Errorf("%w: token: it is of another issuer", authkey.ErrUnknown)
	}
	return v.resolved.find(ctx, v, url)
}

// keys asks the issuer's source for its keys.
func (i *issuer) keys(ctx context.Context, header Header) (*KeySet, error) {
	set, err := i.Keys.Keys(ctx, header)
	if err == nil && set == nil {
		err = errors.New("its source has neither keys nor an error")
	}
	if err != nil {
		return nil, unavailable(fmt.Errorf("the keys of issuer %.60q: %w", i.URL, err))
	}
	return set, nil
}

func (i *issuer) signsWith(algorithm string) bool {
	return slices.Contains(i.Algorithms, algorithm)
}

// current returns the identity of a token that is not revoked, or that somebody else will look up.
func (v *Verifier) current(ctx context.Context, presentation *authkey.Presentation, k *known) (*authkey.Identity, error) {
	if v.revocations == nil {
		return k.identity, nil
	}
	if presentation != nil && presentation.DeferRevocation {
		return k.pending(v.outage != nil), nil
	}
	err := v.revocations.Check(ctx, k.identity.Org, k.identity.Token)
	if errors.Is(err, authkey.ErrUnavailable) && !errors.Is(err, authkey.ErrRevoked) && v.outage != nil {
		v.outage(err)
		return k.identity, nil
	}
	if err != nil {
		return nil, err
	}
	return k.identity, nil
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

// inTime makes an error one that says that nobody knows, if the time was up.
func inTime(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, authkey.ErrRevoked) {
		return unavailable(err)
	}
	return err
}
