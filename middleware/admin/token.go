package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/keys"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
)

// Bounds of a Token, in bytes.
const (
	minSecret = 16
	maxSecret = 1024
	maxName   = 128
)

// Token is a static credential of the admin route, of one person or program.
type Token struct {
	// Name is what the audit trail knows its owner by: 1 to 128 visible ASCII characters. Two tokens of one name
	// allow to replace one.
	Name string
	// Secret is what he sends: 16 to 1024 visible ASCII characters, at random. There is no default.
	Secret string
	// Scopes are what he may do, at least one; ScopeAll for all.
	Scopes []string
	// Org, if set, is the only org that he may touch.
	Org string
}

// Format writes the name alone for every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "admin.Token("+t.Name+")") }

// LogValue is the name alone.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.Name) }

// MarshalText is the name alone, so that no encoder writes the secret.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.Name), nil }

// Tokens returns an Authorizer for whoever sends the secret of one of the tokens as "Authorization: Bearer" (RFC
// 6750). Secrets are compared in constant time and kept as digests; no two tokens may share one. A token that is
// out of bounds is told by New. Immutable, safe for concurrent use.
func Tokens(tokens ...Token) Authorizer {
	b := &bearer{name: "admin.Tokens([redacted])"}
	if len(tokens) == 0 {
		b.faults = append(b.faults, fmt.Errorf("%w token: Tokens needs at least one", ErrInvalid))
	}
	for i, t := range tokens {
		b.faults = append(b.faults, t.validate(i+1))
		b.add(t.Secret, Actor{Name: t.Name, Org: t.Org, Scopes: slices.Clone(t.Scopes)}, i+1)
	}
	return b
}

// validate checks all of a token but its secret.
func (t *Token) validate(number int) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w token: number %d: "+format, append([]any{ErrInvalid, number}, args...)...))
	}
	if !visible(t.Name, 1, maxName) {
		fault("Name must be 1 to %d visible ASCII characters", maxName)
	}
	if len(t.Org) > rest.MaxPath {
		fault("Org must be at most %d bytes", rest.MaxPath)
	}
	if len(t.Scopes) == 0 {
		fault("Scopes is empty, so that it may do nothing; use ScopeAll for all")
	}
	for _, scope := range t.Scopes {
		if !slices.Contains(Scopes(), scope) {
			fault("Scopes: there is no %.40q; Scopes() has all of them", scope)
		}
	}
	return errors.Join(faults...)
}

// Scopes returns all scopes that there are, ScopeAll among them.
func Scopes() []string {
	scopes := []string{ScopeAll, keys.WriteAdmins}
	for _, route := range (&config{}).routes() {
		for i := range route.Operations {
			if scope := route.Operations[i].Scope; scope != "" {
				scopes = append(scopes, scope)
			}
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// BearerToken is Tokens in its simplest form: whoever sends one of the secrets may do everything, and is named
// "bearer". Two of them allow to replace one.
func BearerToken(secrets ...string) Authorizer {
	b := &bearer{name: "admin.BearerToken([redacted])"}
	if len(secrets) == 0 {
		b.faults = append(b.faults, fmt.Errorf("%w token: BearerToken needs at least one", ErrInvalid))
	}
	for i, secret := range secrets {
		b.add(secret, Actor{Name: "bearer", Scopes: []string{ScopeAll}}, i+1)
	}
	return b
}

func visible(text string, least, most int) bool {
	return len(text) >= least && len(text) <= most && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' })
}

type bearer struct {
	name    string
	digests [][sha256.Size]byte
	actors  []Actor
	faults  []error
}

// add knows an actor by a secret.
func (b *bearer) add(secret string, actor Actor, number int) {
	if !visible(secret, minSecret, maxSecret) {
		b.faults = append(b.faults, fmt.Errorf("%w token: number %d must be %d to %d visible ASCII characters", ErrInvalid, number, minSecret, maxSecret))
	}
	digest := sha256.Sum256([]byte(secret))
	if slices.Contains(b.digests, digest) {
		b.faults = append(b.faults, fmt.Errorf("%w token: number %d has the secret of another", ErrInvalid, number))
	}
	b.digests, b.actors = append(b.digests, digest), append(b.actors, actor)
}

var errToken = errors.New("admin: the token is not known")

// Authorize implements Authorizer.
func (b *bearer) Authorize(r *http.Request) (Actor, error) {
	secret, err := bearerOf(r)
	if err != nil {
		return Actor{}, err
	}
	digest, found := sha256.Sum256([]byte(secret)), -1
	for i := range b.digests {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], b.digests[i][:]), i, found)
	}
	if found < 0 || b.Err() != nil {
		return Actor{}, errToken
	}
	return b.actors[found], nil
}

// bearerOf returns what a request carries as "Authorization: Bearer"; ErrMissing where there is no such field.
func bearerOf(r *http.Request) (string, error) {
	fields := r.Header.Values("Authorization")
	if len(fields) == 0 {
		return "", ErrMissing
	}
	scheme, secret, _ := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	if len(fields) > 1 {
		return "", errToken
	}
	return strings.TrimLeft(secret, " "), nil
}

// Err tells New what is wrong with the tokens.
func (b *bearer) Err() error { return errors.Join(b.faults...) }

// Format writes no secret for any verb.
func (b *bearer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, b.name) }
