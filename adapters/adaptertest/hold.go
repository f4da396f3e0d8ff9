package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

var _ middleware.Holder = (*world)(nil)

// Settle ends holds as the real limiter does.
func (w *world) Settle(_ context.Context, request ratelimit.Request) (ratelimit.Decision, error) {
	return w.change(request, true, func(c *ratelimit.Charge) int64 { return c.Cost - c.Held })
}

// Renew finds what is held, for nothing ends here by itself.
func (w *world) Renew(_ context.Context, request ratelimit.Request) (ratelimit.Decision, error) {
	return w.change(request, true, func(*ratelimit.Charge) int64 { return 0 })
}

// Refund gives back what was taken.
func (w *world) Refund(_ context.Context, request ratelimit.Request, _ time.Time) (ratelimit.Decision, error) {
	return w.change(request, false, func(c *ratelimit.Charge) int64 { return -c.Cost })
}

func (w *world) change(request ratelimit.Request, held bool, more func(*ratelimit.Charge) int64) (ratelimit.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := ratelimit.Decision{Allowed: true, At: time.Unix(1_700_000_000, 0)}
	for i := range request.Charges {
		c := &request.Charges[i]
		key, err := keyOf(&request, c)
		if err != nil {
			return ratelimit.Decision{}, err
		}
		if held {
			if !w.holds[request.Hold+key] {
				return ratelimit.Decision{}, ratelimit.ErrNotHeld
			}
			delete(w.holds, request.Hold+key)
		}
		w.used[key] = max(w.used[key]+more(c), 0)
		d.Results = append(d.Results, result(c, w.used[key], false))
	}
	return d, nil
}

// holds are about what a request has while it runs: places among concurrent requests, and reservations.
func holds() []scenario {
	alone := func(w *world) middleware.Stage { return w.auth().RateLimit(w, ratelimit.Concurrent(1)) }
	answerAlone := answerFields(`
		Ratelimit: "concurrent";r=0
		Ratelimit-Policy: "concurrent";q=1;qu="concurrent-requests"`)
	const full = "429\n"
	refused := func(t *testing.T, s *server) {
		t.Helper()
		if got := s.do(t, get); len(got) < len(full) || got[:len(full)] != full {
			t.Errorf("while another request runs: %s, want 429", got)
		}
	}
	passes := func(t *testing.T, s *server, want string) {
		t.Helper()
		if got := s.do(t, get); got != plain(want) {
			t.Errorf("when it is done: %s, want %s", got, plain(want))
		}
	}
	reserved := func(w *world) middleware.Stage {
		return w.auth().RateLimit(w, ratelimit.PerMinute(10).Reserved(time.Minute)).
			Cost("requests", func(*http.Request) (int64, error) { return 6, nil })
	}
	left := func(r int) string {
		return answerFields(fmt.Sprintf("Ratelimit: \"requests\";r=%d;t=60\nRatelimit-Policy: \"requests\";q=10;w=60", r))
	}
	settle := func(units ...int64) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			a, _ := middleware.FromContext(r.Context())
			for i, n := range units {
				if err := a.Settle(r.Context(), w.Header(), "requests", n); (err != nil) != (i > 0) || i > 0 && !errors.Is(err, ratelimit.ErrNotHeld) {
					fmt.Fprintf(w, "Settle %d: %v", n, err)
				}
			}
			ok200(w, r)
		}
	}
	return []scenario{{
		name: "Concurrent/Return", why: "a place is free again when the handler returns", stage: alone,
		sends: []exchange{{get, answerAlone}, {get, answerAlone}}, events: `
			authenticate allowed GET /items/{id}
			rate_limit allowed GET /items/{id}
			handler allowed GET /items/{id} 200 2
			settle allowed GET /items/{id}
			authenticate allowed GET /items/{id}
			rate_limit allowed GET /items/{id}
			handler allowed GET /items/{id} 200 2
			settle allowed GET /items/{id}`,
	}, {
		name: "Concurrent/Panic", why: "and when it panics", stage: alone,
		handler: func(http.ResponseWriter, *http.Request) { panic(errPanic) },
		sends:   []exchange{{get, "closed"}},
		check: func(t *testing.T, w *world, s *server) {
			panicked(errPanic)(t, w, s)
			if got := s.do(t, get); got != "closed" {
				t.Errorf("the next request: %s, want the panic again, not a refusal", got)
			}
		},
	},
		meanwhile(alone, refused, passes, answerAlone),
		hijacked("Concurrent/Hijack", alone, nil, refused, upgraded),
		hijacked("Concurrent/HijackWithin", alone, func(w *world) middleware.Stage { return w.auth() }, refused, upgraded),
		scenario{
			name: "Concurrent/RefusedWithin", why: "a stage within that refuses ends it as well",
			mount: func(w *world) ([]Route, []middleware.Stage) {
				auth := w.auth()
				return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: auth.RateLimit(w, ratelimit.PerMinute(0))}},
					[]middleware.Stage{auth.RateLimit(w, ratelimit.Concurrent(1))}
			},
			check: func(t *testing.T, w *world, s *server) {
				s.do(t, get)
				s.served.Wait()
				if len(w.holds) != 0 {
					t.Errorf("held after a refusal: %v", w.holds)
				}
			},
		}, scenario{
			name: "Reserved/Settled", why: "the real cost is taken in place of what was reserved, once", stage: reserved, handler: settle(2, 3),
			sends: []exchange{{get, left(8)}, {get, left(6)}},
		}, scenario{
			name: "Reserved/GivenBack", why: "nothing is taken", stage: reserved, handler: settle(0),
			sends: []exchange{{get, answerFields(`
				Ratelimit: "requests";r=10
				Ratelimit-Policy: "requests";q=10;w=60`)}},
		}, scenario{
			name: "Reserved/Forgotten", why: "what the handler does not settle is taken as it was reserved", stage: reserved,
			sends: []exchange{{get, left(4)}}, check: func(t *testing.T, w *world, s *server) {
				s.served.Wait()
				if used := w.used[`["acme" "project=shop" "GET /items/{id}" "requests"]`]; used != 6 || len(w.holds) != 0 {
					t.Errorf("%d used and %v held, want 6 and nothing", used, w.holds)
				}
			},
		}, scenario{
			name: "Refund", why: "what was taken is given back, and no more than that",
			stage: func(w *world) middleware.Stage { return w.auth().RateLimit(w, ratelimit.PerMinute(10)) },
			handler: func(w http.ResponseWriter, r *http.Request) {
				a, _ := middleware.FromContext(r.Context())
				if err := errors.Join(a.Take(r.Context(), w.Header(), "requests", 5), a.Refund(r.Context(), w.Header(), "requests", 4)); err != nil {
					fmt.Fprint(w, err)
				}
				if err := a.Refund(r.Context(), nil, "requests", 3); err == nil {
					fmt.Fprint(w, "more than was taken was given back")
				}
				ok200(w, r)
			},
			sends: []exchange{{get, left(8)}}, check: func(t *testing.T, w *world, _ *server) {
				if used := w.used[`["acme" "project=shop" "GET /items/{id}" "requests"]`]; used != 0 {
					t.Errorf("%d used, want nothing: 6 were taken and 6 given back", used)
				}
			},
		}}
}

// meanwhile is about two requests at the same time.
func meanwhile(stage func(*world) middleware.Stage, refused func(*testing.T, *server), passes func(*testing.T, *server, string), answer string) scenario {
	began, goOn := make(chan struct{}, 2), make(chan struct{}, 2)
	return scenario{
		name: "Concurrent/Meanwhile", why: "one too many is refused for as long as the others run", stage: stage,
		handler: func(w http.ResponseWriter, r *http.Request) {
			began <- struct{}{}
			<-goOn
			ok200(w, r)
		},
		check: func(t *testing.T, _ *world, s *server) {
			conn, reader := s.dial(t, get)
			defer conn.Close()
			<-began
			refused(t, s)
			goOn <- struct{}{}
			if _, err := io.ReadAll(io.LimitReader(reader, 1)); err != nil {
				t.Fatal(err)
			}
			s.served.Wait()
			goOn <- struct{}{}
			passes(t, s, answer)
		},
	}
}

func upgraded(t *testing.T, s *server) {
	t.Helper()
	if got := s.do(t, get); got[:4] != "101\n" {
		t.Errorf("when it is closed: %s, want 101", got)
	}
}

// hijacked is about a connection that outlives its handler, behind a stage that may stand within another.
func hijacked(name string, stage, outer func(*world) middleware.Stage, refused, passes func(*testing.T, *server)) scenario {
	taken := make(chan net.Conn, 2)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
		taken <- conn
	})
	return scenario{
		name: name, why: "a connection taken over keeps its place until it is closed",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			routes := []Route{{Method: http.MethodGet, Pattern: "/items/{id}", Stage: stage(w), Handler: handler}}
			if outer == nil {
				return routes, nil
			}
			return routes, []middleware.Stage{outer(w)}
		},
		check: func(t *testing.T, _ *world, s *server) {
			client, _ := s.dial(t, get)
			defer client.Close()
			conn := <-taken
			s.served.Wait()
			refused(t, s)
			for range 2 { // closing twice gives back once
				_ = conn.Close()
			}
			passes(t, s)
			(<-taken).Close()
		},
	}
}
