package adaptertest

import (
	"net/http"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	metadata = "https://api.test/.well-known/oauth-protected-resource/v1"

	answerForbiddenToken = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The credential may not be used for this.","code":"forbidden","request_id":"t1"}`
	answerProof = `
		401
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api", resource_metadata="https://api.test/.well-known/oauth-protected-resource/v1"
		Www-Authenticate: DPoP realm="api", algs="ES256 EdDSA", resource_metadata="https://api.test/.well-known/oauth-protected-resource/v1", error="invalid_dpop_proof", error_description="The proof of possession is not valid."
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The proof of possession is not valid.","code":"invalid_dpop_proof","request_id":"t1"}`
	answerNonce = `
		401
		Cache-Control: no-store
		Content-Type: application/problem+json
		Dpop-Nonce: n-7
		Www-Authenticate: Bearer realm="api", resource_metadata="https://api.test/.well-known/oauth-protected-resource/v1"
		Www-Authenticate: DPoP realm="api", algs="ES256 EdDSA", resource_metadata="https://api.test/.well-known/oauth-protected-resource/v1", error="use_dpop_nonce", error_description="The proof of possession needs the nonce of this answer."
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The proof of possession needs the nonce of this answer.","code":"use_dpop_nonce","request_id":"t1"}`
	answerNonceCORS = `
		401
		Access-Control-Allow-Origin: https://a.example.com
		Access-Control-Expose-Headers: RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, Deprecation, Sunset, WWW-Authenticate, DPoP-Nonce
		Cache-Control: no-store
		Content-Type: application/problem+json
		Dpop-Nonce: n-7
		Vary: Origin, X-Api-Key, Authorization
		Www-Authenticate: Bearer realm="api"
		Www-Authenticate: DPoP realm="api", algs="ES256", error="use_dpop_nonce", error_description="The proof of possession needs the nonce of this answer."
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The proof of possession needs the nonce of this answer.","code":"use_dpop_nonce","request_id":"t1"}`
	answerStepUp = `
		401
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api", error="insufficient_user_authentication", error_description="This resource needs a recent or stronger authentication.", acr_values="gold platinum", max_age="300"
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"This resource needs a recent or stronger authentication.","code":"insufficient_user_authentication","request_id":"t1"}`
)

// challenges are about what a client is told that has to get another token, or to show it otherwise.
func challenges() []scenario {
	known := func(w *world) middleware.Stage {
		return w.auth(middleware.WithDPoP("ES256", "EdDSA"), middleware.WithResourceMetadata(metadata))
	}
	page := func(w *world) middleware.Stage {
		return w.auth(middleware.WithDPoP("ES256"), middleware.WithCORS(middleware.CORS{Origins: []string{"https://a.example.com"}}))
	}
	const pointer, dpop = `, resource_metadata="` + metadata + `"`, `DPoP realm="api", algs="ES256 EdDSA", resource_metadata="` + metadata + `"`
	// twice returns an answer with a challenge of both schemes, the errors in the second if there are any.
	twice := func(answer string, second bool) string {
		before, rest, _ := strings.Cut(plain(answer), `Bearer realm="api"`)
		wrong, after, _ := strings.Cut(rest, "\n")
		lines := [2]string{wrong, ""}
		if second {
			lines = [2]string{"", wrong}
		}
		return before + `Bearer realm="api"` + pointer + lines[0] + "\nWww-Authenticate: " + dpop + lines[1] + "\n" + after
	}
	return []scenario{{
		name: "Challenge/NoCredential", why: "each scheme says where to learn more, and none of an error, RFC 9728, section 5.1",
		stage: known, sends: []exchange{{"GET /items/7", twice(answerMissing, false)}},
	}, {
		name: "Challenge/Invalid", why: "what is wrong stands in the scheme that was used",
		stage: known, sends: []exchange{
			{"GET /items/7\nAuthorization: Bearer expired", twice(answerInvalid, false)},
			{"GET /items/7\nAuthorization: DPoP expired", twice(answerInvalid, true)},
			{"GET /items/7\nAuthorization: DPoP", twice(answerMalformed, true)},
			{"GET /items/7\nAuthorization: Bearer good\nAuthorization: DPoP good", twice(answerMalformed, false)},
		},
	}, {
		name: "Challenge/Scope", why: "a client is told what to ask for", stage: func(w *world) middleware.Stage {
			return w.auth(middleware.WithDPoP("ES256", "EdDSA"), middleware.WithResourceMetadata(metadata)).RequireScope("search", "admin")
		},
		sends: []exchange{{"GET /items/7\nAuthorization: DPoP good", twice(answerScope, true)}},
	}, {
		name: "Challenge/Proof", why: "a proof that is bad is told apart from a token that is, RFC 9449, section 7.1",
		stage: known, sends: []exchange{{"GET /items/7\nAuthorization: DPoP proof", answerProof}, {"GET /items/7\nAuthorization: DPoP nonce", answerNonce}},
	}, {
		name: "Challenge/PageReadsNonce", why: "or it could never send it",
		stage: page, sends: []exchange{{"GET /items/7\nAuthorization: DPoP nonce\nOrigin: https://a.example.com", answerNonceCORS}},
	}, {
		name: "Challenge/Outage", why: "who can do nothing about it is not challenged",
		stage: known, sends: []exchange{{"GET /items/7\nAuthorization: DPoP down", answerUnavailable}},
	}, {
		name: "Challenge/Forbidden", why: "nor is who has a good credential for something else",
		stage: known, sends: []exchange{{"GET /items/7\nAuthorization: Bearer guest", answerForbiddenToken}},
	}, {
		name: "Challenge/StepUp", why: "a person is asked to come again, RFC 9470, section 3", stage: func(w *world) middleware.Stage {
			return w.auth().RequireAuthentication(middleware.StepUp{ACR: []string{"gold", "platinum"}, MaxAge: 5 * time.Minute})
		},
		sends: []exchange{{byToken, answerStepUp}, {get, answerStepUp}},
	}}
}

// requirements are about what a token has to say, besides its scopes.
func requirements() []scenario {
	type step = func(*middleware.Authenticated) *middleware.Authenticated
	header := func(r *http.Request) string { return r.Header.Get("X-Org") }
	var all []scenario
	for _, row := range []struct {
		name    string
		passes  step
		refuses step
		code    string
		detail  string
	}{
		{"Role", func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireRole("root", "editor") },
			func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireRole("root", "edit") },
			middleware.CodeRole, "The credential lacks the role that this resource needs."},
		{"Permission", func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequirePermission("maps.read") },
			func(s *middleware.Authenticated) *middleware.Authenticated {
				return s.RequirePermission("maps.read", "maps")
			},
			middleware.CodePermission, "The credential lacks a permission that this resource needs."},
		{"Feature", func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireFeature("beta") },
			func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireFeature("beta", "dark") },
			middleware.CodeFeature, "A feature that this resource needs is not on for this credential."},
		{"Claim", func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireClaim("tier", "lead") },
			func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireClaim("tier", "silver") },
			middleware.CodeClaim, "The credential lacks a claim that this resource needs."},
		{"Org", func(s *middleware.Authenticated) *middleware.Authenticated {
			return s.RequireOrg(func(*http.Request) string { return "acme" })
		},
			func(s *middleware.Authenticated) *middleware.Authenticated { return s.RequireOrg(header) },
			middleware.CodeOrg, "The credential is not for this organization."},
	} {
		all = append(all, scenario{
			name: "Require/" + row.name, why: "who has it passes",
			stage: func(w *world) middleware.Stage { return row.passes(w.auth()) }, sends: []exchange{{byToken, answerOK}},
		}, scenario{
			name: "Require/" + row.name + "Missing", why: "who lacks it is charged nothing",
			stage: func(w *world) middleware.Stage {
				return row.refuses(w.auth()).RateLimit(w, ratelimit.PerMinute(1))
			},
			sends: []exchange{{byToken + "\nX-Org: yard", answerForbidden(row.code, row.detail)}, {byToken, answerForbidden(row.code, row.detail)}},
			calls: "authenticate 2, refresh 0, limit 0", usage: "none",
		})
	}
	return append(all, scenario{
		name: "Require/AnyScope", why: "one is enough",
		stage: func(w *world) middleware.Stage { return w.auth().RequireAnyScope("admin", "search") }, sends: []exchange{{byToken, answerOK}},
	}, scenario{
		name: "Require/AnyScopeMissing", why: "the client is told of all",
		stage: func(w *world) middleware.Stage { return w.auth().RequireAnyScope("sea", "admin") },
		sends: []exchange{{byToken, strings.Replace(answerScope, "search admin", "sea admin", 1)}},
	})
}

// anonymous are about callers who show no credential where none is needed.
func anonymous() []scenario {
	open := func(w *world) *middleware.Authenticated {
		return w.auth(middleware.WithAnonymous("public", "web"))
	}
	who := func(w http.ResponseWriter, r *http.Request) {
		a, _ := middleware.FromContext(r.Context())
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(a.Identity().Org + " " + a.Identity().Method))
	}
	is := func(text string) string { return strings.Replace(answerOK, "ok", text, 1) }
	return []scenario{{
		name: "Anonymous/Identity", why: "who shows nothing is nobody, and who shows something is not",
		stage: func(w *world) middleware.Stage { return open(w) }, handler: who,
		sends: []exchange{
			{"GET /items/7", is("public anonymous")}, {get, is("acme key")}, {"GET /items/7\nX-API-Key: revoked", answerInvalid},
			{"GET /items/7\nX-API-Key: good\nX-API-Key: good", answerMalformed}, {"GET /items/7\nX-API-Key: good\nAuthorization: Bearer other", answerAmbiguous},
		},
	}, {
		name: "Anonymous/Limit", why: "all of them share a limit, and are counted",
		stage: func(w *world) middleware.Stage {
			return open(w).RateLimit(w, ratelimit.PerMinute(2)).Meter(w, "maps", "search")
		},
		sends: []exchange{{"GET /items/7", answerFirst}, {"GET /items/7", answerSecond}, {"GET /items/7", answerThird}, {get, answerFirst}},
		calls: "authenticate 1, refresh 0, limit 4",
		usage: "public/web maps search \"\" 1\npublic/web maps search \"\" 1\nacme/shop maps search \"\" 1",
	}, {
		name: "Anonymous/Guard", why: "who shows nothing may show something; who shows too little may not",
		stage: func(w *world) middleware.Stage { return open(w).RequireScope("search", "admin") },
		sends: []exchange{{"GET /items/7", answerMissing}, {get, answerScope}},
		events: `
			authenticate allowed GET /items/{id}
			require refused GET /items/{id} missing_credential
			authenticate allowed GET /items/{id}
			require refused GET /items/{id} insufficient_scope`,
	}}
}
