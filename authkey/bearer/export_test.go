package bearer

import (
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// MaxToken is the most bytes that a token may have.
const MaxToken = maxToken

// SetNow gives a verifier another clock. For use before its first token.
func (v *Verifier) SetNow(now func() time.Time) { v.now = now }

// SameKeys reports whether two sets verify the same.
func SameKeys(a, b *KeySet) bool {
	return slices.EqualFunc(a.keys, b.keys, func(a, b jose.Key) bool { return a.Equal(&b) })
}
