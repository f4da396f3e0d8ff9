package bearer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestNewKeySet(t *testing.T) {
	t.Parallel()
	ec, rs, ed := authtest.NewKey(t, "ES256", "").Public(), authtest.NewKey(t, "RS256", "").Public(), authtest.NewKey(t, "EdDSA", "").Public()
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	off := *ec.(*ecdsa.PublicKey)
	off.Y = new(big.Int).Add(off.Y, big.NewInt(1)) //nolint:staticcheck // the point of it
	even := *rs.(*rsa.PublicKey)
	even.N = new(big.Int).Add(even.N, big.NewInt(1))
	long := strings.Repeat("k", 257)
	many := make([]bearer.Key, 101)
	for n := range many {
		many[n] = bearer.Key{ID: fmt.Sprint(n), Public: ed}
	}
	secret := func(n int) []byte { return bytes.Repeat([]byte("s"), n) }
	for name, r := range map[string]struct {
		keys []bearer.Key
		want string // "": it is taken
	}{
		"none":                       {nil, "0 keys, want 1 to 100"},
		"101":                        {many, "101 keys, want 1 to 100"},
		"100":                        {many[1:], ""},
		"an ID of 257 bytes":         {[]bearer.Key{{ID: long, Public: ec}}, "more than 256 bytes"},
		"an ID of 256 bytes":         {[]bearer.Key{{ID: long[1:], Public: ec}}, ""},
		"no key":                     {[]bearer.Key{{ID: "k"}}, `key number 1, "k"`},
		"a private key":              {[]bearer.Key{{Public: p224}}, "key number 1"},
		"a curve nobody uses":        {[]bearer.Key{{Public: p224.Public()}}, "key number 1"},
		"a point off its curve":      {[]bearer.Key{{Public: &off}}, "key number 1"},
		"a point of nothing":         {[]bearer.Key{{Public: &ecdsa.PublicKey{Curve: elliptic.P256()}}}, "key number 1"},
		"nil keys":                   {[]bearer.Key{{Public: (*ecdsa.PublicKey)(nil)}, {ID: "r", Public: (*rsa.PublicKey)(nil)}}, "key number 2"},
		"an even modulus":            {[]bearer.Key{{Public: &even}}, "key number 1"},
		"an algorithm nobody knows":  {[]bearer.Key{{Algorithm: "none", Public: ec}}, `algorithm "none"`},
		"another algorithm's key":    {[]bearer.Key{{Algorithm: "RS256", Public: ec}}, "key number 1"},
		"an ID twice":                {[]bearer.Key{{ID: "k", Public: ec}, {ID: "k", Public: rs}}, `the ID "k" is there twice`},
		"an ID twice, of algorithms": {[]bearer.Key{{ID: "k", Algorithm: "ES256", Public: ec}, {ID: "k", Algorithm: "RS256", Public: rs}}, ""},
		"an ID twice, of one":        {[]bearer.Key{{ID: "k", Algorithm: "RS256", Public: rs}, {ID: "k", Algorithm: "RS256", Public: rs}}, "there twice"},
		"#18 an empty secret":        {[]bearer.Key{{Algorithm: "HS256", Public: []byte{}}}, "key number 1"},
		"#18 a secret of 31 bytes":   {[]bearer.Key{{Public: secret(31)}}, "key number 1"},
		"#18 a secret of 32 bytes":   {[]bearer.Key{{Public: secret(32)}}, ""},
		"#18 HS512 with 63 bytes":    {[]bearer.Key{{Algorithm: "HS512", Public: secret(63)}}, "key number 1"},
		"#18 HS512 with 64 bytes":    {[]bearer.Key{{Algorithm: "HS512", Public: secret(64)}}, ""},
		"#18 HS384 with 47 bytes":    {[]bearer.Key{{Algorithm: "HS384", Public: secret(47)}}, "key number 1"},
		"every fault is named":       {[]bearer.Key{{ID: "a"}, {ID: "b", Algorithm: "x", Public: ec}, {ID: "b", Algorithm: "x", Public: ec}}, "number 3: the ID"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := bearer.NewKeySet(r.keys...)
			if r.want == "" {
				if err != nil || set.Len() != len(r.keys) || set.Skipped() != 0 {
					t.Errorf("a set of %v, %v", set, err)
				}
				return
			}
			if set != nil {
				t.Error("there is a set beside the error")
			}
			wants(t, err, r.want)
		})
	}
}

func TestParseKeySet(t *testing.T) {
	t.Parallel()
	key := authtest.NewKey(t, "ES256", "k")
	jwk := string(encoded(key.JWK()))
	rsaKey := authtest.NewKey(t, "RS256", "r").JWK()
	private := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`
	times := func(n int) string { return `{"keys":[` + strings.TrimSuffix(strings.Repeat(jwk+",", n), ",") + `]}` }
	for name, r := range map[string]struct {
		document     string
		len, skipped int // 0: it is refused
	}{
		"one":                       {times(1), 1, 0},
		"members besides":           {`{"x":[1],"keys":[` + jwk + `],"y":{}}`, 1, 0},
		"a member of a key besides": {`{"keys":[{"zz":1,` + jwk[1:] + `]}`, 1, 0},
		"100":                       {times(100), 100, 0},
		"101":                       {times(101), 0, 0},
		"none":                      {`{"keys":[]}`, 0, 0},
		"no keys":                   {`{}`, 0, 0},
		"keys null":                 {`{"keys":null}`, 0, 0},
		"keys an object":            {`{"keys":{}}`, 0, 0},
		"keys twice":                {`{"keys":[],"keys":[` + jwk + `]}`, 0, 0},
		"Keys":                      {`{"Keys":[` + jwk + `]}`, 0, 0},
		"a list":                    {`[` + jwk + `]`, 0, 0},
		"a key alone":               {jwk, 0, 0},
		"nothing":                   {``, 0, 0},
		"HTML":                      {`<html>`, 0, 0},
		"bytes after it":            {times(1) + "x", 0, 0},
		"a byte order mark":         {"\ufeff" + times(1), 0, 0},
		"half of it":                {times(1)[:60], 0, 0},
		"a name twice in a key":     {`{"keys":[{"kid":"x",` + jwk[1:] + `]}`, 0, 0},
		"no keys but values":        {`{"keys":[null,1,"x",[],{},` + jwk + `]}`, 1, 5},
		"a secret":                  {`{"keys":[{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}`, 0, 0},
		"a private key":             {`{"keys":[` + private + `,` + jwk + `]}`, 1, 1},
		"Ed448":                     {`{"keys":[{"kty":"OKP","crv":"Ed448","x":"AA"},` + jwk + `]}`, 1, 1},
		"secp256k1":                 {`{"keys":[` + strings.Replace(jwk, "P-256", "secp256k1", 1) + `,` + jwk + `]}`, 1, 1},
		"a use that is no string":   {`{"keys":[{"use":1,` + strings.Replace(jwk[1:], `"use":"sig"`, `"u":0`, 1) + `,` + jwk + `]}`, 1, 1},
		"an alg nobody knows":       {`{"keys":[` + strings.Replace(jwk, "ES256", "ES256K", 1) + `,` + jwk + `]}`, 1, 1},
		"an alg of another key":     {`{"keys":[` + strings.Replace(jwk, "ES256", "RS256", 1) + `,` + jwk + `]}`, 1, 1},
		"a kid of 257 bytes":        {`{"keys":[` + strings.Replace(jwk, `"k"`, `"`+strings.Repeat("k", 257)+`"`, 1) + `,` + jwk + `]}`, 1, 1},
		"RSA with n that is even":   {`{"keys":[` + string(encoded(evenModulus(rsaKey))) + `,` + jwk + `]}`, 1, 1},
		"RSA":                       {`{"keys":[` + string(encoded(authtest.NewKey(t, "RS256", "r").JWK())) + `]}`, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := bearer.ParseKeySet([]byte(r.document))
			if r.len > 0 {
				if err != nil || set.Len() != r.len || set.Skipped() != r.skipped {
					t.Fatalf("%v, %v, want %d keys without %d", set, err, r.len, r.skipped)
				}
				return
			}
			wants(t, err, "key set:")
			if set != nil {
				t.Error("there is a set beside the error")
			}
			silent(t, err.Error(), r.document)
		})
	}
}

func evenModulus(jwk map[string]any) map[string]any {
	n := jwk["n"].(string)
	jwk["n"] = n[:len(n)-1] + "A"
	return jwk
}

func TestKeySetHas(t *testing.T) { // alone, for it counts allocations
	key, nameless := authtest.NewKey(t, "ES256", "k"), authtest.NewKey(t, "RS256", "")
	set := keySet(t, key, nameless)
	for header, want := range map[bearer.Header]bool{
		{KeyID: "k", Algorithm: "ES256"}: true, {KeyID: "k", Algorithm: "ES384"}: false, {KeyID: "k", Algorithm: "RS256"}: false, {KeyID: "x", Algorithm: "ES256"}: false,
		{Algorithm: "ES256"}: true, {Algorithm: "RS256"}: true, {Algorithm: "RS512"}: false, {KeyID: "K", Algorithm: "ES256"}: false, {KeyID: "k"}: false, {}: false,
	} {
		if set.Has(header) != want {
			t.Errorf("Has(%+v) is not %v", header, want)
		}
	}
	if same, err := set.Keys(t.Context(), bearer.Header{}); same != set || err != nil {
		t.Errorf("Keys returned %v, %v", same, err)
	}
	if got := testing.AllocsPerRun(10, func() { set.Has(bearer.Header{KeyID: "k", Algorithm: "ES256"}) }); got != 0 {
		t.Errorf("Has allocates %v times", got)
	}
}

func TestParsePEM(t *testing.T) {
	t.Parallel()
	key, certificate := authtest.NewKey(t, "RS256", "k"), authtest.NewCertificate(t)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key.Private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	public := block("PUBLIC KEY", der)
	for name, r := range map[string]struct {
		text string
		len  int // 0: it is refused
		want string
	}{
		"a key":                    {public, 1, ""},
		"a key and a certificate":  {public + block("CERTIFICATE", certificate.Leaf.Raw), 2, ""},
		"text around it":           {"a key:\n" + public + "\nthe end", 1, ""},
		"a private key":            {block("PRIVATE KEY", secret), 0, "block number 1"},
		"a private key behind one": {public + block("PRIVATE KEY", secret), 0, "block number 2"},
		"a damaged key":            {block("PUBLIC KEY", der[1:]), 0, "block number 1"},
		"a damaged certificate":    {block("CERTIFICATE", der), 0, "block number 1"},
		"a key of PKCS #1":         {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(key.Public().(*rsa.PublicKey))), 0, `want "PUBLIC KEY"`},
		"nothing":                  {"", 0, "no block"},
		"no PEM":                   {"{}", 0, "no block"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := bearer.ParsePEM([]byte(r.text))
			if r.len == 0 {
				wants(t, err, "PEM", r.want)
				silent(t, err.Error(), r.text)
				return
			}
			if err != nil || len(keys) != r.len || keys[0].ID != "" || !key.Public().(*rsa.PublicKey).Equal(keys[0].Public.(*rsa.PublicKey)) {
				t.Errorf("%v, %v, want %d keys", keys, err, r.len)
			}
		})
	}
	t.Run("#16 RSA of 1024 bits", func(t *testing.T) {
		t.Parallel()
		short, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(short.Public())
		if err != nil {
			t.Fatal(err)
		}
		_, err = bearer.ParsePEM([]byte(block("PUBLIC KEY", der)))
		wants(t, err, "block number 1")
	})
}

func TestKeyfunc(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	own, other, ed := g.Key(), authtest.NewKey(t, "ES256", "other"), authtest.NewKey(t, "Ed25519", "ed")
	var asked []*jwt.Token
	var found any
	var fault error
	config := g.config
	config.Keys = bearer.Keyfunc(func(token *jwt.Token) (any, error) { asked = append(asked, token); return found, fault })
	v := newVerifier(t, g.clock, []bearer.Issuer{config})
	off := *other.Public().(*ecdsa.PublicKey)
	off.Y = new(big.Int).Add(off.Y, big.NewInt(1)) //nolint:staticcheck // the point of it
	keys := func(keys ...any) jwt.VerificationKeySet {
		set := jwt.VerificationKeySet{}
		for _, key := range keys {
			set.Keys = append(set.Keys, key)
		}
		return set
	}
	token, short := g.Mint(nil), []byte("a secret that is long enough for HS256")
	for name, r := range map[string]struct {
		token string
		found any
		fault error
		want  error
	}{
		"the key":                  {token, own.Public(), nil, nil},
		"another key":              {token, other.Public(), nil, authkey.ErrUnknown},
		"a key of another kind":    {token, ed.Public(), nil, authkey.ErrUnknown},
		"a private key":            {token, own.Private, nil, authkey.ErrUnknown},
		"a secret":                 {token, short, nil, authkey.ErrUnknown},
		"nothing":                  {token, nil, nil, authkey.ErrUnknown},
		"a set of it":              {token, keys(own.Public()), nil, nil},
		"a set with another kind":  {token, keys(ed.Public(), own.Public(), short, nil), nil, nil},
		"a set with a damaged one": {token, keys(&off, own.Public()), nil, nil},
		"a set of two that fit":    {token, keys(own.Public(), other.Public()), nil, authkey.ErrUnknown},
		"a set of none":            {token, keys(), nil, authkey.ErrUnknown},
		"an error":                 {token, own.Public(), errors.New("no such key"), authkey.ErrUnknown},
		"an outage":                {token, nil, fmt.Errorf("%w: refused", authkey.ErrUnavailable), authkey.ErrUnavailable},
		"no kid":                   {g.MintWith(map[string]any{"kid": authtest.Absent}, nil, nil), own.Public(), nil, nil},
		"Ed25519, its own name":    {g.MintWith(nil, nil, ed), ed.Public(), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			asked, found, fault = nil, r.found, r.fault
			judge(t, v, r.token, nil, r.want)
			if len(asked) != 1 {
				t.Fatalf("asked %d times", len(asked))
			}
			said := asked[0]
			if said.Raw != "" || said.Claims != nil || said.Signature != nil || said.Valid || said.Method == nil || said.Method.Alg() == "" {
				t.Errorf("the function is shown %+v", said)
			}
			if _, ok := said.Header["kid"]; ok == (name == "no kid") || said.Header["alg"] == "" || len(said.Header) > 2 {
				t.Errorf("the function is shown the header %v", said.Header)
			}
		})
	}
}
