package middleware_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// presented says what came with a credential, the certificate by its number.
func presented(p *authkey.Presentation) string {
	if p == nil {
		return "nothing"
	}
	number := "none"
	if p.Certificate != nil {
		number = p.Certificate.SerialNumber.String()
	}
	return fmt.Sprintf("%q %q %q %q %s %v", p.Scheme, p.Method, p.Path, p.Proofs, number, p.DeferRevocation)
}

func TestPresentation(t *testing.T) {
	t.Parallel()
	dpop := middleware.WithDPoP("ES256")
	for name, row := range map[string]struct {
		method, target string
		fields         []string // names and values
		edit           func(*http.Request)
		limited        bool
		want           string
	}{
		"a key":                     {fields: []string{"X-Api-Key", "k"}, want: "nothing"},
		"a key before a limit":      {fields: []string{"X-Api-Key", "k"}, limited: true, want: `"" "" "" [] none true`},
		"bearer":                    {fields: []string{"Authorization", "bearer k"}, want: `"Bearer" "GET" "/v1/items" [] none false`},
		"bearer before a limit":     {fields: []string{"Authorization", "Bearer k"}, limited: true, want: `"Bearer" "GET" "/v1/items" [] none true`},
		"DPoP":                      {fields: []string{"Authorization", "DPoP k", "DPoP", "proof"}, want: `"DPoP" "GET" "/v1/items" ["proof"] none false`},
		"DPoP in lower case":        {fields: []string{"Authorization", "dpop k", "dpop", "proof"}, limited: true, want: `"DPoP" "GET" "/v1/items" ["proof"] none true`},
		"DPoP without a proof":      {fields: []string{"Authorization", "DPoP k"}, want: `"DPoP" "GET" "/v1/items" [] none false`},
		"two proofs":                {fields: []string{"Authorization", "DPoP k", "DPoP", "a", "DPoP", "b"}, want: `"DPoP" "GET" "/v1/items" ["a" "b"] none false`},
		"bearer with a proof":       {fields: []string{"Authorization", "Bearer k", "DPoP", "proof"}, want: `"Bearer" "GET" "/v1/items" ["proof"] none false`},
		"a key with a proof":        {fields: []string{"X-Api-Key", "k", "DPoP", "proof"}, want: `"" "GET" "/v1/items" ["proof"] none false`},
		"the same in two places":    {fields: []string{"X-Api-Key", "k", "Authorization", "DPoP k"}, want: `"DPoP" "GET" "/v1/items" [] none false`},
		"method":                    {method: "DELETE", fields: []string{"Authorization", "Bearer k"}, want: `"Bearer" "DELETE" "/v1/items" [] none false`},
		"path, escaped as sent":     {target: "/v1/a%2fb%20c?q=/x#", fields: []string{"Authorization", "Bearer k"}, want: `"Bearer" "GET" "/v1/a%2fb%20c" [] none false`},
		"path of a stripped prefix": {fields: []string{"Authorization", "Bearer k"}, edit: func(r *http.Request) { r.URL.Path = "/items" }, want: `"Bearer" "GET" "/v1/items" [] none false`},
		"path of an absolute form":  {target: "http://example.com/v1/%7e?q", fields: []string{"Authorization", "Bearer k"}, want: `"Bearer" "GET" "/v1/%7e" [] none false`},
		"absolute form, stripped":   {target: "http://example.com/v1/items?q", fields: []string{"Authorization", "Bearer k"}, edit: func(r *http.Request) { r.URL.Path = "/items" }, want: `"Bearer" "GET" "/v1/items" [] none false`},
		"absolute form, with user":  {target: "http://u@example.com/v1/%2F", fields: []string{"Authorization", "Bearer k"}, edit: func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/x", "" }, want: `"Bearer" "GET" "/v1/%2F" [] none false`},
		"no path":                   {fields: []string{"Authorization", "Bearer k"}, edit: func(r *http.Request) { r.RequestURI, r.URL.Path = "http://example.com", "" }, want: `"Bearer" "GET" "/" [] none false`},
		"path of two slashes":       {target: "//v1//items", fields: []string{"Authorization", "Bearer k"}, want: `"Bearer" "GET" "//v1//items" [] none false`},
		"all resources":             {method: "OPTIONS", fields: []string{"Authorization", "Bearer k"}, edit: func(r *http.Request) { r.RequestURI, r.URL.Path = "*", "*" }, want: `"Bearer" "OPTIONS" "*" [] none false`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newIssued(authkey.NothingPending)
			auth := middleware.Authenticate(tokens, dpop)
			var stage middleware.Stage = auth
			if row.limited {
				stage = auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(9))
			}
			target := "/v1/items"
			if row.target != "" {
				target = row.target
			}
			r := corsRequest("GET", target, row.fields...)
			if row.method != "" {
				r.Method = row.method
			}
			if row.edit != nil {
				row.edit(r)
			}
			a, _, refusal := admit(t, stage, r)
			refusedAs(t, refusal, 0, "")
			if got := presented(tokens.last()); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			if got := tokens.shown; !slices.Equal(got, []string{"k"}) {
				t.Errorf("shown %q", got)
			}
			if a != nil && a.Request().Header.Get("Authorization") != "" {
				t.Error("the handler sees the token")
			}
		})
	}
}

// What an outer stage told of a credential stays as it was when an inner one tells something else.
func TestPresentationsOfNestedStages(t *testing.T) {
	t.Parallel()
	tokens := newIssued(authkey.RevocationPending)
	limiter := &watcher{behaviour: looks}
	r := corsRequest("GET", "/v1/items", "Authorization", "Bearer k")
	for i := range 3 {
		auth := middleware.Authenticate(tokens)
		var stage middleware.Stage = auth
		if i == 1 {
			stage = auth.RateLimit(limiter, ratelimit.PerMinute(9))
		}
		a, _, refusal := admit(t, stage, r)
		if refusedAs(t, refusal, 0, ""); refusal != nil {
			return
		}
		r = a.Request()
	}
	for i, p := range tokens.seen {
		want := fmt.Sprintf(`"Bearer" "GET" "/v1/items" [] none %v`, i == 1)
		if got := presented(p); got != want {
			t.Errorf("number %d: got %s, want %s", i+1, got, want)
		}
	}
	if len(tokens.seen) != 3 || tokens.seen[0] == tokens.seen[1] || tokens.seen[0] == tokens.seen[2] {
		t.Errorf("%d presentations, want three apart", len(tokens.seen))
	}
}

func TestSubprotocol(t *testing.T) {
	t.Parallel()
	const prefix = "base64url.bearer.authorization.k8s.io."
	encoded := prefix + base64.RawURLEncoding.EncodeToString([]byte("tok?>en~"))
	for name, row := range map[string]struct {
		fields []string
		status int
		left   []string
	}{
		"alone":                    {[]string{encoded}, 0, nil},
		"before another":           {[]string{encoded + ", chat.v2"}, 0, []string{"chat.v2"}},
		"behind another":           {[]string{"chat.v2 ,\t" + encoded}, 0, []string{"chat.v2"}},
		"between others":           {[]string{"chat.v2, " + encoded + " , chat.v1"}, 0, []string{"chat.v2, chat.v1"}},
		"in a field of its own":    {[]string{"chat.v2, chat.v1", encoded}, 0, []string{"chat.v2, chat.v1"}},
		"none":                     {[]string{"chat.v2"}, 401, nil},
		"no field":                 {nil, 401, nil},
		"another case":             {[]string{strings.ToUpper(prefix) + "dG9r"}, 401, nil},
		"a prefix of the prefix":   {[]string{"base64url.bearer"}, 401, nil},
		"nothing behind":           {[]string{prefix}, 400, nil},
		"twice":                    {[]string{encoded + ", " + encoded}, 400, nil},
		"in two fields":            {[]string{encoded, encoded}, 400, nil},
		"padded":                   {[]string{prefix + "dA=="}, 400, nil},
		"of the other alphabet":    {[]string{prefix + "Pz8+"}, 400, nil},
		"with bits to spare":       {[]string{prefix + "dB"}, 400, nil},
		"with a line break":        {[]string{prefix + "dG9\nr"}, 400, nil},
		"of control bytes":         {[]string{prefix + "AAEC"}, 400, nil},
		"of two credentials":       {[]string{prefix + base64.RawURLEncoding.EncodeToString([]byte("a,b"))}, 400, nil},
		"much longer than it may":  {[]string{prefix + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("a", 9<<10)))}, 400, nil},
		"one good and one without": {[]string{encoded + "," + prefix}, 400, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newIssued(authkey.NothingPending)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if row.fields != nil {
				r.Header["Sec-Websocket-Protocol"] = row.fields
			}
			a, h, refusal := admit(t, middleware.Authenticate(tokens, middleware.WithSources(middleware.Subprotocol(prefix))), r)
			if row.status != 0 {
				refusedAs(t, refusal, row.status, map[int]string{400: middleware.CodeMalformed, 401: middleware.CodeMissing}[row.status])
				return
			}
			if refusedAs(t, refusal, 0, ""); refusal != nil {
				return
			}
			if !slices.Equal(tokens.shown, []string{"tok?>en~"}) || tokens.last() != nil {
				t.Errorf("shown %q with %s", tokens.shown, presented(tokens.last()))
			}
			if got, there := a.Request().Header["Sec-Websocket-Protocol"]; !slices.Equal(got, row.left) || there != (row.left != nil) {
				t.Errorf("the handler sees %q, want %q", got, row.left)
			}
			if !slices.Equal(r.Header["Sec-Websocket-Protocol"], row.fields) || len(h) != 0 {
				t.Errorf("the original request has %q, the response %v", r.Header["Sec-Websocket-Protocol"], h)
			}
		})
	}
}

// The page may ask for the fields of a proof, and read what it needs for another.
func TestPagesWithDPoP(t *testing.T) {
	t.Parallel()
	page := []string{"Origin", "https://a.example.com"}
	cors := middleware.WithCORS(middleware.CORS{Origins: []string{"https://a.example.com"}})
	for name, row := range map[string]struct {
		sources []middleware.Source
		asks    string
		status  int
		exposes bool
		vary    string
	}{
		"with DPoP":        {[]middleware.Source{middleware.DPoP()}, "authorization,dpop", 204, true, "Origin, Authorization"},
		"without":          {[]middleware.Source{middleware.Bearer()}, "authorization,dpop", 403, false, "Origin, Authorization"},
		"by a subprotocol": {[]middleware.Source{middleware.Subprotocol("bearer.")}, "sec-websocket-protocol", 403, false, "Origin, Sec-WebSocket-Protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stage := middleware.Authenticate(newIssued(0), cors, middleware.WithSources(row.sources...))
			_, _, refusal := admit(t, stage, corsRequest("OPTIONS", "/", append(page, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", row.asks)...))
			if refusal == nil || refusal.Status != row.status {
				t.Errorf("the preflight: %v, want %d", refusal, row.status)
			}
			_, h, _ := admit(t, stage, corsRequest("GET", "/", page...))
			exposed := h.Get("Access-Control-Expose-Headers")
			if !strings.Contains(exposed, ", WWW-Authenticate") || strings.Contains(exposed, ", DPoP-Nonce") != row.exposes {
				t.Errorf("exposed %q", exposed)
			}
			if h.Get("Vary") != row.vary {
				t.Errorf("Vary: %q, want %q", h.Get("Vary"), row.vary)
			}
		})
	}
}

// Before there was anything to tell of a credential, a request cost as many allocations.
func TestAllocationsOfPresentation(t *testing.T) {
	certain := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate(t, 1)}}
	for name, row := range map[string]struct {
		fields  http.Header
		tls     *tls.ConnectionState
		limited bool
		most    float64
	}{
		"a key":                   {http.Header{"X-Api-Key": {goodKey}}, nil, false, 9},
		"a key before a limit":    {http.Header{"X-Api-Key": {goodKey}}, nil, true, 14},
		"bearer":                  {http.Header{"Authorization": {"Bearer " + goodKey}}, nil, false, 9},
		"bearer before a limit":   {http.Header{"Authorization": {"Bearer " + goodKey}}, nil, true, 14},
		"a key and a certificate": {http.Header{"X-Api-Key": {goodKey}}, certain, false, 9},
	} {
		auth := middleware.Authenticate(demoCallers())
		var stage middleware.Stage = auth
		if row.limited {
			stage = auth.RateLimit(answers(true, ratelimit.Result{Policy: "requests", Limit: 9}), ratelimit.PerMinute(9))
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header, r.TLS = row.fields, row.tls
		if got := testing.AllocsPerRun(200, func() {
			if _, refusal := stage.Admit(nil, r, "GET /"); refusal != nil {
				t.Fatal(refusal)
			}
		}); got > row.most {
			t.Errorf("%s costs %v allocations, want %v at most", name, got, row.most)
		}
	}
}
