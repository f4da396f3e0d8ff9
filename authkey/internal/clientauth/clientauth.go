// Package clientauth is how we prove to an authorization server who we are (RFC 6749, section 2.3; RFC 7523, section
// 2.2), for those who ask one for a token or about one.
//
//	if err := clientauth.CheckSecret(secret); err != nil { ... }
//	clientauth.Basic(header, id, secret)
package clientauth

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Bounds of what a client is named and authenticated by, in bytes.
const (
	MaxID     = 256
	maxSecret = 4 << 10
)

// CheckSecret reports what is wrong with a secret. It does not repeat it.
func CheckSecret(secret string) error {
	if !Printable(secret, maxSecret) {
		return fmt.Errorf("secret: want 1 to %d printable ASCII characters", maxSecret)
	}
	return nil
}

// CheckID reports what is wrong with an ID. It does not repeat it.
func CheckID(id string) error {
	if !Printable(id, MaxID) {
		return fmt.Errorf("client ID: want 1 to %d printable ASCII characters", MaxID)
	}
	return nil
}

// Printable reports whether a text is VSCHAR of RFC 6749, appendix A, and not empty or longer than most.
func Printable(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}

// Basic is client_secret_basic: the field Authorization, in which both are encoded as in a form before they are joined.
func Basic(header http.Header, id, secret string) {
	request := http.Request{Header: header}
	request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
}

// Post is client_secret_post: both in the body.
func Post(form url.Values, id, secret string) {
	form.Set("client_id", id)
	form.Set("client_secret", secret)
}

// Assert is private_key_jwt: an assertion about the client in the body.
func Assert(form url.Values, id, assertion string) {
	form.Set("client_id", id)
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
}
