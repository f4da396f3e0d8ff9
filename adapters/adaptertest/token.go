package adaptertest

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// byToken asks with a token. Its answers have no RateLimit fields where there is no limit.
const byToken = "GET /items/7\nAuthorization: Bearer token"

// certificate is one that signs itself, as a proxy tells it (RFC 9440).
const certificate = ":MIGrMF+gAwIBAgIBATAFBgMrZXAwADAeFw0wMDAxMDEwMDAwMDBaFw0wMDAxMDIwMDAwMDBaMAAwKjAFBgMrZXADIQA7aie8zrakLWKjqNAqbw1zZTIVdx3iQ6Y6wEihi1naKTAFBgMrZXADQQC4yRIXReUeWiT+umcV7QSadgFg/xCTBXYYqi7++H9uTUtXOU7+hUyAoJ1D8BMtpdxIU5aoin3ZkvJI77z5JZAC:"

// told compares what the authenticator was told of each credential.
func told(want ...string) func(*testing.T, *world, *server) {
	return func(t *testing.T, w *world, _ *server) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.Equal(w.told, want) {
			t.Errorf("told\n%s\nwant\n%s", strings.Join(w.told, "\n"), strings.Join(want, "\n"))
		}
	}
}

// presentations are about what the authenticator is told besides a credential.
func presentations() []scenario {
	with := func(opts ...middleware.Option) func(*world) middleware.Stage {
		return func(w *world) middleware.Stage { return w.auth(opts...) }
	}
	loopback, nobody := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")
	const prefix = "base64url.bearer.authorization.test."
	protocols := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%q", r.Header["Sec-Websocket-Protocol"])
	}
	saw200 := func(body string) string { return "200\nContent-Type: text/plain\n\n" + body }
	return []scenario{{
		name: "Presentation/Key", why: "of a plain key there is nothing to tell",
		stage: auth, sends: []exchange{{get, answerOK}}, check: told(),
	}, {
		name: "Presentation/Bearer", why: "the path is that which the client sent, escaped, and without the query", stage: auth,
		sends: []exchange{{"GET /items/%37?a=1\nAuthorization: bearer token", answerOK}},
		check: told(`"Bearer" "GET" "/items/%37" [] false`),
	}, {
		name: "Presentation/DPoP", why: "a token by DPoP comes with its proofs, however many", stage: with(middleware.WithDPoP("ES256")),
		sends: []exchange{
			{"GET /items/7\nAuthorization: DPoP token\nDPoP: a.b.c", answerOK}, {"GET /items/7\nAuthorization: dpop token\nDPoP: a\nDPoP: b", answerOK},
			{"GET /items/7\nAuthorization: Bearer token\nDPoP: a", answerOK},
		},
		check: told(`"DPoP" "GET" "/items/7" ["a.b.c"] false`, `"DPoP" "GET" "/items/7" ["a" "b"] false`, `"Bearer" "GET" "/items/7" ["a"] false`),
	}, {
		name: "Presentation/DPoPIsRemoved", why: "the handler sees no token", stage: with(middleware.WithDPoP("ES256")), handler: saw,
		sends: []exchange{{"GET /items/7\nAuthorization: DPoP token", answerSaw}},
	}, {
		name: "Presentation/DPoPNotAskedFor", why: "without it, the scheme is none of ours",
		stage: auth, sends: []exchange{{"GET /items/7\nAuthorization: DPoP token", answerMissing}},
	}, {
		name: "Presentation/Subprotocol", why: "the handler of a WebSocket sees the other protocols, so that it chooses none with a credential",
		stage: with(middleware.WithSources(middleware.Subprotocol(prefix))), handler: protocols,
		sends: []exchange{
			{"GET /items/7\nSec-WebSocket-Protocol: chat.v2, " + prefix + "dG9rZW4, chat.v1", saw200(`["chat.v2, chat.v1"]`)},
			{"GET /items/7\nSec-WebSocket-Protocol: " + prefix + "dG9rZW4", saw200(`[]`)},
			{"GET /items/7\nSec-WebSocket-Protocol: " + prefix + "dG9rZW4, " + prefix + "dG9rZW4", answerMalformed},
			{"GET /items/7\nSec-WebSocket-Protocol: " + prefix + "dG9rZW4=", answerMalformed},
			{"GET /items/7\nSec-WebSocket-Protocol: chat.v2", answerMissing},
		},
	}, {
		name: "Presentation/Certificate", why: "a proxy that is trusted tells the client's certificate, once and well formed",
		stage: with(middleware.WithClientCertificates(loopback)), sends: []exchange{
			{get + "\nClient-Cert: " + certificate, answerOK}, {get, answerOK},
			{get + "\nClient-Cert: " + certificate + "\nClient-Cert: " + certificate, answerMalformed}, {get + "\nClient-Cert: x", answerMalformed},
		},
		check: told(`"" "GET" "/items/7" [] true`),
	}, {
		name: "Presentation/CertificateOfClient", why: "nobody believes anybody else",
		stage: with(middleware.WithClientCertificates(nobody)), sends: []exchange{{get + "\nClient-Cert: " + certificate, answerOK}},
		check: told(),
	}}
}

// revocations are about tokens that are revoked, whoever looks.
func revocations() []scenario {
	revoked := func(w *world) { w.revoked = true }
	pending := func(p authkey.Pending) func(*world) {
		return func(w *world) {
			w.pending, w.revoked, w.broken = p, true, fmt.Errorf("%w: connection refused", ratelimit.ErrUnavailable)
		}
	}
	open := func(w *world) middleware.Stage {
		return w.auth().RateLimit(w, ratelimit.PerMinute(2)).OnFailure(middleware.FailOpen)
	}
	two := limited(ratelimit.PerMinute(2))
	within := func(w *world) ([]Route, []middleware.Stage) {
		auth := w.auth()
		return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: auth.RateLimit(w, ratelimit.PerMinute(2))}}, []middleware.Stage{auth}
	}
	return []scenario{{
		name: "Revocation/None", why: "the limit looks in the call that it makes anyway",
		stage: two, sends: []exchange{{byToken, answerFirst}, {byToken, answerSecond}, {byToken, answerThird}},
		calls: "authenticate 3, refresh 0, limit 3",
	}, {
		name: "Revocation/FoundByLimit", why: "the answer is that of every bad credential",
		before: revoked, stage: two, sends: []exchange{{byToken, answerInvalid}}, calls: "authenticate 1, refresh 0, limit 1", usage: "none",
		events: `
			authenticate allowed GET /items/{id}
			authenticate refused GET /items/{id} invalid_credential`,
	}, {
		name: "Revocation/FoundByAuthenticator", why: "without a limit the authenticator looks itself",
		before: revoked, stage: auth, sends: []exchange{{byToken, answerInvalid}},
	}, {
		name: "Revocation/FoundOutside", why: "so it does around a limit, which it cannot know of",
		before: revoked, mount: within, sends: []exchange{{byToken, answerInvalid}}, calls: "authenticate 1, refresh 0, limit 0",
	}, {
		name: "Revocation/BlindLimit", why: "a limiter that looks for no token lets none pass",
		before: func(w *world) { w.blind = true }, stage: open, sends: []exchange{{byToken, answerUnavailable}, {"GET /items/7\nX-API-Key: other", answerFirst}},
	}, {
		name: "Revocation/Outage", why: "where nobody can tell, a token is not let pass, although the limit would be",
		before: pending(authkey.RevocationPending), stage: open, sends: []exchange{{byToken, answerUnavailable}, {get, answerOK}},
	}, {
		name: "Revocation/OutageOpen", why: "unless it may",
		before: pending(authkey.RevocationPendingOpen), stage: open, sends: []exchange{{byToken, answerOK}},
	}, {
		name: "Revocation/Take", why: "a handler that takes more learns of it", mount: func(w *world) ([]Route, []middleware.Stage) {
			stage := w.auth().RateLimit(w, ratelimit.PerMinute(10).Named("rows")).Cost("rows", middleware.Later)
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: stage, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				w.mu.Lock()
				w.revoked = r.URL.Query().Has("revoked")
				w.mu.Unlock()
				take(rw, r)
			})}}, nil
		},
		sends: []exchange{
			{"GET /items/7?policy=rows&units=4\nAuthorization: Bearer token", rowsAnswer(`r=6;t=60`, "took 4: <nil>")},
			{"GET /items/7?policy=rows&units=4&revoked\nAuthorization: Bearer token", strings.Replace(plain(answerInvalid), "Www-", "Ratelimit: \"rows\";r=6;t=60\nRatelimit-Policy: \"rows\";q=10;w=60\nWww-", 1)},
		},
		calls: "authenticate 2, refresh 0, limit 4",
	}}
}
