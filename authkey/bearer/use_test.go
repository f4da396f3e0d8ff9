package bearer_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// TestOtherKindsOfTokens: what says that it is no access token is refused, as a JWT and by introspection.
func TestOtherKindsOfTokens(t *testing.T) {
	t.Parallel()
	g := newGate(t, hour)
	for name, row := range map[string]struct {
		claims authtest.Claims
		good   bool
	}{
		"nothing more":           {authtest.Claims{}, true},
		"use access":             {authtest.Claims{"token_use": "access"}, true},
		"use access_token":       {authtest.Claims{"token_use": "access_token"}, true},
		"type Bearer":            {authtest.Claims{"token_type": "Bearer"}, true},
		"type access":            {authtest.Claims{"token_type": "access"}, true},
		"typ Bearer":             {authtest.Claims{"typ": "Bearer"}, true},
		"typ of something else":  {authtest.Claims{"typ": "user"}, true},
		"typ that is a number":   {authtest.Claims{"typ": 7}, true},
		"use id":                 {authtest.Claims{"token_use": "id"}, false},
		"use refresh_token":      {authtest.Claims{"token_use": "refresh_token"}, false},
		"use that is a list":     {authtest.Claims{"token_use": []string{"access"}}, false},
		"use null":               {authtest.Claims{"token_use": nil}, false},
		"type refresh":           {authtest.Claims{"token_type": "refresh"}, false},
		"type DPoP, not bound":   {authtest.Claims{"token_type": "DPoP"}, false},
		"typ DPoP, not bound":    {authtest.Claims{"typ": "dpop"}, false},
		"typ ID":                 {authtest.Claims{"typ": "ID"}, false},
		"typ Refresh":            {authtest.Claims{"typ": "Refresh"}, false},
		"typ Offline":            {authtest.Claims{"typ": "Offline"}, false},
		"nonce":                  {authtest.Claims{"nonce": "n"}, false},
		"at_hash":                {authtest.Claims{"at_hash": "h"}, false},
		"c_hash":                 {authtest.Claims{"c_hash": "h"}, false},
		"use in another case":    {authtest.Claims{"Token_Use": "access"}, false},
		"type of a named family": {authtest.Claims{"token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want error
			if !row.good {
				want = authkey.ErrMalformed
			}
			if _, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(g.Mint(row.claims))); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("as a JWT: %v, want %v", err, want)
			}
			answer := map[string]json.RawMessage{"sub": json.RawMessage(`"ann"`)}
			for claim, value := range row.claims {
				text, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				answer[claim] = text
			}
			opaque := newVerifier(t, g.clock, nil, bearer.WithIntrospection(bearer.Issuer{URL: g.config.URL, Org: org}, &endpoint{claims: answer}))
			if _, err := opaque.Authenticate(t.Context(), authkey.NewPresented("opaque")); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("by introspection: %v, want %v", err, want)
			}
		})
	}
}

// TestIntrospectedNeedAName: tokens that name nobody would share a limit and could not be revoked.
func TestIntrospectedNeedAName(t *testing.T) {
	t.Parallel()
	g := newGate(t, hour)
	for claim, want := range map[string]error{"sub": nil, "client_id": nil, "username": authkey.ErrMalformed} {
		answer := &endpoint{claims: map[string]json.RawMessage{claim: json.RawMessage(`"ann"`)}}
		v := newVerifier(t, g.clock, nil, bearer.WithIntrospection(bearer.Issuer{URL: g.config.URL, Org: org}, answer))
		if _, err := v.Authenticate(t.Context(), authkey.NewPresented("opaque")); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s alone: %v, want %v", claim, err, want)
		}
	}
}
