package adaptertest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// saw answers with all places where a credential might be left.
func saw(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %s %s %q %q %q", r.URL, r.RequestURI, r.FormValue("a"),
		r.Header["X-Api-Key"], r.Header["Authorization"], r.Header["Cookie"])
}

const (
	answerSaw = `
		200
		Content-Type: text/plain

		/items/7 /items/7  [] [] []`
	answerAmbiguous = `
		400
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api", error="invalid_request", error_description="The request carries two different credentials."
		X-Request-Id: t1

		{"type":"about:blank","title":"Bad Request","status":400,"detail":"The request carries two different credentials.","code":"ambiguous_credentials","request_id":"t1"}`
)

func auth(w *world) middleware.Stage { return w.auth() }

// credentials are about the two places that are read by default.
func credentials() []scenario {
	var all []scenario
	for _, row := range []struct{ name, why, fields, want string }{
		{"NoCredential", "a challenge without an error, RFC 6750, section 3", "", answerMissing},
		{"APIKey", "X-API-Key is read, and gone for the handler", "X-API-Key: good", answerSaw},
		{"APIKeyInAnyCase", "names of fields have no case", "x-api-KEY: good", answerSaw},
		{"APIKeyWithSpacesAround", "spaces around a value are none of it", "X-API-Key: \t good  ", answerSaw},
		{"APIKeyEmpty", "an empty field counts as absent", "X-API-Key:", answerMissing},
		{"APIKeyWithUnderscores", "X_API_Key is another field", "X_API_Key: good", answerMissing},
		{"APIKeyTwice", "nobody chooses the first or the last", "X-API-Key: good\nX-API-Key: other", answerMalformed},
		{"APIKeyTwiceTheSame", "two fields are refused whatever they hold", "X-API-Key: good\nX-API-Key: good", answerMalformed},
		{"APIKeyJoinedByComma", "a proxy joins two fields so", "X-API-Key: good,other", answerMalformed},
		{"APIKeyWithTab", "control bytes are in no credential", "X-API-Key: go\tod", answerMalformed},
		{"APIKeyWithHighByte", "nor is what is not ASCII", "X-API-Key: good\xff", answerMalformed},
		{"APIKeyWithSpace", "nor are spaces", "X-API-Key: go od", answerMalformed},
		{"APIKeyOf64KiB", "nobody digests what cannot be a credential", "X-API-Key: " + strings.Repeat("k", 64<<10), answerMalformed},
		{"Bearer", "Authorization: Bearer is read, and gone for the handler", "Authorization: Bearer good", answerSaw},
		{"BearerInLowerCase", "names of schemes have no case, RFC 9110, section 11.1", "Authorization: bearer good", answerSaw},
		{"BearerWithSpaces", "one space or more, RFC 9110, section 11.4", "Authorization: Bearer   good", answerSaw},
		{"BearerWithTab", "a tab is none, and no part of a token", "Authorization: Bearer\tgood", answerMalformed},
		{"BearerEmpty", "a scheme without a credential is a mistake", "Authorization: Bearer", answerMalformed},
		{"BearerTwice", "nobody chooses the first or the last", "Authorization: Bearer good\nAuthorization: Bearer other", answerMalformed},
		{"BearerJoinedByComma", "a proxy joins two fields so", "Authorization: Bearer good, Bearer other", answerMalformed},
		{"BearerBesideBasic", "two fields are refused, whatever their schemes", "Authorization: Basic Z29vZDo=\nAuthorization: Bearer good", answerMalformed},
		{"BearerOf64KiB", "nobody digests what cannot be a credential", "Authorization: Bearer " + strings.Repeat("k", 64<<10), answerMalformed},
		{"SameInTwoPlaces", "says the same twice", "X-API-Key: good\nAuthorization: Bearer good", answerSaw},
		{"DifferentInTwoPlaces", "it is not said which is meant", "X-API-Key: good\nAuthorization: Bearer other", answerAmbiguous},
		{"BasicNotAskedFor", "Basic is read only if asked for", "Authorization: Basic Z29vZDo=", answerMissing},
		{"CookieNotAskedFor", "cookies are read only if asked for", "Cookie: key=good; X-API-Key=good", answerMissing},
		{"Malformed", "what is wrong with a credential is not for the client", "X-API-Key: malformed", answerInvalid},
		{"Unknown", "the same answer as malformed", "X-API-Key: nobody", answerInvalid},
		{"Revoked", "the same answer as unknown", "X-API-Key: revoked", answerInvalid},
		{"Disabled", "the same answer as unknown", "X-API-Key: disabled", answerInvalid},
		{"Expired", "the same answer as unknown", "X-API-Key: expired", answerInvalid},
		{"NotYetValid", "the same answer as unknown", "X-API-Key: early", answerInvalid},
		{"NobodyCanTell", "an outage is never 401", "X-API-Key: down", answerUnavailable},
	} {
		all = append(all, scenario{
			name: "Credential/" + row.name, why: row.why, stage: auth, handler: saw,
			sends: []exchange{{strings.TrimSpace("GET /items/7\n" + row.fields), row.want}},
		})
	}
	return append(all, scenario{
		name: "Credential/QueryNotAskedFor", why: "addresses leak, so keys in them are read only if asked for",
		stage: auth, sends: []exchange{{"GET /items/7?key=good&X-API-Key=good", answerMissing}},
	}, scenario{
		name: "Credential/OtherSchemeStays", why: "what is no credential of ours is for the handler",
		stage: auth, handler: saw, sends: []exchange{{"GET /items/7\nX-API-Key: good\nAuthorization: Digest x=1", `
			200
			Content-Type: text/plain

			/items/7 /items/7  [] ["Digest x=1"] []`}},
	}, scenario{
		name: "Credential/Realm", why: "the challenge names the realm",
		stage: func(w *world) middleware.Stage { return w.auth(middleware.WithRealm("shop v2")) },
		sends: []exchange{{"GET /items/7", strings.Replace(answerMissing, `"api"`, `"shop v2"`, 1)}},
	}, scenario{
		name: "Credential/HEAD", why: "an answer to HEAD has no body",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return []Route{{Method: http.MethodHead, Pattern: "/items/{id}", Stage: w.auth()}}, nil
		},
		sends: []exchange{{"HEAD /items/7", `
			401
			Cache-Control: no-store
			Content-Type: application/problem+json
			Www-Authenticate: Bearer realm="api"
			X-Request-Id: t1`}},
	})
}

// sources are about the places that are read if asked for.
func sources() []scenario {
	from := func(sources ...middleware.Source) func(*world) middleware.Stage {
		return func(w *world) middleware.Stage { return w.auth(middleware.WithSources(sources...)) }
	}
	saw200 := func(body string) string { return "200\nContent-Type: text/plain\n\n" + body }
	// An address with a key must not be kept: RFC 6750, section 2.3.
	url200 := func(body string) string {
		return "200\nCache-Control: private\nContent-Type: text/plain\nReferrer-Policy: no-referrer\n\n" + body
	}
	query, cookie, basic := from(middleware.Query("key"), middleware.Query("private_key")), from(middleware.Cookie("key")), from(middleware.Basic())
	var all []scenario
	for _, row := range []struct {
		name, why  string
		stage      func(*world) middleware.Stage
		send, want string
	}{
		{"Query", "the parameter is gone, others stay as written", query, "GET /items/7?a=%31&key=good&b=+", url200(`/items/7?a=%31&b=+ /items/7?a=%31&b=+ 1 [] [] []`)},
		{"QueryAlone", "no question mark is left", query, "GET /items/7?key=good", url200(`/items/7 /items/7  [] [] []`)},
		{"QueryEscaped", "a name may be escaped", query, "GET /items/7?%6bey=good&a=1", url200(`/items/7?a=1 /items/7?a=1 1 [] [] []`)},
		{"QuerySameInTwo", "says the same twice", query, "GET /items/7?key=good&private_key=good", url200(`/items/7 /items/7  [] [] []`)},
		{"QueryTwice", "nobody chooses the first or the last", query, "GET /items/7?key=good&key=good", answerMalformed},
		{"QueryDifferentInTwo", "it is not said which is meant", query, "GET /items/7?key=good&private_key=other",
			strings.Replace(answerAmbiguous, "Www-", "Referrer-Policy: no-referrer\n\t\tWww-", 1)},
		{"HeaderNotAskedFor", "only the places that were asked for are read", query, "GET /items/7\nX-API-Key: good", answerMissing},
		{"Cookie", "the cookie is gone, others stay", cookie, "GET /items/7\nCookie: a=1; key=good; b=2", saw200(`/items/7 /items/7  [] [] ["a=1; b=2"]`)},
		{"CookieAlone", "no empty field is left", cookie, "GET /items/7\nCookie: key=good", saw200(`/items/7 /items/7  [] [] []`)},
		{"CookieTwice", "nobody chooses the first or the last", cookie, "GET /items/7\nCookie: key=good; key=other", answerMalformed},
		{"BasicUser", "the user name is the credential", basic, "GET /items/7\nAuthorization: Basic Z29vZDpwdw==", saw200(`/items/7 /items/7  [] [] []`)},
		{"BasicPassword", "the password is, where there is no user name", basic, "GET /items/7\nAuthorization: Basic Omdvb2Q=", saw200(`/items/7 /items/7  [] [] []`)},
		{"BasicNotBase64", "a scheme without a credential is a mistake", basic, "GET /items/7\nAuthorization: Basic ?", answerMalformed},
	} {
		all = append(all, scenario{
			name: "Source/" + row.name, why: row.why, stage: row.stage, handler: saw,
			sends: []exchange{{row.send, row.want}},
		})
	}
	return all
}

const (
	answerScope = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api", error="insufficient_scope", error_description="The credential lacks a scope that this resource needs.", scope="search admin"
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The credential lacks a scope that this resource needs.","code":"insufficient_scope","request_id":"t1"}`
	answerProduct = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The product is not enabled for this credential.","code":"product_refused","request_id":"t1"}`
	answerReadOnly = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"This resource can only be read.","code":"mode_refused","request_id":"t1"}`
	answerNoWriter = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The credential may not write.","code":"mode_refused","request_id":"t1"}`
)

// guards are about what an identity needs.
func guards() []scenario {
	return []scenario{{
		name: "Guard/ScopeThere", why: "an identity with the scope passes",
		stage: func(w *world) middleware.Stage { return w.auth().RequireScope("search") },
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerOK}},
	}, {
		name: "Guard/ScopeMissing", why: "all scopes are needed, and nothing is charged without them",
		stage: func(w *world) middleware.Stage {
			return w.auth().RequireScope("search", "admin").RateLimit(w, ratelimit.PerMinute(1)).Meter(w, "maps", "search")
		},
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerScope}},
		calls: "authenticate 1, refresh 0, limit 0", usage: "none",
		events: `
			authenticate allowed GET /items/{id}
			require refused GET /items/{id} insufficient_scope`,
	}, {
		name: "Guard/ProductThere", why: "an identity with the product passes",
		stage: func(w *world) middleware.Stage { return w.auth().RequireProduct("maps") },
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerOK}},
	}, {
		name: "Guard/ProductMissing", why: "nothing is charged without it",
		stage: func(w *world) middleware.Stage {
			return w.auth().RequireProduct("weather").RateLimit(w, ratelimit.PerMinute(1))
		},
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerProduct}},
		calls: "authenticate 1, refresh 0, limit 0",
	}, {
		name: "Guard/InOrder", why: "the first guard that refuses answers",
		stage: func(w *world) middleware.Stage {
			return w.auth().RequireProduct("weather").RequireScope("search", "admin")
		},
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerProduct}},
	}, {
		name: "Guard/AfterAuthentication", why: "who is unknown learns nothing of scopes",
		stage: func(w *world) middleware.Stage { return w.auth().RequireScope("admin") },
		sends: []exchange{{"GET /items/7\nX-API-Key: nobody", answerInvalid}},
	}}
}

// modes are about what methods and keys an endpoint takes.
func modes() []scenario {
	methods := strings.Fields("GET HEAD OPTIONS POST PUT PATCH DELETE")
	var all []scenario
	for _, row := range []struct {
		name, why string
		mode      middleware.Mode
		key       string
		passes    string // methods
		refused   string // the answer to the others
	}{
		{"ReadWrite/SecretWithWrite", "it may do all", middleware.ReadWrite, "good", "GET HEAD OPTIONS POST PUT PATCH DELETE", ""},
		{"ReadWrite/SecretWithoutWrite", "writing needs the scope", middleware.ReadWrite, "reader", "GET HEAD OPTIONS", answerNoWriter},
		{"ReadWrite/Publishable", "writing needs a secret key", middleware.ReadWrite, "page", "GET HEAD OPTIONS", answerNoWriter},
		{"ReadOnly/SecretWithWrite", "nobody writes", middleware.ReadOnly, "good", "GET HEAD OPTIONS POST", answerReadOnly},
		{"ReadOnly/SecretWithoutWrite", "POST asks a long question", middleware.ReadOnly, "reader", "GET HEAD OPTIONS POST", answerReadOnly},
		{"ReadOnly/Publishable", "any key reads", middleware.ReadOnly, "page", "GET HEAD OPTIONS POST", answerReadOnly},
		{"WriteOnly/SecretWithWrite", "it may do all", middleware.WriteOnly, "good", "GET HEAD OPTIONS POST PUT PATCH DELETE", ""},
		{"WriteOnly/SecretWithoutWrite", "whatever the method, the key must be able to write", middleware.WriteOnly, "reader", "", answerNoWriter},
		{"WriteOnly/Publishable", "whatever the method, the key must be able to write", middleware.WriteOnly, "page", "", answerNoWriter},
	} {
		s := scenario{name: "Mode/" + row.name, why: row.why}
		s.mount = func(w *world) (routes []Route, _ []middleware.Stage) {
			stage := w.auth().RequireMode(row.mode)
			for _, method := range methods {
				routes = append(routes, Route{Method: method, Pattern: "/items/{id}", Stage: stage})
			}
			return routes, nil
		}
		for _, method := range methods {
			want := row.refused
			if strings.Contains(row.passes, method) {
				want = answerOK
			}
			if method == http.MethodHead {
				want, _, _ = strings.Cut(plain(want), "\n\n")
			}
			s.sends = append(s.sends, exchange{method + " /items/7\nX-API-Key: " + row.key, want})
		}
		all = append(all, s)
	}
	return all
}
