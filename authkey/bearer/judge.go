package bearer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// judged is a token whose claims are good as far as they can be judged alone.
type judged struct {
	token    authkey.Token
	from, to time.Time // within the leeway; the zero from: always
	expires  time.Time // exp
	binding  binding
}

// known is a token that is good by itself, and the identity that it stands for. Immutable once it has that.
type known struct {
	judged
	identity *authkey.Identity
}

// judge looks at everything that a token says which needs no key and no one else. It makes no I/O, so that it stands
// before the look for a key: what is refused here costs nobody a request.
func (i *issuer) judge(claims jose.Object, now time.Time) (*known, error) {
	if err := i.exact(claims); err != nil {
		return nil, err
	}
	k := &known{judged: judged{token: authkey.Token{Issuer: i.URL, Claims: claims}}}
	j := &k.judged
	if err := j.read(claims); err != nil {
		return nil, err
	}
	if err := i.complete(j, claims); err != nil {
		return nil, err
	}
	if !i.meant(j.token.Audience) {
		return nil, fmt.Errorf("%w: token: it is for another audience", authkey.ErrUnknown)
	}
	for path, want := range i.Require {
		if text, ok := jose.Unquote(j.token.Claim(path)); !ok || text != want {
			return nil, fmt.Errorf("%w: token: claim %q is not what its issuer's Require says", authkey.ErrUnknown, path)
		}
	}
	if err := i.bound(j, claims, now); err != nil {
		return nil, err
	}
	return k, j.at(now)
}

// read reads the registered claims.
func (j *judged) read(claims jose.Object) (err error) {
	r := &reader{token: &j.token}
	t := &j.token
	t.ID, t.Subject, t.Session = r.text(maxID, "jti"), r.text(maxID, "sub"), r.text(maxID, "sid")
	t.Client, t.ACR = r.text(maxID, "client_id", "azp"), r.text(maxID, "acr")
	if r.fault != nil {
		return r.fault
	}
	if value := claims["aud"]; value != nil {
		text, ok := plainText(value, maxURL)
		if ok {
			t.Audience = []string{text}
		} else if t.Audience, ok = jose.TextsOf(value, maxURL); !ok {
			return fmt.Errorf("%w: token: claim %q: want a string, or a list of strings", authkey.ErrMalformed, "aud")
		}
	}
	if t.AMR, err = claims.Texts("amr", maxID); err != nil {
		return fmt.Errorf("%w: token: %w", authkey.ErrMalformed, err)
	}
	for _, date := range []struct {
		name string
		at   *time.Time
	}{{"iat", &t.IssuedAt}, {"auth_time", &t.AuthTime}, {"nbf", &j.from}, {"exp", &j.expires}} {
		if *date.at, _, err = claims.Seconds(date.name); err != nil {
			return fmt.Errorf("%w: token: %w", authkey.ErrMalformed, err)
		}
	}
	j.binding, err = bindingOf(claims["cnf"])
	return err
}

// needed are the claims that RFC 9068, section 2.2, wants.
var needed = []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"}

// complete refuses tokens that lack a claim, and ID tokens.
func (i *issuer) complete(j *judged, claims jose.Object) error {
	lacks := func(name string) error {
		return fmt.Errorf("%w: token: claim %q is not there", authkey.ErrMalformed, name)
	}
	if j.token.Subject == "" && j.token.Client == "" { // else strangers would share a limit
		return lacks("sub")
	}
	if err := accessToken(claims, j.binding); err != nil || i.introspected {
		return err
	}
	if i.Profile == AccessTokens {
		for _, name := range needed {
			if claims[name] == nil {
				return lacks(name)
			}
		}
	}
	if claims["exp"] == nil {
		return lacks("exp")
	}
	return nil
}

// uses are the values by which issuers tell access tokens from others in token_use and token_type, in lower case.
var uses = []string{
	"access", "access_token", "bearer", "dpop", "n_a", "jwt",
	"urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt",
}

// others are the values of typ, a claim that some use for something else, by which issuers tell tokens that are none.
var others = []string{"id", "id_token", "refresh", "refresh_token", "offline", "logout"}

// accessToken refuses ID tokens and refresh tokens, and a token that its issuer calls bound and that is not.
func accessToken(claims jose.Object, bound binding) error {
	for _, name := range []string{"nonce", "at_hash", "c_hash"} {
		if claims[name] != nil {
			return fmt.Errorf("%w: token: the claim %q makes it an ID token", authkey.ErrMalformed, name)
		}
	}
	for _, name := range []string{"token_use", "token_type", "typ"} {
		value := claims[name]
		if value == nil {
			continue
		}
		use, ok := jose.Unquote(value)
		use = strings.ToLower(use)
		if name == "typ" && slices.Contains(others, use) || name != "typ" && (!ok || !slices.Contains(uses, use)) {
			return fmt.Errorf("%w: token: the claim %q says that it is no access token", authkey.ErrMalformed, name)
		}
		if use == "dpop" && bound.key == "" {
			return fmt.Errorf("%w: token: the claim %q says that it is bound to a key, and %q does not", authkey.ErrMalformed, name, "cnf")
		}
	}
	return nil
}

// meant reports whether the audiences are the service's.
func (i *issuer) meant(audience []string) bool {
	if i.introspected && len(i.Audiences) == 0 {
		return true
	}
	has := func(own string) bool { return slices.Contains(audience, own) }
	if i.Match == AllAudiences {
		return !slices.ContainsFunc(i.Audiences, func(own string) bool { return !has(own) })
	}
	return slices.ContainsFunc(i.Audiences, has)
}

// bound tells from when to when a token is good.
func (i *issuer) bound(j *judged, claims jose.Object, now time.Time) error {
	if claims["exp"] != nil {
		j.to = j.expires.Add(i.Leeway)
	}
	if claims["nbf"] != nil {
		j.from = j.from.Add(-i.Leeway)
	}
	if j.token.IssuedAt.After(now.Add(i.Leeway)) || j.token.AuthTime.After(now.Add(i.Leeway)) {
		return fmt.Errorf("%w: token: iat or auth_time is in the future", authkey.ErrNotYetValid)
	}
	if i.MaxLifetime == 0 {
		return nil
	}
	if claims["iat"] == nil || claims["exp"] == nil {
		return fmt.Errorf("%w: token: its lifetime cannot be told, and its issuer has a MaxLifetime", authkey.ErrMalformed)
	}
	if life := j.expires.Sub(j.token.IssuedAt); life > i.MaxLifetime {
		return fmt.Errorf("%w: token: it is good for %v, and its issuer's MaxLifetime is %v", authkey.ErrMalformed, life, i.MaxLifetime)
	}
	return nil
}

// at judges the times of a token.
func (j *judged) at(now time.Time) error {
	if !j.to.IsZero() && !now.Before(j.to) {
		return fmt.Errorf("%w: token", authkey.ErrExpired)
	}
	if now.Before(j.from) {
		return fmt.Errorf("%w: token", authkey.ErrNotYetValid)
	}
	return nil
}

// binding is what a token is bound to (RFC 7800): the thumbprint of a key, that of a certificate, both or nothing.
type binding struct{ key, certificate string }

// thumbprint is the length of a SHA-256 as base64url.
const thumbprint = 43

// bindingOf reads the claim cnf. What is not known there, or is not well formed, makes the token a bad one: it would
// be taken for one that is not bound.
func bindingOf(value json.RawMessage) (b binding, err error) {
	if value == nil {
		return b, nil
	}
	fault := fmt.Errorf("%w: token: claim %q: want an object with jkt or x5t#S256, and nothing else", authkey.ErrMalformed, "cnf")
	members, err := jose.ReadObject(value)
	if err != nil || len(members) == 0 {
		return b, fault
	}
	for name, member := range members {
		text, ok := jose.Unquote(member)
		if !ok || len(text) != thumbprint {
			return binding{}, fault
		}
		switch name {
		case "jkt":
			b.key = text
		case "x5t#S256":
			b.certificate = text
		default:
			return binding{}, fault
		}
	}
	return b, nil
}
