package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func TestAFloodOfUnknownKeys(t *testing.T) { // row 69
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n)
		source := cache.Issuer(issuerURL)
		good(t, source, "a")
		pass(31 * time.Second)
		n.slow(2 * time.Second)
		var flood sync.WaitGroup
		for worker := range 20 {
			flood.Go(func() {
				for i := range 50 { // in 10 s
					absent(t, source, fmt.Sprintf("junk-%d-%d", worker, i))
					time.Sleep(200 * time.Millisecond)
				}
			})
		}
		flood.Go(func() {
			for range 100 {
				atOnce(t, "valid traffic", func() { good(t, source, "a") })
				time.Sleep(100 * time.Millisecond)
			}
		})
		flood.Wait()
		asked(t, n, keysURL, 2)
		asked(t, n, oidcURL, 1)
		if s := cache.Stats()[0]; s.Misses != 1000 || s.CooledDown < 900 || s.Fetches != 2 {
			t.Errorf("%+v, want 1000 misses, nearly all cooled down, and 2 fetches", s)
		}
	})
}

func TestANewKeyIsSeenWithinTheCooldownWhateverTheFlood(t *testing.T) {
	for _, cooldown := range []time.Duration{time.Second, 30 * time.Second, 10 * time.Minute} {
		t.Run(cooldown.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				source := newCache(t, n, jwks.WithCooldown(cooldown), jwks.WithTTL(24*time.Hour)).Issuer(issuerURL)
				good(t, source, "a")
				absent(t, source, "new") // somebody tries it before it is published
				pass(cooldown)
				absent(t, source, "junk") // which began a fetch
				asked(t, n, keysURL, 2)
				n.publish("a", "new")
				steps := 50
				for i := range steps {
					pass(cooldown / time.Duration(steps))
					set, err := source.Keys(t.Context(), header(fmt.Sprint("junk", i)))
					if err != nil || set.Has(header("junk")) {
						t.Fatal("junk", err)
					}
				}
				good(t, source, "new")
				asked(t, n, keysURL, 3)
			})
		})
	}
}

func TestAFloodCostsTwoFetchesAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n, jwks.WithTTL(24*time.Hour)).Issuer(issuerURL)
		good(t, source, "a")
		for i := range 600 { // ten minutes
			pass(time.Second)
			absent(t, source, fmt.Sprint("junk", i))
		}
		asked(t, n, keysURL, 21)
		if got := n.header(keysURL).Get("Cache-Control"); got != "no-cache" {
			t.Errorf("Cache-Control of a fetch for an unknown key: %q, want no-cache", got)
		}
	})
}

func TestAKnownKeyNeverFetches(t *testing.T) { // row 70, where signatures are another's business
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n).Issuer(issuerURL)
		good(t, source, "a")
		if got := n.header(keysURL).Get("Cache-Control"); got != "" {
			t.Errorf("Cache-Control of a first fetch: %q, want none", got)
		}
		pass(time.Minute)
		for range 50 {
			atOnce(t, "a known key", func() { good(t, source, "a") })
		}
		asked(t, n, keysURL, 1)
	})
}

func TestThereIsOneFlight(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.slow(time.Second)
		source := newCache(t, n).Issuer(issuerURL)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { good(t, source, "a") })
		}
		callers.Wait()
		asked(t, n, oidcURL, 1)
		asked(t, n, keysURL, 1)
		pass(time.Minute)
		n.publish("a", "b")
		for range 100 {
			callers.Go(func() { good(t, source, "b") })
		}
		callers.Wait()
		asked(t, n, keysURL, 2)
	})
}

func TestWaitingCallersSurviveTheFirstOnesEnd(t *testing.T) {
	for _, name := range []string{"first set", "unknown key"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				source := newCache(t, n).Issuer(issuerURL)
				if name == "unknown key" {
					n.publish("b")
					good(t, source, "b")
					n.publish("a")
					pass(time.Minute)
				}
				before := n.count(keysURL)
				n.slow(time.Second)
				ctx, cancel := context.WithCancelCause(t.Context())
				var callers sync.WaitGroup
				callers.Go(func() {
					_, err := source.Keys(ctx, header("a"))
					outage(t, err, "context canceled")
					if !errors.Is(err, context.Canceled) {
						t.Errorf("%v, want context.Canceled", err)
					}
				})
				synctest.Wait()
				callers.Go(func() { good(t, source, "a") })
				synctest.Wait()
				cancel(nil)
				callers.Wait()
				asked(t, n, keysURL, before+1)
			})
		})
	}
}

func TestACallerWaitsItsTimeAndNoLonger(t *testing.T) {
	for _, test := range []struct {
		name    string
		opts    []jwks.Option
		timeout time.Duration
		want    time.Duration
	}{
		{"by default", nil, time.Hour, 3 * time.Second},
		{"WithWait", []jwks.Option{jwks.WithWait(time.Second)}, time.Hour, time.Second},
		{"its own time", nil, 100 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				source := newCache(t, n, test.opts...).Issuer(issuerURL)
				n.slow(4 * time.Second)
				wait := func(kid string) {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
					defer cancel()
					began := time.Now()
					_, err := source.Keys(ctx, header(kid))
					outage(t, err, "context deadline exceeded")
					if took := time.Since(began); took != test.want {
						t.Errorf("waited %v, want %v", took, test.want)
					}
				}
				wait("a")
				pass(8 * time.Second) // the fetch went on
				atOnce(t, "afterwards", func() { good(t, source, "a") })
				pass(time.Minute)
				wait("unknown")
				atOnce(t, "a known key", func() { good(t, source, "a") })
				pass(8 * time.Second)
				atOnce(t, "afterwards", func() { absent(t, source, "unknown") })
				asked(t, n, keysURL, 2)
			})
		})
	}
}

func TestAKeyThatIsKnownToBeAbsentWaitsForNoRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n, jwks.WithTTL(time.Minute), jwks.WithCooldown(2*time.Minute), jwks.WithTimeout(30*time.Second)).Issuer(issuerURL)
		good(t, source, "a")
		absent(t, source, "junk")
		n.slow(20 * time.Second)
		pass(52 * time.Second) // a refresh is under way
		asked(t, n, keysURL, 2)
		atOnce(t, "junk from before", func() { absent(t, source, "junk") })
		n.publish("a", "new")
		unavailable(t, source, "new", "context deadline exceeded") // which joined it
	})
	bubble(t, func(t *testing.T, n *network) { // for another algorithm it is another key
		source := newCache(t, n, jwks.WithTTL(time.Minute), jwks.WithCooldown(2*time.Minute), jwks.WithTimeout(30*time.Second)).Issuer(issuerURL)
		good(t, source, "a")
		absent(t, source, "new")
		n.slow(20 * time.Second)
		pass(52 * time.Second)
		_, err := source.Keys(t.Context(), bearer.Header{KeyID: "new", Algorithm: "ES256"})
		outage(t, err, "context deadline exceeded") // so it joined the refresh
	})
	bubble(t, func(t *testing.T, n *network) { // emptied by a fetch that went well
		source := newCache(t, n, jwks.WithTTL(time.Minute), jwks.WithCooldown(10*time.Minute)).Issuer(issuerURL)
		good(t, source, "a")
		absent(t, source, "new")
		n.publish("a", "new")
		pass(52 * time.Second)
		good(t, source, "new")
	})
}

func TestNobodyCanTellOfAnUnknownKeyDuringAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n).Issuer(issuerURL)
		good(t, source, "a")
		n.fail(errDown)
		absent(t, source, "new") // nobody knows of the outage yet
		pass(time.Minute)
		unavailable(t, source, "new", "no answer")
		atOnce(t, "within the cool-down", func() { unavailable(t, source, "new", "no answer") })
		atOnce(t, "a known key", func() { good(t, source, "a") })
		n.fail(nil)
		pass(time.Minute)
		absent(t, source, "new")
	})
}

func TestTheMemoryOfAbsentKeysIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n, jwks.WithTTL(time.Hour)).Issuer(issuerURL)
		good(t, source, "a")
		for i := range 5000 {
			absent(t, source, fmt.Sprint("junk", i))
		}
		if got := jwks.Absent(source); got != 256 {
			t.Errorf("%d keys are remembered, want 256", got)
		}
		pass(52 * time.Minute)
		if got := jwks.Absent(source); got != 0 {
			t.Errorf("%d keys are remembered after a fetch, want 0", got)
		}
	})
}

func TestAKeyInMemoryCostsNoAllocation(t *testing.T) {
	for _, name := range []string{"fresh", "stale"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				source := newCache(t, n).Issuer(issuerURL)
				good(t, source, "a")
				if name == "stale" {
					n.fail(errDown)
					pass(11 * time.Minute)
				}
				h, ctx := header("a"), t.Context()
				if got := testing.AllocsPerRun(100, func() {
					if _, err := source.Keys(ctx, h); err != nil {
						t.Error(err)
					}
				}); got != 0 {
					t.Errorf("%v allocations, want none", got)
				}
			})
		})
	}
}

func TestAKeyInMemoryTakesNoLock(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n).Issuer(issuerURL)
		good(t, source, "a")
		unlock := jwks.Lock(source)
		defer unlock()
		good(t, source, "a") // or never
	})
}
