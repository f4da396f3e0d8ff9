package jwks_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

// bubble runs a test in time of its own, with one issuer that has the key "a".
func bubble(t *testing.T, do func(t *testing.T, n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { do(t, newNetwork("a")) })
}

// pass lets time pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestNothingIsFetchedBeforeItIsAsked(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		source := cache.Issuer(issuerURL)
		pass(24 * time.Hour)
		asked(t, n, oidcURL, 0)
		good(t, source, "a")
		asked(t, n, oidcURL, 1)
		asked(t, n, keysURL, 1)
	})
}

func TestASetIsFetchedAgainAtFourFifthsOfItsLife(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		opts   []jwks.Option
		life   time.Duration
	}{
		{"by default", nil, nil, 10 * time.Minute},
		{"WithTTL", nil, []jwks.Option{jwks.WithTTL(20 * time.Minute)}, 20 * time.Minute},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=3600"}}, nil, time.Hour},
		{"max-age in quotes and capitals", http.Header{"Cache-Control": {`Max-Age="3600"`}}, nil, time.Hour},
		{"max-age less Age", http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"1800"}}, nil, 30 * time.Minute},
		{"max-age before WithTTL", http.Header{"Cache-Control": {"max-age=120"}}, []jwks.Option{jwks.WithTTL(time.Hour)}, 2 * time.Minute},
		{"the smallest max-age", http.Header{"Cache-Control": {"max-age=3600", "max-age=600, max-age=7200"}}, nil, 10 * time.Minute},
		{"max-age too small", http.Header{"Cache-Control": {"max-age=1"}}, nil, time.Minute},
		{"Age above max-age", http.Header{"Cache-Control": {"max-age=600"}, "Age": {"700"}}, nil, time.Minute},
		{"no-store", http.Header{"Cache-Control": {"no-store, max-age=3600"}}, nil, time.Minute},
		{"no-cache", http.Header{"Cache-Control": {"no-cache"}}, nil, time.Minute},
		{"max-age too large", http.Header{"Cache-Control": {"max-age=31536000"}}, nil, 24 * time.Hour},
		{"max-age beyond numbers", http.Header{"Cache-Control": {"max-age=99999999999999999999999"}}, nil, 24 * time.Hour},
		{"max-age of no number", http.Header{"Cache-Control": {"max-age=soon, s-maxage=60"}}, nil, 10 * time.Minute},
		{"negative max-age", http.Header{"Cache-Control": {"max-age=-5"}}, nil, 10 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				n.put(keysURL, page{header: test.header, body: document("a")})
				source := newCache(t, n, test.opts...).Issuer(issuerURL)
				good(t, source, "a")
				pass(test.life * 74 / 100)
				asked(t, n, keysURL, 1)
				pass(test.life * 12 / 100)
				asked(t, n, keysURL, 2)
			})
		})
	}
}

func TestRefreshesAreSpread(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n, jwks.WithTTL(time.Hour))
		began := map[time.Duration]bool{}
		for _, query := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
			url := keysURL + "?" + query
			n.put(url, page{body: document("a")})
			source := cache.URL(url)
			good(t, source, "a")
			start := time.Now()
			for n.count(url) < 2 {
				pass(time.Second)
			}
			began[time.Since(start)] = true
		}
		if len(began) < 2 {
			t.Errorf("eight refreshes came after %v, all the same", began)
		}
	})
}

func TestAnOutageIsToleratedForItsTime(t *testing.T) {
	for _, test := range []struct {
		name  string
		opts  []jwks.Option
		stale time.Duration
	}{
		{"by default", nil, time.Hour},
		{"not at all", []jwks.Option{jwks.WithStale(0)}, 0},
		{"for a day", []jwks.Option{jwks.WithStale(24 * time.Hour)}, 24 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				cache := newCache(t, n, test.opts...)
				source := cache.Issuer(issuerURL)
				good(t, source, "a")
				n.fail(errDown)
				pass(10*time.Minute - time.Second)
				good(t, source, "a")
				if s := cache.Stats()[0]; s.Stale || s.ServedStale != 0 || s.Err == nil || !s.Usable {
					t.Errorf("before its time: %+v, want a set that is usable, and not stale", s)
				}
				if test.stale > 0 {
					pass(test.stale) // row 72: inside the window
					good(t, source, "a")
					if s := cache.Stats()[0]; !s.Stale || s.ServedStale != 1 {
						t.Errorf("after its time: %+v, want a stale set that was served once", s)
					}
				}
				pass(2 * time.Second) // and beyond it
				atOnce(t, "an issuer that is known to be down", func() { unavailable(t, source, "a", "no answer") })
				n.fail(nil)
				pass(time.Minute)
				good(t, source, "a")
			})
		})
	}
}

func TestFailuresAreTriedAgainAfterPausesThatDouble(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		source := cache.Issuer(issuerURL)
		n.fail(errDown)
		unavailable(t, source, "a", "no answer")
		least := time.Second
		for fetches := 1; fetches < 12; fetches++ {
			began := time.Now()
			for n.count(oidcURL) == fetches {
				atOnce(t, "between attempts", func() { unavailable(t, source, "a", "no answer") })
				pass(100 * time.Millisecond)
			}
			pause := time.Since(began)
			if pause < max(time.Second, least*3/4-100*time.Millisecond) || pause > min(least, time.Minute)+100*time.Millisecond {
				t.Errorf("pause %d was %v, want about %v", fetches, pause, least)
			}
			least = min(2*least, time.Minute)
		}
		n.fail(nil)
		pass(time.Minute) // nobody has to ask
		atOnce(t, "after recovery", func() { good(t, source, "a") })
		n.fail(errDown)
		before := n.count(keysURL)
		for n.count(keysURL) == before {
			pass(time.Second)
		}
		pass(1100 * time.Millisecond)
		if got := n.count(keysURL) - before; got < 2 {
			t.Errorf("%d attempts, want another: after a success pauses begin at 1 s again", got)
		}
	})
}

func TestARemovedKeyIsGoneWithTheNextRefresh(t *testing.T) { // row 71
	bubble(t, func(t *testing.T, n *network) {
		n.publish("a", "b")
		source := newCache(t, n).Issuer(issuerURL)
		good(t, source, "b")
		n.publish("a")
		pass(7 * time.Minute)
		good(t, source, "b")
		pass(2 * time.Minute)
		absent(t, source, "b")
		good(t, source, "a")
	})
}

func TestABadSetIsAFailedRefresh(t *testing.T) {
	for name, p := range map[string]page{
		"empty":         {body: `{"keys":[]}`},
		"no keys":       {body: `{}`},
		"unusable":      {body: `{"keys":[{"kty":"oct","k":"c2VjcmV0LXRoYXQtaXMtdmVyeS1zZWNyZXQtaW5kZWVk"},{"kty":"RSA","e":"AQAB"}]}`},
		"not JSON":      {body: `<html>`},
		"nothing":       {},
		"too many keys": {body: document(make([]string, 101)...)},
		"status":        {status: http.StatusInternalServerError, body: document("a")},
		"no content":    {status: http.StatusNoContent},
		"a part":        {status: http.StatusPartialContent, body: document("a")},
		"redirect":      {status: http.StatusFound, header: http.Header{"Location": {issuerURL + "/elsewhere"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				n.put(issuerURL+"/elsewhere", page{body: document("a")})
				cache := newCache(t, n)
				source := cache.Issuer(issuerURL)
				set := good(t, source, "a")
				n.put(keysURL, p)
				pass(9 * time.Minute)
				if good(t, source, "a") != set {
					t.Error("want the set from before")
				}
				if s := cache.Stats()[0]; s.Failures == 0 || s.Err == nil {
					t.Errorf("%+v, want a failure", s)
				}
				asked(t, n, issuerURL+"/elsewhere", 0)
				pass(70 * time.Minute)
				unavailable(t, source, "a", keysURL)
			})
		})
	}
}

func TestAnOddKeyHarmsNoOther(t *testing.T) { // row 73
	odd := []string{
		`{"kty":"AKP","alg":"ML-DSA-44","kid":"pq","pub":"AAAA"}`, `{"kty":"RSA","kid":"n","e":"AQAB"}`,
		`{"kty":"EC","crv":"secp256k1","kid":"k1","x":"AA","y":"AA"}`, `{"kty":"OKP","crv":"Ed448","kid":"448","x":"AAAA"}`,
		`{"kty":"oct","kid":"oct","k":"c2VjcmV0LXRoYXQtaXMtdmVyeS1zZWNyZXQtaW5kZWVk"}`, `{}`, `null`, `7`,
	}
	bubble(t, func(t *testing.T, n *network) {
		body := `{"keys":[`
		for _, key := range odd {
			body += key + ","
		}
		n.put(keysURL, page{body: body + jwk("a") + `]}`})
		cache := newCache(t, n)
		good(t, cache.Issuer(issuerURL), "a")
		if s := cache.Stats()[0]; s.Keys != 1 || s.Skipped != len(odd) {
			t.Errorf("%d keys, %d skipped, want 1 and %d", s.Keys, s.Skipped, len(odd))
		}
	})
}

func TestTheSameDocumentIsTheSameSet(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n).Issuer(issuerURL)
		set := good(t, source, "a")
		pass(9 * time.Minute)
		asked(t, n, keysURL, 2)
		if good(t, source, "a") != set {
			t.Error("a refresh without news wants to keep the pointer, on which caches of tokens hang")
		}
		n.publish("a", "b")
		pass(9 * time.Minute)
		if good(t, source, "a") == set {
			t.Error("a set with news wants another pointer")
		}
	})
}
