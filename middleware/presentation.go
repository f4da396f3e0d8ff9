package middleware

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// Subprotocol reads a credential from Sec-WebSocket-Protocol, for pages, which can set no other field of a WebSocket's
// handshake: from the protocol that begins with the prefix, and then has the credential in base64url without padding,
// as "base64url.bearer.authorization.k8s.io.Zm9v" does. Two such protocols are refused, and so is one that is not well
// formed. The handler does not see it, so that no server can choose it: a page has to offer another one besides, or
// browsers give up. A prefix has the characters of a token (RFC 9110, section 5.6.2) and its case matters.
func Subprotocol(prefix string) Source {
	if !validToken(prefix) {
		return Source{err: fmt.Errorf("middleware: Subprotocol(%q) is not the beginning of a protocol's name", prefix)}
	}
	return Source{
		name:   "subprotocol " + prefix,
		read:   func(r *http.Request) (string, bool) { return readSubprotocol(r.Header[protocols], prefix) },
		remove: func(r *http.Request) { removeSubprotocol(r, prefix) },
	}
}

const protocols = "Sec-Websocket-Protocol"

func readSubprotocol(fields []string, prefix string) (credential string, ok bool) {
	for _, field := range fields {
		for name := range strings.SplitSeq(field, ",") {
			text, there := strings.CutPrefix(strings.Trim(name, " \t"), prefix)
			if !there {
				continue
			}
			plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
			if err != nil || len(plain) == 0 || credential != "" || strings.ContainsAny(text, "\r\n") { // which it passes over
				return "", false
			}
			credential = string(plain)
		}
	}
	return credential, true
}

// removeSubprotocol takes what has the prefix out of the fields, and leaves the others as they were written.
func removeSubprotocol(r *http.Request, prefix string) {
	fields := r.Header[protocols]
	delete(r.Header, protocols)
	for _, field := range fields {
		var kept []string
		for name := range strings.SplitSeq(field, ",") {
			if !strings.HasPrefix(strings.Trim(name, " \t"), prefix) {
				kept = append(kept, name)
			}
		}
		if rest := strings.Trim(strings.Join(kept, ","), " \t"); rest != "" {
			r.Header[protocols] = append(r.Header[protocols], rest)
		}
	}
}

// deferring is the presentation of a credential with which nothing else came.
var deferring = &authkey.Presentation{DeferRevocation: true}

// present puts to a credential what came with it. Most often that is nothing.
func (a *Admission) present(presented authkey.Presented, scheme string, defers bool) (authkey.Presented, *Error) {
	r := a.request
	certificate, err := a.config.certificate(r)
	if err != nil {
		return presented, a.config.errMalformed(scheme, err)
	}
	proofs := r.Header["Dpop"]
	if scheme == "" && len(proofs) == 0 && certificate == nil {
		if defers {
			return presented.In(deferring), nil
		}
		return presented.In(nil), nil
	}
	told := &a.presentation
	if told.Path != "" { // what a stage around this one told must not change
		told = new(authkey.Presentation)
	}
	*told = authkey.Presentation{
		Scheme: scheme, Method: r.Method, Path: sentPath(r), Proofs: proofs, Certificate: certificate, DeferRevocation: defers,
	}
	return presented.In(told), nil
}

// sentPath returns the escaped path as the client sent it, whatever prefix a router took from the URL since. It is
// never empty.
func sentPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil && u.Host != "" { // the absolute form, which a client may choose
		return cmp.Or(u.EscapedPath(), "/")
	}
	return cmp.Or(r.URL.EscapedPath(), "/")
}

// schemeOf returns the scheme that a credential came by, as far as it was told.
func schemeOf(presented authkey.Presented) string {
	if p := presented.Presentation(); p != nil {
		return p.Scheme
	}
	return ""
}
