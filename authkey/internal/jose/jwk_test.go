package jose_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// modulus is an odd number of so many bits, as base64url.
func modulus(bits uint) string {
	n := new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1)
	return encode(string(n.Bytes()))
}

func rsaJWK(n, e string) string { return fmt.Sprintf(`{"kty":"RSA","n":"%s","e":"%s"}`, n, e) }

// more adds members to a JWK.
func more(key, members string) string { return key[:len(key)-1] + "," + members + "}" }

func TestParseJWK(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"RSA": keyRFC7638, "P-256": keyRFC7515A3, "P-521": keyRFC7520EC, "Ed25519": keyRFC8037,
		"RSA of 2048 bits": rsaJWK(modulus(2048), "AQAB"), "RSA of 8192 bits": rsaJWK(modulus(8192), "AQAB"), "an exponent of 65539": rsaJWK(modulus(2048), "AQAD"),
		"the greatest exponent": rsaJWK(modulus(2048), "f____w"),
		"use":                   more(keyRFC7515A3, `"use":"sig"`), "key_ops": more(keyRFC7515A3, `"key_ops":["sign","verify"]`), "both": more(keyRFC7515A3, `"use":"sig","key_ops":["verify"]`),
		"alg": more(keyRFC7515A3, `"alg":"ES256"`), "alg of RSA": more(rsaJWK(modulus(2048), "AQAB"), `"alg":"PS512"`), "alg EdDSA": more(keyRFC8037, `"alg":"EdDSA"`), "alg Ed25519": more(keyRFC8037, `"alg":"Ed25519"`),
		"a kid of 256 bytes": more(keyRFC8037, `"kid":"`+strings.Repeat("x", 256)+`"`), "other members": more(keyRFC8037, `"x5t#S256":"x","x5c":[7],"ext":true,"D":"AQAB"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := jose.ParseJWK([]byte(document))
			if err != nil || key.Public == nil {
				t.Errorf("%v, %v", key.Public, err)
			}
		})
	}
}

func TestParseJWKRefuses(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := p384.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ec := func(crv, x, y string) string {
		return fmt.Sprintf(`{"kty":"EC","crv":"%s","x":"%s","y":"%s"}`, crv, x, y)
	}
	const x, y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
	x384, y384 := encode(string(point[1:49])), encode(string(point[49:]))
	okp := func(crv, x string) string { return fmt.Sprintf(`{"kty":"OKP","crv":"%s","x":"%s"}`, crv, x) }
	const x25519 = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	good := rsaJWK(modulus(2048), "AQAB")
	refused := map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "an empty object": "{}", "a member twice": more(good, `"e":"AQAB"`), "text after it": good + "x",
		"no kty": `{"n":"AQAB","e":"AQAB"}`, "kty rsa": strings.Replace(good, "RSA", "rsa", 1), "kty as a number": strings.Replace(good, `"RSA"`, "1", 1),
		"oct": `{"kty":"oct","k":"` + keyRFC7515A1 + `"}`, "oct without k": `{"kty":"oct"}`, "AKP": `{"kty":"AKP","alg":"ML-DSA-44","pub":"AQAB"}`,
		"use enc": more(good, `"use":"enc"`), "use SIG": more(good, `"use":"SIG"`), "use as a list": more(good, `"use":["sig"]`), "use null": more(good, `"use":null`),
		"key_ops sign": more(good, `"key_ops":["sign"]`), "key_ops empty": more(good, `"key_ops":[]`), "key_ops as a string": more(good, `"key_ops":"verify"`), "key_ops null": more(good, `"key_ops":null`),
		"sig that may not verify": more(good, `"use":"sig","key_ops":["encrypt"]`), "verify for enc": more(good, `"use":"enc","key_ops":["verify"]`),
		"alg of another kty": more(good, `"alg":"ES256"`), "alg of another curve": more(ec("P-256", x, y), `"alg":"ES384"`), "alg of a secret": more(good, `"alg":"HS256"`), "alg none": more(good, `"alg":"none"`),
		"alg RSA-OAEP": more(good, `"alg":"RSA-OAEP"`), "alg in another case": more(good, `"alg":"rs256"`), "alg as a number": more(good, `"alg":256`),
		"a kid of 257 bytes": more(good, `"kid":"`+strings.Repeat("x", 257)+`"`), "kid as a number": more(good, `"kid":1`), "a line break in kid": more(good, `"kid":"a\n"`),
		"no n": `{"kty":"RSA","e":"AQAB"}`, "no e": `{"kty":"RSA","n":"` + modulus(2048) + `"}`, "n empty": rsaJWK("", "AQAB"), "n as a number": `{"kty":"RSA","n":7,"e":"AQAB"}`,
		"n with padding": rsaJWK(modulus(2048)+"==", "AQAB"), "n with a line break": rsaJWK(modulus(2048)[:8]+`\n`+modulus(2048)[8:], "AQAB"), "n in the other alphabet": rsaJWK("+/"+modulus(2048)[2:], "AQAB"),
		"RSA of 1024 bits": rsaJWK(modulus(1024), "AQAB"), "RSA of 2047 bits": rsaJWK(modulus(2047), "AQAB"), "RSA of 8193 bits": rsaJWK(modulus(8193), "AQAB"), "RSA of 16384 bits": rsaJWK(modulus(16384), "AQAB"),
		"an even modulus": rsaJWK(modulus(2048)[:341]+"A", "AQAB"), "exponent 1": rsaJWK(modulus(2048), "AQ"), "exponent 3": rsaJWK(modulus(2048), "Aw"), "exponent 65535": rsaJWK(modulus(2048), "__8"),
		"exponent 65536": rsaJWK(modulus(2048), "AQAA"), "exponent 0": rsaJWK(modulus(2048), "AA"), "an exponent of 2^31 and 1": rsaJWK(modulus(2048), "gAAAAQ"), "an exponent of 5 bytes": rsaJWK(modulus(2048), "AQAAAAE"),
		"e with padding": rsaJWK(modulus(2048), "AQAB="), "off the curve": ec("P-256", y, x), "one bit off the curve": ec("P-256", x, y[:42]+"4"), "at infinity": ec("P-256", strings.Repeat("A", 43), strings.Repeat("A", 43)),
		"x as great as the field": ec("P-256", "_____wAAAAEAAAAAAAAAAAAAAAD_______________8", y), "x of 31 bytes": ec("P-256", x[:40]+"VA", y), "x of 33 bytes": ec("P-256", "AA"+x[:41]+"U", y), "no y": `{"kty":"EC","crv":"P-256","x":"` + x + `"}`,
		"P-384 as P-256": ec("P-256", x384, y384), "P-256 as P-384": ec("P-384", x, y), "a point that is cut elsewhere": ec("P-384", encode(string(point[1:46])), encode(string(point[46:]))), "secp256k1": ec("secp256k1", x, y), "p-256": ec("p-256", x, y), "no crv": `{"kty":"EC","x":"` + x + `","y":"` + y + `"}`,
		"X25519": okp("X25519", x25519), "Ed448": okp("Ed448", x25519+x25519[:33]), "ed25519": okp("ed25519", x25519), "Ed25519 of 31 bytes": okp("Ed25519", x25519[:41]+"A"), "Ed25519 of 33 bytes": okp("Ed25519", x25519[:43]+"A"), "Ed25519 without x": `{"kty":"OKP","crv":"Ed25519"}`,
		"an EC as OKP": `{"kty":"OKP","crv":"P-256","x":"` + x + `"}`, "17 levels": more(good, `"x":`+nested(16)),
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		for _, value := range []string{`"AQAB"`, "null", "[]"} {
			refused["private "+name+" "+value] = more(good, `"`+name+`":`+value)
		}
	}
	for name, document := range refused {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if key, err := jose.ParseJWK([]byte(document)); err == nil {
				t.Errorf("read as %v", key)
			} else if strings.Contains(err.Error(), "AQAB") {
				t.Errorf("the error repeats the key: %v", err)
			}
		})
	}
	if _, err := jose.ParseJWK([]byte(ec("P-384", x384, y384))); err != nil {
		t.Errorf("the good P-384: %v", err)
	}
}
