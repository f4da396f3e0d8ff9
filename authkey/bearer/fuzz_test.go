package bearer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// Each process that fuzzes makes all of this anew, so nothing here is random.
const (
	fuzzAudience = "https://api.example.com"
	fuzzPublic   = "https://public.example.com" // signs by EdDSA
	fuzzSecret   = "https://secret.example.com" // signs by HS256
	fuzzClaims   = `"aud":"https://api.example.com","sub":"somebody","exp":1900000000}`
)

var (
	fuzzNow  = time.Unix(1_899_999_000, 0)
	fuzzKeys = map[string]struct {
		method jwt.SigningMethod
		sign   any
		verify any
	}{
		fuzzPublic: {
			jwt.SigningMethodEdDSA, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)),
			ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)).Public(),
		},
		fuzzSecret: {jwt.SigningMethodHS256, bytes.Repeat([]byte{9}, 32), bytes.Repeat([]byte{9}, 32)},
	}
)

// opinions are a verifier's and golang-jwt's.
type opinions struct{ *bearer.Verifier }

func newOpinions(f *testing.F) opinions {
	f.Helper()
	var issuers []bearer.Issuer
	for url, k := range fuzzKeys {
		keys, err := bearer.NewKeySet(bearer.Key{ID: "one", Algorithm: k.method.Alg(), Public: k.verify})
		if err != nil {
			f.Fatal(err)
		}
		issuers = append(issuers, bearer.Issuer{URL: url, Audiences: []string{fuzzAudience}, Keys: keys, Algorithms: []string{k.method.Alg()}, Org: url})
	}
	verifier, err := bearer.New(issuers, bearer.WithClock(func() time.Time { return fuzzNow }))
	if err != nil {
		f.Fatal(err)
	}
	return opinions{verifier}
}

// fuzzToken signs any bytes.
func fuzzToken(tb testing.TB, url string, header, payload []byte) string {
	tb.Helper()
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := fuzzKeys[url].method.Sign(signed, fuzzKeys[url].sign)
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// ask returns what a token stands for, or nil, after it has made sure that golang-jwt takes it for the same.
func (o opinions) ask(t *testing.T, text string) *authkey.Identity {
	t.Helper()
	identity, err := o.Authenticate(t.Context(), authkey.NewPresented(text))
	if err != nil {
		if errors.Is(err, authkey.ErrUnavailable) || errors.Is(err, authkey.ErrInvalid) || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("refused with %q", err)
		}
		return nil
	}
	k := fuzzKeys[identity.Token.Issuer]
	// A second more, for golang-jwt cuts the fractions of seconds off.
	reference, err := jwt.Parse(text, func(*jwt.Token) (any, error) { return k.verify, nil },
		jwt.WithValidMethods([]string{k.method.Alg()}), jwt.WithIssuer(identity.Token.Issuer), jwt.WithAudience(fuzzAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithLeeway(31*time.Second), jwt.WithTimeFunc(func() time.Time { return fuzzNow }))
	if err != nil {
		t.Fatalf("accepted; golang-jwt: %v", err)
	}
	sameClaims(t, identity, reference.Claims.(jwt.MapClaims))
	return identity
}

func sameClaims(t *testing.T, identity *authkey.Identity, claims jwt.MapClaims) {
	t.Helper()
	token := identity.Token
	sub, err1 := claims.GetSubject()
	aud, err2 := claims.GetAudience()
	exp, err3 := claims.GetExpirationTime()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if token.Subject != sub || !slices.Equal(token.Audience, aud) || !identity.ExpiresAt.Truncate(time.Second).Equal(exp.Time) {
		t.Errorf("sub %q, aud %q, exp %v; golang-jwt: %q, %q, %v", token.Subject, token.Audience, identity.ExpiresAt, sub, aud, exp)
	}
	if len(token.Claims) != len(claims) {
		t.Errorf("%d claims; golang-jwt: %d", len(token.Claims), len(claims))
	}
	for name, raw := range token.Claims {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil || !reflect.DeepEqual(value, claims[name]) {
			t.Errorf("claim %q: %s; golang-jwt: %v", name, raw, claims[name])
		}
	}
}

// FuzzHeader: whatever the header of a token says that is signed well, what is accepted is what golang-jwt accepts.
func FuzzHeader(f *testing.F) {
	for _, header := range []string{
		`{"alg":"EdDSA","kid":"one"}`, `{"alg":"HS256","kid":"one","typ":"at+jwt"}`, `{"typ":"application/AT+JWT","alg":"EdDSA"}`, `{"alg":"Ed25519"}`,
		`{"alg":"none"}`, `{"alg":"NONE"}`, `{"alg":"eddsa"}`, `{"alg":"RS256"}`, `{"alg":["HS256"]}`, `{"alg":null}`, `{}`, `null`, `[]`, ``, `"HS256"`,
		`{"alg":"none","alg":"HS256"}`, `{"alg":"HS256","alg":"none"}`, `{"alg":"HS256","ALG":"none"}`, `{"alg":"HS256","\u0061lg":"none"}`,
		`{"alg":"HS256","kid":7}`, `{"alg":"HS256","kid":""}`, `{"alg":"HS256","kid":"../../dev/null"}`, `{"alg":"HS256","kid":"one\u0000"}`,
		`{"alg":"HS256","kid":"two"}`, `{"alg":"HS256","kid":"one","\u212Aid":"two"}`, `{"alg":"EdDSA","typ":"dpop+jwt"}`, `{"alg":"EdDSA","typ":"logout+jwt"}`,
		`{"alg":"HS256","crit":[]}`, `{"alg":"HS256","crit":["exp"],"exp":1}`, `{"alg":"HS256","b64":false,"crit":["b64"]}`, `{"alg":"HS256","b64":true}`,
		`{"alg":"HS256","zip":"DEF"}`, `{"alg":"dir","enc":"A128GCM"}`, `{"alg":"EdDSA","jku":"https://evil.example.com"}`, `{"alg":"EdDSA","x5u":"https://evil.example.com"}`,
		`{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}`, `{"alg":"EdDSA","x5c":[]}`,
		`{"alg":"HS256"}{}`, `{"alg":"HS256"} x`, "\ufeff" + `{"alg":"HS256"}`, "{\"alg\":\"HS256\",\"kid\":\"\xff\"}", `{"alg":"HS256","kid":"\ud800"}`,
		` {"alg" : "HS256" } `, `{"alg":"HS256","x":` + strings.Repeat("[", 90) + strings.Repeat("]", 90) + `}`, `{"alg":"HS256","x":{"a":1,"a":2}}`,
	} {
		f.Add([]byte(header))
	}
	o := newOpinions(f)
	f.Fuzz(func(t *testing.T, header []byte) {
		for url, k := range fuzzKeys {
			if o.ask(t, fuzzToken(t, url, header, []byte(`{"iss":"`+url+`",`+fuzzClaims))) == nil {
				continue
			}
			var said struct{ Alg, Kid *string }
			if err := json.Unmarshal(header, &said); err != nil || said.Alg == nil || *said.Alg != k.method.Alg() || said.Kid != nil && *said.Kid != "one" {
				t.Errorf("accepted with the header %q, %v", header, err)
			}
		}
	})
}

// FuzzClaims: whatever a token says that is signed well, what is accepted is what golang-jwt accepts, and it says the
// same.
func FuzzClaims(f *testing.F) {
	for _, claims := range []string{
		``, `"nbf":1899999000,`, `"nbf":1899999029.9,`, `"nbf":1e300,`, `"nbf":"1",`, `"iat":1899999031,`, `"iat":1899999000.5,`, `"iat":-1,`,
		`"exp":1,`, `"iss":"https://other.example.com",`, `"sub":"other",`, `"\u0073ub":"other",`, `"SUB":"other",`, `"\u017Fub":"other",`, `"EXP":99999999999,`,
		`"cnf":{"jkt":"a","jkt":"b"},`, `"cnf":{},`, `"cnf":null,`, `"cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},`, `"nonce":"n",`,
		`"scope":7,`, `"scope":"read write",`, `"scp":["read",1],`, `"permissions":["a","b"],`, `"roles":[{"key":"admin"},{"name":"b"}],`,
		`"feature_flags":{"a":{"t":"b","v":true},"b":{"v":"x"},"c":true},`, `"feature_flags":{"\u0061":{"\u0076":true}},`, `"org_id":"other",`, `"project_id":"p",`,
		`"jti":"` + strings.Repeat("x", 257) + `",`, `"sid":"\n",`, `"client_id":"c","azp":"d",`, `"amr":["pwd",["x"]],`, `"auth_time":1e9,`, "\"name\":\"\xff\",",
		`"name":"\ud800",`, `"name":"\ud83d\ude00",`, `"x":{"a":1,"a":2},`, `"x":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `,`,
		`"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `,`, `"x":1e400,`, `"x":"` + strings.Repeat("]", 20) + `\"",`,
	} {
		f.Add([]byte(`{"iss":"` + fuzzPublic + `",` + claims + fuzzClaims))
		f.Add([]byte(`{` + claims + `"iss":"` + fuzzSecret + `",` + fuzzClaims))
	}
	for _, member := range []string{
		`"exp":1900000000.75`, `"exp":1.9e9`, `"exp":1899998970`, `"exp":1899998970.5`, `"exp":0`, `"exp":null`, `"exp":"1900000000"`, `"exp":true`, `"exp":{}`, `"exp":1e300`,
		`"exp":9.2e18`, `"exp":9223372036854775808`, `"exp":253402300799`, `"exp":253402300800`, `"exp":-1`, `"exp":-0`, `"exp":NaN`, `"exp":1900000000` + strings.Repeat("0", 60), `"x":1`,
	} {
		f.Add([]byte(`{"iss":"` + fuzzPublic + `","aud":"` + fuzzAudience + `","sub":"somebody",` + member + `}`))
	}
	for _, aud := range []string{`[]`, `""`, `[""]`, `{}`, `null`, `["` + fuzzAudience + `",7]`, `[["` + fuzzAudience + `"]]`, `["x","` + fuzzAudience + `"]`, `"HTTPS://api.example.com"`, `7`} {
		f.Add([]byte(`{"iss":"` + fuzzPublic + `","aud":` + aud + `,"sub":"somebody","exp":1900000000}`))
	}
	for _, payload := range []string{``, `null`, `[]`, `"x"`, `7`, `{}`, `{"iss":"` + fuzzSecret + `",` + fuzzClaims + ` {}`, "\ufeff{\"iss\":\"" + fuzzSecret + `",` + fuzzClaims} {
		f.Add([]byte(payload))
	}
	o := newOpinions(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		for url, k := range fuzzKeys {
			identity := o.ask(t, fuzzToken(t, url, []byte(`{"alg":"`+k.method.Alg()+`"}`), payload))
			if identity != nil && identity.Token.Issuer != url {
				t.Errorf("a token that %s signed is taken for one of %s", url, identity.Token.Issuer)
			}
		}
	})
}

// FuzzToken: of the texts that nobody but an issuer can make, none is accepted but what an issuer made.
func FuzzToken(f *testing.F) {
	var minted []string
	for url, k := range fuzzKeys {
		token := fuzzToken(f, url, []byte(`{"alg":"`+k.method.Alg()+`","kid":"one"}`), []byte(`{"iss":"`+url+`",`+fuzzClaims))
		minted = append(minted, token)
		header, rest, _ := strings.Cut(token, ".")
		payload, signature, _ := strings.Cut(rest, ".")
		for _, text := range []string{
			token, token + "=", token + "\n", token + "A", token[:len(token)-1], token[:40] + "\r\n" + token[40:], token + "." + signature, header + "." + payload,
			header + "." + payload + ".", strings.ReplaceAll(strings.ReplaceAll(token, "-", "+"), "_", "/"), " " + token, header + ".." + signature,
			token[:len(token)-1] + string(token[len(token)-1]^1), "eyJhbGciOiJub25lIn0." + payload + ".", "eyJhbGciOiJub25lIn0." + payload + "." + signature,
			`{"payload":"` + payload + `","protected":"` + header + `","signature":"` + signature + `"}`, token + " " + token, header + "." + payload + "." + payload + "." + signature,
		} {
			f.Add(text)
		}
	}
	f.Add("ey" + strings.Repeat(".", 1<<14))
	f.Add("ey.." + strings.Repeat("A", 1<<14))
	f.Add(strings.Repeat("A", 1<<14))
	o := newOpinions(f)
	f.Fuzz(func(t *testing.T, text string) {
		if accepted := o.ask(t, text) != nil; accepted != slices.Contains(minted, text) {
			t.Errorf("accepted: %v, and minted: %v", accepted, !accepted)
		}
	})
}
