// Package jose reads what is signed, as JSON Web Signatures (RFC 7515) and JSON Web Keys (RFC 7517) have it, and
// strictly: whatever two readers could take for different things is refused before a signature is looked at.
// golang-jwt does the signatures.
//
// It knows no policy: which issuer, which audience and which claims count is for its callers.
//
//	token, err := jose.Parse(text, 8<<10)
//	err = key.Verify(alg, token.Signed, token.Signature)
//	claims, err := jose.ReadObject(token.Payload)
package jose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Bounds of a header, in bytes.
const (
	maxHeader    = 2 << 10
	maxKeyID     = 256
	maxAlgorithm = 16
	maxType      = 128
)

// Compact is a JWS in compact form (RFC 7515, section 7.1), taken apart. Nothing is verified.
type Compact struct {
	Header    Object
	Algorithm string // alg
	KeyID     string // kid, "" where it is absent; HasKeyID tells
	HasKeyID  bool
	Type      string // typ in lower case, without "application/" before it
	Payload   []byte
	Signed    string // what the signature is of
	Signature []byte
}

// registered are the names of header parameters that are looked at (RFC 7515, 7516, 7797).
var registered = []string{"alg", "kid", "typ", "cty", "crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"}

// Parse takes a token of up to most bytes apart: three parts of canonical base64url (RFC 4648, section 5), which is
// without padding, line breaks and stray bits; a header of up to 2 KiB of those, in which crit, b64, zip and enc are
// refused, since whoever does not know them must not accept them, and names in another case. Its errors repeat nothing
// of the token.
func Parse(token string, most int) (Compact, error) {
	if len(token) > most {
		return Compact{}, fmt.Errorf("jose: the token has more than %d bytes", most)
	}
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") || len(header) > maxHeader {
		return Compact{}, errors.New("jose: the token does not have three parts, or too long a header")
	}
	c := Compact{Signed: token[:len(header)+1+len(payload)]}
	text, err := decode(header)
	if err != nil {
		return Compact{}, err
	}
	if c.Payload, err = decode(payload); err != nil {
		return Compact{}, err
	}
	if c.Signature, err = decode(signature); err != nil {
		return Compact{}, err
	}
	if c.Header, err = ReadObject(text); err != nil {
		return Compact{}, err
	}
	return c, c.readHeader()
}

func (c *Compact) readHeader() (err error) {
	if err := c.Header.Exact(registered...); err != nil {
		return err
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if c.Header[name] != nil {
			return fmt.Errorf("jose: the header has %q", name)
		}
	}
	if c.Algorithm, err = c.Header.Text("alg", maxAlgorithm); err != nil {
		return err
	}
	if c.KeyID, err = c.Header.Text("kid", maxKeyID); err != nil {
		return err
	}
	_, c.HasKeyID = c.Header["kid"]
	typ, err := c.Header.Text("typ", maxType)
	c.Type = MediaType(typ)
	return err
}

// BringsNoKey refuses a header with a key, or with the address of one: whoever verifies by it trusts the sender (RFC
// 8725, section 3.10).
func (c *Compact) BringsNoKey() error {
	for _, name := range []string{"jwk", "jku", "x5u", "x5c"} {
		if c.Header[name] != nil {
			return fmt.Errorf("jose: the header brings a key by %q", name)
		}
	}
	return nil
}

// MediaType returns a typ in lower case and without "application/" before it (RFC 7515, section 4.1.9).
func MediaType(typ string) string {
	typ = strings.ToLower(typ)
	if short := strings.TrimPrefix(typ, "application/"); short != "" {
		return short
	}
	return typ
}

var base64url = base64.RawURLEncoding.Strict()

// decode decodes canonical base64url. The package base64 skips line breaks, also where it is strict.
func decode(part string) ([]byte, error) {
	text, err := base64url.DecodeString(part)
	if err != nil || strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("jose: a part of the token is not canonical base64url")
	}
	return text, nil
}
