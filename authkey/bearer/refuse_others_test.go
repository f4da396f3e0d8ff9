package bearer_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestRefusesTenants(t *testing.T) {
	t.Parallel()
	const tenant = "https://login.example.com/8f2e/v2.0"
	g := newGate(t, func(i *bearer.Issuer) { i.URL, i.Require = tenant, map[string]string{"tid": "8f2e"} })
	of := func(tid, iss any) string { return g.Mint(authtest.Claims{"tid": tid, "iss": iss}) }
	g.run(t, []row{
		{"#59 tid of the issuer", of("8f2e", tenant), nil, 1},
		{"#59 tid of another tenant", of("0000", tenant), authkey.ErrUnknown, 0},
		{"#59 tid in another case", of("8F2E", tenant), authkey.ErrUnknown, 0},
		{"#59 no tid", of(authtest.Absent, tenant), authkey.ErrUnknown, 0},
		{"#59 tid a list", of([]string{"8f2e"}, tenant), authkey.ErrUnknown, 0},
		{"#59 iss of a tenant that is not listed", of("0000", "https://login.example.com/0000/v2.0"), authkey.ErrUnknown, 0},
		{"#59 iss of a template", of("8f2e", "https://login.example.com/{tenantid}/v2.0"), authkey.ErrUnknown, 0},
		{"#59 Tid beside tid", g.Mint(authtest.Claims{"iss": tenant, "tid": "8f2e", "Tid": "0000"}), authkey.ErrMalformed, 0},
	})
	nested := g.config
	nested.Require = map[string]string{"tenant.id": "8f2e"}
	v := newVerifier(t, g.clock, []bearer.Issuer{nested})
	judge(t, v, g.Mint(authtest.Claims{"iss": tenant, "tenant": authtest.Claims{"id": "8f2e"}}), nil, nil)
	judge(t, v, g.Mint(authtest.Claims{"iss": tenant, "tenant": authtest.Claims{"id": "0000"}}), nil, authkey.ErrUnknown)
}

func TestRefusesOrgs(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) { i.Org, i.Orgs = "", []string{"a", "b"} })
	of := func(org any) string { return g.Mint(authtest.Claims{"org_id": org}) }
	g.run(t, []row{
		{"#60 org that its issuer speaks for", of("a"), nil, 1},
		{"#60 org of another issuer", of("c"), authkey.ErrUnknown, 1},
		{"#60 org in another case", of("A"), authkey.ErrUnknown, 1},
		{"#60 org that is the word for any", of(bearer.AnyOrg), authkey.ErrUnknown, 1},
		{"#60 no org", of(authtest.Absent), authkey.ErrUnknown, 1},
		{"#60 org of 129 bytes", of(strings.Repeat("a", 129)), authkey.ErrUnknown, 1},
	})
	if id := judge(t, g.verifier, of("b"), nil, nil); id.Org != "b" || id.Project != "b" {
		t.Errorf("it is of %q, %q", id.Org, id.Project)
	}
	open := g.config
	open.Orgs = []string{bearer.AnyOrg}
	if id := judge(t, newVerifier(t, g.clock, []bearer.Issuer{open}), of("c"), nil, nil); id.Org != "c" {
		t.Errorf("it is of %q", id.Org)
	}
	fixed := g.config
	fixed.Org, fixed.Orgs = "mine", nil
	if id := judge(t, newVerifier(t, g.clock, []bearer.Issuer{fixed}), of("theirs"), nil, nil); id.Org != "mine" {
		t.Errorf("a token chose its org: %q", id.Org)
	}
}

func TestReadsScopesExactly(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	t.Run("#61 no scope", func(t *testing.T) {
		if id := judge(t, g.verifier, g.Mint(nil), nil, nil); len(id.Scopes) != 0 || id.HasScope("") {
			t.Errorf("scopes %q", id.Scopes)
		}
	})
	g.run(t, []row{
		{"#61 scope a number", g.Mint(authtest.Claims{"scope": 1}), authkey.ErrMalformed, 1},
		{"#61 scp of numbers", g.Mint(authtest.Claims{"scp": []int{1}}), authkey.ErrMalformed, 1},
		{"#61 scp of a string and null", g.Mint(authtest.Claims{"scp": []any{"read", nil}}), authkey.ErrMalformed, 1},
		{"#61 scope null beside a good scp", g.Mint(authtest.Claims{"scope": nil, "scp": []string{"read"}}), authkey.ErrMalformed, 1},
	})
	for _, scope := range []any{"read:all", "reader", "rea", "READ", "read,write", "read\u00a0write", "read\u2003write", []string{"read write"}, []string{" read"}, "\"read\""} {
		t.Run(fmt.Sprintf("#62 %q where read is wanted", scope), func(t *testing.T) {
			if id := judge(t, g.verifier, g.Mint(authtest.Claims{"scope": scope}), nil, nil); id.HasScope("read") {
				t.Errorf("scopes %q", id.Scopes)
			}
		})
	}
	t.Run("#62 read among others", func(t *testing.T) {
		if id := judge(t, g.verifier, g.Mint(authtest.Claims{"scope": "write  read"}), nil, nil); !id.HasScope("read") || !id.HasScope("write") || len(id.Scopes) != 2 {
			t.Errorf("scopes %q", id.Scopes)
		}
	})
}

func TestRefusesRevoked(t *testing.T) {
	t.Parallel()
	store := &revocations{names: map[string]bool{"one": true, "leaver": true, "session": true, "stolen": true}}
	g := newGate(t, hour, bearer.WithRevocations(store))
	g.run(t, []row{
		{"#63 jti that is revoked", g.Mint(authtest.Claims{"jti": "one"}), authkey.ErrRevoked, 1},
		{"#63 the same jti in a token that is encoded anew", g.MintWith(map[string]any{"x": 1}, authtest.Claims{"jti": "one"}, nil), authkey.ErrRevoked, 1},
		{"#64 subject that is revoked", g.Mint(authtest.Claims{"sub": "leaver"}), authkey.ErrRevoked, 1},
		{"#64 session that is revoked", g.Mint(authtest.Claims{"sid": "session"}), authkey.ErrRevoked, 1},
		{"#64 client that is revoked", g.Mint(authtest.Claims{"client_id": "stolen"}), authkey.ErrRevoked, 1},
		{"#64 client that is revoked, by azp", g.Mint(authtest.Claims{"client_id": authtest.Absent, "azp": "stolen"}), authkey.ErrRevoked, 1},
		{"#64 nobody that is revoked", g.Mint(nil), nil, 1},
	})
	store.err = errors.Join(authkey.ErrUnavailable, errors.New("dial tcp: refused"))
	g.run(t, []row{{"#65 nobody can tell", g.Mint(nil), authkey.ErrUnavailable, 1}})
}

func TestJudgesWhatIsIntrospected(t *testing.T) {
	t.Parallel()
	clock := new(authtest.Clock)
	answer := func(over authtest.Claims) map[string]json.RawMessage {
		claims := authtest.Claims{"active": true, "sub": "subject", "scope": "read", "exp": clock.Now().Add(time.Minute).Unix()}
		var members map[string]json.RawMessage
		for name, value := range over {
			claims[name] = value
		}
		if err := json.Unmarshal(encoded(map[string]any(claims)), &members); err != nil {
			t.Fatal(err)
		}
		return members
	}
	asks := &endpoint{claims: answer(nil)}
	issuer := bearer.Issuer{URL: "https://login.example.com/", Org: org, Claims: bearer.Claims{}}
	v := newVerifier(t, clock, nil, bearer.WithIntrospection(issuer, asks))
	const token = "opaque-token-of-somebody"
	t.Run("#66 the scopes of now", func(t *testing.T) {
		if id := judge(t, v, token, nil, nil); !id.HasScope("read") || id.HasScope("write") {
			t.Errorf("scopes %q", id.Scopes)
		}
		asks.claims = answer(authtest.Claims{"scope": "write"})
		if id := judge(t, v, token, nil, nil); id.HasScope("read") || !id.HasScope("write") {
			t.Errorf("scopes %q", id.Scopes)
		}
		if len(asks.asked) != 2 || asks.asked[1] != token {
			t.Errorf("the endpoint was asked for %q", asks.asked)
		}
	})
	t.Run("#67 not active", func(t *testing.T) {
		asks.claims, asks.err = nil, authkey.ErrUnknown
		judge(t, v, token, nil, authkey.ErrUnknown)
	})
	t.Run("#68 an answer that has ended", func(t *testing.T) {
		asks.claims, asks.err = answer(nil), nil
		judge(t, v, token, nil, nil)
		clock.Advance(2 * time.Minute)
		judge(t, v, token, nil, authkey.ErrExpired)
	})
	t.Run("#65 nobody can tell", func(t *testing.T) {
		asks.claims, asks.err = nil, authkey.ErrUnavailable
		judge(t, v, token, nil, authkey.ErrUnavailable)
	})
}

func TestRefusesWithoutPossession(t *testing.T) {
	t.Parallel()
	proved := new(proofs)
	g := newGate(t, nil, bearer.WithProofs(proved))
	thumbprint := authtest.NewKey(t, "ES256", "").Thumbprint()
	certificate, other := authtest.NewCertificate(t).Leaf, authtest.NewCertificate(t).Leaf
	bound := func(cnf any) string { return g.Mint(authtest.Claims{"cnf": cnf}) }
	toKey := bound(authtest.Claims{"jkt": thumbprint})
	toCertificate := bound(authtest.Claims{"x5t#S256": authtest.CertificateThumbprint(certificate)})
	toBoth := bound(authtest.Claims{"jkt": thumbprint, "x5t#S256": authtest.CertificateThumbprint(certificate)})
	plain := g.Mint(nil)
	came := func(scheme string, certificate *x509.Certificate, proofs ...string) *authkey.Presentation {
		return &authkey.Presentation{Scheme: scheme, Certificate: certificate, Proofs: proofs}
	}
	for name, r := range map[string]struct {
		token string
		with  *authkey.Presentation
		want  error
	}{
		"#80 bound to a key, by Bearer":                  {toKey, came("Bearer", nil, "p1"), authkey.ErrUnknown},
		"#80 bound to a key, and nothing is known":       {toKey, nil, authkey.ErrUnknown},
		"#80 bound to a key, otherwise than by a field":  {toKey, came("", nil, "p2"), authkey.ErrUnknown},
		"#80 bound to nothing, by DPoP":                  {plain, came("DPoP", nil, "p3"), authkey.ErrUnknown},
		"#80 bound to nothing, by dpop":                  {plain, came("dpop", nil, "p4"), authkey.ErrUnknown},
		"#80 bound to a certificate alone, by DPoP":      {toCertificate, came("DPoP", certificate, "p5"), authkey.ErrUnknown},
		"#80 bound to a key, by DPoP":                    {toKey, came("DPoP", nil, "p6"), nil},
		"#80 bound to a key, by dpop":                    {toKey, came("dpop", nil, "p7"), nil},
		"#80 bound to nothing, by Bearer":                {plain, came("Bearer", certificate, "p8"), nil},
		"#83 bound to a certificate, and there is none":  {toCertificate, came("Bearer", nil), authkey.ErrUnknown},
		"#83 bound to a certificate, nothing is known":   {toCertificate, nil, authkey.ErrUnknown},
		"#83 bound to another certificate":               {toCertificate, came("Bearer", other), authkey.ErrUnknown},
		"#83 bound to the certificate":                   {toCertificate, came("Bearer", certificate), nil},
		"#83 bound to both, with both":                   {toBoth, came("DPoP", certificate, "p9"), nil},
		"#83 bound to both, without the certificate":     {toBoth, came("DPoP", nil, "p10"), authkey.ErrUnknown},
		"#83 bound to both, with another certificate":    {toBoth, came("DPoP", other, "p11"), authkey.ErrUnknown},
		"#83 bound to both, by Bearer and a certificate": {toBoth, came("Bearer", certificate), authkey.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) { judge(t, g.verifier, r.token, r.with, r.want) })
	}
	for name, cnf := range map[string]any{
		"null": nil, "empty": authtest.Claims{}, "a string": thumbprint, "a list": []string{thumbprint}, "jkt a number": authtest.Claims{"jkt": 1},
		"jkt null": authtest.Claims{"jkt": nil}, "jkt empty": authtest.Claims{"jkt": ""}, "jkt short": authtest.Claims{"jkt": thumbprint[1:]},
		"jkt long": authtest.Claims{"jkt": thumbprint + "A"}, "an unknown member": authtest.Claims{"kid": thumbprint}, "jwk": authtest.Claims{"jwk": authtest.Claims{}},
		"an unknown member beside jkt": authtest.Claims{"jkt": thumbprint, "x5t": thumbprint}, "JKT": authtest.Claims{"JKT": thumbprint},
		"x5t#s256": authtest.Claims{"x5t#s256": thumbprint}, "x5t#S256 a list": authtest.Claims{"x5t#S256": []string{thumbprint}},
	} {
		for _, scheme := range []string{"Bearer", "DPoP"} {
			t.Run("#81 cnf "+name+" by "+scheme, func(t *testing.T) {
				judge(t, g.verifier, bound(cnf), came(scheme, certificate, "p-"+name), authkey.ErrMalformed)
			})
		}
	}
	t.Run("#80 bound to a key, without WithProofs", func(t *testing.T) {
		v := newVerifier(t, g.clock, []bearer.Issuer{g.config})
		judge(t, v, toKey, came("DPoP", nil, "p12"), authkey.ErrUnknown)
		judge(t, v, toCertificate, came("Bearer", certificate), nil)
	})
	t.Run("#82 a proof is used once, and not by what refuses it", func(t *testing.T) { usedOnce(t, g, proved, toKey, thumbprint) })
}

func usedOnce(t *testing.T, g *gate, proved *proofs, token, thumbprint string) {
	with := &authkey.Presentation{Scheme: "DPoP", Proofs: []string{"once"}}
	presented := authkey.NewPresented(token).In(with)
	refused := newVerifier(t, g.clock, []bearer.Issuer{g.config}, bearer.WithProofs(proved),
		bearer.WithValidator(func(context.Context, *authkey.Identity) error { return authkey.ErrForbidden }, time.Second))
	judge(t, refused, token, with, authkey.ErrForbidden)
	identity := judge(t, g.verifier, token, with, nil)
	if proved.checked[len(proved.checked)-1] != token || !proved.used[thumbprint+"once"] {
		t.Errorf("checked for %q, and used are %v", proved.checked, proved.used)
	}
	for range 2 {
		if again, err := g.verifier.Refresh(t.Context(), presented, identity); err != nil || again.Key != identity.Key {
			t.Errorf("Refresh: %v, %v", again, err)
		}
	}
	var refusal *authkey.ProofError
	if identity, err := g.verifier.Authenticate(t.Context(), presented); identity != nil || !errors.As(err, &refusal) || refusal.Code != "invalid_dpop_proof" {
		t.Errorf("a proof that was used: %v, %v", identity, err)
	}
	proved.uses = authkey.ErrUnavailable
	judge(t, g.verifier, token, &authkey.Presentation{Scheme: "DPoP", Proofs: []string{"next"}}, authkey.ErrUnavailable)
	proved.checks = &authkey.ProofError{Code: "use_dpop_nonce", Nonce: "n"}
	if _, err := g.verifier.Refresh(t.Context(), presented, identity); !errors.As(err, &refusal) || refusal.Code != "use_dpop_nonce" || refusal.Nonce != "n" {
		t.Errorf("Refresh with a bad proof: %v", err)
	}
}
