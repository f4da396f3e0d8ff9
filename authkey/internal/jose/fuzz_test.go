package jose_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// FuzzReadObject: what is read as an object, encoding/json reads as the same.
func FuzzReadObject(f *testing.F) {
	for _, document := range []string{
		`{}`, ` { "a" : 1 , "b" : "x\u0079" } `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"x":{"a":1,"a":2}}`, `{"a":1,"A":2}`, `{"":""}`,
		``, `null`, `[]`, `"x"`, `7`, `{}{}`, `{} x`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a":01}`, `{"a":+1}`, `{"a":1e400}`, `{"a":1e-400}`, `{"a":NaN}`, `{a:1}`, `{'a':1}`,
		"\ufeff{}", "{\"a\":\"\xff\"}", "{\"\xc3\x28\":1}", `{"a":"\ud800"}`, `{"\udc00":1}`, `{"a":"\ud83d\ude00"}`, "{\"a\":\"\n\"}", `{"a":"\q"}`, "{\"a\":\"\u2028\"}", `{"a\"]}":"[{\\"}`,
		`{"a":["x","y\u007a",""],"b":[1,null,{"c":[]}],"n":-0.5e-3}`, `{"a":[` + strings.Repeat("1,", 256) + `1]}`, `{"a":1` + strings.Repeat("0", 63) + `}`,
		`{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`, `{"a":` + strings.Repeat(`{"a":`, 15) + "1" + strings.Repeat("}", 16), strings.Repeat(`{"a":`, 16) + "1" + strings.Repeat("}", 16),
	} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		before := slices.Clone(document)
		object, err := jose.ReadObject(document)
		if !bytes.Equal(document, before) {
			t.Fatal("the document was changed")
		}
		var names []string
		if members := jose.Members(document, func(name, _ json.RawMessage) { names = append(names, string(name)) }); (members == nil) != (err == nil) {
			t.Fatalf("ReadObject: %v, Members: %v", err, members)
		}
		if err != nil {
			if object != nil {
				t.Errorf("an object beside the error %v", err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(document, &want); err != nil {
			t.Fatalf("accepted; encoding/json: %v", err)
		}
		if len(object) != len(want) || len(names) != len(want) {
			t.Errorf("%d members, %d names; encoding/json: %d", len(object), len(names), len(want))
		}
		for name, value := range want {
			if !bytes.Equal(object[name], value) || cap(object[name]) != len(object[name]) {
				t.Errorf("%q: %q; encoding/json: %q", name, object[name], value)
			}
			sameValue(t, jose.Object{name: object[name]}, name)
		}
	})
}

// sameValue: each way to read a value that accepts it reads what encoding/json does.
func sameValue(t *testing.T, o jose.Object, name string) {
	t.Helper()
	var want any
	if err := json.Unmarshal(o[name], &want); err != nil {
		t.Fatal(err)
	}
	if text, ok := jose.Unquote(o[name]); ok != (reflect.TypeOf(want) == reflect.TypeFor[string]()) || ok && text != want {
		t.Errorf("Unquote(%q): %q, %v", o[name], text, ok)
	}
	list, isList := want.([]any)
	items, ok := jose.Items(o[name])
	if ok != (isList && len(list) <= 256) || ok && len(items) != len(list) {
		t.Errorf("Items(%q): %q, %v", o[name], items, ok)
	}
	if texts, ok := jose.TextsOf(o[name], 64); ok {
		for n := range max(len(texts), len(list)) {
			if len(texts) != len(list) || texts[n] != list[n] {
				t.Fatalf("TextsOf(%q): %q", o[name], texts)
			}
		}
	}
	if at, ok, err := o.Seconds(name); err == nil {
		if n, isNumber := want.(float64); !ok || !isNumber || n < 0 || at.Unix() != int64(n) {
			t.Errorf("Seconds(%q): %v, %v", o[name], at, ok)
		}
	}
}

// FuzzParseJWK: what is read as a key is a strong public one, and the same each time.
func FuzzParseJWK(f *testing.F) {
	for _, key := range []string{keyRFC7515A2, keyRFC7515A3, keyRFC7515A4, keyRFC7520RSA, keyRFC7520EC, keyRFC7638, keyRFC8037, keyRFC9449} {
		f.Add([]byte(key))
		for _, more := range []string{`"d":"AQAB"`, `"use":"enc"`, `"use":"sig"`, `"key_ops":["sign"]`, `"key_ops":["verify"]`, `"alg":"HS256"`, `"alg":"none"`, `"kty":"oct"`, `"k":"AQAB"`} {
			f.Add([]byte(key[:len(key)-1] + "," + more + "}"))
		}
		f.Add([]byte(strings.Replace(key, `"AQAB"`, `"AQ"`, 1)))
		f.Add([]byte(strings.Replace(key, `"P-`, `"p-`, 1)))
		f.Add([]byte(strings.Replace(key, `"x":"`, `"x":"A`, 1)))
	}
	f.Add([]byte(`{"kty":"oct","k":"` + keyRFC7515A1 + `"}`))
	f.Add([]byte(`{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	f.Add([]byte(`{"kty":"AKP","alg":"ML-DSA-44","pub":"AQAB"}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		key, err := jose.ParseJWK(document)
		if err != nil {
			return
		}
		again, err := jose.ParseJWK(document)
		if err != nil || !key.Equal(&again) || key.Thumbprint() != again.Thumbprint() {
			t.Errorf("another time it is another key, %v", err)
		}
		if err := key.Validate(); err != nil || len(key.Thumbprint()) != 43 {
			t.Errorf("thumbprint %q, Validate: %v", key.Thumbprint(), err)
		}
		for _, alg := range []string{"HS256", "HS384", "HS512", "none", ""} {
			if key.Fits(alg) || key.Verify(alg, "a.b", nil) == nil {
				t.Errorf("it is for alg %q", alg)
			}
		}
	})
}
