package middleware_test

import (
	"errors"
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

// answerTo returns the answer of a refusal.
func answerTo(refusal *middleware.Error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	refusal.Render(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	const (
		described = `error="invalid_token", error_description="The credential is not valid."`
		doubled   = `error="invalid_request", error_description="The credential is not well formed, or sent more than once."`
		noScope   = `error="insufficient_scope", error_description="The credential lacks a scope that this resource needs.", scope="admin"`
		metadata  = "https://api.example.com/.well-known/oauth-protected-resource/v1?a=b,c"
	)
	dpop, told := middleware.WithDPoP("ES256", "EdDSA"), middleware.WithResourceMetadata(metadata)
	from := func(s ...middleware.Source) middleware.Option { return middleware.WithSources(s...) }
	scoped := func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireScope("admin") }
	nonce := func(code, nonce string) error {
		return fmt.Errorf("verifier: %w", &authkey.ProofError{Code: code, Nonce: nonce, Err: errors.New("why")})
	}
	for name, row := range map[string]struct {
		options []middleware.Option
		guard   func(*middleware.Authenticated) *middleware.Authenticated
		field   string // of Authorization
		err     error
		status  int
		code    string
		want    []string
		nonce   string
	}{
		"nothing":                           {nil, nil, "", nil, 401, "missing_credential", []string{`Bearer realm="api"`}, ""},
		"nothing, and metadata":             {[]middleware.Option{told}, nil, "", nil, 401, "missing_credential", []string{`Bearer realm="api", resource_metadata="` + metadata + `"`}, ""},
		"nothing, and DPoP":                 {[]middleware.Option{dpop, told}, nil, "", nil, 401, "missing_credential", []string{`Bearer realm="api", resource_metadata="` + metadata + `"`, `DPoP realm="api", algs="ES256 EdDSA", resource_metadata="` + metadata + `"`}, ""},
		"DPoP before other sources":         {[]middleware.Option{dpop, from(middleware.Header("X-Key"), middleware.Bearer())}, nil, "", nil, 401, "missing_credential", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA"`}, ""},
		"DPoP alone":                        {[]middleware.Option{dpop, from(middleware.DPoP())}, nil, "", nil, 401, "missing_credential", []string{`DPoP realm="api", algs="ES256 EdDSA"`}, ""},
		"DPoP beside keys":                  {[]middleware.Option{from(middleware.Header("X-Key"), middleware.DPoP())}, nil, "", nil, 401, "missing_credential", []string{`DPoP realm="api"`}, ""},
		"keys alone":                        {[]middleware.Option{from(middleware.Header("X-Key"))}, nil, "Bearer k", nil, 401, "missing_credential", []string{`Bearer realm="api"`}, ""},
		"DPoP where there is none":          {nil, nil, "DPoP k", nil, 401, "missing_credential", []string{`Bearer realm="api"`}, ""},
		"bad bearer":                        {[]middleware.Option{told}, nil, "Bearer k", authkey.ErrExpired, 401, "invalid_credential", []string{`Bearer realm="api", resource_metadata="` + metadata + `", ` + described}, ""},
		"bad bearer, and DPoP":              {[]middleware.Option{dpop}, nil, "Bearer k", authkey.ErrUnknown, 401, "invalid_credential", []string{`Bearer realm="api", ` + described, `DPoP realm="api", algs="ES256 EdDSA"`}, ""},
		"bad token by DPoP":                 {[]middleware.Option{dpop}, nil, "DPoP k", authkey.ErrUnknown, 401, "invalid_credential", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA", ` + described}, ""},
		"malformed bearer":                  {nil, nil, "Bearer a b", nil, 400, "malformed_credential", []string{`Bearer realm="api", ` + doubled}, ""},
		"DPoP without a token":              {[]middleware.Option{dpop}, nil, "DPoP", nil, 400, "malformed_credential", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA", ` + doubled}, ""},
		"a tab":                             {[]middleware.Option{dpop}, nil, "DPoP\tk", nil, 400, "malformed_credential", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA", ` + doubled}, ""},
		"scope":                             {nil, scoped, "Bearer k", nil, 403, "insufficient_scope", []string{`Bearer realm="api", ` + noScope}, ""},
		"scope, by DPoP":                    {[]middleware.Option{dpop}, scoped, "DPoP k", nil, 403, "insufficient_scope", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA", ` + noScope}, ""},
		"bad proof":                         {[]middleware.Option{dpop}, nil, "DPoP k", nonce("invalid_dpop_proof", ""), 401, "invalid_dpop_proof", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA", error="invalid_dpop_proof", error_description="The proof of possession is not valid."`}, ""},
		"bad proof with a nonce":            {[]middleware.Option{dpop, from(middleware.DPoP())}, nil, "DPoP k", nonce("invalid_dpop_proof", "n-2"), 401, "invalid_dpop_proof", []string{`DPoP realm="api", algs="ES256 EdDSA", error="invalid_dpop_proof", error_description="The proof of possession is not valid."`}, "n-2"},
		"nonce needed":                      {[]middleware.Option{dpop}, nil, "DPoP k", nonce("use_dpop_nonce", "n-1"), 401, "use_dpop_nonce", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA", error="use_dpop_nonce", error_description="The proof of possession needs the nonce of this answer."`}, "n-1"},
		"a code that is none":               {[]middleware.Option{dpop}, nil, "DPoP k", nonce(`x"y`, ""), 401, "invalid_dpop_proof", []string{`Bearer realm="api"`, `DPoP realm="api", algs="ES256 EdDSA", error="invalid_dpop_proof", error_description="The proof of possession is not valid."`}, ""},
		"bad proof where there is no DPoP":  {nil, nil, "Bearer k", nonce("invalid_dpop_proof", ""), 401, "invalid_dpop_proof", []string{`Bearer realm="api", error="invalid_dpop_proof", error_description="The proof of possession is not valid."`}, ""},
		"forbidden":                         {[]middleware.Option{told}, nil, "Bearer k", fmt.Errorf("%w: tenant closed", authkey.ErrForbidden), 403, "forbidden", nil, ""},
		"suspended":                         {[]middleware.Option{told}, nil, "Bearer k", authkey.ErrSuspended, 403, "project_suspended", nil, ""},
		"outage":                            {[]middleware.Option{dpop, told}, nil, "Bearer k", authkey.ErrUnavailable, 503, "unavailable", nil, ""},
		"an outage is more than a proof":    {[]middleware.Option{dpop}, nil, "DPoP k", fmt.Errorf("%w: %w", nonce("use_dpop_nonce", "n"), authkey.ErrUnavailable), 503, "unavailable", nil, ""},
		"an outage is more than a refusal":  {nil, nil, "Bearer k", fmt.Errorf("%w: %w", authkey.ErrForbidden, authkey.ErrUnavailable), 503, "unavailable", nil, ""},
		"an error of no kind is no outage":  {nil, nil, "Bearer k", errors.New("why"), 401, "invalid_credential", []string{`Bearer realm="api", ` + described}, ""},
		"realm":                             {[]middleware.Option{dpop, middleware.WithRealm("a b")}, nil, "", nil, 401, "missing_credential", []string{`Bearer realm="a b"`, `DPoP realm="a b", algs="ES256 EdDSA"`}, ""},
		"a client's words are not repeated": {nil, nil, `Bearer "evil`, fmt.Errorf("%w: evil", authkey.ErrUnknown), 401, "invalid_credential", []string{`Bearer realm="api", ` + described}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newIssued(0)
			tokens.err = row.err
			auth := middleware.Authenticate(tokens, row.options...)
			if row.guard != nil {
				auth = row.guard(auth)
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if row.field != "" {
				r.Header.Set("Authorization", row.field)
			}
			_, _, refusal := admit(t, auth, r)
			if refusedAs(t, refusal, row.status, row.code); refusal == nil {
				return
			}
			w := answerTo(refusal)
			if got := w.Header()["Www-Authenticate"]; !slices.Equal(got, row.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
			if got := w.Header().Get("DPoP-Nonce"); got != row.nonce {
				t.Errorf("DPoP-Nonce: %q, want %q", got, row.nonce)
			}
			if strings.Contains(w.Body.String(), "why") || strings.Contains(w.Body.String(), "evil") {
				t.Errorf("the client is told why: %s", w.Body)
			}
			if row.err != nil && !errors.Is(refusal, row.err) {
				t.Errorf("the cause is %v", refusal)
			}
		})
	}
}

// A renderer of one's own sets the same fields.
func TestChallengesOfOwnRenderer(t *testing.T) {
	t.Parallel()
	tokens := newIssued(0)
	tokens.err = &authkey.ProofError{Code: "use_dpop_nonce", Nonce: "n"}
	render := middleware.WithRenderer(func(w http.ResponseWriter, r *http.Request, e *middleware.Error) {
		e.SetHeaders(w.Header(), r)
		w.WriteHeader(e.Status)
	})
	_, _, refusal := admit(t, middleware.Authenticate(tokens, middleware.WithDPoP("ES256"), render), corsRequest("GET", "/", "Authorization", "DPoP k"))
	for range 2 { // what one answer makes of it is not in the next
		h := answerTo(refusal).Header()
		if len(h["Www-Authenticate"]) != 2 || h.Get("DPoP-Nonce") != "n" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("got %v", h)
		}
		h["Www-Authenticate"][0] = "x"
		if answerTo(refusal).Header().Get("WWW-Authenticate") == "x" {
			t.Error("two answers share their fields")
		}
	}
}

// What an identity that was read anew lacks is told by the stage's own challenges, also to a handler behind other stages.
func TestChallengesOfTake(t *testing.T) {
	t.Parallel()
	tokens, limiter := newIssued(authkey.RevocationPending), &watcher{behaviour: looks}
	auth := middleware.Authenticate(tokens, middleware.WithRealm("own")).RequireScope("search")
	a, _, refusal := admit(t, auth.RateLimit(limiter, ratelimit.PerMinute(9)), corsRequest("GET", "/", "Authorization", "Bearer k"))
	refusedAs(t, refusal, 0, "")
	inner := middleware.LimitBy(middleware.Everyone(), limiterFunc(allow), ratelimit.PerMinute(9).Named("all"))
	_, _, refusal = admit(t, inner, a.Request())
	refusedAs(t, refusal, 0, "")
	for want, change := range map[string]func(){
		`Bearer realm="own", error="insufficient_scope", error_description="The credential lacks a scope that this resource needs.", scope="search"`: func() { tokens.identity.Scopes = nil },
		`Bearer realm="own", error="invalid_token", error_description="The credential is not valid."`:                                                func() { tokens.err = authkey.ErrExpired },
	} {
		tokens.err, tokens.identity.Scopes, limiter.behaviour = nil, []string{"search"}, staleFirst
		change()
		refused, _ := errors.AsType[*middleware.Error](a.Take(t.Context(), nil, "requests", 1))
		if refused == nil {
			t.Errorf("Take lets pass what is to be told %s", want)
		} else if got := answerTo(refused).Header().Get("WWW-Authenticate"); got != want {
			t.Errorf("Take: %s, want %s", got, want)
		}
	}
}

// What a description may hold is in RFC 6750, section 3: no quote, no backslash, nothing but ASCII.
func TestDescriptionsAreASCII(t *testing.T) {
	t.Parallel()
	tokens := newIssued(0)
	tokens.identity.Org = "other"
	auth := middleware.Authenticate(tokens, middleware.WithDPoP("ES256"))
	stages := map[string]middleware.Stage{
		"scope": auth.RequireScope("a:b/c"), "any scope": auth.RequireAnyScope("a", "b"),
		"step up": auth.RequireAuthentication(middleware.StepUp{ACR: []string{"urn:mace:incommon:iap:silver"}, MaxAge: 1e9}),
	}
	for name, stage := range stages {
		_, _, refusal := admit(t, stage, corsRequest("GET", "/", "Authorization", "Bearer k"))
		if refusal == nil {
			t.Fatalf("%s: it passes", name)
		}
		for _, field := range answerTo(refusal).Header()["Www-Authenticate"] {
			parts := strings.Split(field, `"`)
			if len(parts)%2 != 1 || strings.ContainsFunc(field, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }) {
				t.Errorf("%s: %s", name, field)
			}
		}
	}
}

func TestOptionsOfTokens(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		option middleware.Option
		want   string
	}{
		"no algorithm":             {middleware.WithDPoP(), "WithDPoP needs an algorithm"},
		"algorithm none":           {middleware.WithDPoP("None"), "WithDPoP"},
		"HMAC":                     {middleware.WithDPoP("ES256", "hs256"), "WithDPoP"},
		"twice":                    {middleware.WithDPoP("ES256", "ES256"), "each once"},
		"two in one":               {middleware.WithDPoP("ES256 RS256"), "WithDPoP"},
		"algorithm with a quote":   {middleware.WithDPoP(`ES"`), "WithDPoP"},
		"metadata of nothing":      {middleware.WithResourceMetadata(""), "WithResourceMetadata"},
		"metadata of a path":       {middleware.WithResourceMetadata("/.well-known/x"), "WithResourceMetadata"},
		"metadata with a quote":    {middleware.WithResourceMetadata(`https://api.example.com/"`), "WithResourceMetadata"},
		"metadata with a space":    {middleware.WithResourceMetadata("https://api.example.com/a b"), "WithResourceMetadata"},
		"metadata with a fragment": {middleware.WithResourceMetadata("https://api.example.com/#a"), "WithResourceMetadata"},
		"metadata with a user":     {middleware.WithResourceMetadata("https://me@api.example.com/"), "WithResourceMetadata"},
		"metadata of a script":     {middleware.WithResourceMetadata("javascript:alert(1)"), "WithResourceMetadata"},
		"certificates of nobody":   {middleware.WithClientCertificates(), "WithClientCertificates needs at least one"},
		"certificates of all":      {middleware.WithClientCertificates(prefixes("0.0.0.0/0")...), "WithClientCertificates"},
		"certificates of all, v6":  {middleware.WithClientCertificates(prefixes("::ffff:0:0/96")...), "WithClientCertificates"},
		"anonymous of no org":      {middleware.WithAnonymous("", "shop"), "WithAnonymous"},
		"anonymous of no project":  {middleware.WithAnonymous("acme", ""), "WithAnonymous"},
		"no prefix":                {middleware.WithSources(middleware.Subprotocol("")), "Subprotocol"},
		"prefix of two":            {middleware.WithSources(middleware.Subprotocol("a,b")), "Subprotocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := middleware.Authenticate(newIssued(0), row.option).Err()
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("Err() = %v, want %q in it", err, row.want)
			}
		})
	}
}
