package bearer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestRefusesTimes(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) { i.MaxLifetime = time.Hour })
	at := func(name string, after time.Duration) string {
		return g.Mint(authtest.Claims{name: g.clock.Now().Add(after)})
	}
	written := func(name, value string) string { return g.Mint(authtest.Claims{name: json.RawMessage(value)}) }
	bad, expired, early := authkey.ErrMalformed, authkey.ErrExpired, authkey.ErrNotYetValid
	g.run(t, []row{
		{"#42 exp missing", g.Mint(authtest.Claims{"exp": authtest.Absent}), bad, 0},
		{"#42 exp null", g.Mint(authtest.Claims{"exp": nil}), bad, 0},
		{"#42 exp 0", g.Mint(authtest.Claims{"exp": 0, "iat": 0}), expired, 0},
		{"#44 exp 1e9, which is long ago", g.Mint(authtest.Claims{"iat": json.RawMessage("1e9"), "exp": json.RawMessage("1e9")}), expired, 0},
		{"#45 expired by the leeway and a second", at("exp", -31*time.Second), expired, 0},
		{"#45 expired by the leeway", at("exp", -30*time.Second), expired, 0},
		{"#46 expired within the leeway", at("exp", -29*time.Second), nil, 1},
		{"#47 nbf beyond the leeway", at("nbf", 31*time.Second), early, 0},
		{"#47 nbf within the leeway", at("nbf", 30*time.Second), nil, 1},
		{"#47 nbf 1e300", written("nbf", "1e300"), bad, 0},
		{"#48 iat beyond the leeway", at("iat", 31*time.Second), early, 0},
		{"#48 iat within the leeway", at("iat", 30*time.Second), nil, 1},
		{"#48 auth_time beyond the leeway", at("auth_time", 31*time.Second), early, 0},
		{"#49 of a lifetime above the issuer's", at("exp", time.Hour+time.Second), bad, 0},
		{"#49 of the issuer's lifetime", at("exp", time.Hour), nil, 1},
		{"#49 of a lifetime that cannot be told", g.Mint(authtest.Claims{"iat": authtest.Absent}), bad, 0},
		{"#49 of a lifetime from 1970", g.Mint(authtest.Claims{"iat": 0}), bad, 0},
	})
	t.Run("#44 exp in the year 9999", func(t *testing.T) {
		config := g.config
		config.MaxLifetime = 0
		v := newVerifier(t, g.clock, []bearer.Issuer{config})
		identity := judge(t, v, written("exp", "253402300799"), nil, nil)
		if year := identity.ExpiresAt.UTC().Year(); year != 9999 {
			t.Errorf("it ends in %d", year)
		}
	})
	t.Run("#45 at exp, without a leeway", func(t *testing.T) {
		config := g.config
		config.Leeway = bearer.NoLeeway
		v := newVerifier(t, g.clock, []bearer.Issuer{config})
		judge(t, v, at("exp", 0), nil, authkey.ErrExpired)
		judge(t, v, at("exp", time.Second), nil, nil)
		judge(t, v, at("nbf", time.Second), nil, authkey.ErrNotYetValid)
		judge(t, v, at("nbf", 0), nil, nil)
		judge(t, v, at("iat", time.Second), nil, authkey.ErrNotYetValid)
	})
	t.Run("#45 a part of a second after exp", func(t *testing.T) {
		config := g.config
		config.Leeway = bearer.NoLeeway
		v := newVerifier(t, g.clock, []bearer.Issuer{config})
		judge(t, v, written("exp", fmt.Sprintf("%d.5", g.clock.Now().Unix())), nil, nil)
	})
}

// TestRefusesDates: where nothing but its type is wrong with a date.
func TestRefusesDates(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	bad := authkey.ErrMalformed
	written := func(name, value string) string { return g.Mint(authtest.Claims{name: json.RawMessage(value)}) }
	var rows []row
	for _, name := range []string{"exp", "nbf", "iat", "auth_time"} {
		for _, value := range []string{`"1893553445"`, `true`, `false`, `{}`, `[]`, `[1893553445]`, `null`, `""`} {
			rows = append(rows, row{fmt.Sprintf("#43 %s %s", name, value), written(name, value), bad, 0})
		}
		for _, value := range []string{"1e300", "-1", "-0.5", "9.2e18", "9223372036854775807", "253402300800", "1e400", "1" + strings.Repeat("0", 70)} {
			rows = append(rows, row{fmt.Sprintf("#44 %s %.30s", name, value), written(name, value), bad, 0})
		}
		for _, value := range []string{"NaN", "Infinity", "01893553445", "+1", "0x70dc0a85", ".5"} {
			text := strings.Replace(g.payload(authtest.Claims{name: 123456}), "123456", value, 1)
			rows = append(rows, row{fmt.Sprintf("#44 %s %s, which is no JSON", name, value), g.Sign(g.head(nil), []byte(text), nil), bad, 0})
		}
	}
	g.run(t, rows)
}

func TestRefusesIssuers(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) { i.URL = "https://login.example.com/tenant" })
	const url = "https://login.example.com/tenant"
	bad, unknown := authkey.ErrMalformed, authkey.ErrUnknown
	from := func(iss any) string { return g.Mint(authtest.Claims{"iss": iss}) }
	rows := []row{
		{"#50 iss missing", from(authtest.Absent), bad, 0},
		{"#50 iss null", from(nil), bad, 0},
		{"#50 iss empty", from(""), bad, 0},
		{"#50 iss a list", from([]string{url}), bad, 0},
		{"#50 iss a number", from(1), bad, 0},
		{"#50 iss with NUL", from(url + "\x00"), bad, 0},
		{"#51 iss of 513 bytes", from(url + strings.Repeat("x", 513)), bad, 0},
	}
	for name, iss := range map[string]string{
		"#50 iss in another case":        "https://LOGIN.example.com/tenant",
		"#50 iss with a slash":           url + "/",
		"#50 iss with a port":            "https://login.example.com:443/tenant",
		"#50 iss of http":                "http://login.example.com/tenant",
		"#50 iss with a space":           url + " ",
		"#50 iss with an escape":         "https://login.example.com/%74enant",
		"#50 iss that begins as ours":    url + "-evil",
		"#50 iss that ours begins with":  "https://login.example.com/",
		"#51 iss that nobody knows":      "https://other.example",
		"#52 iss of ours as the user":    "https://login.example.com@evil.example/tenant",
		"#52 iss of ours as a subdomain": "https://login.example.com.evil.example/tenant",
		"#52 iss with a user":            "https://user:pass@login.example.com/tenant",
		"#52 iss of a metadata service":  "http://169.254.169.254/latest/meta-data",
		"#52 iss of loopback":            "http://[::1]:6379/",
		"#52 iss with a query":           url + "?x",
		"#52 iss with a fragment":        url + "#x",
		"#52 iss that goes up":           "https://login.example.com/x/../tenant",
	} {
		rows = append(rows, row{name, from(iss), unknown, 0})
	}
	g.run(t, rows)
	judge(t, g.verifier, from(url), nil, nil)
	if g.Hits() != 0 {
		t.Errorf("#51 %d requests to the issuer, want none", g.Hits())
	}
}

func TestRefusesAudiences(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	to := func(aud any) string { return g.Mint(authtest.Claims{"aud": aud}) }
	bad, unknown := authkey.ErrMalformed, authkey.ErrUnknown
	many := append(make([]string, 0, 257), authtest.Audience)
	for len(many) < 257 {
		many = append(many, "x")
	}
	g.run(t, []row{
		{"#53 aud missing", to(authtest.Absent), unknown, 0},
		{"#53 aud an empty list", to([]string{}), unknown, 0},
		{"#53 aud empty", to(""), bad, 0},
		{"#53 aud another", to("https://other.example.com"), unknown, 0},
		{"#53 aud in another case", to(strings.ToUpper(authtest.Audience)), unknown, 0},
		{"#53 aud with a slash", to(authtest.Audience + "/"), unknown, 0},
		{"#53 aud that ours begins with", to("https://api"), unknown, 0},
		{"#53 aud of words", to(authtest.Audience + " x"), unknown, 0},
		{"#53 aud null", to(nil), bad, 0},
		{"#54 aud an object", to(map[string]any{authtest.Audience: true}), bad, 0},
		{"#54 aud nested", to([]any{[]string{authtest.Audience}}), bad, 0},
		{"#54 aud of types", to([]any{authtest.Audience, 1}), bad, 0},
		{"#54 aud with null", to([]any{authtest.Audience, nil}), bad, 0},
		{"#54 aud with nothing", to([]any{authtest.Audience, ""}), bad, 0},
		{"#54 aud a number", to(1), bad, 0},
		{"#54 aud of 257", to(many), bad, 0},
		{"#55 aud with ours among others", to([]string{"x", authtest.Audience}), nil, 1},
		{"#55 aud with ours alone", to([]string{authtest.Audience}), nil, 1},
	})
	t.Run("#53 one of two, where all are wanted", func(t *testing.T) {
		config := g.config
		config.Audiences, config.Match = []string{authtest.Audience, "b"}, bearer.AllAudiences
		v := newVerifier(t, g.clock, []bearer.Issuer{config})
		judge(t, v, to(authtest.Audience), nil, unknown)
		judge(t, v, to("b"), nil, unknown)
		judge(t, v, to([]string{}), nil, unknown)
		judge(t, v, to(authtest.Absent), nil, unknown)
		judge(t, v, to([]string{"b", "c", authtest.Audience}), nil, nil)
		config.Match = bearer.AnyAudience
		judge(t, newVerifier(t, g.clock, []bearer.Issuer{config}), to("b"), nil, nil)
	})
}

func TestRefusesTypes(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	strict := newGate(t, func(i *bearer.Issuer) { i.Profile = bearer.AccessTokens })
	bad := authkey.ErrMalformed
	typed := func(g *gate, typ any) string { return g.MintWith(map[string]any{"typ": typ}, nil, nil) }
	rows := []row{
		{"#56 with nonce", g.Mint(authtest.Claims{"nonce": "x"}), bad, 0},
		{"#56 with at_hash", g.Mint(authtest.Claims{"at_hash": "x"}), bad, 0},
		{"#56 with c_hash", g.Mint(authtest.Claims{"c_hash": nil}), bad, 0},
		{"#56 aud is the client", g.Mint(authtest.Claims{"aud": authtest.ClientID}), authkey.ErrUnknown, 0},
		{"#58 typ AT+JWT", typed(g, "AT+JWT"), nil, 1},
		{"#58 typ application/at+jwt", typed(g, "application/at+jwt"), nil, 1},
		{"#58 typ Application/AT+JWT", typed(g, "Application/AT+JWT"), nil, 1},
		{"#58 typ JWT", typed(g, "JWT"), nil, 1},
		{"#58 typ absent", typed(g, authtest.Absent), nil, 1},
	}
	for _, typ := range []any{"dpop+jwt", "logout+jwt", "secevent+jwt", "id_token+jwt", "token-introspection+jwt", "application/dpop+jwt", "at+jwt ", "x", nil, 1, []string{"at+jwt"}} {
		rows = append(rows, row{fmt.Sprintf("#57 typ %q", fmt.Sprint(typ)), typed(g, typ), bad, 0})
	}
	g.run(t, rows)
	rows = []row{
		{"#56 an ID token, where at+jwt is wanted", typed(strict, "JWT"), bad, 0},
		{"#56 no typ, where at+jwt is wanted", typed(strict, authtest.Absent), bad, 0},
		{"#56 an empty typ, where at+jwt is wanted", typed(strict, ""), bad, 0},
		{"#56 with nonce, where at+jwt is wanted", strict.Mint(authtest.Claims{"nonce": "x"}), bad, 0},
		{"#58 typ AT+JWT, where it is wanted", typed(strict, "AT+JWT"), nil, 1},
		{"#58 typ application/at+jwt, where it is wanted", typed(strict, "application/at+jwt"), nil, 1},
	}
	for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
		rows = append(rows, row{"#56 without " + name + ", which RFC 9068 wants", strict.Mint(authtest.Claims{name: authtest.Absent}), bad, 0})
	}
	strict.run(t, rows)
	g.run(t, []row{
		{"without jti and iat", g.Mint(authtest.Claims{"jti": authtest.Absent, "iat": authtest.Absent}), nil, 1},
		{"without sub and client_id", g.Mint(authtest.Claims{"sub": authtest.Absent, "client_id": authtest.Absent}), bad, 0},
	})
}
