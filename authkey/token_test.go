package authkey_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestClaimByPath(t *testing.T) {
	t.Parallel()
	token := &authkey.Token{Claims: map[string]json.RawMessage{
		"scope":                        json.RawMessage(`"a b"`),
		"a.b":                          json.RawMessage(`1`),
		"a":                            json.RawMessage(`{"b":2,"c":{"d":3},"c.d":4}`),
		"https://hasura.io/jwt/claims": json.RawMessage(`{"x-hasura-org-id":"acme","Org":5}`),
		"text":                         json.RawMessage(`"{\"a\":1}"`),
		"nothing":                      json.RawMessage(`null`),
	}}
	for path, want := range map[string]string{
		"scope": `"a b"`, "Scope": "", "": "", "absent": "", "absent.x": "",
		"a.b": "1", "a.c.d": "4", "a.c": `{"d":3}`, "a.x": "", "a.": "", ".a": "",
		"https://hasura.io/jwt/claims.x-hasura-org-id": `"acme"`,
		"https://hasura.io/jwt/claims.org":             "",
		"text.a":                                       "", "nothing": "null", "nothing.x": "", "scope.a": "",
	} {
		if got := string(token.Claim(path)); got != want {
			t.Errorf("Claim(%q) = %s, want %s", path, got, want)
		}
	}
	var none *authkey.Token
	if none.Claim("scope") != nil {
		t.Error("a nil token has a claim")
	}
}

func TestFindTellsWhatCannotBeThere(t *testing.T) {
	t.Parallel()
	token := &authkey.Token{Claims: map[string]json.RawMessage{
		"object": json.RawMessage(`{"a":1}`), "number": json.RawMessage(`1`), "null": json.RawMessage(`null`), "list": json.RawMessage(`["a"]`),
	}}
	for path, want := range map[string]error{
		"object.a": nil, "object.b": nil, "absent.a": nil, "number": nil, "object.a.x": authkey.ErrMalformed,
		"number.a": authkey.ErrMalformed, "null.a": authkey.ErrMalformed, "list.a": authkey.ErrMalformed,
	} {
		if _, err := token.Find(path); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("Find(%q): %v, want %v", path, err, want)
		}
	}
	var none *authkey.Token
	if value, err := none.Find("a"); value != nil || err != nil {
		t.Errorf("a nil token: %s, %v", value, err)
	}
}
