package keys

import (
	"errors"
	"net/netip"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// What fields of bodies are parsed with, and what they want.
const (
	reasonWanted  = "at most 256 bytes without control characters"
	timeWanted    = "a time as RFC 3339 has it"
	endWanted     = `a time as RFC 3339 has it, or "never"`
	networkWanted = "a network such as 192.0.2.0/24 or 2001:db8::/32, with no bits beyond the prefix; one address is 192.0.2.7/32"
)

func asIs(text string) (string, error) { return text, nil }

func reasonOf(text string) (string, error) { return text, authkey.ValidateReason(text) }

// networkOf takes nothing that could be meant otherwise: no address without bits, no bits beyond them.
func networkOf(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err == nil && network != network.Masked() {
		err = errors.New("bits beyond the network")
	}
	return network, err
}

// pointer returns a parser into a pointer, which tells what is given from what is absent.
func pointer[T any](parse func(string) (T, error)) func(string) (*T, error) {
	return func(text string) (*T, error) {
		value, err := parse(text)
		return &value, err
	}
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

const (
	presentedWanted = "a key of 1 to 512 bytes"
	maxPresented    = 512
)

// presentedInto is the field for a key that somebody has found.
func presentedInto(into *authkey.Presented) strict.Field {
	return strict.Required(strict.Parsed("key", presentedWanted, into, func(text string) (authkey.Presented, error) {
		if text == "" || len(text) > maxPresented {
			return authkey.Presented{}, errors.New("out of bounds")
		}
		return authkey.NewPresented(text), nil
	}))
}

// partOf takes what could be a part of a path.
func partOf(text string) (string, error) {
	if text == "" || len(text) > rest.MaxPath {
		return "", errors.New("out of bounds")
	}
	return text, nil
}

func partOfCursor(text string) (string, error) {
	if text == "" {
		return "", errors.New("empty")
	}
	return text, nil
}
