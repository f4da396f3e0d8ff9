package middleware

import (
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unsafe"

	"github.com/tollgate-go/tollgate/authkey"
)

// maxCredential bounds what is looked at, whatever a server accepts in a header.
const maxCredential = 8 << 10

// Source is a place of a request where a credential is read from. The zero Source is invalid.
type Source struct {
	name string // tells sources apart
	err  error
	// read returns the credential, "" if there is none, and ok false where there is one that must be
	// refused: several, or not well formed.
	read func(r *http.Request) (credential string, ok bool)
	// remove takes the credential out of a request whose Header is a copy, but not the values of a field, which others have
	// too.
	remove func(r *http.Request)
	// inURL tells that the credential is part of the address, which caches and links must not keep.
	inURL bool
	// scheme is that of Authorization where a token may come by it, as Presentation.Scheme is written.
	scheme string
}

// Header reads a credential from a header field of its own. A field that is there twice is refused; an
// empty one counts as absent.
func Header(name string) Source {
	key := textproto.CanonicalMIMEHeaderKey(name)
	if name == "" || strings.ContainsAny(key, " \t\r\n:") || key == "Authorization" || key == "Cookie" {
		return Source{err: fmt.Errorf("middleware: Header(%q) is not a header field for keys; use Bearer, Basic or Cookie for theirs", name)}
	}
	return Source{
		name: "header " + key,
		read: func(r *http.Request) (string, bool) {
			values := r.Header[key]
			switch len(values) {
			case 0:
				return "", true
			case 1:
				return values[0], true
			}
			return "", false
		},
		remove: func(r *http.Request) { delete(r.Header, key) },
	}
}

// Bearer reads a credential from "Authorization: Bearer" (RFC 6750, section 2.1). The scheme's case does
// not matter. Other schemes are not read; an empty credential, or two fields, are refused.
func Bearer() Source { return byScheme("bearer", schemeBearer) }

// DPoP reads a token from "Authorization: DPoP" (RFC 9449, section 7.1), as Bearer does. The authenticator is told the
// scheme, and refuses what is no token with a proof. WithDPoP adds it.
func DPoP() Source { return byScheme("dpop", schemeDPoP) }

func byScheme(name, scheme string) Source {
	return Source{
		name:   name,
		scheme: scheme,
		read: func(r *http.Request) (string, bool) {
			value, there, ok := authorization(r, scheme)
			return value, ok && (!there || value != "")
		},
		remove: removeScheme(scheme),
	}
}

// Basic reads a credential from the user name of "Authorization: Basic" (RFC 7617), or from the password
// where the user name is empty. What is there besides is ignored.
func Basic() Source {
	return Source{
		name: "basic",
		read: func(r *http.Request) (string, bool) {
			value, there, ok := authorization(r, "Basic")
			if !there || !ok {
				return "", ok
			}
			text, err := base64.StdEncoding.DecodeString(value)
			user, password, colon := strings.Cut(string(text), ":")
			if err != nil || !colon {
				return "", false
			}
			if user == "" {
				user = password
			}
			return user, user != ""
		},
		remove: removeScheme("Basic"),
	}
}

// Cookie reads a credential from a cookie. A browser sends cookies by itself, also for a page of somebody
// else: use it only together with a defence against forged requests, such as http.CrossOriginProtection.
func Cookie(name string) Source {
	if (&http.Cookie{Name: name, Value: "x"}).Valid() != nil { //nolint:gosec // only its name matters; it is never sent
		return Source{err: fmt.Errorf("middleware: Cookie(%q) is not a cookie's name", name)}
	}
	return Source{
		name: "cookie " + name,
		read: func(r *http.Request) (string, bool) {
			cookies := r.CookiesNamed(name)
			switch len(cookies) {
			case 0:
				return "", true
			case 1:
				return cookies[0].Value, true
			}
			return "", false
		},
		remove: func(r *http.Request) { removeCookie(r, name) },
	}
}

// Query reads a credential from a parameter of the query. Addresses are logged, cached and sent on as
// Referer, so keys in them leak: use it only for keys that are public anyway, or for callers that can do
// no better. The parameter is removed from the URL that the handler sees, and the response says
// "Cache-Control: private" and "Referrer-Policy: no-referrer" (RFC 6750, section 2.3) unless the handler
// says otherwise. What stands before the stage has seen it: a proxy that keeps an access log, or a
// middleware that makes gin or echo remember the query, which then the handler sees as well.
func Query(name string) Source {
	if name == "" {
		return Source{err: fmt.Errorf("middleware: Query(%q) needs a name", name)}
	}
	return Source{
		name: "query " + name,
		read: func(r *http.Request) (string, bool) {
			if r.URL.RawQuery == "" {
				return "", true
			}
			values := r.URL.Query()[name]
			switch len(values) {
			case 0:
				return "", true
			case 1:
				return values[0], true
			}
			return "", false
		},
		remove: func(r *http.Request) { removeQuery(r, name) },
		inURL:  true,
	}
}

// authorization returns what follows a scheme in the Authorization field. ok is false where the field is
// there twice.
func authorization(r *http.Request, scheme string) (value string, there, ok bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", false, len(values) == 0
	}
	value, there = ofScheme(values[0], scheme)
	return value, there, true
}

// ofScheme returns what follows a scheme.
func ofScheme(value, scheme string) (rest string, there bool) {
	name := value
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		name, rest = value[:i], value[i:]
	}
	if !strings.EqualFold(name, scheme) {
		return "", false
	}
	return strings.Trim(rest, " "), true // a tab is no part of it (RFC 9110, section 11.4)
}

func sameSources(a, b []Source) bool {
	return slices.EqualFunc(a, b, func(a, b Source) bool { return a.name == b.name })
}

func removeScheme(scheme string) func(*http.Request) {
	of := func(value string) bool {
		_, there := ofScheme(value, scheme)
		return there
	}
	return func(r *http.Request) {
		const field = "Authorization"
		values := r.Header[field]
		switch n := len(values); {
		case n == 0:
		case n == 1 && of(values[0]):
			delete(r.Header, field)
		case slices.ContainsFunc(values, of):
			if r.Header[field] = slices.DeleteFunc(slices.Clone(values), of); len(r.Header[field]) == 0 {
				delete(r.Header, field)
			}
		}
	}
}

// removeCookie takes a cookie out of the fields, and leaves the others as they were written.
func removeCookie(r *http.Request, name string) {
	fields := r.Header["Cookie"]
	delete(r.Header, "Cookie")
	for _, field := range fields {
		var kept []string
		for pair := range strings.SplitSeq(field, ";") {
			if key, _, _ := strings.Cut(pair, "="); textproto.TrimString(key) != name {
				kept = append(kept, pair)
			}
		}
		if rest := textproto.TrimString(strings.Join(kept, ";")); rest != "" {
			r.Header["Cookie"] = append(r.Header["Cookie"], rest)
		}
	}
}

// removeQuery takes a parameter out of the URL and of the form, and leaves the others as they were
// written.
func removeQuery(r *http.Request, name string) {
	kept := make([]string, 0, 8)
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(key); err == nil && plain == name {
			continue
		}
		kept = append(kept, pair)
	}
	u := *r.URL
	u.RawQuery = strings.Join(kept, "&")
	r.URL = &u
	if r.RequestURI != "" {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		r.RequestURI = path
		if u.RawQuery != "" {
			r.RequestURI += "?" + u.RawQuery
		}
	}
	r.Form, r.PostForm, r.MultipartForm = nil, nil, nil
}

// readCredential returns the one credential of a request, and the scheme that it came by. The same one in two places is
// accepted.
func (a *Admission) readCredential(header http.Header) (presented authkey.Presented, scheme string, _ *Error) {
	c, found := a.config, ""
	for i := range c.sources {
		credential, ok := c.sources[i].read(a.request)
		if c.sources[i].inURL && credential != "" {
			header.Set("Cache-Control", "private")
			header.Set("Referrer-Policy", "no-referrer")
		}
		if ok && credential == "" {
			continue
		}
		scheme = cmp.Or(c.sources[i].scheme, scheme)
		switch {
		case !ok || len(credential) > maxCredential || !wellFormed(credential):
			return authkey.Presented{}, scheme, c.errMalformed(scheme, nil)
		case found == "":
			found = credential
		case subtle.ConstantTimeCompare([]byte(found), []byte(credential)) != 1:
			return authkey.Presented{}, scheme, c.errAmbiguous(scheme)
		}
	}
	if found == "" {
		return authkey.Presented{}, "", c.errMissing()
	}
	if *a.credential.text() != "" { // what a stage around this one read stays as it is
		return authkey.NewPresented(found), scheme, nil
	}
	*a.credential.text() = found
	return authkey.PresentedAt(a.credential.text()), scheme, nil
}

// hidden is a text of which package fmt shows an address alone, wherever it stands. It is laid out as a string is.
type hidden struct {
	data unsafe.Pointer
	size int
}

func (h *hidden) text() *string { return (*string)(unsafe.Pointer(h)) } //nolint:gosec // the layout is that of a string

// wellFormed reports whether a credential is visible ASCII without a comma, which joins two of them.
func wellFormed(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ',' {
			return false
		}
	}
	return true
}

// without gives a request fields of its own, in which none of the sources finds anything. The values of a field are those
// of the request that it was copied from, with no room for more: who adds to them copies them.
func without(r *http.Request, sources []Source) {
	r.Header = maps.Clone(r.Header)
	for field, values := range r.Header {
		if cap(values) > len(values) {
			r.Header[field] = slices.Clip(values)
		}
	}
	for i := range sources {
		sources[i].remove(r)
	}
}
