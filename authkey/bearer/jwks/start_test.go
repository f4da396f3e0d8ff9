package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

// tenants adds issuers, each with a key of its name, and returns their URLs.
func (n *network) tenants(count int) []string {
	urls := make([]string, count)
	for i := range urls {
		urls[i] = fmt.Sprintf("https://issuer.example/tenant-%d", i)
		n.put(urls[i]+"/.well-known/openid-configuration", metadata(urls[i], urls[i]+"/keys"))
		n.put(urls[i]+"/keys", page{body: document(fmt.Sprint(i))})
	}
	return urls
}

func TestStartFetchesAllAndTellsWhatFailed(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.slow(time.Second)
		cache := newCache(t, n)
		urls := n.tenants(40)
		for _, url := range urls {
			cache.Issuer(url)
		}
		if err := cache.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, url := range urls {
			atOnce(t, "after Start", func() { good(t, cache.Issuer(url), fmt.Sprint(i)) })
			asked(t, n, url+"/keys", 1)
		}
		atOnce(t, "a second Start", func() {
			if err := cache.Start(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		urls := n.tenants(3)
		n.put(urls[1]+"/keys", page{status: 500})
		sources := []*jwks.Source{cache.Issuer(urls[0]), cache.Issuer(urls[1]), cache.Issuer(urls[2]), cache.Issuer("http://issuer.example")}
		err := cache.Start(t.Context())
		outage(t, err, urls[1]+"/keys: status 500")
		if text := err.Error(); !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(text, "want https") || strings.Contains(text, urls[0]) || strings.Contains(text, urls[2]) {
			t.Errorf("%v, want what is wrong with two issuers and nothing of the others", err)
		}
		good(t, sources[0], "0")
		good(t, sources[2], "2")
		n.put(urls[1]+"/keys", page{body: document("1")})
		pass(2 * time.Second)
		atOnce(t, "in the background", func() { good(t, sources[1], "1") })
	})
	bubble(t, func(t *testing.T, n *network) {
		n.slow(4 * time.Second)
		cache := newCache(t, n)
		cache.Issuer(issuerURL)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := cache.Start(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, authkey.ErrUnavailable) {
			t.Errorf("%v, want its time to be over", err)
		}
		if err := cache.Start(t.Context()); err != nil { // which waits longer than a request would
			t.Error(err)
		}
		asked(t, n, keysURL, 1)
	})
}

func TestStartFetchesAFewAtATime(t *testing.T) {
	for name, most := range map[string]time.Duration{"in time": time.Hour, "and goes on when its time is over": time.Second, "without any": 0} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				n.slow(3 * time.Second)
				cache := newCache(t, n)
				urls := n.tenants(40)
				for _, url := range urls {
					cache.Issuer(url)
				}
				for range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), most)
					if err := cache.Start(ctx); (err == nil) != (most == time.Hour) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%v", err)
					}
					cancel()
				}
				pass(time.Minute)
				if got := n.crowd(); got > 16 || got < 16 && most == time.Hour {
					t.Errorf("%d fetches at a time, want 16", got) // or less where several calls wait for one
				}
				for i, url := range urls {
					atOnce(t, "in the background", func() { good(t, cache.Issuer(url), fmt.Sprint(i)) })
					asked(t, n, url+"/keys", 1)
				}
			})
		})
	}
	bubble(t, func(t *testing.T, n *network) { // Close ends what goes on
		n.slow(3 * time.Second)
		cache := newCache(t, n)
		for _, url := range n.tenants(40) {
			cache.Issuer(url)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		outage(t, cache.Start(ctx), "context deadline exceeded")
		atOnce(t, "Close", func() { cache.Close() })
		before := n.total()
		pass(time.Hour)
		if got := n.total(); got != before {
			t.Errorf("%d requests after Close", got-before)
		}
	})
}

func TestAThousandIssuers(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n, jwks.WithIssuers(1000))
		for _, url := range n.tenants(1000) {
			cache.Issuer(url)
		}
		before := runtime.NumGoroutine()
		if err := cache.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := runtime.NumGoroutine(); got > before+10 {
			t.Errorf("%d goroutines, %d before: want none that idles for an issuer", got, before)
		}
		n.slow(100 * time.Millisecond)
		n.crowd()
		fetched := n.total()
		pass(9 * time.Minute)
		if got := n.total() - fetched; got != 1000 {
			t.Errorf("%d refreshes, want one of each", got)
		}
		if got := n.crowd(); got > 50 {
			t.Errorf("%d refreshes at a time, want them spread", got)
		}
	})
}

func TestReady(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		if err := cache.Ready(); err != nil {
			t.Errorf("without issuers: %v", err)
		}
		n.slow(time.Second)
		n.tenants(2)
		source, tenant := cache.Issuer(issuerURL), cache.Issuer("https://issuer.example/tenant-0")
		for range 3 {
			atOnce(t, "a probe", func() { outage(t, cache.Ready(), issuerURL+": its keys were not fetched yet") })
		}
		pass(2 * time.Second)
		if err := cache.Ready(); err != nil {
			t.Errorf("after the probe began it: %v", err)
		}
		synctest.Wait()
		asked(t, n, keysURL, 1)
		good(t, source, "a")
		good(t, tenant, "0")
		n.fail(errDown)
		pass(70*time.Minute - 5*time.Second)
		if err := cache.Ready(); err != nil {
			t.Errorf("with stale keys: %v", err)
		}
		pass(5 * time.Second)
		outage(t, cache.Ready(), "tenant-0")
		cache.Issuer("https://me:secret@issuer.example/?code=secret")
		err := cache.Ready()
		if outage(t, err, "want a URL without a user name"); strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want no secret", err)
		}
	})
}
