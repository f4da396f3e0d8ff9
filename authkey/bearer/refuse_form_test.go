package bearer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestRefusesHeaders(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	bad := authkey.ErrMalformed
	g.run(t, []row{
		{"#24 crit with a name that is not known", g.headed(`"crit":["exp"],"exp":1`), bad, 0},
		{"#25 crit empty", g.headed(`"crit":[]`), bad, 0},
		{"#25 crit a string", g.headed(`"crit":"alg"`), bad, 0},
		{"#25 crit null", g.headed(`"crit":null`), bad, 0},
		{"#25 crit with a name twice", g.headed(`"crit":["x","x"],"x":1`), bad, 0},
		{"#25 crit with a registered name", g.headed(`"crit":["alg"]`), bad, 0},
		{"#25 crit with an absent name", g.headed(`"crit":["x"]`), bad, 0},
		{"#25 crit in another case", g.headed(`"CRIT":["x"]`), bad, 0},
		{"#26 crit b64, and b64 false", g.headed(`"crit":["b64"],"b64":false`), bad, 0},
		{"#26 b64 false", g.headed(`"b64":false`), bad, 0},
		{"#26 b64 true", g.headed(`"b64":true`), bad, 0},
		{"#27 zip", g.headed(`"zip":"DEF"`), bad, 0},
		{"#27 enc", g.headed(`"enc":"A128GCM"`), bad, 0},
		{"#27 a JWE of five parts", g.Mint(nil) + ".e30.e30", bad, 0},
		{"#35 alg twice, none before", g.headed(`"alg":"none"`), bad, 0},
		{"#35 alg twice, the same", g.headed(`"alg":"ES256"`), bad, 0},
		{"#35 alg twice, once in another case", g.headed(`"Alg":"none"`), bad, 0},
		{"#35 alg twice, once with an escape", g.headed(`"\u0061lg":"none"`), bad, 0},
		{"#35 kid twice", g.headed(`"kid":"x"`), bad, 0},
		{"#35 a header that is null", g.Sign([]byte("null"), []byte(g.payload(nil)), nil), bad, 0},
		{"#35 a header of nothing", g.Sign([]byte("{}"), []byte(g.payload(nil)), nil), bad, 0},
	})
}

func TestRefusesForms(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	token := g.Mint(nil)
	parts := strings.Split(token, ".")
	bad := authkey.ErrMalformed
	rows := []row{
		{"#28 as JSON, flattened", fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]), bad, 0},
		{"#28 as JSON, general", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]), bad, 0},
		{"#29 of nothing", "", bad, 0},
		{"#29 of one part", parts[0], bad, 0},
		{"#29 of two parts", parts[0] + "." + parts[1], bad, 0},
		{"#29 of four parts", token + "." + parts[2], bad, 0},
		{"#29 of a dot too many", token + ".", bad, 0},
		{"#29 of dots alone", "..", bad, 0},
		{"#29 of 1 MB of dots", "ey" + strings.Repeat(".", 1<<20), bad, 0},
		{"#29 of 8 KB of dots", "ey" + strings.Repeat(".", bearer.MaxToken-2), bad, 0},
		{"#30 above 8 KiB", g.Mint(authtest.Claims{"more": strings.Repeat("x", bearer.MaxToken)}), bad, 0},
		{"#30 of 8 MiB", g.Mint(authtest.Claims{"more": strings.Repeat("x", 8<<20)}), bad, 0},
		{"#30 above 8 KiB by one byte", sized(t, g, bearer.MaxToken+1), bad, 0},
		{"#30 of 8 KiB", sized(t, g, bearer.MaxToken), nil, 1},
		{"#32 CR and LF after it", token + "\r\n", bad, 0},
		{"#32 LF before it", "\n" + token, bad, 0},
	}
	for n, name := range []string{"header", "payload", "signature"} {
		part := parts[n]
		half := len(part) / 2
		rows = append(rows,
			row{"#31 = after the " + name, with(token, n, part+"="), bad, 0},
			row{"#31 == after the " + name, with(token, n, part+"=="), bad, 0},
			row{"#32 LF in the " + name, with(token, n, part[:half]+"\n"+part[half:]), bad, 0},
			row{"#32 CR after the " + name, with(token, n, part+"\r"), bad, 0},
			row{"#33 a stray bit after the " + name, with(token, n, strayBit(part)), bad, 0},
			row{"#34 + in the " + name, with(token, n, part[:half]+"+"+part[half+1:]), bad, 0},
			row{"#34 / in the " + name, with(token, n, part[:half]+"/"+part[half+1:]), bad, 0},
			row{"#34 ? in the " + name, with(token, n, part[:half]+"?"+part[half+1:]), bad, 0},
			row{"#34 a space in the " + name, with(token, n, part[:half]+" "+part[half:]), bad, 0},
			row{"#34 NUL after the " + name, with(token, n, part+"\x00"), bad, 0},
			row{"#34 a byte that is not ASCII in the " + name, with(token, n, part[:half]+"é"+part[half:]), bad, 0},
		)
	}
	g.run(t, rows)
}

// strayBit returns base64url that decodes alike, with a bit set that is no part of any byte, or one that nothing
// follows where all bits are.
func strayBit(part string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(part)%4 == 0 {
		return part + "A"
	}
	last := len(part) - 1
	return part[:last] + string(alphabet[strings.IndexByte(alphabet, part[last])|1])
}

// sized mints a good token of so many bytes. Not all lengths are one of base64, so it tries some of each part.
func sized(t *testing.T, g *gate, size int) string {
	t.Helper()
	header, claims := map[string]any{}, authtest.Claims{"jti": "fixed", "more": ""}
	least := (size-len(g.MintWith(nil, claims, nil)))*3/4 - 16
	for extra := range 4 {
		header["x"] = strings.Repeat("x", extra)
		for more := range 16 {
			claims["more"] = strings.Repeat("x", least+more)
			if token := g.MintWith(header, claims, nil); len(token) == size {
				return token
			}
		}
	}
	t.Fatalf("no token of %d bytes", size)
	return ""
}

func TestRefusesPayloads(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	says := func(payload string) string { return g.Sign(g.head(nil), []byte(payload), nil) }
	nested := func(levels int) string {
		return g.saying(`"deep":` + strings.Repeat("[", levels) + strings.Repeat("]", levels))
	}
	good := g.payload(nil)
	jkt := strings.Repeat("A", 43)
	rows := map[string]string{
		"#36 iss twice":                            g.saying(`"iss":"https://other.example"`),
		"#36 iss twice, the same":                  g.saying(`"iss":` + string(encoded(g.URL()))),
		"#36 sub twice":                            g.saying(`"sub":"admin"`),
		"#36 exp twice":                            g.saying(`"exp":9999999999`),
		"#36 sub twice, once with an escape":       g.saying(`"\u0073ub":"admin"`),
		"#36 a name twice that nobody reads":       g.saying(`"x":1,"x":1`),
		"#36 jkt twice within cnf":                 g.saying(`"cnf":{"jkt":"` + jkt + `","jkt":"` + jkt + `"}`),
		"#36 a name twice in an object in a list":  g.saying(`"x":[{"y":1,"y":2}]`),
		"#37 SUB beside sub":                       g.saying(`"SUB":"admin"`),
		"#37 a long s in sub":                      g.saying(`"` + "\u017f" + `ub":"admin"`),
		"#37 a long s in sub, as an escape":        g.saying(`"\u017fub":"admin"`),
		"#37 EXP beside exp":                       g.saying(`"EXP":9999999999`),
		"#37 Cnf without cnf":                      g.saying(`"Cnf":{}`),
		"#37 Scope, a name of Claims":              g.saying(`"Scope":"admin"`),
		"#37 Org_ID, though the issuer has an Org": g.saying(`"Org_ID":"x"`),
		"#38 null":                                 says("null"),
		"#38 a list":                               says("[" + good + "]"),
		"#38 a string":                             says(`"sub"`),
		"#38 a number":                             says("1"),
		"#38 nothing":                              says(""),
		"#38 a space":                              says(" "),
		"#38 {}":                                   says("{}"),
		"#39 a second object after it":             says(good + "{}"),
		"#39 a bracket after it":                   says(good + "}"),
		"#39 NUL after it":                         says(good + "\x00"),
		"#39 a comma at its end":                   says(good[:len(good)-1] + ",}"),
		"#39 a comment":                            says(good + "//"),
		"#39 half of it":                           says(good[:len(good)/2]),
		"#40 bytes in sub that are no UTF-8":       says(strings.Replace(good, `"subject"`, "\"sub\xffject\"", 1)),
		"#40 bytes in a name that are no UTF-8":    g.saying("\"x\xff\":1"),
		"#40 a byte order mark":                    says("\ufeff" + good),
		"#40 half a surrogate in sub":              says(strings.Replace(good, `"subject"`, `"sub\ud800ject"`, 1)),
		"#40 surrogates in the wrong order in jti": says(strings.Replace(good, `"jti":"`, `"jti":"\udc00\ud800`, 1)),
		"#40 UTF-16":                               says("\x00{\x00}"),
		"#41 17 levels deep":                       nested(16),
		"#41 2,000 levels deep":                    nested(2000),
		"#41 9,000 levels deep":                    nested(9000),
		"#41 9,000 levels that never end":          says(strings.Repeat(`{"x":`, 1000)),
	}
	for name, token := range rows {
		g.run(t, []row{{name, token, authkey.ErrMalformed, 0}})
	}
	g.run(t, []row{
		{"#36 a name twice, in different objects", g.saying(`"x":{"sub":1},"y":{"sub":2}`), nil, 1},
		{"#39 spaces around it", says("\r\n\t " + good + " \r\n"), nil, 1},
		{"#40 a pair of surrogates", g.saying(`"x":"\ud83d\ude00"`), nil, 1},
		{"#41 16 levels deep", nested(15), nil, 1},
		{"#41 brackets in a string", g.saying(`"x":"` + strings.Repeat(`[{\"`, 100) + `"`), nil, 1},
	})
}

func TestRefusesBeforeAnyCall(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	g.keys.become(nil, authkey.ErrUnavailable) // whoever asks learns it
	claims := map[string]authtest.Claims{
		"another issuer": {"iss": "https://other.example"}, "another audience": {"aud": "x"}, "no exp": {"exp": authtest.Absent},
		"no subject": {"sub": authtest.Absent, "client_id": authtest.Absent}, "an ID token": {"nonce": "x"}, "a cnf that is null": {"cnf": nil},
	}
	for name, over := range claims {
		t.Run(name, func(t *testing.T) {
			identity, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(g.Mint(over)))
			if identity != nil || err == nil || g.keys.asked() != 0 {
				t.Errorf("identity %v, error %v, and keys were asked for %d times", identity, err, g.keys.asked())
			}
		})
	}
	judge(t, g.verifier, g.Mint(nil), nil, authkey.ErrUnavailable)
	if g.keys.asked() != 1 {
		t.Errorf("keys were asked for %d times by a good token, want once", g.keys.asked())
	}
}
