package bearer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Names are the names of a claim, of which the first that a token has is the one. A name with dots is a path, as in
// authkey.Token.Claim.
type Names []string

// Claims are the names under which an issuer says whom a token stands for. A claim that has another type than the
// one told here makes the token a bad one: it never counts as empty. nil is the default that is told, an empty list
// that are not nil none at all.
type Claims struct {
	// Org and Project are strings of up to 128 bytes. Default: org_id, org_code, x-hasura-org-id, x-hasura-org-code;
	// project_id, x-hasura-project-id.
	Org, Project Names
	// Plan is a string of up to 128 bytes, Name one of up to 128 for people. Default: plan, x-hasura-plan; name.
	Plan, Name Names
	// Scopes are a string of words, or a list of strings. Default: scope, scp, x-hasura-scope.
	Scopes Names
	// Permissions and Products are lists of strings, or a string of words. Default: permissions,
	// x-hasura-permissions; products, x-hasura-products.
	Permissions, Products Names
	// Roles are a list of strings, or of objects with a key or a name, or a string of words. Default: roles,
	// x-hasura-roles. A path such as realm_access.roles is for those who know that they need it.
	Roles Names
	// Features are a list of the flags that are on, or an object that has them by name: with true and false, or
	// with objects that have that as "v". A flag of another type, a text or a number, is not on; read it from
	// authkey.Token.Claims. Default: feature_flags, x-hasura-feature-flags.
	Features Names
}

// maxWords is the most scopes, roles and their like that a token may have.
const maxWords = 256

// each calls a function of every field and its default.
func (c *Claims) each(do func(names *Names, preset Names)) {
	do(&c.Org, Names{"org_id", "org_code", "x-hasura-org-id", "x-hasura-org-code"})
	do(&c.Project, Names{"project_id", "x-hasura-project-id"})
	do(&c.Plan, Names{"plan", "x-hasura-plan"})
	do(&c.Name, Names{"name"})
	do(&c.Scopes, Names{"scope", "scp", "x-hasura-scope"})
	do(&c.Permissions, Names{"permissions", "x-hasura-permissions"})
	do(&c.Products, Names{"products", "x-hasura-products"})
	do(&c.Roles, Names{"roles", "x-hasura-roles"})
	do(&c.Features, Names{"feature_flags", "x-hasura-feature-flags"})
}

func (c Claims) filled() Claims {
	c.each(func(names *Names, preset Names) {
		if *names == nil {
			*names = preset
		}
		*names = slices.Clone(*names)
	})
	return c
}

// all returns the names of every field.
func (c Claims) all() (all []string) {
	c.each(func(names *Names, _ Names) { all = append(all, *names...) })
	return all
}

// isPath reports whether a name is one, or several with dots between them.
func isPath(name string) bool {
	return len(name) <= maxName && !slices.Contains(strings.Split(name, "."), "")
}

// tops returns the names that are claims, the beginnings of paths among them.
func (c Claims) tops() (tops []string) {
	for _, name := range c.all() {
		tops = append(tops, name)
		for i := range len(name) {
			if name[i] == '.' {
				tops = append(tops, name[:i])
			}
		}
	}
	return tops
}

// reader reads claims of one token, and keeps the first fault.
type reader struct {
	token *authkey.Token
	fault error
}

// first returns the first of some names that is there.
func (r *reader) first(names Names) (string, json.RawMessage) {
	for _, name := range names {
		value, err := r.token.Find(name)
		if value != nil {
			return name, value
		}
		within := func(other string) bool { return strings.HasPrefix(name, other+".") }
		if err != nil && !slices.ContainsFunc(names, within) { // else what is on the way is the other
			r.fail(name, "an object on the way to it")
		}
	}
	return "", nil
}

func (r *reader) fail(name, want string) {
	if r.fault == nil {
		r.fault = fmt.Errorf("%w: token: claim %q: want %s", authkey.ErrMalformed, name, want)
	}
}

func (r *reader) text(most int, names ...string) string {
	name, value := r.first(names)
	if value == nil {
		return ""
	}
	text, ok := plainText(value, most)
	if !ok {
		r.fail(name, fmt.Sprintf("a string of up to %d bytes, without control characters", most))
	}
	return text
}

// plainText returns a JSON string of 1 to most bytes, without control characters.
func plainText(value json.RawMessage, most int) (string, bool) {
	text, ok := jose.Unquote(value)
	if !ok || text == "" || len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
		return "", false
	}
	return text, true
}

// words returns a claim that is a list of strings, or a string of words.
func (r *reader) words(names Names) []string {
	name, value := r.first(names)
	if value == nil {
		return nil
	}
	texts, ok := wordsOf(value)
	if !ok {
		r.fail(name, "a string of words, or a list of strings")
	}
	return texts
}

func wordsOf(value json.RawMessage) ([]string, bool) {
	text, ok := jose.Unquote(value)
	if !ok {
		return jose.TextsOf(value, maxID)
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }) // not at the other spaces of Unicode: RFC 6749, section 3.3
	return words, len(words) <= maxWords && !strings.ContainsFunc(text, unicode.IsControl)
}

// roles returns a claim of roles, which may be objects.
func (r *reader) roles(names Names) []string {
	name, value := r.first(names)
	if value == nil {
		return nil
	}
	if texts, ok := wordsOf(value); ok {
		return texts
	}
	items, ok := jose.Items(value)
	roles := make([]string, len(items))
	for i, item := range items {
		var role map[string]json.RawMessage
		if json.Unmarshal(item, &role) != nil {
			ok = false
			break
		}
		text, good := plainText(role["key"], maxID)
		if role["key"] == nil {
			text, good = plainText(role["name"], maxID)
		}
		roles[i], ok = text, ok && good
	}
	if !ok {
		r.fail(name, "a string of words, or a list of strings, or of objects with a key or a name")
		return nil
	}
	return roles
}

// features returns a claim of flags.
func (r *reader) features(names Names) []string {
	name, value := r.first(names)
	if value == nil {
		return nil
	}
	if texts, ok := jose.TextsOf(value, maxID); ok {
		return texts
	}
	var on []string
	flags := 0
	err := jose.Members(value, func(flag, state json.RawMessage) {
		flags++
		if isOn(state) {
			text, _ := jose.Unquote(flag) // it was read: it is a JSON string
			on = append(on, text)
		}
	})
	if err != nil || flags > maxWords {
		r.fail(name, "an object of flags, or a list of strings")
		return nil
	}
	slices.Sort(on)
	return on
}

// isOn reports whether the state of a flag is true, or an object that has that as "v".
func isOn(state json.RawMessage) bool {
	typed := state
	_ = jose.Members(state, func(name, value json.RawMessage) { // what is no object has no members
		if text, _ := jose.Unquote(name); text == "v" {
			typed = value
		}
	})
	return string(typed) == "true"
}

// identity returns whom claims that were judged stand for.
func (i *issuer) identity(token *authkey.Token) (*authkey.Identity, error) {
	r := &reader{token: token}
	id := &authkey.Identity{
		Org: i.Org, Project: r.text(maxName, i.Claims.Project...), Plan: r.text(maxName, i.Claims.Plan...), Name: r.text(maxName, i.Claims.Name...),
		Scopes: r.words(i.Claims.Scopes), Permissions: r.words(i.Claims.Permissions), Products: r.words(i.Claims.Products),
		Roles: r.roles(i.Claims.Roles), Features: r.features(i.Claims.Features),
		Kind: authkey.KindSecret, Method: Method, Key: principal(i.URL, token), Credential: token.ID, Token: token,
	}
	if id.Org == "" {
		id.Org = r.text(maxName, i.Claims.Org...)
		if len(i.Orgs) > 0 && !slices.Contains(i.Orgs, AnyOrg) && !slices.Contains(i.Orgs, id.Org) {
			return nil, fmt.Errorf("%w: token: its org is not one of its issuer's", authkey.ErrUnknown)
		}
	}
	if r.fault == nil && id.Org == "" {
		r.fail(strings.Join(i.Claims.Org, ", "), "the name of the org, or an Issuer.Org")
	}
	if id.Project == "" {
		if id.Project = i.Project; id.Project == "" {
			id.Project = id.Org
		}
	}
	return id, r.fault
}

// Method is the Identity.Method of bearer tokens.
const Method = "bearer"

// principal returns what limits and usage of the token's subject, or of its client, hang on: of fixed length, and of
// its issuer alone.
func principal(issuer string, token *authkey.Token) string {
	name := "s" + token.Subject
	if token.Subject == "" {
		name = "c" + token.Client
	}
	var room [maxURL + maxID + 2]byte
	sum := sha256.Sum256(append(append(append(room[:0], issuer...), 0), name...))
	return string(base64.RawURLEncoding.AppendEncode(append(room[:0], "tok_"...), sum[:16]))
}
