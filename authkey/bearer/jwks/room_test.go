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

func TestMadeUpKeysMakeNoIssuerInUseGiveWay(t *testing.T) {
	for name, again := range map[string]bool{"sources that are kept": false, "sources made for each call": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				urls := n.tenants(3)
				cache := newCache(t, n, jwks.WithIssuers(2))
				kept := []*jwks.Source{cache.Issuer(urls[0]), cache.Issuer(urls[1]), cache.Issuer(urls[2])}
				source := func(i int) *jwks.Source {
					if again {
						return cache.Issuer(urls[i])
					}
					return kept[i]
				}
				for i := range 600 { // in ten minutes
					for other := range 2 {
						if set, err := source(other).Keys(t.Context(), header(fmt.Sprint("junk", i))); set == nil && !errors.Is(err, authkey.ErrUnavailable) {
							t.Fatalf("no set, and the error %v", err)
						}
					}
					good(t, source(2), "2")
					pass(time.Second)
				}
				asked(t, n, urls[2]+"/keys", 2) // the second was due
				for _, url := range urls[:2] {
					if got := n.count(url + "/keys"); got > 20 {
						t.Errorf("%s was fetched %d times in ten minutes, want two a minute at most", url, got)
					}
					asked(t, n, url+"/.well-known/openid-configuration", 1)
				}
			})
		})
	}
}

// What gives way comes back with the keys that it had while these are fresh: without a fetch, and without an outage.
func TestAnIssuerThatGaveWayComesBackWithItsKeys(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(2)
		cache := newCache(t, n, jwks.WithIssuers(1))
		sources := []*jwks.Source{cache.Issuer(urls[0]), cache.Issuer(urls[1])}
		for range 60 { // seven minutes, within the life of a set
			for i, source := range sources {
				atOnce(t, "in turns", func() { good(t, source, fmt.Sprint(i)) })
			}
			pass(7 * time.Second)
		}
		for _, url := range urls {
			asked(t, n, url+"/keys", 1)
		}
		pass(10 * time.Minute)
		good(t, sources[0], "0")
		asked(t, n, urls[0]+"/keys", 2)
		asked(t, n, urls[0]+"/.well-known/openid-configuration", 1) // its address is known
	})
}

// Tokens that name an idle tenant, with a made-up key or a published one, are no outage for those in use.
func TestJunkForOthersIsNoOutage(t *testing.T) {
	for _, kid := range []string{"made up", "1"} {
		bubble(t, func(t *testing.T, n *network) {
			urls := n.tenants(3)
			cache := newCache(t, n, jwks.WithIssuers(2))
			for second := range 120 {
				good(t, cache.Issuer(urls[0]), "0")
				if second%5 == 0 {
					_, _ = cache.Issuer(urls[1]).Keys(t.Context(), header(kid))
					_, _ = cache.Issuer(urls[2]).Keys(t.Context(), header("2"))
				}
				good(t, cache.Issuer(urls[0]), "0")
				pass(time.Second)
			}
			asked(t, n, urls[0]+"/keys", 1)
		})
	}
}

func TestTheMemoryOfIssuersThatGaveWayIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(18)
		cache := newCache(t, n, jwks.WithIssuers(1))
		for i, url := range urls[:17] {
			good(t, cache.Issuer(url), fmt.Sprint(i))
		}
		unavailable(t, cache.Issuer(urls[17]), "17", "WithIssuers")
		good(t, cache.Issuer(urls[16]), "16") // which is in memory
		pass(30 * time.Second)
		good(t, cache.Issuer(urls[17]), "17")
		asked(t, n, urls[17]+"/keys", 1)
	})
}

func TestInvalidateForgetsAnIssuerThatGaveWay(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(2)
		cache := newCache(t, n, jwks.WithIssuers(1))
		source := cache.Issuer(urls[0])
		good(t, source, "0")
		good(t, cache.Issuer(urls[1]), "1")
		if cache.Invalidate(urls[0]) {
			t.Error("nothing is in memory: want false")
		}
		good(t, source, "0") // at once, and by discovery
		asked(t, n, urls[0]+"/.well-known/openid-configuration", 2)
	})
}

func TestPausesAfterFailuresOutlastGivingWay(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(2)
		n.put(urls[0]+"/keys", page{status: http.StatusInternalServerError})
		cache := newCache(t, n, jwks.WithIssuers(1), jwks.WithCooldown(time.Second))
		bad, other := cache.Issuer(urls[0]), cache.Issuer(urls[1])
		unavailable(t, bad, "0", "status 500")
		pass(4 * time.Minute) // so pauses are of about 1 minute
		good(t, other, "1")
		before := n.count(urls[0] + "/keys")
		for range 300 {
			unavailable(t, bad, "0", "status 500")
			good(t, other, "1")
			pass(time.Second)
		}
		if got := n.count(urls[0]+"/keys") - before; got < 3 || got > 8 {
			t.Errorf("%d fetches in five minutes, want about one a minute", got)
		}
	})
}

func TestAFetchThatIsWaitedForStays(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(2)
		n.slow(time.Second)
		var fetches log
		cache := newCache(t, n, jwks.WithIssuers(1), jwks.WithObserver(fetches.observe))
		first, second := cache.Issuer(urls[0]), cache.Issuer(urls[1])
		var callers sync.WaitGroup
		callers.Go(func() { good(t, first, "0") })
		synctest.Wait()
		atOnce(t, "another", func() { unavailable(t, second, "1", "WithIssuers") })
		callers.Wait()
		good(t, second, "1")
		synctest.Wait()
		if got := len(fetches.seen); got != 2 {
			t.Errorf("%d fetches, want 2", got)
		}
	})
	bubble(t, func(t *testing.T, n *network) { // another gives way, though it was asked for later
		urls := n.tenants(3)
		cache := newCache(t, n, jwks.WithIssuers(2))
		n.slow(2 * time.Second)
		first := cache.Issuer(urls[0])
		var callers sync.WaitGroup
		callers.Go(func() { good(t, first, "0") })
		pass(time.Second)
		cache.Issuer(urls[1])
		n.slow(0)
		outage(t, cache.Ready(), "not fetched yet")
		synctest.Wait()
		good(t, cache.Issuer(urls[2]), "2")
		if got := cache.Stats(); len(got) != 2 || got[0].Issuer != urls[0] || got[1].Issuer != urls[2] {
			t.Errorf("in memory: %+v, want the one that is waited for and the last", got)
		}
		callers.Wait()
	})
}

func TestOfIssuersThatNobodyUsedTheFirstGivesWay(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(9)
		cache := newCache(t, n, jwks.WithIssuers(8))
		for _, url := range urls[:8] {
			cache.Issuer(url)
			outage(t, cache.Ready(), "not fetched yet")
			pass(time.Second)
		}
		good(t, cache.Issuer(urls[8]), "8")
		if got := cache.Stats(); len(got) != 8 || got[0].Issuer != urls[1] {
			t.Errorf("in memory: %+v, want all but the first", got)
		}
	})
}

// hanging has each request wait until it is cancelled.
func hanging(ended *[]string) roundTrip {
	var mu sync.Mutex
	return func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		mu.Lock()
		defer mu.Unlock()
		*ended = append(*ended, r.URL.Path)
		return nil, r.Context().Err()
	}
}

func TestAFetchThatIsNotWantedAnyMoreIsCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, _ *network) { // for it gave way
		var ended []string
		cache := newCache(t, hanging(&ended), jwks.WithIssuers(1), jwks.WithTimeout(30*time.Second))
		unavailable(t, cache.URL(issuerURL+"/1"), "a", "deadline exceeded") // after 3 s
		second := cache.URL(issuerURL + "/2")
		synctest.Wait()
		if len(ended) != 1 || ended[0] != "/1" {
			t.Errorf("ended %q, want the first", ended)
		}
		unavailable(t, second, "a", "deadline exceeded")
		if len(ended) != 1 {
			t.Errorf("ended %q, want the second to go on", ended)
		}
	})
	bubble(t, func(t *testing.T, _ *network) { // for it began before Invalidate
		var ended []string
		cache := newCache(t, hanging(&ended))
		cache.URL(keysURL)
		outage(t, cache.Ready(), "not fetched yet")
		synctest.Wait()
		cache.Invalidate(keysURL)
		synctest.Wait()
		if len(ended) != 1 {
			t.Errorf("%d requests ended, want the first", len(ended))
		}
	})
}

func TestATimerThatIsLateBeginsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		urls := n.tenants(2)
		cache := newCache(t, n, jwks.WithIssuers(1))
		first := cache.Issuer(urls[0])
		good(t, first, "0")
		late := jwks.Due(first)
		late()
		synctest.Wait()
		asked(t, n, urls[0]+"/keys", 2) // in time it does
		second := cache.Issuer(urls[1])
		late()
		synctest.Wait()
		asked(t, n, urls[0]+"/keys", 2) // it gave way
		good(t, second, "1")
		late = jwks.Due(second)
		cache.Close()
		late()
		synctest.Wait()
		asked(t, n, urls[1]+"/keys", 1)
	})
}
