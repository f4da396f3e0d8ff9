package jwks_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func TestInvalidate(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		if cache.Invalidate(issuerURL) {
			t.Error("an issuer that nobody named: want false")
		}
		n.publish("a", "stolen")
		source := cache.Issuer(issuerURL)
		good(t, source, "stolen")
		n.publish("a")
		n.slow(time.Second)
		atOnce(t, "Invalidate", func() {
			if !cache.Invalidate(issuerURL) {
				t.Error("want true")
			}
		})
		absent(t, source, "stolen") // having waited
		good(t, source, "a")
		asked(t, n, keysURL, 2)
		asked(t, n, oidcURL, 2)
		if got := n.header(keysURL).Get("Cache-Control"); got != "no-cache" {
			t.Errorf("Cache-Control %q, want no-cache", got)
		}
	})
	bubble(t, func(t *testing.T, n *network) { // what is not known any more is not used during an outage
		cache := newCache(t, n)
		source := cache.Issuer(issuerURL)
		good(t, source, "a")
		n.fail(errDown)
		cache.Invalidate(issuerURL)
		unavailable(t, source, "a", "no answer")
		n.fail(nil)
		pass(2 * time.Second)
		good(t, source, "a")
	})
	bubble(t, func(t *testing.T, n *network) { // a fetch that began before does not bring the key back
		n.publish("a", "stolen")
		n.slow(1500 * time.Millisecond)
		cache := newCache(t, n)
		source := cache.URL(keysURL)
		var callers sync.WaitGroup
		callers.Go(func() { absent(t, source, "stolen") })
		pass(time.Second)
		n.publish("a")
		cache.Invalidate(keysURL)
		callers.Wait()
		absent(t, source, "stolen")
		asked(t, n, keysURL, 2)
	})
}

func TestTheSameIssuerIsTheSameMemory(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		set := good(t, cache.Issuer(issuerURL), "a")
		if good(t, cache.Issuer(issuerURL), "a") != set {
			t.Error("want the same set")
		}
		asked(t, n, keysURL, 1)
		if good(t, cache.Issuer(issuerURL, jwks.WithTTL(time.Hour)), "a") == set {
			t.Error("with other options want another set")
		}
		asked(t, n, keysURL, 2)
		if got := len(cache.Stats()); got != 2 {
			t.Errorf("%d in memory, want 2", got)
		}
	})
}

func TestTheIssuerUnusedLongestGivesWay(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(4)
		cache := newCache(t, n, jwks.WithIssuers(3))
		sources := make([]*jwks.Source, 3)
		for i := range sources {
			sources[i] = cache.Issuer(urls[i])
			good(t, sources[i], fmt.Sprint(i))
			pass(2 * time.Second)
		}
		good(t, sources[0], "0") // so 1 is the oldest
		pass(2 * time.Second)
		good(t, cache.Issuer(urls[3]), "3")
		if got := len(cache.Stats()); got != 3 {
			t.Errorf("%d in memory, want 3", got)
		}
		pass(20 * time.Minute)
		asked(t, n, urls[1]+"/keys", 1) // nobody refreshes it
		before := n.count(urls[0] + "/keys")
		good(t, sources[0], "0")
		asked(t, n, urls[0]+"/keys", before)
		good(t, sources[1], "1") // who has it may go on
		asked(t, n, urls[1]+"/keys", 2)
		unlock := jwks.Lock(sources[1])
		good(t, sources[1], "1") // and from memory
		unlock()
		if got := len(cache.Stats()); got != 3 {
			t.Errorf("%d in memory, want 3", got)
		}
		if again := cache.Issuer(urls[1]); good(t, again, "1") != good(t, sources[1], "1") {
			t.Error("two sources of one issuer want the same set")
		}
	})
	bubble(t, func(t *testing.T, n *network) { // one that was not asked yet goes before it
		urls := n.tenants(3)
		cache := newCache(t, n, jwks.WithIssuers(2))
		good(t, cache.Issuer(urls[0]), "0")
		for _, url := range urls[1:] {
			pass(2 * time.Second)
			cache.Issuer(url)
		}
		if got := cache.Stats(); len(got) != 2 || got[0].Issuer != urls[0] || got[1].Issuer != urls[2] {
			t.Errorf("in memory: %+v, want the one that was used and the last", got)
		}
	})
	bubble(t, func(t *testing.T, n *network) { // by default it is the thousand-and-first
		cache := newCache(t, n)
		for _, url := range n.tenants(1010) {
			cache.Issuer(url)
		}
		if got := len(cache.Stats()); got != 1000 {
			t.Errorf("%d in memory, want 1000", got)
		}
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		urls := n.tenants(2)
		used, unused := cache.Issuer(issuerURL), cache.Issuer(urls[0])
		good(t, used, "a")
		n.slow(time.Hour)
		var callers sync.WaitGroup
		callers.Go(func() { unavailable(t, cache.Issuer(urls[1]), "1", "context canceled") })
		synctest.Wait()
		atOnce(t, "Close with a fetch under way", func() {
			for range 2 {
				if err := cache.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		callers.Wait()
		before := n.count(keysURL)
		good(t, used, "a")
		pass(time.Minute)
		atOnce(t, "an unknown key", func() { absent(t, used, "b") })
		atOnce(t, "an issuer without keys", func() { unavailable(t, unused, "0", "the cache is closed") })
		outage(t, cache.Start(t.Context()), "the cache is closed")
		outage(t, cache.Ready(), "the cache is closed")
		if !cache.Invalidate(urls[0]) {
			t.Error("Invalidate: want true")
		}
		pass(2 * time.Hour)
		asked(t, n, keysURL, before)
		unavailable(t, used, "a", "the cache is closed")
		unavailable(t, cache.Issuer("https://new.example"), "a", "the cache is closed")
	})
}

func TestCloseWaitsForFetches(t *testing.T) {
	bubble(t, func(t *testing.T, _ *network) {
		began := make(chan struct{})
		cache := newCache(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			close(began)
			<-r.Context().Done()
			time.Sleep(time.Second)
			return nil, r.Context().Err()
		}))
		cache.URL(keysURL)
		outage(t, cache.Ready(), "not fetched yet")
		<-began
		start := time.Now()
		cache.Close()
		if took := time.Since(start); took != time.Second {
			t.Errorf("Close took %v, want the second that the fetch takes to end", took)
		}
	})
}

func TestStatsAndObserver(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		var fetches log
		cache := newCache(t, n, jwks.WithObserver(fetches.observe), jwks.WithTTL(24*time.Hour))
		source := cache.Issuer(issuerURL)
		if got := cache.Stats(); len(got) != 1 || got[0] != (jwks.Stats{Issuer: issuerURL}) {
			t.Errorf("before the first fetch: %+v", got)
		}
		n.slow(time.Second)
		good(t, source, "a")
		pass(time.Minute)
		if got, want := fetches.last(), (jwks.Fetch{Issuer: issuerURL, Took: 2 * time.Second, Keys: 1}); got != want {
			t.Errorf("observer: %+v, want %+v", got, want)
		}
		n.fail(errDown)
		unavailable(t, source, "b", "no answer")
		unavailable(t, source, "c", "no answer")
		synctest.Wait()
		if got := fetches.last(); got.Err == nil || got.Keys != 0 || got.Took != time.Second || errors.Is(got.Err, authkey.ErrUnavailable) {
			t.Errorf("observer: %+v, want a failure", got)
		}
		got := cache.Stats()[0]
		if got.Err == nil {
			t.Error("stats: want the last failure")
		}
		got.Err = nil
		if want := (jwks.Stats{
			Issuer: issuerURL, Usable: true, Keys: 1, Age: time.Minute + 3*time.Second, Fetches: 2, Failures: 1,
			Spent: 3 * time.Second, Misses: 2, CooledDown: 1,
		}); got != want {
			t.Errorf("stats: %+v, want %+v", got, want)
		}
	})
}

func TestEverythingAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(6)
		n.slow(30 * time.Millisecond)
		cache := newCache(t, n, jwks.WithIssuers(5), jwks.WithCooldown(time.Second), jwks.WithObserver(new(log).observe))
		held := make([]*jwks.Source, len(urls))
		for i, url := range urls {
			held[i] = cache.Issuer(url)
		}
		var callers sync.WaitGroup
		for caller := range 24 {
			callers.Go(func() {
				for round := range 60 {
					i := (caller + round) % len(urls)
					source := held[i]
					if caller%2 == 0 {
						source = cache.Issuer(urls[i])
					}
					kid := fmt.Sprint(i)
					if round%4 == 3 {
						kid = "junk" + kid
					}
					set, err := source.Keys(t.Context(), header(kid))
					if err == nil && set.Has(header(kid)) != (round%4 != 3) || err == nil && set.Has(header(fmt.Sprint((i+1)%len(urls)))) {
						t.Errorf("issuer %d, key %s: wrong set", i, kid)
					}
					if err != nil && !errors.Is(err, authkey.ErrUnavailable) {
						t.Error(err)
					}
					switch (caller + round) % 40 {
					case 1:
						cache.Invalidate(urls[i])
					case 2:
						_ = cache.Ready() // whatever it says
					case 3:
						cache.Stats()
					case 4:
						_ = cache.Start(t.Context())
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		callers.Wait()
		for i, source := range held {
			pass(2 * time.Second) // the cool-down of one that gave way
			good(t, source, fmt.Sprint(i))
		}
		callers.Go(func() { _, _ = held[0].Keys(t.Context(), header("0")) })
		callers.Go(func() { cache.Invalidate(urls[0]) })
		callers.Go(func() { cache.Close() })
		callers.Go(func() { cache.Close() })
		callers.Wait()
	})
}
