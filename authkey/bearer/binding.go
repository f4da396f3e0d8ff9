package bearer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

const schemeDPoP = "DPoP"

// nothing is what came with a credential of which nothing else is known.
var nothing authkey.Presentation

// possessed reports whether whoever shows a token has what it is bound to. A token that is bound is never taken as a
// plain one, nor is a plain one where a bound one was announced.
func (v *Verifier) possessed(presented authkey.Presented, k *known) (Proof, error) {
	presentation := presented.Presentation()
	if presentation == nil {
		presentation = &nothing
	}
	announced := strings.EqualFold(presentation.Scheme, schemeDPoP)
	if k.binding.certificate != "" {
		if err := certified(presentation, k.binding.certificate); err != nil {
			return Proof{}, err
		}
	}
	switch {
	case k.binding.key == "" && !announced:
		return Proof{}, nil
	case k.binding.key == "":
		return Proof{}, fmt.Errorf("%w: token: it came by DPoP, and is bound to no key", authkey.ErrUnknown)
	case v.proofs == nil:
		return Proof{}, fmt.Errorf("%w: token: it is bound to a key, which takes WithProofs", authkey.ErrUnknown)
	case !announced:
		return Proof{}, fmt.Errorf("%w: token: it is bound to a key, and came without DPoP", authkey.ErrUnknown)
	}
	return v.proofs.Check(presentation, presented.Reveal(), k.binding.key)
}

// certified reports whether the client's certificate is the one of a thumbprint (RFC 8705, section 3).
func certified(presentation *authkey.Presentation, thumbprint string) error {
	if presentation.Certificate == nil {
		return fmt.Errorf("%w: token: it is bound to a certificate, and there is none", authkey.ErrUnknown)
	}
	sum := sha256.Sum256(presentation.Certificate.Raw)
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(thumbprint)) != 1 {
		return fmt.Errorf("%w: token: it is bound to another certificate", authkey.ErrUnknown)
	}
	return nil
}
