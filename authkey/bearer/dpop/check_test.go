package dpop_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
)

func TestGoodProofs(t *testing.T) {
	t.Parallel()
	all := dpop.WithAlgorithms("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
	w := newWorld(t, nobody(t), all)
	for _, alg := range w.Algorithms() {
		key := authtest.NewDPoPKey(t, alg)
		key.Now = w.clock.Now
		got, err := w.Check(shown(key.Proof("GET", origin+path, token, "")), token, key.Thumbprint())
		if err != nil || got.Thumbprint != key.Thumbprint() || got.ID == "" || !got.IssuedAt.Equal(w.clock.Now()) {
			t.Errorf("%s: %+v, %v", alg, got, err)
		}
	}
}

// The request to a protected resource of RFC 9449, section 7.1 (figure 12), restated.
func TestVectorOfRFC9449(t *testing.T) {
	t.Parallel()
	const (
		token      = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
		thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
		proof      = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik" +
			"VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR" +
			"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE" +
			"QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj" +
			"oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z" +
			"WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF" +
			"c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E" +
			"OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	)
	at := time.Unix(1562262618, 0)
	v, err := dpop.New(nobody(t), []string{"https://resource.example.org"}, dpop.WithClock(func() time.Time { return at }))
	if err != nil {
		t.Fatal(err)
	}
	presentation := &authkey.Presentation{Scheme: "DPoP", Method: "GET", Path: "/protectedresource", Proofs: []string{proof}}
	got, err := v.Check(presentation, token, thumbprint)
	if err != nil || got.ID != "e1j3V_bKic8-LAEB" || !got.IssuedAt.Equal(at) || got.Thumbprint != thumbprint {
		t.Errorf("%+v, %v", got, err)
	}
}

func set(where, name string, value any) func(header, claims map[string]any) {
	return func(header, claims map[string]any) {
		member := claims
		switch where {
		case "header":
			member = header
		case "jwk":
			member = header["jwk"].(map[string]any)
		}
		member[name] = value
		if value == nil {
			delete(member, name)
		}
	}
}

// Row 82 of the table of what must be refused, and what else can be wrong with one member.
func TestRefusedMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t))
	now := w.clock.Now()
	for name, row := range map[string]struct {
		where, member string
		value         any
		says          string
	}{
		"no typ":                  {"header", "typ", nil, "typ"},
		"a typ of access tokens":  {"header", "typ", "at+jwt", "typ"},
		"a plain typ":             {"header", "typ", "JWT", "typ"},
		"typ is a number":         {"header", "typ", 1, "JWS"},
		"no alg":                  {"header", "alg", nil, "alg"},
		"alg none":                {"header", "alg", "none", "alg"},
		"alg HS256":               {"header", "alg", "HS256", "alg"},
		"alg in another case":     {"header", "alg", "es256", "alg"},
		"alg of another curve":    {"header", "alg", "ES384", "jwk"},
		"alg of another kty":      {"header", "alg", "RS256", "jwk"},
		"no jwk":                  {"header", "jwk", nil, "jwk"},
		"jwk is text":             {"header", "jwk", "x", "jwk"},
		"jwk is empty":            {"header", "jwk", map[string]any{}, "jwk"},
		"a private jwk":           {"jwk", "d", "AAAA", "jwk"},
		"a jwk of RSA's privacy":  {"jwk", "p", "AAAA", "jwk"},
		"a secret within the jwk": {"jwk", "k", "AAAA", "jwk"},
		"a jwk for encryption":    {"jwk", "use", "enc", "jwk"},
		"a jwk for signing only":  {"jwk", "key_ops", []string{"sign"}, "jwk"},
		"a jwk for another alg":   {"jwk", "alg", "ES384", "jwk"},
		"a jwk off its curve":     {"jwk", "x", strings.Repeat("A", 43), "jwk"},
		"a jwk without y":         {"jwk", "y", nil, "jwk"},
		"crit":                    {"header", "crit", []string{"exp"}, "JWS"},
		"b64":                     {"header", "b64", false, "JWS"},
		"JWK beside jwk":          {"header", "JWK", map[string]any{}, "JWS"},
		"no htm":                  {"claims", "htm", nil, "htm"},
		"another htm":             {"claims", "htm", "POST", "htm"},
		"htm in another case":     {"claims", "htm", "get", "htm"},
		"htm is a list":           {"claims", "htm", []string{"GET"}, "htm"},
		"no htu":                  {"claims", "htu", nil, "htu"},
		"another htu":             {"claims", "htu", "https://evil.example.com" + path, "htu"},
		"htu is a number":         {"claims", "htu", 7, "htu"},
		"no iat":                  {"claims", "iat", nil, "iat"},
		"iat is text":             {"claims", "iat", "1900000000", "iat"},
		"an old iat":              {"claims", "iat", now.Unix() - 61, "iat"},
		"an early iat":            {"claims", "iat", now.Unix() + 6, "iat"},
		"an iat out of bounds":    {"claims", "iat", 1e300, "iat"},
		"exp has come":            {"claims", "exp", now.Unix() - 5, "exp"},
		"exp is text":             {"claims", "exp", "never", "exp"},
		"nbf has not come":        {"claims", "nbf", now.Unix() + 6, "nbf"},
		"no jti":                  {"claims", "jti", nil, "jti"},
		"an empty jti":            {"claims", "jti", "", "jti"},
		"jti is a number":         {"claims", "jti", 1, "jti"},
		"a long jti":              {"claims", "jti", strings.Repeat("a", 129), "jti"},
		"no ath":                  {"claims", "ath", nil, "ath"},
		"ath of another token":    {"claims", "ath", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo", "ath"},
		"HTU beside htu":          {"claims", "HTU", origin + path, "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := w.check(w.proof(set(row.where, row.member, row.value)))
			refused(t, name, got, err, "invalid_dpop_proof", row.says)
		})
	}
}

func TestNoProofFitsARequestWithoutAMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t))
	for name, htm := range map[string]any{"none": nil, "an empty one": "", "GET": "GET"} {
		p := shown(w.proof(set("claims", "htm", htm)))
		p.Method = ""
		got, err := w.Check(p, token, w.key.Thumbprint())
		refused(t, name, got, err, "invalid_dpop_proof", "htm")
	}
}

func TestTakenMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t))
	now := w.clock.Now()
	for name, change := range map[string]func(header, claims map[string]any){
		"as it is":                  func(map[string]any, map[string]any) {},
		"the oldest iat":            set("claims", "iat", now.Unix()-60),
		"the earliest iat":          set("claims", "iat", now.Unix()+5),
		"a fraction of a second":    set("claims", "iat", float64(now.Unix())-0.5),
		"the longest jti":           set("claims", "jti", strings.Repeat("a", 128)),
		"a typ in another case":     set("header", "typ", "application/DPoP+JWT"),
		"a kid":                     set("header", "kid", "k1"),
		"the alg in the jwk":        set("jwk", "alg", "ES256"),
		"exp to come":               set("claims", "exp", now.Unix()+10),
		"nbf has come":              set("claims", "nbf", now.Unix()),
		"a claim of the future":     set("claims", "foo", map[string]any{"a": 1}),
		"a nonce of somebody":       set("claims", "nonce", "x"),
		"even one that is a number": set("claims", "nonce", 7),
	} {
		if got, err := w.check(w.proof(change)); err != nil || got.ID == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestRefusedProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t))
	other := authtest.NewDPoPKey(t, "ES256")
	other.Now = w.clock.Now
	good := w.proof()
	parts := strings.Split(good, ".")
	jwk, err := json.Marshal(w.key.JWK())
	if err != nil {
		t.Fatal(err)
	}
	header := `{"typ":"dpop+jwt","alg":"ES256","jwk":` + string(jwk) + `}`
	payload := `{"jti":"j","htm":"GET","htu":"` + origin + path + `","iat":1893553445,"ath":"x"}`
	secret := authtest.NewDPoPKey(t, "HS256")
	secret.Now = w.clock.Now
	for name, row := range map[string]struct {
		shown      *authkey.Presentation
		token      string
		thumbprint string
		says       string
	}{
		"no presentation":     {nil, token, w.key.Thumbprint(), "no proof"},
		"no proof":            {shown(), token, w.key.Thumbprint(), "no proof"},
		"two proofs":          {shown(good, good), token, w.key.Thumbprint(), "several"},
		"two in one field":    {shown(good + ", " + good), token, w.key.Thumbprint(), "JWS"},
		"an empty proof":      {shown(""), token, w.key.Thumbprint(), "JWS"},
		"two parts":           {shown(parts[0] + "." + parts[1]), token, w.key.Thumbprint(), "JWS"},
		"a JWE":               {shown(good + "." + parts[1] + "." + parts[2]), token, w.key.Thumbprint(), "JWS"},
		"padding":             {shown(good + "=="), token, w.key.Thumbprint(), "JWS"},
		"a line break":        {shown(good + "\n"), token, w.key.Thumbprint(), "JWS"},
		"a long proof":        {shown(w.proof(set("claims", "x", strings.Repeat("a", 4<<10)))), token, w.key.Thumbprint(), "JWS"},
		"a bound to another":  {shown(good), token, other.Thumbprint(), "bound"},
		"bound to nothing":    {shown(good), token, "", "bound"},
		"by another key":      {shown(other.Proof("GET", origin+path, token, "")), token, w.key.Thumbprint(), "bound"},
		"for another token":   {shown(good), token + "x", w.key.Thumbprint(), "ath"},
		"a secret as the jwk": {shown(secret.Proof("GET", origin+path, token, "")), token, secret.Thumbprint(), "alg"},
		"a borrowed jwk":      {shown(other.Proof("GET", origin+path, token, "", set("header", "jwk", w.key.JWK()))), token, w.key.Thumbprint(), "signature"},
		"another signature":   {shown(parts[0] + "." + parts[1] + "." + strings.Split(w.proof(), ".")[2]), token, w.key.Thumbprint(), "signature"},
		"no signature":        {shown(parts[0] + "." + parts[1] + "."), token, w.key.Thumbprint(), "signature"},
		"two jti":             {shown(signed(t, header, strings.Replace(payload, "{", `{"jti":"i",`, 1), w.key)), token, w.key.Thumbprint(), "JSON"},
		"two jwk":             {shown(signed(t, strings.Replace(header, "{", `{"jwk":{},`, 1), payload, w.key)), token, w.key.Thumbprint(), "JWS"},
		"two x in the jwk":    {shown(signed(t, strings.Replace(header, `"x":`, `"x":"AA","x":`, 1), payload, w.key)), token, w.key.Thumbprint(), "JWS"},
		"a payload of null":   {shown(signed(t, header, `null`, w.key)), token, w.key.Thumbprint(), "JSON"},
		"bytes behind it":     {shown(signed(t, header, payload+"{}", w.key)), token, w.key.Thumbprint(), "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := w.Check(row.shown, row.token, row.thumbprint)
			refused(t, name, got, err, "invalid_dpop_proof", row.says)
		})
	}
	// What the raw ones are made of is good but for the ath.
	got, err := w.check(signed(t, header, payload, w.key))
	refused(t, "raw", got, err, "invalid_dpop_proof", "ath")
}

func TestAlgorithmsAreAList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t), dpop.WithAlgorithms("PS256"))
	got, err := w.check(w.proof())
	refused(t, "ES256 where PS256 is wanted", got, err, "invalid_dpop_proof", "alg")
	list := w.Algorithms()
	list[0] = "ES256"
	if got, err := w.check(w.proof()); err == nil {
		t.Errorf("%+v: the list that Algorithms returned is the verifier's own", got)
	}
}

func TestWindowMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t), dpop.WithWindow(10*time.Second, 0))
	proof := w.proof()
	for _, row := range []struct {
		by   time.Duration
		good bool
	}{{0, true}, {10 * time.Second, true}, {time.Millisecond, false}, {-10*time.Second - 2*time.Millisecond, false}, {time.Millisecond, true}} {
		w.clock.Advance(row.by)
		if _, err := w.check(proof); (err == nil) != row.good {
			t.Errorf("after %v more: %v, want it good: %t", row.by, err, row.good)
		}
	}
}

// FuzzCheck holds that no text makes Check panic, or pass: nobody can guess a signature.
func FuzzCheck(f *testing.F) {
	t := new(authtest.Example) // outlives what the fuzzer calls
	f.Cleanup(t.End)
	w := newWorld(t, nobody(t))
	f.Add(w.proof(set("claims", "htm", "POST")), origin+path, path)
	f.Add("a.b.c", "https://[::1]:443/%2e%2E/a?b#c", "/%zz")
	f.Fuzz(func(t *testing.T, proof, htu, path string) {
		p := &authkey.Presentation{Method: "GET", Path: path, Proofs: []string{proof}}
		if got, err := w.Check(p, token, w.key.Thumbprint()); err == nil {
			t.Errorf("Check(%q) = %+v", proof, got)
		}
		p.Proofs[0] = w.key.Proof("GET", htu, token, "")
		if _, err := w.Check(p, token, w.key.Thumbprint()); err == nil && !strings.Contains(strings.ToLower(htu), "://api.example.com") {
			t.Errorf("htu %q passes for the path %q", htu, path)
		}
	})
}
