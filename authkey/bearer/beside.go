package bearer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// Keys tells whom an API key belongs to. *authkey.Verifier is one.
type Keys interface {
	Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error)
	Refresh(ctx context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error)
}

// Both tells callers by tokens and by keys. Make it with Beside. Safe for concurrent use.
type Both struct {
	tokens   *Verifier
	keys     Keys
	prefixes []string
}

// Beside returns an authenticator for tokens and for keys, told apart by shape alone: each credential is shown to one
// of the two. What came by the scheme DPoP and what IsToken is a token. Everything else is a key or, where formats are
// given, only what begins as keys of one of these formats do; formats are needed where the tokens are introspected,
// so that no key is ever sent to the endpoint. What begins as a key and came by DPoP is shown to neither.
func Beside(tokens *Verifier, keys Keys, formats ...authkey.Format) (*Both, error) {
	b := &Both{tokens: tokens, keys: keys}
	var faults []error
	if tokens == nil || missing(keys) {
		faults = append(faults, fmt.Errorf("%w: Beside: a verifier of tokens and one of keys are needed", authkey.ErrInvalid))
	}
	if tokens != nil && tokens.opaque != nil && len(formats) == 0 {
		faults = append(faults, fmt.Errorf("%w: Beside: introspected tokens are told from keys by their formats; name them", authkey.ErrInvalid))
	}
	for _, f := range formats {
		if f == (authkey.Format{}) {
			faults = append(faults, fmt.Errorf("%w: Beside: the zero Format; make one with NewFormat", authkey.ErrInvalid))
		}
		b.prefixes = append(b.prefixes, f.String()+"_")
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return b, nil
}

// Authenticate asks the one that a credential is for, and returns what that says.
func (b *Both) Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	return b.of(presented).Authenticate(ctx, presented)
}

// Refresh asks the one that a credential is for, and returns what that says.
func (b *Both) Refresh(ctx context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error) {
	return b.of(presented).Refresh(ctx, presented, held)
}

func (b *Both) of(presented authkey.Presented) Keys {
	p, text := presented.Presentation(), presented.Reveal()
	announced := p != nil && strings.EqualFold(p.Scheme, schemeDPoP)
	key := slices.ContainsFunc(b.prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
	switch {
	case key && announced:
		return neither{}
	case announced || isToken(text):
		return b.tokens
	case key || len(b.prefixes) == 0:
		return b.keys
	}
	return b.tokens
}

// neither refuses a key that came as a token does.
type neither struct{}

func (neither) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return nil, fmt.Errorf("%w: a key came by DPoP, which is for tokens", authkey.ErrMalformed)
}

func (n neither) Refresh(ctx context.Context, presented authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return n.Authenticate(ctx, presented)
}
