package jose_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Keys of the RFCs: public halves of JSON Web Keys, and secrets as base64url.
const (
	keyRFC7515A1 = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	keyRFC7515A2 = `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ` +
		`S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV` +
		`MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`
	keyRFC7515A3 = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	keyRFC7515A4 = `{"kty":"EC","crv":"P-521",` +
		`"x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",` +
		`"y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`
	keyRFC7520RSA = `{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig",` +
		`"n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-Qti` +
		`WN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS` +
		`0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}`
	keyRFC7520EC = `{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521",` +
		`"x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",` +
		`"y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}`
	keyRFC7520Secret = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"
	keyRFC7638       = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3` +
		`oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajr` +
		`n1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB",` +
		`"alg":"RS256","kid":"2011-04-29"}`
	keyRFC8037 = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	keyRFC9449 = `{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}`
)

// Payloads that several vectors share: claims that are written on several lines, and the sentence of RFC 7520.
const (
	claimsRFC7515   = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	sentenceRFC7520 = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBk" +
		"b24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
)

var vectors = []struct {
	name, key, alg, token, payload string
}{
	{
		"RFC 7515 A.1", keyRFC7515A1, "HS256",
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claimsRFC7515 + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		`"iss":"joe"`,
	},
	{
		"RFC 7515 A.2", keyRFC7515A2, "RS256",
		"eyJhbGciOiJSUzI1NiJ9." + claimsRFC7515 + "." +
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKB" +
			"YNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6Bf" +
			"I7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
		`"exp":1300819380`,
	},
	{
		"RFC 7515 A.3", keyRFC7515A3, "ES256",
		"eyJhbGciOiJFUzI1NiJ9." + claimsRFC7515 + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		`"http://example.com/is_root":true`,
	},
	{
		"RFC 7515 A.4", keyRFC7515A4, "ES512",
		"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA." +
			"AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdO" +
			"O8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
		"Payload",
	},
	{
		"RFC 7520 4.1", keyRFC7520RSA, "RS256",
		"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + sentenceRFC7520 + "." +
			"MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4J" +
			"IwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluP" +
			"xUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
		"dangerous business",
	},
	{
		"RFC 7520 4.2", keyRFC7520RSA, "PS384",
		"eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + sentenceRFC7520 + "." +
			"cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXU" +
			"vdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT" +
			"0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
		"keep your feet",
	},
	{
		"RFC 7520 4.3", keyRFC7520EC, "ES512",
		"eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + sentenceRFC7520 + "." +
			"AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kv" +
			"AD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
		"swept off to.",
	},
	{
		"RFC 7520 4.4", keyRFC7520Secret, "HS256",
		"eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9." + sentenceRFC7520 +
			".s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
		"out your door",
	},
	{
		"RFC 8037 A.4", keyRFC8037, "EdDSA",
		"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
			"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
		"Example of Ed25519 signing",
	},
	{
		"RFC 9449 4.2", keyRFC9449, "ES256",
		"eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldW" +
			"QVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19." +
			"eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYy" +
			"NjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
		`"htu":"https://server.example.com/token"`,
	},
}

// keyOf reads a JWK, or a secret.
func keyOf(t testing.TB, text string) jose.Key {
	t.Helper()
	if strings.HasPrefix(text, "{") {
		key, err := jose.ParseJWK([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	secret, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return jose.Key{Public: secret}
}

// verify verifies a token as its readers do, but for the algorithm, which is the key's here.
func verify(key jose.Key, alg, text string) error {
	token, err := jose.Parse(text, 8<<10)
	if err != nil {
		return err
	}
	return key.Verify(alg, token.Signed, token.Signature)
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			key := keyOf(t, v.key)
			token, err := jose.Parse(v.token, 8<<10)
			if err != nil {
				t.Fatal(err)
			}
			if token.Algorithm != v.alg || !strings.Contains(string(token.Payload), v.payload) || token.KeyID != key.ID && key.ID != "" {
				t.Errorf("alg %q, kid %q, payload %q", token.Algorithm, token.KeyID, token.Payload)
			}
			if err := verify(key, v.alg, v.token); err != nil {
				t.Fatal(err)
			}
			every := 1
			if v.alg == "ES512" {
				every = 32 // P-521 is slow where races are looked for
			}
			for at, c := range []byte(v.token) {
				if at%every != 0 && at != len(v.token)-1 {
					continue
				}
				if other := flipped(c); other != c && verify(key, v.alg, v.token[:at]+string(other)+v.token[at+1:]) == nil {
					t.Errorf("verified with another bit in character %d of %d", at, len(v.token))
				}
			}
		})
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// flipped returns the character of base64url that differs in its last bit alone; a dot stays a dot.
func flipped(c byte) byte {
	if at := strings.IndexByte(alphabet, c); at >= 0 {
		return alphabet[at^1]
	}
	return c
}

// RFC 7515, A.5: what is not signed is read, and no key verifies it.
func TestUnsecured(t *testing.T) {
	t.Parallel()
	token, err := jose.Parse("eyJhbGciOiJub25lIn0."+claimsRFC7515+".", 8<<10)
	if err != nil || token.Algorithm != "none" || len(token.Signature) != 0 {
		t.Fatalf("alg %q, %d bytes of signature, %v", token.Algorithm, len(token.Signature), err)
	}
	if known, symmetric := jose.Known("none"); known || symmetric {
		t.Error("none is known")
	}
	for _, v := range vectors {
		key := keyOf(t, v.key)
		for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
			if key.Fits(alg) || key.Verify(alg, token.Signed, token.Signature) == nil {
				t.Errorf("the key of %s verifies alg %q", v.name, alg)
			}
		}
	}
}

// RFC 7515, A.6 and A.7: the same signature, as JSON.
func TestSerializedAsJSON(t *testing.T) {
	t.Parallel()
	const signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	const signed = `"protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},"signature":"` + signature + `"`
	for name, text := range map[string]string{
		"A.6 general":   `{"payload":"` + claimsRFC7515 + `","signatures":[{` + signed + `}]}`,
		"A.7 flattened": `{"payload":"` + claimsRFC7515 + `",` + signed + `}`,
		// Three parts, if whoever splits at dots does not look at what is between them.
		"with dots": `{"a.b":"eyJhbGciOiJFUzI1NiJ9.` + claimsRFC7515 + `.","payload":"` + claimsRFC7515 + `",` + signed + `}`,
		"two dots":  `{"protected":"eyJhbGciOiJFUzI1NiJ9.","payload":".","signature":"` + signature + `"}`,
	} {
		if _, err := jose.Parse(text, 8<<10); err == nil {
			t.Errorf("%s: read as a compact one", name)
		}
	}
}

func TestThumbprints(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ name, key, want string }{
		{"RFC 7638 3.1", keyRFC7638, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037 A.3", keyRFC8037, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{"RFC 9449 6.1", keyRFC9449, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			if key := keyOf(t, v.key); key.Thumbprint() != v.want {
				t.Errorf("thumbprint %s, want %s", key.Thumbprint(), v.want)
			}
		})
	}
	if secret := keyOf(t, keyRFC7515A1); secret.Thumbprint() != "" {
		t.Error("a secret has a thumbprint")
	}
}
