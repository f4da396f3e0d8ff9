package bearer

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Match says how many of an issuer's audiences a token has to be for.
type Match uint8

// The ways to match. A token without an audience never matches.
const (
	AnyAudience Match = iota
	AllAudiences
)

// Profile says which types of token are taken. Case does not matter, nor "application/" before a type.
type Profile uint8

// The profiles.
const (
	// Compatible takes the types "JWT" and "at+jwt" and none, since many issuers do not name one. As in the other
	// profile, nothing passes that says otherwise that it is no access token: by a claim of ID tokens, which are nonce,
	// at_hash and c_hash; by a token_use or token_type other than access, access_token, Bearer, DPoP and their like;
	// or by a typ, among the claims, of ID, Refresh, Offline or Logout.
	Compatible Profile = iota
	// AccessTokens takes "at+jwt" alone, with all claims that RFC 9068 wants: iss, exp, aud, sub, client_id, iat, jti.
	AccessTokens
)

// AnyOrg in Issuer.Orgs says that an issuer may name every org.
const AnyOrg = "*"

// NoLeeway is the Issuer.Leeway of clocks that do not differ.
const NoLeeway time.Duration = -1

const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
	maxLifetime   = 400 * 24 * time.Hour
	maxURL        = 512
	maxName       = 128 // bytes of an org, a project and their like, as a limiter takes them
	maxID         = 256 // bytes of jti, sub and their like
)

var defaultAlgorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"}

// Issuer says which tokens of one issuer are good, and whom they stand for. It is plain data; New copies it.
type Issuer struct {
	// URL is what the claim iss has to be, byte for byte. Needed.
	URL string
	// Audiences are the names of this service, of which the claim aud has to have some. Needed.
	Audiences []string
	// Match says how many: AnyAudience, the default, or AllAudiences.
	Match Match
	// Keys has the keys that it signs with. Needed.
	Keys KeySource
	// Algorithms are those that it may sign with. Empty: RS256, PS256, ES256, ES384 and EdDSA, also called Ed25519.
	// HS256, HS384 and HS512 need a list of these alone, and a KeySet of secrets.
	Algorithms []string
	// Profile says which types of token are taken: Compatible, the default, or AccessTokens.
	Profile Profile
	// Leeway is how far its clock may be from ours: up to 5 minutes. Zero: 30 s; NoLeeway: not at all.
	Leeway time.Duration
	// MaxLifetime is the longest time that a token may be good for, exp less iat, up to 400 days; a token whose
	// lifetime cannot be told is refused. Zero: any. WithRevocations needs one.
	MaxLifetime time.Duration
	// Org is the org of all its tokens, whatever they say. Needed where its tokens do not name one: by a name of
	// Claims.Org, as org_id; a token without is refused.
	Org string
	// Orgs are those that its tokens may name; empty is any. Where there are several issuers, each needs Org or
	// Orgs, so that none can speak for the tenants of another: AnyOrg is for one that may.
	Orgs []string
	// Project is the project of tokens that name none by a name of Claims.Project; empty: the name of the org. All that
	// have one project share its limits: a policy by ratelimit.ByKey is for each subject, or client where there is none.
	Project string
	// Claims are the names under which it says things.
	Claims Claims
	// Require are claims, or paths to them as in authkey.Token.Claim, that have to be these strings: the tid of a
	// tenant of an issuer of many, for one.
	Require map[string]string
}

// issuer is an Issuer in the form that is looked up. Immutable.
type issuer struct {
	Issuer
	introspected bool
	held         holder          // Keys, if it is one
	names        map[string]bool // that must not be there in another case
	folded       []string        // the same
}

// reserved are the claims that are read whatever Claims says.
var reserved = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf", "client_id", "azp", "sid", "auth_time", "acr", "amr",
	"nonce", "at_hash", "c_hash", "token_use", "token_type", "typ",
}

// compile checks an issuer and fills in what it leaves out. Of an introspected one there are no keys, and there may be
// no audience, since the endpoint knows who asks.
func (i Issuer) compile(introspected bool) (*issuer, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, i.invalid(format, args...)) }
	if u, err := url.Parse(i.URL); err != nil || len(i.URL) > maxURL || u.Scheme == "" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		fault("URL: want a URL of up to %d bytes, without user, query and fragment", maxURL)
	}
	if (len(i.Audiences) == 0 && !introspected) || slices.Contains(i.Audiences, "") {
		fault("Audiences: want at least one, and none that is empty")
	}
	if i.Match > AllAudiences || i.Profile > AccessTokens {
		fault("Match or Profile is none of the constants")
	}
	if i.Leeway != NoLeeway && (i.Leeway < 0 || i.Leeway > maxLeeway) {
		fault("Leeway %v: want 0 to %v, or NoLeeway", i.Leeway, maxLeeway)
	}
	if i.MaxLifetime < 0 || i.MaxLifetime > maxLifetime {
		fault("MaxLifetime %v: want 0 to %v", i.MaxLifetime, maxLifetime)
	}
	for _, name := range append([]string{i.Org, i.Project}, i.Orgs...) {
		if len(name) > maxName {
			fault("Org, Project, Orgs: %.20q has more than %d bytes", name, maxName)
		}
	}
	if i.Org != "" && len(i.Orgs) > 0 || slices.Contains(i.Orgs, "") {
		fault("Orgs: want none beside Org, and none that is empty")
	}
	if !introspected {
		faults = append(faults, i.checkKeys())
	}
	for _, name := range slices.AppendSeq(i.Claims.all(), maps.Keys(i.Require)) {
		if !isPath(name) {
			fault("Claims, Require: %.40q is no name, nor names with dots between them, of up to %d bytes", name, maxName)
		}
	}
	c := &issuer{Issuer: i.filled(), introspected: introspected, names: map[string]bool{}}
	c.held, _ = i.Keys.(holder)
	c.folded = slices.Concat(reserved, c.Claims.tops(), slices.Collect(maps.Keys(i.Require)))
	for _, name := range c.folded {
		c.names[name] = true
	}
	return c, errors.Join(faults...)
}

func (i *Issuer) invalid(format string, args ...any) error {
	return fmt.Errorf("%w: issuer %.60q: "+format, append([]any{authkey.ErrInvalid, i.URL}, args...)...)
}

// filled returns a copy with the defaults in place.
func (i Issuer) filled() Issuer {
	switch i.Leeway {
	case 0:
		i.Leeway = defaultLeeway
	case NoLeeway:
		i.Leeway = 0
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = defaultAlgorithms
	}
	i.Algorithms, i.Audiences, i.Orgs = slices.Clone(i.Algorithms), slices.Clone(i.Audiences), slices.Clone(i.Orgs)
	i.Require, i.Claims = maps.Clone(i.Require), i.Claims.filled()
	return i
}

// checkKeys refuses algorithms that are not known, and secrets beside public keys: whoever knows a public key could
// sign with it as with a secret (RFC 8725, section 2.1).
func (i *Issuer) checkKeys() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, i.invalid(format, args...)) }
	secrets := 0
	for _, algorithm := range i.Algorithms {
		known, symmetric := jose.Known(algorithm)
		if !known {
			fault("Algorithms: %.20q is not known", algorithm)
		}
		if symmetric {
			secrets++
		}
	}
	if secrets > 0 && secrets < len(i.Algorithms) {
		fault("Algorithms: HS256 and its kin cannot stand beside others")
	}
	set, static := i.Keys.(*KeySet)
	switch {
	case missing(i.Keys):
		fault("Keys: a source is needed")
	case secrets > 0 && !static:
		fault("Algorithms: HS256 and its kin need a KeySet of secrets")
	case static && set.secrets() != (secrets > 0):
		fault("Keys: want secrets for HS256 and its kin, and for them alone")
	}
	if static && set != nil {
		unfit := set.unfit(i.filled().Algorithms)
		if len(unfit) > 0 && (secrets > 0 || len(unfit) == set.Len()) {
			fault("Keys: key %.40q fits none of the Algorithms; a secret needs as many bytes as the hash has", unfit[0].ID)
		}
	}
	if source, ok := i.Keys.(interface{ Err() error }); ok && !missing(i.Keys) {
		faults = append(faults, source.Err())
	}
	return errors.Join(faults...)
}

// unfit returns the keys of the set that fit no algorithm of a list.
func (s *KeySet) unfit(algorithms []string) []jose.Key {
	return slices.DeleteFunc(slices.Clone(s.keys), func(k jose.Key) bool { return slices.ContainsFunc(algorithms, k.Fits) })
}

// secrets reports whether a key of the set is a secret.
func (s *KeySet) secrets() bool {
	return slices.ContainsFunc(s.keys, func(k jose.Key) bool {
		_, secret := k.Public.([]byte)
		return secret
	})
}

// typed reports whether a token of a type is taken.
func (i *issuer) typed(typ string) bool {
	return typ == "at+jwt" || i.Profile == Compatible && (typ == "" || typ == "jwt")
}

// exact refuses claims whose names differ from a known one in case alone, by the folding of Unicode.
func (i *issuer) exact(claims jose.Object) error {
	for name := range claims {
		if i.names[name] {
			continue
		}
		for _, known := range i.folded {
			if strings.EqualFold(name, known) {
				return fmt.Errorf("%w: token: the claim %q is written in another case", authkey.ErrMalformed, known)
			}
		}
	}
	return nil
}
