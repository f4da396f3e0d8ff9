package remotestore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tollgate-go/tollgate/authkey"
)

// Bounds of what an identity holds, in bytes and items: those of an authkey.Record.
const (
	maxText   = 128
	maxWord   = 64
	maxOrigin = 320
	maxItems  = 64
)

// object is a JSON object whose names are all different and exactly those that were written.
type object map[string]jsontext.Value

// readObject reads a document that is one object, and nothing after it. Its errors repeat nothing of it.
func readObject(document []byte) (object, error) {
	d := jsontext.NewDecoder(bytes.NewReader(document))
	if d.PeekKind() != '{' {
		return nil, errors.New("remotestore: want a JSON object")
	}
	fault := errors.New("remotestore: no valid JSON object, or a member that is there twice")
	if _, err := d.ReadToken(); err != nil {
		return nil, fault
	}
	members := object{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, fault
		}
		text := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, fault
		}
		members[text] = value.Clone()
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fault
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fault
	}
	return members, nil
}

// text returns a member that is a string of up to most bytes; "" where it is absent or null.
func (o object) text(name string, most int) (string, error) {
	value, ok := o[name]
	if !ok || value.Kind() == 'n' {
		return "", nil
	}
	text, err := unquote(value)
	if err != nil || len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("remotestore: member %q: want a string of up to %d bytes, without control characters", name, most)
	}
	return text, nil
}

// texts returns a member that is a list of strings of 1 to most bytes; none where it is absent or null.
func (o object) texts(name string, most int) ([]string, error) {
	value, ok := o[name]
	if !ok || value.Kind() == 'n' {
		return nil, nil
	}
	fault := fmt.Errorf("remotestore: member %q: want a list of up to %d strings of 1 to %d visible ASCII characters", name, maxItems, most)
	d := jsontext.NewDecoder(bytes.NewReader(value))
	if value.Kind() != '[' {
		return nil, fault
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fault
	}
	var texts []string
	for d.PeekKind() == '"' {
		item, err := d.ReadToken()
		if err != nil {
			return nil, fault
		}
		text := item.String()
		if text == "" || len(text) > most || len(texts) == maxItems || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, fault
		}
		texts = append(texts, text)
	}
	if d.PeekKind() != ']' {
		return nil, fault
	}
	return texts, nil
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// seconds returns a member that is a NumericDate of RFC 7519; ok is false where it is absent.
func (o object) seconds(name string) (at time.Time, ok bool, err error) {
	value, ok := o[name]
	if !ok {
		return time.Time{}, false, nil
	}
	n, err := strconv.ParseFloat(string(value), 64)
	if value.Kind() != '0' || err != nil || n < 0 || n > maxSeconds {
		return time.Time{}, false, fmt.Errorf("remotestore: member %q: want seconds since 1970, up to the year 9999", name)
	}
	whole := int64(n)
	return time.Unix(whole, int64((n-float64(whole))*1e9)), true, nil
}

func unquote(value jsontext.Value) (string, error) {
	if value.Kind() != '"' {
		return "", errors.New("remotestore: no string")
	}
	text, err := jsontext.AppendUnquote(nil, value)
	return string(text), err
}

// members are those of an identity.
var members = []string{
	"org", "project", "key", "kind", "credential", "scopes", "products", "networks", "origins", "expires_at", "plan", "owner", "name",
}

// identity returns whom an answer names. All that is wrong with it is joined.
func (o object) identity() (*authkey.Identity, error) {
	var faults []error
	text := func(name string) string {
		value, err := o.text(name, maxText)
		faults = append(faults, err)
		return value
	}
	words := func(name string, most int) []string {
		values, err := o.texts(name, most)
		faults = append(faults, err)
		return values
	}
	id := &authkey.Identity{
		Org: text("org"), Project: text("project"), Key: text("key"), Credential: text("credential"), Name: text("name"),
		Plan: text("plan"), Owner: text("owner"), Kind: authkey.Kind(text("kind")), Scopes: words("scopes", maxWord),
		Products: words("products", maxWord), Origins: words("origins", maxOrigin), Method: method,
	}
	if id.Kind != authkey.KindSecret && id.Kind != authkey.KindPublishable {
		faults = append(faults, fmt.Errorf("remotestore: member %q: want %q or %q", "kind", authkey.KindSecret, authkey.KindPublishable))
	}
	for _, rule := range id.Origins {
		if authkey.ValidateOrigin(rule) != nil {
			faults = append(faults, errors.New(`remotestore: member "origins": want rules as authkey.ParseOrigin reads them`))
		}
	}
	for _, network := range words("networks", maxWord) {
		prefix, err := netip.ParsePrefix(network)
		if err != nil || prefix.Addr().Is4In6() {
			faults = append(faults, errors.New(`remotestore: member "networks": want networks such as 192.0.2.0/24 or 2001:db8::/32`))
			continue
		}
		id.Networks = append(id.Networks, prefix.Masked())
	}
	if end := text("expires_at"); end != "" {
		at, err := time.Parse(time.RFC3339, end)
		if err != nil {
			faults = append(faults, errors.New(`remotestore: member "expires_at": want a time as RFC 3339 has it`))
		}
		id.ExpiresAt = at
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if id.Credential == "" {
		id.Credential = id.Key
	}
	return id, nil
}
