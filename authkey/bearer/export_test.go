package bearer

import (
	"slices"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// MaxToken is the most bytes that a token may have.
const MaxToken = maxToken

// SameKeys reports whether two sets verify the same.
func SameKeys(a, b *KeySet) bool {
	return slices.EqualFunc(a.keys, b.keys, func(a, b jose.Key) bool { return a.Equal(&b) })
}
