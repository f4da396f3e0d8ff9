package jose_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// compact is a token with a header, and a signature that nobody looks at.
func compact(header string) string {
	return encode(header) + "." + encode("{}") + "." + encode("signature")
}

// padded is a header of which the base64url is as long as told, a multiple of 4.
func padded(length int) string {
	const around = `{"alg":"HS256","x":""}`
	return around[:len(around)-2] + strings.Repeat("x", length/4*3-len(around)) + around[len(around)-2:]
}

func TestParse(t *testing.T) {
	t.Parallel()
	token, err := jose.Parse(encode(`{"alg":"HS256","kid":"one","typ":"application/AT+JWT","x":[1]}`)+"."+encode("payload")+"."+encode("signature"), 200)
	if err != nil {
		t.Fatal(err)
	}
	if token.Algorithm != "HS256" || token.KeyID != "one" || !token.HasKeyID || token.Type != "at+jwt" || string(token.Header["x"]) != "[1]" ||
		string(token.Payload) != "payload" || string(token.Signature) != "signature" || !strings.HasSuffix(token.Signed, "."+encode("payload")) {
		t.Errorf("%+v", token)
	}
	if token, err = jose.Parse(encode("{}")+"..", 200); err != nil || token.Algorithm != "" || token.HasKeyID || token.Type != "" || len(token.Payload)+len(token.Signature) != 0 {
		t.Errorf("a token of nothing: %+v, %v", token, err)
	}
}

// TestParseBounds: each at its bound, and over it.
func TestParseBounds(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return strings.Repeat("x", n) }
	for name, tt := range map[string]struct{ good, bad string }{
		"a token of 3000 bytes":      {encode("{}") + "." + strings.Repeat("A", 3000-5) + ".", encode("{}") + "." + strings.Repeat("A", 3000-4) + "."},
		"a header of 2048 bytes":     {compact(padded(2048)), compact(padded(2052))},
		"an alg of 16 bytes":         {compact(`{"alg":"` + text(16) + `"}`), compact(`{"alg":"` + text(17) + `"}`)},
		"a kid of 256 bytes":         {compact(`{"kid":"` + text(256) + `"}`), compact(`{"kid":"` + text(257) + `"}`)},
		"a kid of 128 characters":    {compact(`{"kid":"` + strings.Repeat("ü", 128) + `"}`), compact(`{"kid":"` + strings.Repeat("ü", 128) + `x"}`)},
		"a typ of 128 bytes":         {compact(`{"typ":"` + text(128) + `"}`), compact(`{"typ":"` + text(129) + `"}`)},
		"a header of 16 levels":      {compact(nested(16)), compact(nested(17))},
		"a header of 64-byte number": {compact(`{"x":` + strings.Repeat("7", 64) + `}`), compact(`{"x":` + strings.Repeat("7", 65) + `}`)},
	} {
		if _, err := jose.Parse(tt.good, 3000); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := jose.Parse(tt.bad, 3000); err == nil {
			t.Errorf("%s: so does one more", name)
		}
	}
}

func TestParseRefusesForms(t *testing.T) {
	t.Parallel()
	header, payload, signature := encode(`{"alg":"HS256"}`), encode("{}{"), encode("sign")
	whole := header + "." + payload + "." + signature
	if _, err := jose.Parse(whole, 8<<10); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "a dot": ".", "two dots": "..", "no dot": header, "one dot": header + "." + payload, "three dots": whole + ".", "a JWE": whole + "." + payload + "." + signature,
		"a dot before": "." + whole, "dots": strings.Repeat(".", 8<<10), "a megabyte of dots": strings.Repeat(".", 1<<20), "no header": "." + payload + "." + signature,
		"padding": whole + "==", "padding of the header": header + "=." + payload + "." + signature, "padding of the payload": header + "." + payload + "=." + signature,
		"a line break after": whole + "\n", "a line break before": "\r\n" + whole, "a line break within": whole[:9] + "\r\n" + whole[9:], "one before a dot": header + "\n." + payload + "." + signature,
		"a space": whole + " ", "a tab": header + ".\t" + payload + "." + signature, "NUL": whole + "\x00", "plus": header + "." + payload + ".+AAA", "slash": header + "." + payload + "./AAA",
		"a question mark": header + "." + payload + ".?AAA", "another alphabet": header + "." + payload + ".\uff21AAA", "one character too many": header + "." + payload + "." + "AAAAA",
		"stray bits of the header": encode(`{}`)[:2] + "1." + payload + "." + signature, "stray bits of the payload": header + "." + encode("{}{}")[:5] + "R." + signature,
		"stray bits of the signature": header + "." + payload + "." + signature[:5] + "h", "stray bits of two characters": header + "." + payload + ".AB",
	} {
		if token, err := jose.Parse(text, 8<<10); err == nil {
			t.Errorf("%s: read as %+v", name, token)
		}
	}
}

func TestParseRefusesHeaders(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"no object": `"alg"`, "null": "null", "a list": "[]", "two objects": "{}{}", "text after it": "{} x", "alg twice": `{"alg":"none","alg":"HS256"}`,
		"alg twice, escaped": `{"alg":"none","\u0061lg":"HS256"}`, "bad UTF-8": "{\"kid\":\"\xff\"}", "half a pair": `{"kid":"\ud800"}`,
		"alg as a list": `{"alg":["HS256"]}`, "alg as a number": `{"alg":1}`, "alg as null": `{"alg":null}`, "kid as a number": `{"kid":1}`, "kid as an object": `{"kid":{}}`, "kid as null": `{"kid":null}`,
		"NUL in kid": `{"kid":"a\u0000"}`, "a line break in kid": `{"kid":"a\n"}`, "typ as a list": `{"typ":["JWT"]}`, "typ as null": `{"typ":null}`,
		"crit": `{"crit":["x"],"x":1}`, "crit empty": `{"crit":[]}`, "crit as null": `{"crit":null}`, "crit of exp": `{"crit":["exp"],"exp":1}`, "crit as a string": `{"crit":"exp"}`,
		"b64 false": `{"b64":false,"crit":["b64"]}`, "b64 true": `{"b64":true}`, "zip": `{"zip":"DEF"}`, "enc": `{"alg":"dir","enc":"A128GCM"}`,
		"ALG": `{"ALG":"none"}`, "Kid": `{"kid":"a","Kid":"b"}`, "kid with a Kelvin sign": `{"kid":"a","\u212Aid":"b"}`, "CRIT": `{"CRIT":["x"]}`, "Jwk": `{"Jwk":{}}`, "X5C": `{"X5C":[]}`,
		"x5u with a great U": `{"x5\u0055":"x"}`,
	} {
		_, err := jose.Parse(compact(header), 8<<10)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "HS256") || strings.Contains(err.Error(), "none") {
			t.Errorf("%s: the error repeats what the token says: %v", name, err)
		}
	}
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]string{
		"": "", "JWT": "jwt", "at+jwt": "at+jwt", "Application/AT+JWT": "at+jwt", "application/": "application/", "application/application/jwt": "application/jwt", "text/jwt": "text/jwt",
	} {
		if got := jose.MediaType(typ); got != want {
			t.Errorf("%q: %q, want %q", typ, got, want)
		}
	}
}
