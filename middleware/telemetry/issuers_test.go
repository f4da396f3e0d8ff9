package telemetry_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
)

type issuerStats []jwks.Stats

func (s issuerStats) Stats() []jwks.Stats { return s }

const (
	setsHelp = "# HELP tollgate_issuer_key_sets Key sets of issuers in memory, by state.\n# TYPE tollgate_issuer_key_sets gauge\n"
	ageHelp  = "# HELP tollgate_issuer_key_age_seconds Time since the keys of an issuer were asked for.\n# TYPE tollgate_issuer_key_age_seconds gauge\n"
	gotHelp  = "# HELP tollgate_issuer_fetches_total Fetches of the keys of an issuer that ended, by result.\n# TYPE tollgate_issuer_fetches_total counter\n"
)

func TestCollectIssuers(t *testing.T) {
	t.Parallel()
	a := jwks.Stats{
		Issuer: "https://a.example", Usable: true, Keys: 2, Age: 90 * time.Second, Fetches: 10, Failures: 3, Spent: 1500 * time.Millisecond,
		Misses: 7, CooledDown: 5, ServedStale: 4,
	}
	stale := a
	stale.Stale, stale.Age = true, time.Minute
	c := newCollector(t,
		telemetry.WithIssuers(issuerStats{a, {Issuer: "https://b.example", Fetches: 1, Failures: 1}}),
		telemetry.WithIssuers(issuerStats{stale}))
	want := gotHelp + `
tollgate_issuer_fetches_total{issuer="https://a.example",result="failed"} 6
tollgate_issuer_fetches_total{issuer="https://a.example",result="ok"} 14
tollgate_issuer_fetches_total{issuer="https://b.example",result="failed"} 1
tollgate_issuer_fetches_total{issuer="https://b.example",result="ok"} 0
# HELP tollgate_issuer_fetch_seconds_total Time that fetches of the keys of an issuer took.
# TYPE tollgate_issuer_fetch_seconds_total counter
tollgate_issuer_fetch_seconds_total{issuer="https://a.example"} 3
tollgate_issuer_fetch_seconds_total{issuer="https://b.example"} 0
# HELP tollgate_issuer_missing_keys_total Look-ups of keys that the set of an issuer did not have, by what was done.
# TYPE tollgate_issuer_missing_keys_total counter
tollgate_issuer_missing_keys_total{issuer="https://a.example",result="cooled_down"} 10
tollgate_issuer_missing_keys_total{issuer="https://a.example",result="looked"} 4
tollgate_issuer_missing_keys_total{issuer="https://b.example",result="cooled_down"} 0
tollgate_issuer_missing_keys_total{issuer="https://b.example",result="looked"} 0
# HELP tollgate_issuer_stale_keys_used_total Look-ups that were answered with a key that should have been fetched anew.
# TYPE tollgate_issuer_stale_keys_used_total counter
tollgate_issuer_stale_keys_used_total{issuer="https://a.example"} 8
tollgate_issuer_stale_keys_used_total{issuer="https://b.example"} 0
` + setsHelp + `
tollgate_issuer_key_sets{issuer="https://a.example",state="fresh"} 1
tollgate_issuer_key_sets{issuer="https://a.example",state="none"} 0
tollgate_issuer_key_sets{issuer="https://a.example",state="stale"} 1
tollgate_issuer_key_sets{issuer="https://b.example",state="fresh"} 0
tollgate_issuer_key_sets{issuer="https://b.example",state="none"} 1
tollgate_issuer_key_sets{issuer="https://b.example",state="stale"} 0
# HELP tollgate_issuer_keys Keys of an issuer in memory.
# TYPE tollgate_issuer_keys gauge
tollgate_issuer_keys{issuer="https://a.example"} 4
tollgate_issuer_keys{issuer="https://b.example"} 0
` + ageHelp + `
tollgate_issuer_key_age_seconds{issuer="https://a.example"} 90
`
	for n := range 2 { // to be asked again adds nothing
		t.Run(fmt.Sprint(n), func(t *testing.T) { compare(t, c, want) })
	}
}

// changing is a cache whose issuers a test changes.
type changing struct{ now issuerStats }

func (c *changing) Stats() []jwks.Stats { return c.now }

// A hundred issuers have a label, the others share one; and no count falls when a cache drops an issuer and takes it up
// again.
func TestIssuersAreBounded(t *testing.T) {
	t.Parallel()
	cache := &changing{}
	name := func(i int) string { return fmt.Sprintf("https://%03d.example/\xff", i) }
	for i := range 150 {
		cache.now = append(cache.now, jwks.Stats{Issuer: name(i), Fetches: 2, Failures: 1})
	}
	c := newCollector(t, telemetry.WithIssuers(cache))
	fetches := func(issuer string) float64 {
		t.Helper()
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		families, err := registry.Gather()
		if err != nil {
			t.Fatalf("Gather: %v", err)
		}
		sum := 0.0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "tollgate_issuer_fetches_total" && m.GetLabel()[0].GetValue() == issuer {
					sum += m.GetCounter().GetValue()
				}
			}
		}
		return sum
	}
	const first = "https://000.example/\uFFFD"
	if got := values(t, c, "tollgate_issuer_key_sets", "issuer"); len(got) != 101 || got[telemetry.Other] != 3 || got[first] != 3 {
		t.Errorf("%d issuers, %d series of %q", len(got), got[telemetry.Other], telemetry.Other)
	}
	if got := fetches(telemetry.Other); got != 100 {
		t.Errorf("fetches of the others: %v, want 100", got)
	}
	all := cache.now
	cache.now = all[:149:149] // one of the others is dropped
	if got := fetches(telemetry.Other); got != 100 {
		t.Errorf("with one dropped: %v, want 100", got)
	}
	cache.now = append(cache.now, jwks.Stats{Issuer: name(149), Fetches: 1}, jwks.Stats{Issuer: name(150), Fetches: 4})
	if got := fetches(telemetry.Other); got != 105 {
		t.Errorf("with it counted anew, and another: %v, want 105", got)
	}
	cache.now = issuerStats{{Issuer: name(0), Fetches: 1}} // it began anew between two readings
	if got := fetches(first); got != 3 {
		t.Errorf("of one that began anew: %v, want 3", got)
	}
	if got := fetches(telemetry.Other); got != 105 {
		t.Errorf("of those that are gone: %v, want 105", got)
	}
}

// What a cache counts is what is shown of it.
func TestCollectCache(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	cache, err := jwks.New(jwks.WithHTTPClient(issuer.Client()), jwks.WithLoopback())
	if err != nil {
		t.Fatalf("jwks.New: %v", err)
	}
	defer cache.Close()
	c := newCollector(t, telemetry.WithIssuers(cache))
	if n := testutil.CollectAndCount(c); n != 0 {
		t.Errorf("%d series of no issuer", n)
	}
	source := cache.Issuer(issuer.URL())
	state := func(fresh, none int) string {
		return setsHelp + fmt.Sprintf(`
tollgate_issuer_key_sets{issuer=%[1]q,state="fresh"} %[2]d
tollgate_issuer_key_sets{issuer=%[1]q,state="none"} %[3]d
tollgate_issuer_key_sets{issuer=%[1]q,state="stale"} 0
`, issuer.URL(), fresh, none)
	}
	compare(t, c, state(0, 1), "tollgate_issuer_key_sets", "tollgate_issuer_key_age_seconds")
	if err := cache.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("Start: %v", err)
	}
	compare(t, c, state(1, 0), "tollgate_issuer_key_sets")
	if _, err := source.Keys(t.Context(), bearer.Header{KeyID: "made up", Algorithm: "ES256"}); err != nil {
		t.Errorf("Keys: %v", err)
	}
	compare(t, c, gotHelp+fmt.Sprintf(`
tollgate_issuer_fetches_total{issuer=%[1]q,result="failed"} 0
tollgate_issuer_fetches_total{issuer=%[1]q,result="ok"} 1
# HELP tollgate_issuer_missing_keys_total Look-ups of keys that the set of an issuer did not have, by what was done.
# TYPE tollgate_issuer_missing_keys_total counter
tollgate_issuer_missing_keys_total{issuer=%[1]q,result="cooled_down"} 1
tollgate_issuer_missing_keys_total{issuer=%[1]q,result="looked"} 0
`, issuer.URL()), "tollgate_issuer_fetches_total", "tollgate_issuer_missing_keys_total")
}
