package adaptertest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// answerForbidden is a 403 with a code and a detail.
func answerForbidden(code, detail string) string {
	return fmt.Sprintf(`
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":%q,"code":%q,"request_id":"t1"}`, detail, code)
}

var (
	answerNetwork   = answerForbidden(middleware.CodeNetwork, "The credential may not be used from this network.")
	answerOrigin    = answerForbidden(middleware.CodeOrigin, "The credential may not be used from this origin.")
	answerSuspended = answerForbidden(middleware.CodeSuspended, "The project is suspended.")
)

// restrict changes what the world knows of a key.
func restrict(key string, edit func(*authkey.Identity)) func(*world) {
	return func(w *world) { edit(w.known[key]) }
}

// restrictions are about where a key may be used from, and about one that is on its way out.
func restrictions() []scenario {
	networks := func(texts ...string) func(*authkey.Identity) {
		return func(id *authkey.Identity) {
			for _, text := range texts {
				id.Networks = append(id.Networks, netip.MustParsePrefix(text))
			}
		}
	}
	const guarded = "authenticate 1, refresh 0, limit 0"
	behindProxy := func(w *world) middleware.Stage {
		return w.auth(middleware.WithTrustedProxies(netip.MustParsePrefix("127.0.0.0/8")))
	}
	shop := restrict("page", func(id *authkey.Identity) { id.Origins = []string{"https://*.shop.test"} })
	return []scenario{{
		name: "Restrict/Network", why: "a key works within its networks",
		before: restrict("good", networks("192.0.2.0/24", "127.0.0.0/8")), stage: auth, sends: []exchange{{get, answerOK}},
	}, {
		name: "Restrict/NetworkRefused", why: "and nowhere else; nothing is charged, and nobody believes a client's own field",
		before: restrict("good", networks("192.0.2.0/24")), stage: limited(ratelimit.PerMinute(1)),
		sends: []exchange{{get + "\nX-Forwarded-For: 192.0.2.7\nX-Real-IP: 192.0.2.7\nForwarded: for=192.0.2.7", answerNetwork}},
		calls: guarded, events: `
			authenticate allowed GET /items/{id}
			require refused GET /items/{id} network_refused`,
	}, {
		name: "Restrict/NetworkBehindProxy", why: "the client is who a trusted proxy had its request from",
		before: restrict("good", networks("192.0.2.0/24")), stage: behindProxy,
		sends: []exchange{
			{get + "\nX-Forwarded-For: 203.0.113.1, 192.0.2.7", answerOK},
			{get + "\nX-Forwarded-For: 192.0.2.7, 203.0.113.1", answerNetwork},
			{get + "\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-For: 203.0.113.1", answerNetwork},
			{get + "\nX-Forwarded-For: ::ffff:192.0.2.7", answerOK},
			{get, answerNetwork},
		},
	}, {
		name: "Restrict/NetworkChanged", why: "a change acts although the key was cached",
		before: func(w *world) {
			w.epoch = 2
			w.refreshed = func(held *authkey.Identity) (*authkey.Identity, error) {
				fresh := *held
				fresh.Epoch = 2
				networks("192.0.2.0/24")(&fresh)
				return &fresh, nil
			}
		},
		stage: limited(ratelimit.PerMinute(1)), sends: []exchange{{get, answerNetwork}},
		calls: "authenticate 1, refresh 1, limit 1", usage: "none",
	}, {
		name: "Restrict/Origin", why: "a publishable key works on its pages, which Origin or else Referer tells",
		before: shop, stage: auth, sends: []exchange{
			{"GET /items/7\nX-API-Key: page\nOrigin: https://www.shop.test", answerOK},
			{"GET /items/7\nX-API-Key: page\nReferer: https://www.shop.test/cart?x=1", answerOK},
		},
	}, {
		name: "Restrict/OriginRefused", why: "and on no other, nor where nothing tells; nothing is charged",
		before: shop, stage: limited(ratelimit.PerMinute(1)), sends: []exchange{
			{"GET /items/7\nX-API-Key: page\nOrigin: https://shop.test", answerOrigin},
			{"GET /items/7\nX-API-Key: page\nOrigin: null\nReferer: https://www.shop.test/", answerOrigin},
			{"GET /items/7\nX-API-Key: page\nOrigin: https://www.shop.test\nOrigin: https://www.shop.test", answerOrigin},
			{"GET /items/7\nX-API-Key: page\nReferer: https://www.shop.test@evil.test/", answerOrigin},
			{"GET /items/7\nX-API-Key: page", answerOrigin},
		},
		calls: "authenticate 5, refresh 0, limit 0",
	}, {
		name: "Restrict/Suspended", why: "who holds a good key may know that its project is suspended",
		before: func(w *world) { w.bad["idle"] = fmt.Errorf("%w: acme/shop, unpaid", authkey.ErrSuspended) },
		stage:  limited(ratelimit.PerMinute(1)), sends: []exchange{{"GET /items/7\nX-API-Key: idle", answerSuspended}},
		calls: guarded, events: "authenticate refused GET /items/{id} project_suspended",
	}, {
		name: "Restrict/Outgoing", why: "a credential that was replaced works until its end, and says so, also refused",
		before: restrict("good", func(id *authkey.Identity) {
			id.SupersededAt = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			id.ExpiresAt = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		}),
		stage: func(w *world) middleware.Stage { return w.auth().RequireProduct("weather") },
		sends: []exchange{{get, strings.Replace(plain(answerProduct), "X-Request-Id", "Deprecation: @1772323200\nSunset: Mon, 02 Mar 2026 00:00:00 GMT\nX-Request-Id", 1)}},
	}}
}
