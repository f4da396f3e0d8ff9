package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
)

// Key signs tokens. NewKey makes good ones; a test that wants an odd one writes its fields: a short modulus, a curve
// that is not the algorithm's, the text of a public key as a secret. Do not change a key that an issuer has.
type Key struct {
	// Alg is RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519 (the name that RFC 9864
	// gives it), HS256, HS384, HS512, or none, which signs with nothing.
	Alg string
	// ID is the kid; empty: tokens and JWK have none.
	ID string
	// Private is a *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey, a []byte for HS*, nil for none.
	Private any
	// Salt is the length of the salt of PS*, in bytes; 0: that of the hash, which RFC 7518 asks for.
	Salt int
}

// NewKey makes a key: RSA of 2048 bits, the algorithm's curve, a secret of 64 bytes. RSA keys take long to make, so a
// key goes back into a drawer when the test ends, and nobody else has it until then.
func NewKey(t testing.TB, alg, id string) *Key {
	t.Helper()
	key := &Key{Alg: alg, ID: id}
	var err error
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key.Private, err = takeRSA(t)
	case "ES256":
		key.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key.Private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key.Private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, key.Private, err = ed25519.GenerateKey(nil)
	case "HS256", "HS384", "HS512":
		secret := make([]byte, 64)
		_, err = rand.Read(secret)
		key.Private = secret
	case "none":
	default:
		err = fmt.Errorf("no such algorithm; Key.Alg lists them")
	}
	if err != nil {
		t.Fatalf("authtest: NewKey: %q: %v", alg, err)
	}
	return key
}

// rsaKeys are the RSA keys that no running test has.
var rsaKeys struct {
	sync.Mutex
	free []*rsa.PrivateKey
}

func takeRSA(t testing.TB) (*rsa.PrivateKey, error) {
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	var key *rsa.PrivateKey
	if last := len(rsaKeys.free) - 1; last >= 0 {
		key, rsaKeys.free = rsaKeys.free[last], rsaKeys.free[:last]
	} else {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, err
		}
	}
	t.Cleanup(func() {
		rsaKeys.Lock()
		defer rsaKeys.Unlock()
		rsaKeys.free = append(rsaKeys.free, key)
	})
	return key, nil
}

// Public returns what verifies: a *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, or the secret of HS*; nil
// for none.
func (k *Key) Public() any {
	switch private := k.Private.(type) {
	case []byte:
		return private
	case interface{ Public() crypto.PublicKey }:
		return private.Public()
	default:
		return nil
	}
}

// JWK returns the public half as a JSON Web Key (RFC 7517, RFC 7518 section 6, RFC 8037), a new map on each call. That
// of HS* is the secret itself, which no honest issuer publishes.
func (k *Key) JWK() map[string]any {
	jwk := k.material()
	jwk["alg"], jwk["use"] = k.Alg, "sig"
	if k.ID != "" {
		jwk["kid"] = k.ID
	}
	return jwk
}

// Thumbprint returns the JWK thumbprint (RFC 7638) with SHA-256: what cnf.jkt says of a DPoP key.
func (k *Key) Thumbprint() string {
	text, err := json.Marshal(k.material()) // in the order of the names, as the RFC asks
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return encode(sum[:])
}

// material is the JWK with the required members only.
func (k *Key) material() map[string]any {
	switch public := k.Public().(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": encode(public.N.Bytes()), "e": encode(big.NewInt(int64(public.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			return map[string]any{"kty": "EC"}
		}
		x, y := point[1:len(point)/2+1], point[len(point)/2+1:]
		return map[string]any{"kty": "EC", "crv": public.Params().Name, "x": encode(x), "y": encode(y)}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encode(public)}
	case []byte:
		return map[string]any{"kty": "oct", "k": encode(public)}
	default:
		return map[string]any{}
	}
}

// sign returns a compact JWS over any bytes, which it does not look at.
func (k *Key) sign(header, payload []byte) (string, error) {
	input := encode(header) + "." + encode(payload)
	signature, err := k.signature([]byte(input))
	if err != nil {
		return "", fmt.Errorf("key %q: %s with a %T: %w", k.ID, k.Alg, k.Private, err)
	}
	return input + "." + encode(signature), nil
}

func (k *Key) signature(input []byte) ([]byte, error) {
	family, hash := k.algorithm()
	switch private := k.Private.(type) {
	case nil:
		if family == "none" {
			return nil, nil
		}
	case ed25519.PrivateKey:
		if family == "EdDSA" {
			return ed25519.Sign(private, input), nil
		}
	case []byte:
		if family == "HS" {
			mac := hmac.New(hash.New, private)
			mac.Write(input)
			return mac.Sum(nil), nil
		}
	case *rsa.PrivateKey:
		switch family {
		case "RS":
			return rsa.SignPKCS1v15(nil, private, hash, digest(hash, input))
		case "PS":
			salt := k.Salt
			if salt == 0 {
				salt = rsa.PSSSaltLengthEqualsHash
			}
			return rsa.SignPSS(rand.Reader, private, hash, digest(hash, input), &rsa.PSSOptions{SaltLength: salt})
		}
	case *ecdsa.PrivateKey:
		if family == "ES" {
			return signECDSA(private, digest(hash, input))
		}
	}
	return nil, fmt.Errorf("they do not go together; Key.Alg and Key.Private say what does")
}

// signECDSA returns r and s, each as long as the curve's order (RFC 7518, section 3.4).
func signECDSA(private *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, private, digest)
	if err != nil {
		return nil, err
	}
	size := (private.Params().BitSize + 7) / 8
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature, nil
}

// algorithm splits Alg into family and hash; the family is "" where there is no such algorithm.
func (k *Key) algorithm() (string, crypto.Hash) {
	switch k.Alg {
	case "none":
		return "none", 0
	case "EdDSA", "Ed25519":
		return "EdDSA", 0
	}
	for suffix, hash := range map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512} {
		if family, ok := strings.CutSuffix(k.Alg, suffix); ok {
			return family, hash
		}
	}
	return "", 0
}

func digest(hash crypto.Hash, input []byte) []byte {
	h := hash.New()
	h.Write(input)
	return h.Sum(nil)
}

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }
