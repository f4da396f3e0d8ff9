package jose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// maxMember bounds a member of a JWK: the modulus of an RSA key of 8192 bits.
const maxMember = 2 << 10

// ParseJWK reads a public key (RFC 7517; RFC 7518, section 6; RFC 8037) that is for verifying signatures. A secret,
// a private key, one whose use or key_ops is another, one that is weak and one whose point is not on its curve are
// refused.
func ParseJWK(document []byte) (Key, error) {
	o, err := ReadObject(document)
	if err != nil {
		return Key{}, err
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if o[name] != nil {
			return Key{}, errors.New("jose: the JWK is no public key")
		}
	}
	if err := forVerifying(o); err != nil {
		return Key{}, err
	}
	var key Key
	if key.ID, err = o.Text("kid", maxKeyID); err != nil {
		return Key{}, err
	}
	if key.Algorithm, err = o.Text("alg", maxAlgorithm); err != nil {
		return Key{}, err
	}
	kty, err := o.Text("kty", maxAlgorithm)
	if err != nil {
		return Key{}, err
	}
	switch kty {
	case "RSA":
		key.Public, err = rsaOf(o)
	case "EC":
		key.Public, err = ecOf(o)
	case "OKP":
		key.Public, err = okpOf(o)
	default:
		err = errors.New("jose: the JWK has a kty that is not known")
	}
	if err == nil {
		err = key.Validate()
	}
	return key, err
}

func forVerifying(o Object) error {
	use, err := o.Text("use", maxAlgorithm)
	if err != nil {
		return err
	}
	operations, err := o.Texts("key_ops", maxAlgorithm)
	if err != nil {
		return err
	}
	if use != "" && use != "sig" || o["key_ops"] != nil && !slices.Contains(operations, "verify") {
		return errors.New("jose: the JWK is not for verifying signatures")
	}
	return nil
}

func rsaOf(o Object) (*rsa.PublicKey, error) {
	n, err1 := o.bytes("n")
	e, err2 := o.bytes("e")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	var exponent [8]byte
	if len(e) > 4 {
		return nil, errors.New("jose: the JWK has an exponent that is out of bounds")
	}
	copy(exponent[8-len(e):], e)
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(binary.BigEndian.Uint64(exponent[:]))}, nil
}

func ecOf(o Object) (*ecdsa.PublicKey, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	name, err := o.Text("crv", maxAlgorithm)
	if err != nil {
		return nil, err
	}
	curve := curves[name]
	if curve == nil {
		return nil, errors.New("jose: the JWK has a curve that is not known")
	}
	x, err1 := o.bytes("x")
	y, err2 := o.bytes("y")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) != size || len(y) != size {
		return nil, errors.New("jose: the JWK has coordinates of another length")
	}
	return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y)) // which refuses a point off the curve
}

func okpOf(o Object) (ed25519.PublicKey, error) {
	name, err := o.Text("crv", maxAlgorithm)
	if err != nil {
		return nil, err
	}
	if name != "Ed25519" {
		return nil, errors.New("jose: the JWK has a curve that is not known")
	}
	x, err := o.bytes("x")
	return ed25519.PublicKey(x), err
}

// bytes returns a member that is canonical base64url.
func (o Object) bytes(name string) ([]byte, error) {
	text, err := o.Text(name, maxMember)
	if err != nil {
		return nil, err
	}
	value, err := decode(text)
	if err != nil || len(value) == 0 {
		return nil, fmt.Errorf("jose: the JWK's %q is not canonical base64url", name)
	}
	return value, nil
}

// Thumbprint returns the SHA-256 of a public key (RFC 7638), as base64url; "" for a secret.
func (k *Key) Thumbprint() string {
	encode := base64.RawURLEncoding.EncodeToString
	var text []byte
	switch public := k.Public.(type) {
	case *rsa.PublicKey:
		text = fmt.Appendf(nil, `{"e":%q,"kty":"RSA","n":%q}`, encode(big.NewInt(int64(public.E)).Bytes()), encode(public.N.Bytes()))
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			return ""
		}
		half := len(point) / 2
		x, y := point[1:1+half], point[1+half:]
		text = fmt.Appendf(nil, `{"crv":%q,"kty":"EC","x":%q,"y":%q}`, public.Params().Name, encode(x), encode(y))
	case ed25519.PublicKey:
		text = fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":%q}`, encode(bytes.Clone(public)))
	default:
		return ""
	}
	sum := sha256.Sum256(text)
	return encode(sum[:])
}
