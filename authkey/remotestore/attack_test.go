package remotestore_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

// attacks are tokens that somebody made who has none of the private keys, or that are meant for somebody else.
func attacks(t *testing.T) map[string]string {
	t.Helper()
	k := ring()
	good := rs(t, rsHeader, claims(nil))
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	digest := sha256.Sum256([]byte(part(t, fields{"alg": "PS256", "kid": "p1"}) + "." + payload))
	salted, err := rsa.SignPSS(rand.Reader, k.rsa, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 10})
	if err != nil {
		t.Fatal(err)
	}
	ecSigned := part(t, fields{"alg": "ES256", "kid": "e1"}) + "." + payload
	ecDigest := sha256.Sum256([]byte(ecSigned))
	asn1, err := ecdsa.SignASN1(rand.Reader, k.ec, ecDigest[:])
	if err != nil {
		t.Fatal(err)
	}
	hs := func(key []byte, header any) string { return mint(t, jwt.SigningMethodHS256, key, header, claims(nil)) }
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]string{
		"alg none":                         part(t, fields{"alg": "none", "kid": "r1"}) + "." + payload + ".",
		"alg None":                         part(t, fields{"alg": "None"}) + "." + payload + ".",
		"alg none with a signature":        part(t, fields{"alg": "none", "kid": "r1"}) + "." + payload + "." + signature,
		"no alg":                           rs(t, with(fields{"alg": nil}), claims(nil)),
		"alg in another case":              rs(t, with(fields{"alg": "rs256"}), claims(nil)),
		"alg as a list":                    rs(t, with(fields{"alg": []string{"RS256"}}), claims(nil)),
		"HS256 with the public key as PEM": hs(public, fields{"alg": "HS256", "kid": "r1"}),
		"HS256 with the public key as DER": hs(der, fields{"alg": "HS256", "kid": "r1"}),
		"HS256 with the public key, kid of the secret": hs(public, fields{"alg": "HS256", "kid": "h1"}),
		"HS256 with nothing":                           hs([]byte{}, fields{"alg": "HS256", "kid": "h1"}),
		"RS512 of the key for RS256":                   mint(t, jwt.SigningMethodRS512, k.rsa, with(fields{"alg": "RS512"}), claims(nil)),
		"PS256 of the key for RS256":                   mint(t, jwt.SigningMethodPS256, k.rsa, with(fields{"alg": "PS256"}), claims(nil)),
		"RS256 by the kid of another key":              rs(t, with(fields{"kid": "e1"}), claims(nil)),
		"an unknown kid":                               rs(t, with(fields{"kid": "r2"}), claims(nil)),
		"a kid that is a path":                         rs(t, with(fields{"kid": "../../dev/null"}), claims(nil)),
		"a kid with control characters":                rs(t, with(fields{"kid": "r1\x00"}), claims(nil)),
		"a kid that is a number":                       rs(t, with(fields{"kid": 1}), claims(nil)),
		"a long kid":                                   rs(t, with(fields{"kid": strings.Repeat("r", 257)}), claims(nil)),
		"no kid and several keys":                      rs(t, with(fields{"kid": nil}), claims(nil)),
		"a null kid and several keys":                  rs(t, `{"alg":"RS256","kid":null}`, claims(nil)),
		"kid twice":                                    rs(t, `{"alg":"RS256","kid":"x","kid":"r1"}`, claims(nil)),
		"alg twice":                                    rs(t, `{"alg":"none","kid":"r1","alg":"RS256"}`, claims(nil)),
		"ALG beside alg":                               rs(t, with(fields{"ALG": "none"}), claims(nil)),
		"another private key":                          mint(t, jwt.SigningMethodEdDSA, stranger, fields{"alg": "EdDSA", "kid": "d1"}, claims(nil)),
		"a key that it brings along":                   mint(t, jwt.SigningMethodEdDSA, stranger, fields{"alg": "EdDSA", "kid": "d1", "jwk": fields{"kty": "OKP"}}, claims(nil)),
		"jwk with a good signature":                    rs(t, with(fields{"jwk": fields{}}), claims(nil)),
		"jku":                                          rs(t, with(fields{"jku": "https://evil.example/keys"}), claims(nil)),
		"x5u":                                          rs(t, with(fields{"x5u": "https://evil.example/keys"}), claims(nil)),
		"x5c":                                          rs(t, with(fields{"x5c": []string{"MIIB"}}), claims(nil)),
		"crit":                                         rs(t, with(fields{"crit": []string{"exp"}}), claims(nil)),
		"crit, empty":                                  rs(t, with(fields{"crit": []string{}}), claims(nil)),
		"b64":                                          rs(t, with(fields{"b64": false}), claims(nil)),
		"zip":                                          rs(t, with(fields{"zip": "DEF"}), claims(nil)),
		"enc":                                          rs(t, with(fields{"enc": "A256GCM"}), claims(nil)),
		"a token for logging out":                      rs(t, with(fields{"typ": "logout+jwt"}), claims(nil)),
		"an access token":                              rs(t, with(fields{"typ": "at+jwt"}), claims(nil)),
		"a header that is a list":                      rs(t, []any{rsHeader}, claims(nil)),
		"a header with more after it":                  rs(t, `{"alg":"RS256","kid":"r1"}{}`, claims(nil)),
		"a long header":                                rs(t, with(fields{"x": strings.Repeat("x", 2000)}), claims(nil)),
		"PS256 with a short salt":                      part(t, fields{"alg": "PS256", "kid": "p1"}) + "." + payload + "." + encode(salted),
		"ES256 in ASN.1":                               ecSigned + "." + encode(asn1),
		"ES256 of zeros":                               ecSigned + "." + encode(make([]byte, 64)),
		"no signature":                                 header + "." + payload + ".",
		"two parts":                                    header + "." + payload,
		"one part":                                     header,
		"four parts":                                   good + "." + signature,
		"five parts":                                   good + ".a.b",
		"only dots":                                    strings.Repeat(".", 4000),
		"too long":                                     rs(t, rsHeader, claims(fields{"x": strings.Repeat("x", 8<<10)})),
		"padding":                                      good + "=",
		"a line break after it":                        good + "\n",
		"a line break within":                          header + "." + payload[:9] + "\r\n" + payload[9:] + "." + signature,
		"a line break within the signature":            header + "." + payload + "." + signature[:9] + "\n" + signature[9:],
		"another alphabet":                             header + "." + payload + "." + strings.NewReplacer("-", "+", "_", "/").Replace(signature) + "+",
		"unused bits of the signature":                 unusedBits(t, good),
		"another payload":                              header + "." + part(t, claims(fields{"org": "evil"})) + "." + signature,
		"claims that are null":                         rs(t, rsHeader, "null"),
		"claims that are a list":                       rs(t, rsHeader, []any{claims(nil)}),
		"claims with more after them":                  rs(t, rsHeader, `{"iss":"https://auth.internal"} x`),
		"no UTF-8":                                     rs(t, rsHeader, strings.Replace(`{"iss":"x"}`, "x", "\xff", 1)),
		"iss twice":                                    rs(t, rsHeader, `{"iss":"evil","iss":"https://auth.internal","aud":"search","exp":9999999999,"org":"acme","project":"shop","key":"k1","kind":"secret"}`),
		"ORG beside org":                               rs(t, rsHeader, claims(fields{"ORG": "evil"})),
		"EXP beside exp":                               rs(t, rsHeader, claims(fields{"EXP": 9999999999})),
		"NBF":                                          rs(t, rsHeader, claims(fields{"NBF": 1})),
		"IAT":                                          rs(t, rsHeader, claims(fields{"IAT": 1})),
		"AUD beside aud":                               rs(t, rsHeader, claims(fields{"AUD": "search"})),
		"Ed25519 of the key for EdDSA":                 mint(t, jwt.SigningMethodEdDSA, k.ed, fields{"alg": "Ed25519", "kid": "d1"}, claims(nil)),
		"org with a letter that folds":                 rs(t, rsHeader, claims(fields{"i\u017fs": "evil"})),
		"another issuer":                               rs(t, rsHeader, claims(fields{"iss": "https://auth.evil"})),
		"an issuer with a slash more":                  rs(t, rsHeader, claims(fields{"iss": "https://auth.internal/"})),
		"an issuer in another case":                    rs(t, rsHeader, claims(fields{"iss": "https://Auth.internal"})),
		"no issuer":                                    rs(t, rsHeader, claims(fields{"iss": nil})),
		"an issuer that is a list":                     rs(t, rsHeader, claims(fields{"iss": []string{"https://auth.internal"}})),
		"another audience":                             rs(t, rsHeader, claims(fields{"aud": "maps"})),
		"no audience":                                  rs(t, rsHeader, claims(fields{"aud": nil})),
		"an empty list of audiences":                   rs(t, rsHeader, claims(fields{"aud": []string{}})),
		"audiences within each other":                  rs(t, rsHeader, claims(fields{"aud": []any{[]string{"search"}}})),
		"audiences of mixed types":                     rs(t, rsHeader, claims(fields{"aud": []any{"search", 1}})),
		"an audience that is an object":                rs(t, rsHeader, claims(fields{"aud": fields{"search": true}})),
		"no end":                                       rs(t, rsHeader, claims(fields{"exp": nil})),
		"an end that is null":                          rs(t, rsHeader, strings.Replace(string(mustJSON(t, claims(fields{"exp": "x"}))), `"x"`, "null", 1)),
		"an end of zero":                               rs(t, rsHeader, claims(fields{"exp": 0})),
		"an end that is a text":                        rs(t, rsHeader, claims(fields{"exp": "9999999999"})),
		"an end beyond all times":                      rs(t, rsHeader, claims(fields{"exp": 9.2e18})),
		"a negative end":                               rs(t, rsHeader, claims(fields{"exp": -1})),
		"an end that is true":                          rs(t, rsHeader, claims(fields{"exp": true})),
		"past its end by all of the leeway":            rs(t, rsHeader, claims(fields{"exp": start.Add(-30 * time.Second).Unix()})),
		"not yet":                                      rs(t, rsHeader, claims(fields{"nbf": start.Add(31 * time.Second).Unix()})),
		"not before the end of time":                   rs(t, rsHeader, claims(fields{"nbf": 1e300})),
		"nbf that is a text":                           rs(t, rsHeader, claims(fields{"nbf": "0"})),
		"issued in the future":                         rs(t, rsHeader, claims(fields{"iat": start.Add(31 * time.Second).Unix()})),
	}
}

// roundTrip is a function that is a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// unusedBits returns the token with bits of its last character changed that stand for nothing.
func unusedBits(t *testing.T, token string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	if last%16 != 0 {
		t.Fatalf("the signature of 256 bytes should end in 4 bits of nothing, but for %d", last)
	}
	return token[:len(token)-1] + string(alphabet[last+1])
}

func TestTokensThatAreNotTrusted(t *testing.T) {
	t.Parallel()
	for name, token := range attacks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tokenGate(t, ring().verdict, token)
			isClass(t, name, err, remotestore.BadToken, http.StatusOK)
			alone := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/jwt"}}, Body: io.NopCloser(strings.NewReader(token + "\r\n\r\n"))}
			a := newOn(t, roundTrip(func(*http.Request) (*http.Response, error) { return alone, nil }), remotestore.WithClock(new(clock).now), remotestore.WithTokens(ring().verdict))
			if _, err := authenticate(t, a); name != "a line break after it" { // which is none of a body that is a token
				isClass(t, name+", as application/jwt", err, remotestore.BadToken, http.StatusOK)
			}
			if len(token) > 20 && err != nil && strings.Contains(err.Error(), token[len(token)/2:]) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}
