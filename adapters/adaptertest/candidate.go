package adaptertest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// candidates are about policies that are tried beside live ones: each scenario has the answers of limits and
// costs, to the byte, whatever the candidates say.
func candidates() []scenario {
	none := ratelimit.PerSecond(0)
	beside := func(candidate ratelimit.Policy) func(*world) middleware.Stage {
		return func(w *world) middleware.Stage {
			return w.auth().RateLimit(w, proposed(ratelimit.PerMinute(2), candidate)...)
		}
	}
	two := []exchange{{get, answerFirst}, {get, answerSecond}, {get, answerThird}, {get, answerThird}}
	var all []scenario
	for name, candidate := range map[string]ratelimit.Policy{
		"Refusing": none, "Paid": none.Paid(), "Monitored": none.Monitored(), "Smaller": ratelimit.PerMinute(1),
		"Larger": ratelimit.PerMinute(3), "Longer": ratelimit.PerHour(1), "OfAnotherPartition": none.By(ratelimit.ByKey),
		"WithoutValue": none.By("region"), "Concurrent": ratelimit.Concurrent(0), "Reserved": ratelimit.PerMinute(9).Reserved(time.Minute),
	} {
		stage := beside(candidate)
		if name == "WithoutValue" {
			stage = func(w *world) middleware.Stage {
				return w.auth().RateLimit(w, proposed(ratelimit.PerMinute(2), candidate)...).
					Partition("region", func(*http.Request) string { return "" })
			}
		}
		all = append(all, scenario{name: "Candidate/" + name, why: "no byte of an answer tells of a candidate", stage: stage, sends: two})
	}
	return append(all, scenario{
		name: "Candidate/Events", why: "it makes no outcome another: monitored is what a live policy would have refused",
		stage: beside(none), sends: two[:1], calls: "authenticate 1, refresh 0, limit 1",
		events: `
			authenticate allowed GET /items/{id}
			rate_limit allowed GET /items/{id}
			handler allowed GET /items/{id} 200 2`,
	}, scenario{
		name: "Candidate/Generations", why: "nor does a field of an older generation",
		stage: func(w *world) middleware.Stage {
			return w.auth(middleware.WithFields(middleware.FieldsDraft6|middleware.FieldsX)).RateLimit(w, proposed(ratelimit.PerMinute(2), none)...)
		},
		sends: []exchange{{get, answerFields(`
			Ratelimit-Limit: 2
			Ratelimit-Policy: 2;w=60
			Ratelimit-Remaining: 1
			Ratelimit-Reset: 60
			X-Ratelimit-Limit: 2
			X-Ratelimit-Remaining: 1
			X-Ratelimit-Reset: 60`)}},
	}, scenario{
		name: "Candidate/Take", why: "nor does what the handler takes, of which it takes its part",
		stage: func(w *world) middleware.Stage {
			return w.auth().RateLimit(w, proposed(ratelimit.PerMinute(10).Named("rows"), ratelimit.PerMinute(8))...).Cost("rows", middleware.Later)
		},
		handler: take, sends: []exchange{
			{"GET /items/7?policy=rows&units=7\nX-API-Key: good", rowsAnswer(`r=3;t=60`, "took 7: <nil>")},
			{"GET /items/7?policy=rows&units=4\nX-API-Key: good", rowsRefusal(true)},
			{"GET /items/7?policy=next&units=1\nX-API-Key: good", rowsAnswer(`r=3;t=60`, `took 1: middleware: Take("next"): no stage of GET /items/{id} has such a policy`)},
		},
		check: func(t *testing.T, w *world, _ *server) {
			if got := w.usedBy("next"); got != 7 {
				t.Errorf("the candidate counts %d, want 7", got)
			}
		},
	}, scenario{
		name: "Candidate/Settle", why: "nor does what the handler settles and gives back",
		stage: func(w *world) middleware.Stage {
			return w.auth().RateLimit(w, proposed(ratelimit.PerMinute(10).Reserved(time.Minute), ratelimit.PerMinute(8).Reserved(time.Minute))...).
				Cost("requests", func(*http.Request) (int64, error) { return 6, nil })
		},
		handler: func(w http.ResponseWriter, r *http.Request) {
			a, _ := middleware.FromContext(r.Context())
			if err := a.Settle(r.Context(), w.Header(), "requests", 3); err != nil {
				panic(err)
			}
			ok200(w, r)
		},
		sends: []exchange{{get, answerFields("Ratelimit: \"requests\";r=7;t=60\nRatelimit-Policy: \"requests\";q=10;w=60")}},
		check: func(t *testing.T, w *world, _ *server) {
			if got := w.usedBy("next"); got != 3 {
				t.Errorf("the candidate counts %d, want 3", got)
			}
		},
	})
}

// proposed returns a live policy behind a candidate for it, "next".
func proposed(live, candidate ratelimit.Policy) []ratelimit.Policy {
	return []ratelimit.Policy{candidate.Named("next").InPlaceOf(live.Name), live}
}

// usedBy returns what is counted of a policy by all of its partitions.
func (w *world) usedBy(policy string) (units int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, used := range w.used {
		if strings.Contains(key, `"`+policy+`"`) {
			units += used
		}
	}
	return units
}
