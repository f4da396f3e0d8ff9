package bearer_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// said is what an endpoint says of an active token, with members over it.
func said(t testing.TB, clock *authtest.Clock, over authtest.Claims) map[string]json.RawMessage {
	t.Helper()
	claims := map[string]any{"active": true, "sub": "subject", "scope": "read", "exp": clock.Now().Add(time.Minute).Unix(), "iat": clock.Now().Unix()}
	maps.Copy(claims, over)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == authtest.Absent })
	var members map[string]json.RawMessage
	if err := json.Unmarshal(encoded(claims), &members); err != nil {
		t.Fatal(err)
	}
	return members
}

func TestIntrospectedClaims(t *testing.T) {
	t.Parallel()
	clock, asks := new(authtest.Clock), new(endpoint)
	open := bearer.Issuer{URL: "https://login.example.com/", Org: org}
	meant, limited := open, open
	meant.Audiences, limited.MaxLifetime = []string{"us"}, time.Hour
	v := newVerifier(t, clock, nil, bearer.WithIntrospection(open, asks))
	strict := newVerifier(t, clock, nil, bearer.WithIntrospection(meant, asks))
	short := newVerifier(t, clock, nil, bearer.WithIntrospection(limited, asks))
	for name, r := range map[string]struct {
		v    *bearer.Verifier
		over authtest.Claims
		want error
	}{
		"as it is":                          {v, nil, nil},
		"iss of the issuer":                 {v, authtest.Claims{"iss": open.URL}, nil},
		"iss of another":                    {v, authtest.Claims{"iss": "https://other.example"}, authkey.ErrUnknown},
		"iss without the slash":             {v, authtest.Claims{"iss": "https://login.example.com"}, authkey.ErrUnknown},
		"iss null":                          {v, authtest.Claims{"iss": nil}, authkey.ErrUnknown},
		"iss a list":                        {v, authtest.Claims{"iss": []string{open.URL}}, authkey.ErrUnknown},
		"no exp":                            {v, authtest.Claims{"exp": authtest.Absent}, nil},
		"no exp, and no iat":                {v, authtest.Claims{"exp": authtest.Absent, "iat": authtest.Absent}, nil},
		"exp a string":                      {v, authtest.Claims{"exp": "1"}, authkey.ErrMalformed},
		"exp null":                          {v, authtest.Claims{"exp": nil}, authkey.ErrMalformed},
		"expired":                           {v, authtest.Claims{"exp": clock.Now().Add(-30 * time.Second).Unix()}, authkey.ErrExpired},
		"not yet":                           {v, authtest.Claims{"nbf": clock.Now().Add(31 * time.Second).Unix()}, authkey.ErrNotYetValid},
		"of another audience, and any will": {v, authtest.Claims{"aud": "them"}, nil},
		"of another audience":               {strict, authtest.Claims{"aud": "them"}, authkey.ErrUnknown},
		"of no audience":                    {strict, nil, authkey.ErrUnknown},
		"of ours":                           {strict, authtest.Claims{"aud": []string{"them", "us"}}, nil},
		"aud of a wrong type, any will":     {v, authtest.Claims{"aud": 1}, authkey.ErrMalformed},
		"scope of a wrong type":             {v, authtest.Claims{"scope": 1}, authkey.ErrMalformed},
		"SUB beside sub":                    {v, authtest.Claims{"SUB": "admin"}, authkey.ErrMalformed},
		"bound to a key":                    {v, authtest.Claims{"cnf": authtest.Claims{"jkt": authtest.NewKey(t, "ES256", "").Thumbprint()}}, authkey.ErrUnknown},
		"cnf that is odd":                   {v, authtest.Claims{"cnf": authtest.Claims{"x": "y"}}, authkey.ErrMalformed},
		"a lifetime within the bounds":      {short, nil, nil},
		"a lifetime beyond the bounds":      {short, authtest.Claims{"exp": clock.Now().Add(time.Hour + time.Second).Unix()}, authkey.ErrMalformed},
		"a lifetime that is not told":       {short, authtest.Claims{"exp": authtest.Absent}, authkey.ErrMalformed},
		"a nonce, which makes an ID token":  {v, authtest.Claims{"nonce": "x"}, authkey.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			asks.claims = said(t, clock, r.over)
			id := judge(t, r.v, "opaque-token-of-somebody", nil, r.want)
			if id != nil && (id.Token.Issuer != open.URL || id.Org != org || !id.HasScope("read") || id.ExpiresAt.IsZero() != (r.over["exp"] == authtest.Absent)) {
				t.Errorf("identity %+v of %q", id, id.Token.Issuer)
			}
		})
	}
}

// TestWhatIsIntrospected: tokens that are no JWT; where there are no issuers besides, all.
func TestWhatIsIntrospected(t *testing.T) {
	t.Parallel()
	g, asks := newGate(t, nil), new(endpoint)
	asks.claims = said(t, g.clock, nil)
	opaque := bearer.WithIntrospection(bearer.Issuer{URL: "https://login.example.com/", Org: org}, asks)
	besides := newVerifier(t, g.clock, []bearer.Issuer{g.config}, opaque, cached(t))
	alone := newVerifier(t, g.clock, nil, opaque, cached(t))
	jwt := g.Mint(nil)
	if id := judge(t, besides, jwt, nil, nil); id.Token.Issuer != g.URL() || asks.asked != nil {
		t.Errorf("a JWT was introspected: %q", asks.asked)
	}
	judge(t, besides, g.Mint(authtest.Claims{"iss": "https://login.example.com/"}), nil, authkey.ErrUnknown)
	judge(t, besides, "ey..", nil, authkey.ErrMalformed)
	judge(t, besides, "", nil, authkey.ErrMalformed)
	judge(t, besides, string(make([]byte, bearer.MaxToken+1)), nil, authkey.ErrMalformed)
	if asks.asked != nil {
		t.Errorf("the endpoint was asked for %q", asks.asked)
	}
	judge(t, besides, "opaque", nil, nil)
	judge(t, alone, "opaque", nil, nil)
	judge(t, alone, jwt, nil, nil)
	judge(t, alone, jwt, nil, nil) // no cache stands before the endpoint, which has one of its own
	if !slices.Equal(asks.asked, []string{"opaque", "opaque", jwt, jwt}) {
		t.Errorf("the endpoint was asked for %q", asks.asked)
	}
	asks.claims, asks.err = nil, errors.Join(authkey.ErrUnavailable, errors.New("refused"))
	judge(t, alone, jwt, nil, authkey.ErrUnavailable)
	judge(t, besides, jwt, nil, nil)
	judge(t, newVerifier(t, g.clock, []bearer.Issuer{g.config}), "opaque", nil, authkey.ErrMalformed)
}
