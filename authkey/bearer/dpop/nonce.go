package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"
)

// nonces makes nonces of steps of time, and knows them again.
type nonces struct {
	of   func(step int64) string
	life time.Duration // of a step
}

// newNonces keeps the secret out of reach of whatever prints a Verifier.
func newNonces(secret []byte, life time.Duration) *nonces {
	secret = slices.Clone(secret)
	return &nonces{life: life, of: func(step int64) string {
		mac := hmac.New(sha256.New, secret)
		mac.Write(binary.BigEndian.AppendUint64([]byte("tollgate DPoP nonce"), uint64(step)))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}}
}

// current returns the nonce of the step that now lies in.
func (n *nonces) current(now time.Time) string { return n.of(n.step(now)) }

// good reports whether a nonce is that of the step that now lies in, or of the one before.
func (n *nonces) good(nonce string, now time.Time) bool {
	step := n.step(now)
	return equal(nonce, n.of(step)) || equal(nonce, n.of(step-1))
}

func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

func (n *nonces) step(now time.Time) int64 { return now.UnixNano() / int64(n.life) }
