package adaptertest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// parseFields parses the fields that tell limits by RFC 9651: lists, and the numbers of older generations.
func parseFields(t *testing.T, header http.Header) {
	t.Helper()
	for name, values := range header {
		var err error
		switch {
		case name == "Ratelimit" || name == "Ratelimit-Policy":
			_, err = httpsfv.UnmarshalList(values)
		case strings.HasPrefix(name, "Ratelimit-") || strings.HasPrefix(name, "X-Ratelimit-") || name == "Retry-After":
			_, err = httpsfv.UnmarshalItem(values)
		}
		if err != nil {
			t.Errorf("%s: %q is not well formed: %v", name, values, err)
		}
	}
}

// answerFields is an answer with fields, one in each line.
func answerFields(fields string) string {
	return plain("200\nContent-Type: text/plain\n" + plain(fields) + "\n\nok")
}

const answerFull = `
	429
	Cache-Control: no-store
	Content-Type: application/problem+json
	Ratelimit: "concurrent";r=0
	Ratelimit-Policy: "concurrent";q=2;qu="concurrent-requests"
	Retry-After: 1
	X-Request-Id: t1

	{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["concurrent"],"violations":[{"policy":"concurrent","partition":"project","retry_after":1}]}`

// fields are about how the response fields are written, and which.
func fields() []scenario {
	two := ratelimit.PerMinute(2)
	several := []ratelimit.Policy{ratelimit.PerHour(9).Named("hourly"), two}
	chosen := func(f middleware.Fields, policies ...ratelimit.Policy) func(*world) middleware.Stage {
		return func(w *world) middleware.Stage {
			return w.auth(middleware.WithFields(f)).RateLimit(w, policies...)
		}
	}
	running := func(n int64) func(*world) {
		return func(w *world) { w.used[`["acme" "project=shop" "GET /items/{id}" "concurrent"]`] = n }
	}
	return []scenario{{
		name: "Fields/Units", why: "a quota that counts no requests says what it counts",
		stage: limited(two.Of("tokens")), sends: []exchange{{get, answerFields(`
			Ratelimit: "requests";r=1;t=60
			Ratelimit-Policy: "requests";q=2;qu="tokens";w=60`)}},
	}, {
		name: "Fields/Concurrency", why: "what runs now has no window, and nobody knows when it ends",
		stage: limited(ratelimit.Concurrent(2)), before: running(1), sends: []exchange{{get, answerFields(`
			Ratelimit: "concurrent";r=0
			Ratelimit-Policy: "concurrent";q=2;qu="concurrent-requests"`)}},
	}, {
		name: "Fields/ConcurrencyRefused", why: "a place may be free at any moment, but nobody is invited at once",
		stage: limited(ratelimit.Concurrent(2)), before: running(2), sends: []exchange{{get, answerFull}},
	}, {
		name: "Fields/Monitored", why: "what is not enforced is not announced, and refuses nobody",
		stage: limited(ratelimit.PerHour(1).Named("watched").Monitored(), two),
		sends: []exchange{{get, answerFirst}, {get, answerSecond}, {get, answerThird}},
	}, {
		name: "Fields/PartitionKeys", why: "one count has one key, in both fields, and tells nothing of whose it is",
		stage: func(w *world) middleware.Stage {
			return w.auth(middleware.WithPartitionKeys([]byte("0123456789abcdef"))).
				RateLimit(w, two, ratelimit.PerHour(9).Named("org").By(ratelimit.ByOrg).Across())
		},
		sends: []exchange{{get, answerFields(`
			Ratelimit: "requests";r=1;t=60;pk=:Evn9+pbTlYhyYoMf5j/lpA==:, "org";r=8;t=3600;pk=:QZkcwYZsap6VHCHlWDZd7Q==:
			Ratelimit-Policy: "requests";q=2;w=60;pk=:Evn9+pbTlYhyYoMf5j/lpA==:, "org";q=9;w=3600;pk=:QZkcwYZsap6VHCHlWDZd7Q==:`),
		}, {"GET /items/7\nX-API-Key: other", answerFields(`
			Ratelimit: "requests";r=1;t=60;pk=:WaP52CM7CL/zNA3bhroN3g==:, "org";r=7;t=3600;pk=:QZkcwYZsap6VHCHlWDZd7Q==:
			Ratelimit-Policy: "requests";q=2;w=60;pk=:WaP52CM7CL/zNA3bhroN3g==:, "org";q=9;w=3600;pk=:QZkcwYZsap6VHCHlWDZd7Q==:`),
		}},
	}, {
		name: "Fields/PartitionKeyOfOnesOwn", why: "it is that of the value",
		stage: func(w *world) middleware.Stage {
			return w.auth(middleware.WithPartitionKeys([]byte("0123456789abcdef"))).RateLimit(w, two.By("region")).
				Partition("region", func(r *http.Request) string { return r.Header.Get("X-Region") })
		},
		sends: []exchange{{get + "\nX-Region: a", answerFields(`
			Ratelimit: "requests";r=1;t=60;pk=:mn71akuua4MQpIT+mOh9dg==:
			Ratelimit-Policy: "requests";q=2;w=60;pk=:mn71akuua4MQpIT+mOh9dg==:`)}},
	}, {
		name: "Fields/Draft6", why: "the policy nearest to exhaustion, and in the list all that are enforced in a window",
		stage: chosen(middleware.FieldsDraft6, append(several, ratelimit.Concurrent(1), ratelimit.PerHour(1).Named("watched").Monitored())...),
		sends: []exchange{{get, answerFields(`
			Ratelimit-Limit: 2
			Ratelimit-Policy: 9;w=3600, 2;w=60
			Ratelimit-Remaining: 1
			Ratelimit-Reset: 60`)}},
	}, {
		name: "Fields/X", why: "the policy nearest to exhaustion, in seconds",
		stage: chosen(middleware.FieldsX, several...), sends: []exchange{{get, answerFields(`
			X-Ratelimit-Limit: 2
			X-Ratelimit-Remaining: 1
			X-Ratelimit-Reset: 60`)}},
	}, {
		name: "Fields/XUnix", why: "the policy nearest to exhaustion, by the clock",
		stage: chosen(middleware.FieldsXUnix, several...), sends: []exchange{{get, answerFields(`
			X-Ratelimit-Limit: 2
			X-Ratelimit-Remaining: 1
			X-Ratelimit-Reset: 1700000060`)}},
	}, {
		name: "Fields/Together", why: "generations that share no name go together",
		stage: chosen(middleware.FieldsDraft10|middleware.FieldsX, two), sends: []exchange{{get, answerFields(`
			Ratelimit: "requests";r=1;t=60
			Ratelimit-Policy: "requests";q=2;w=60
			X-Ratelimit-Limit: 2
			X-Ratelimit-Remaining: 1
			X-Ratelimit-Reset: 60`)}},
	}, {
		name: "Fields/None", why: "an empty choice sends none",
		stage: chosen(0, two), sends: []exchange{{get, answerOK}},
	}, {
		name: "Retry/Levels", why: "a refusal tells at which level, and how long each wants to be left alone",
		stage: limited(ratelimit.PerMinute(1), ratelimit.PerHour(1).Named("org").By(ratelimit.ByOrg), ratelimit.PerHour(9).Named("key").By(ratelimit.ByKey)),
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerFields(`
			Ratelimit: "requests";r=0;t=60, "org";r=0;t=3600, "key";r=8;t=3600
			Ratelimit-Policy: "requests";q=1;w=60, "org";q=1;w=3600, "key";q=9;w=3600`)}, {get, `
			429
			Cache-Control: no-store
			Content-Type: application/problem+json
			Ratelimit: "requests";r=0;t=60, "org";r=0;t=3600, "key";r=8;t=3600
			Ratelimit-Policy: "requests";q=1;w=60, "org";q=1;w=3600, "key";q=9;w=3600
			Retry-After: 3600
			X-Request-Id: t1

			{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["requests","org"],"violations":[{"policy":"requests","partition":"project","retry_after":60},{"policy":"org","partition":"org","retry_after":3600}]}`}},
	}, {
		name: "Retry/Jitter", why: "the field and the body tell one number, which is never before the window's end",
		stage: func(w *world) middleware.Stage {
			return w.auth(middleware.WithRetryJitter(10*time.Second)).RateLimit(w, ratelimit.PerHour(1))
		},
		check: jittered,
	}}
}

// jittered refuses a caller some times, and expects waits of 3600 to 3610 seconds that are not all the same.
func jittered(t *testing.T, _ *world, s *server) {
	s.do(t, get)
	waits := map[int]bool{}
	for range 40 {
		head, body, _ := strings.Cut(s.do(t, get), "\n\n")
		_, field, _ := strings.Cut(head, "Retry-After: ")
		field, _, _ = strings.Cut(field, "\n")
		wait, err := strconv.Atoi(field)
		if err != nil || wait < 3600 || wait > 3610 {
			t.Fatalf("Retry-After: %q, want 3600 to 3610", field)
		}
		var problem struct {
			Violations []struct {
				RetryAfter int `json:"retry_after"`
			}
		}
		if err := json.Unmarshal([]byte(body), &problem); err != nil || len(problem.Violations) != 1 || problem.Violations[0].RetryAfter != wait {
			t.Fatalf("Retry-After: %d beside the body %s", wait, body)
		}
		waits[wait] = true
	}
	if len(waits) == 1 {
		t.Errorf("40 callers were told one wait, %v", waits)
	}
}
