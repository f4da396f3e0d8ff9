package bearer

import "time"

// MaxToken is the most bytes that a token may have.
const MaxToken = maxToken

// SetNow gives a verifier another clock. For use before its first token.
func (v *Verifier) SetNow(now func() time.Time) { v.now = now }
