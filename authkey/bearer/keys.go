package bearer

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// maxKeys is the most keys that a set may have.
const maxKeys = 100

// Header is what a token says of the key that it was signed with. Nothing of it is to be believed.
type Header struct {
	KeyID     string // kid; "" where it is absent
	Algorithm string // alg, one that the issuer may use
}

// KeySource has the keys of one issuer. A *KeySet is one, for keys that never change; authkey/bearer/jwks has those
// that follow an issuer. New asks a source that has an Err() error method for its own faults. Implementations are safe
// for concurrent use.
//
// A source may also have a method Held(Header) *KeySet, which never waits: it returns what Keys would return from
// memory, and nil where Keys has to be asked. It spares a cached token the timeout that Keys is called with.
type KeySource interface {
	// Keys returns the set that is current, from memory. Where that has no key for the header, it may look for a
	// newer one, within ctx; it returns the set that there is when it finds none. The same set is the same
	// pointer, for cached tokens are looked through when it changes. An error means that no set can be had, or
	// that nobody can tell whether there is such a key, and makes the answer 503.
	Keys(ctx context.Context, header Header) (*KeySet, error)
}

// holder is a KeySource that has a set in memory.
type holder interface{ Held(header Header) *KeySet }

// Key is what an issuer's signatures are verified with.
type Key struct {
	// ID is what the header of a token calls it, kid: up to 256 bytes. It may be empty.
	ID string
	// Algorithm is the only one that the key is for, a name of RFC 7518, RFC 8037 or RFC 9864. Empty: any that
	// fits it and that the issuer may use.
	Algorithm string
	// Public is an *rsa.PublicKey of 2048 to 8192 bits with an odd exponent of at least 65537, an *ecdsa.PublicKey
	// on P-256, P-384 or P-521, or an ed25519.PublicKey. For HS256 and its kin it is a secret of []byte, at least
	// as long as the hash.
	Public any
}

// Format writes the ID and the algorithm, for every verb: a key may be a secret.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key %q %s", k.ID, k.Algorithm) // fmt.State has nobody to tell
}

// MarshalText returns what Format writes, so that no encoder and no log has a secret.
func (k Key) MarshalText() ([]byte, error) { return fmt.Append(nil, k), nil }

// KeySet is the keys of an issuer at some time. Immutable, safe for concurrent use.
type KeySet struct {
	keys    []jose.Key
	byID    map[string][]*jose.Key
	skipped int
}

// NewKeySet returns a set of 1 to 100 keys, and keeps no bytes of the caller's secrets. Two may have one ID only if their
// algorithms differ, and none fits both. The error joins all that is wrong with them.
func NewKeySet(keys ...Key) (*KeySet, error) {
	var faults []error
	set := make([]jose.Key, len(keys))
	for i, k := range keys {
		given := jose.Key(k)
		set[i] = given.Clone()
		if err := set[i].Validate(); err != nil {
			faults = append(faults, fmt.Errorf("%w: key number %d, %.40q: %w", authkey.ErrInvalid, i+1, k.ID, err))
		}
		if slices.ContainsFunc(set[:i], func(o jose.Key) bool { return o.ID == k.ID && (o.Algorithm == k.Algorithm || o.Overlaps(&set[i])) }) {
			faults = append(faults, fmt.Errorf("%w: key number %d: the ID %.40q is there twice for one algorithm", authkey.ErrInvalid, i+1, k.ID))
		}
	}
	if len(keys) < 1 || len(keys) > maxKeys {
		faults = append(faults, fmt.Errorf("%w: %d keys, want 1 to %d", authkey.ErrInvalid, len(keys), maxKeys))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return newKeySet(set, 0), nil
}

func newKeySet(keys []jose.Key, skipped int) *KeySet {
	s := &KeySet{keys: keys, byID: make(map[string][]*jose.Key, len(keys)), skipped: skipped}
	for i := range keys {
		s.byID[keys[i].ID] = append(s.byID[keys[i].ID], &keys[i])
	}
	return s
}

// ParseKeySet reads a JWK Set (RFC 7517, section 5) of up to 100 keys. What is no strong public key for verifying
// signatures is skipped: other kinds, other uses, secrets, private keys, damaged ones. A set in which nothing is left
// is an error, as is a document that is no strict JSON. Its errors repeat nothing of the document.
func ParseKeySet(document []byte) (*KeySet, error) {
	o, err := jose.ReadObject(document)
	if err != nil {
		return nil, fmt.Errorf("%w: key set: %w", authkey.ErrInvalid, err)
	}
	var items []json.RawMessage
	if json.Unmarshal(o["keys"], &items) != nil || len(items) > maxKeys {
		return nil, fmt.Errorf("%w: key set: want a list of up to %d \"keys\"", authkey.ErrInvalid, maxKeys)
	}
	keys := make([]jose.Key, 0, len(items))
	for _, item := range items {
		if key, err := jose.ParseJWK(item); err == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: key set: none of the %d keys can be used", authkey.ErrInvalid, len(items))
	}
	return newKeySet(keys, len(items)-len(keys)), nil
}

// ParsePEM reads public keys, "PUBLIC KEY" or "CERTIFICATE", one for each block and in order, without an ID. A
// certificate's times and issuer are not looked at: whoever configures a key trusts it. Any other block, a private
// key above all, is an error, as is a text without a block.
func ParsePEM(document []byte) ([]Key, error) {
	var keys []Key
	for {
		var block *pem.Block
		if block, document = pem.Decode(document); block == nil {
			break
		}
		public, err := publicOf(block)
		key := jose.Key{Public: public}
		if err == nil {
			err = key.Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: PEM block number %d: %w", authkey.ErrInvalid, len(keys)+1, err)
		}
		keys = append(keys, Key(key))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: PEM: there is no block", authkey.ErrInvalid)
	}
	return keys, nil
}

func publicOf(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return nil, errors.New(`want "PUBLIC KEY" or "CERTIFICATE"`)
}

// Keys returns the set itself.
func (s *KeySet) Keys(context.Context, Header) (*KeySet, error) { return s, nil }

// Held returns the set itself.
func (s *KeySet) Held(Header) *KeySet { return s }

// Len returns how many keys the set has.
func (s *KeySet) Len() int { return len(s.keys) }

// Skipped returns how many keys of the document ParseKeySet did without.
func (s *KeySet) Skipped() int { return s.skipped }

// Format writes how many keys there are, for every verb: they may be secrets.
func (s KeySet) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key set of %d", len(s.keys)) // fmt.State has nobody to tell
}

// Has reports whether the set has a key that a header may mean. No allocation.
func (s *KeySet) Has(header Header) bool { return s.find(header) != nil }

// find returns the one key that a header means: with its ID, or without an ID the only one that fits. nil where there
// is none, or more than one.
func (s *KeySet) find(header Header) (found *jose.Key) {
	if header.KeyID != "" {
		for _, key := range s.byID[header.KeyID] {
			if key.Fits(header.Algorithm) {
				if found != nil {
					return nil
				}
				found = key
			}
		}
		return found
	}
	for i := range s.keys {
		if s.keys[i].Fits(header.Algorithm) {
			if found != nil {
				return nil
			}
			found = &s.keys[i]
		}
	}
	return found
}

// Keyfunc returns a source that asks a function of golang-jwt, such as one of another cache of keys. The function is
// called once for each token, also for one in the cache of WithCache, with a token that has nothing but the Header's
// alg and kid and the Method, and may return one key or a jwt.VerificationKeySet, of which exactly one may fit. It must
// be for one issuer alone, and bound its own time.
// Its errors mean that the token is of an unknown key, but for those that are authkey.ErrUnavailable.
func Keyfunc(f jwt.Keyfunc) KeySource { return keyfunc(f) }

type keyfunc jwt.Keyfunc

func (f keyfunc) Keys(_ context.Context, header Header) (*KeySet, error) {
	token := &jwt.Token{Method: jwt.GetSigningMethod(header.Algorithm), Header: map[string]any{"alg": header.Algorithm}}
	if header.Algorithm == "Ed25519" { // which golang-jwt does not know: a function that asks the Method must not panic
		token.Method = jwt.SigningMethodEdDSA
	}
	if header.KeyID != "" {
		token.Header["kid"] = header.KeyID
	}
	found, err := f(token)
	if err != nil {
		if errors.Is(err, authkey.ErrUnavailable) {
			return nil, err
		}
		return newKeySet(nil, 0), nil // the key is unknown
	}
	several, ok := found.(jwt.VerificationKeySet)
	if !ok {
		several.Keys = []jwt.VerificationKey{found}
	}
	keys := make([]jose.Key, 0, len(several.Keys))
	for _, public := range several.Keys {
		key := jose.Key{ID: header.KeyID, Algorithm: header.Algorithm, Public: public}
		if key.Validate() == nil {
			keys = append(keys, key)
		}
	}
	return newKeySet(keys, len(several.Keys)-len(keys)), nil
}
