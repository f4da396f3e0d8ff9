package remotestore

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Bounds of what an identity holds, in bytes and items: those of an authkey.Record.
const (
	maxText   = 128
	maxWord   = 64
	maxOrigin = 320
	maxItems  = 64
)

// object is a JSON object of which a member may be null instead of absent, but for times.
type object struct{ jose.Object }

func readObject(document []byte) (object, error) {
	o, err := jose.ReadObject(document)
	return object{o}, err
}

func (o object) null(name string) bool { return string(o.Object[name]) == "null" }

// text returns a member that is a string of up to most bytes; "" where it is absent.
func (o object) text(name string, most int) (string, error) {
	if o.null(name) {
		return "", nil
	}
	return o.Text(name, most)
}

// texts returns a member that is a list of up to 64 strings of 1 to most visible ASCII characters; none where it is
// absent.
func (o object) texts(name string, most int) ([]string, error) {
	if o.null(name) {
		return nil, nil
	}
	texts, err := o.Texts(name, most)
	odd := func(text string) bool {
		return strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' })
	}
	if err != nil || len(texts) > maxItems || slices.ContainsFunc(texts, odd) {
		return nil, fmt.Errorf("remotestore: member %q: want a list of up to %d strings of 1 to %d visible ASCII characters", name, maxItems, most)
	}
	return texts, nil
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
