package remotestore

import (
	"errors"
	"fmt"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Key is what a service's signatures are verified with: a key with its one algorithm.
type Key struct {
	// ID is what the header of a token calls it, kid: up to 256 bytes. It may be empty where there is one key.
	ID string
	// Algorithm is the name of RFC 7518 or RFC 8037: RS256, PS256, ES256, EdDSA, HS256, or with 384 or 512 for 256.
	Algorithm string
	// Public is an *rsa.PublicKey of 2048 to 8192 bits, an *ecdsa.PublicKey on the algorithm's curve or an
	// ed25519.PublicKey; for HS256 and its kin it is a secret of []byte, at least as long as the hash.
	Public any
}

// Format writes the ID and the algorithm, for every verb: a key may be a secret.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key %q %s", k.ID, k.Algorithm) // fmt.State has nobody to tell
}

// MarshalText returns what Format writes, so that no encoder and no log has a secret.
func (k Key) MarshalText() ([]byte, error) { return fmt.Append(nil, k), nil }

func (k *Key) validate() error {
	if k.Algorithm == "" {
		return errors.New(`algorithm "": want the one that the service signs with`)
	}
	key := jose.Key(*k)
	return key.Validate()
}
