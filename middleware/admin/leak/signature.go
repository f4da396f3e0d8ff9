package leak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tollgate-go/tollgate/middleware"
)

// The fields that GitHub signs a report with.
const (
	fieldIdentifier = "Github-Public-Key-Identifier"
	fieldSignature  = "Github-Public-Key-Signature"

	maxIdentifier = 128 // bytes
	maxSignature  = 256 // bytes of base64; one with a key on P-256 has at most 96
)

// authentic returns the body of a report that is signed. Who does not know the name of a public key is refused before
// the body is read.
func (h *Handler) authentic(ctx context.Context, w http.ResponseWriter, r *http.Request) ([]byte, error) {
	identifier, signature, err := signatureOf(r.Header)
	if err != nil {
		return nil, err
	}
	key, err := h.keys.PublicKey(ctx, identifier)
	if errors.Is(err, ErrUnknownKey) {
		return nil, errUnsigned
	}
	if err != nil {
		return nil, fmt.Errorf("leak: public key: %w", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, &middleware.Error{Status: http.StatusRequestEntityTooLarge, Code: codeTooLarge, Message: "A report has at most 1 MiB."}
	} else if err != nil {
		return nil, badBody("The body could not be read to its end.")
	}
	if !verifies(key, body, signature) {
		return nil, errUnsigned
	}
	return body, nil
}

// errUnsigned is the one answer to whatever is wrong with a signature.
var errUnsigned = &middleware.Error{
	Status: http.StatusUnauthorized, Code: codeSignature,
	Message: "The report needs one " + fieldIdentifier + " and one " + fieldSignature + " that fit its body.",
}

// signatureOf returns the identifier of a public key and the signature in ASN.1.
func signatureOf(header http.Header) (identifier string, signature []byte, err error) {
	identifiers, signatures := header.Values(fieldIdentifier), header.Values(fieldSignature)
	if len(identifiers) != 1 || len(signatures) != 1 || !validIdentifier(identifiers[0]) || len(signatures[0]) > maxSignature {
		return "", nil, errUnsigned
	}
	signature, err = base64.StdEncoding.Strict().DecodeString(signatures[0])
	if err != nil {
		return "", nil, errUnsigned
	}
	return identifiers[0], signature, nil
}

// validIdentifier allows visible ASCII.
func validIdentifier(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxIdentifier
}

// verifies reports whether a signature over a body is that of a key on P-256 (FIPS 186-5, section 6.4.2).
func verifies(key *ecdsa.PublicKey, body, signature []byte) bool {
	if key == nil || key.Curve != elliptic.P256() {
		return false
	}
	digest := sha256.Sum256(body)
	return ecdsa.VerifyASN1(key, digest[:], signature)
}
