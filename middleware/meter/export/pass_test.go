package export

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestOnceExportsAll(t *testing.T) {
	for _, tt := range []struct{ names, hours, batch, calls int }{
		{1, 1, 500, 1}, {3, 4, 500, 1}, {3, 4, 5, 3}, {120, 1, 50, 3}, {40, 3, 1, 120}, {2, 130, 500, 2},
	} {
		t.Run(fmt.Sprintf("%d names, %d hours, by %d", tt.names, tt.hours, tt.batch), func(t *testing.T) {
			eachStage(t, func(t *testing.T, s *stage) {
				want := map[string]int64{}
				for hour := range tt.hours {
					units := projects(tt.names)
					s.add(t, hour, units)
					for project, n := range units {
						want[project] += n
					}
				}
				var r receiver
				e := s.exporter(t, &r, WithBatch(tt.batch))
				once(t, e)
				r.want(t, want)
				if r.sent() != tt.calls {
					t.Errorf("the sink was called %d times, want %d", r.sent(), tt.calls)
				}
				once(t, e) // nothing is left
				if r.sent() != tt.calls {
					t.Errorf("a second pass called the sink %d times more", r.sent()-tt.calls)
				}
				stats, n := e.Stats(), uint64(tt.names*tt.hours)
				if stats.Events != n || stats.Due != 0 || stats.Behind != 0 || len(stats.Failures) != 0 || stats.SinkFailures != 0 {
					t.Errorf("Stats = %+v, want %d events and nothing left", stats, n)
				}
			})
		})
	}
}

func TestOnceLeavesAnHourThatIsNotOver(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		s.add(t, 24*3650, map[string]int64{"future": 1})
		s.add(t, 0, map[string]int64{"late": 1}) // due now, and for the grace it is left alone
		var r receiver
		once(t, s.exporter(t, &r, WithGrace(defaults().grace)))
		r.want(t, map[string]int64{})
		once(t, s.exporter(t, &r))
		r.want(t, map[string]int64{"late": 1})
	})
}

// TestCutAnywhere ends an exporter between each two steps. The one that comes after it makes good, and nobody counts
// twice.
func TestCutAnywhere(t *testing.T) {
	for _, step := range []string{"due", "before claim", "after claim", "before send", "after send", "before settle", "after settle"} {
		t.Run(step, func(t *testing.T) {
			eachStage(t, func(t *testing.T, s *stage) {
				want := projects(7)
				s.add(t, 0, want)
				var r receiver
				for at := range 4 { // the first time that the step comes, the second, ...
					left := at
					cut := func() error {
						if left--; left == -1 {
							return errCut
						}
						return nil
					}
					r.before, r.after, s.fail = nil, nil, func(now string) error {
						if now == step {
							return cut()
						}
						return nil
					}
					switch step {
					case "before send":
						r.before = cut
					case "after send":
						r.after = cut
					}
					err := s.exporter(t, &r, WithBatch(2)).Once(t.Context())
					if left < 0 && (!errors.Is(err, errCut) || !errors.Is(err, ErrNotSent) && !errors.Is(err, ErrUnavailable)) {
						t.Errorf("Once, cut = %v; want it to tell", err)
					}
					s.fail = nil
					s.add(t, 0, map[string]int64{"p0": 10, "late": 1}) // it comes while a claim is open
					want["p0"] += 10
					want["late"]++
				}
				r.before, r.after = nil, nil
				e := s.exporter(t, &r)
				once(t, e)
				r.want(t, want)
				if due := e.Stats().Due; due != 0 {
					t.Errorf("%d hours are due after all is exported", due)
				}
			})
		})
	}
}

func TestOnceEndsWithItsContext(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		s.add(t, 0, projects(3))
		ctx, cancel := context.WithCancel(t.Context())
		r := receiver{after: func() error { cancel(); return nil }}
		e := s.exporter(t, &r, WithBatch(3))
		if err := e.Once(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Once = %v; want it canceled", err)
		}
		once(t, e) // what was accepted was settled nevertheless
		if r.sent() != 1 {
			t.Errorf("the sink was called %d times, want 1", r.sent())
		}
		r.want(t, projects(3))
		e.passing <- struct{}{} // a pass is running
		if err := e.Once(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Once = %v; want it canceled", err)
		}
	})
}

// TestTwoExporters lets several export at once, while usage comes.
func TestTwoExporters(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		var r receiver
		want := map[string]int64{}
		for hour := range 3 {
			units := projects(400)
			s.add(t, hour, units)
			for project, n := range units {
				want[project] += n
			}
		}
		var group sync.WaitGroup
		var left atomic.Int64
		left.Store(60)
		for i := range 3 {
			e := s.exporter(t, &r, WithBatch([]int{500, 70, 33}[i]))
			group.Go(func() {
				for left.Add(-1) > 0 {
					if err := e.Once(context.Background()); err != nil {
						t.Errorf("Once: %v", err)
					}
				}
			})
		}
		for i := range 20 {
			late := map[string]int64{"p1": 1, "p" + strconv.Itoa(i): 5, "late": 2}
			s.add(t, i%3, late)
			for project, n := range late {
				want[project] += n
			}
		}
		group.Wait()
		once(t, s.exporter(t, &r))
		r.want(t, want)
		if n := len(r.bytes); n < 1200 {
			t.Errorf("%d events, want at least 1200", n)
		}
	})
}

// TestAnyOrder draws what happens, and in which order: usage comes, exporters with batches of any size are cut at any
// step, and go on or are followed by others.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		rapid.Check(t, func(rt *rapid.T) {
			s, want := newStage(t, rdb), map[string]int64{}
			var r receiver
			exporters := []*Exporter{s.exporter(t, &r, WithBatch(2)), s.exporter(t, &r, WithBatch(7))}
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				if rapid.Bool().Draw(rt, "usage") {
					units := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}), rapid.Int64Range(1, 9), 1, 6).Draw(rt, "units")
					s.add(rt, rapid.IntRange(0, 2).Draw(rt, "hour"), units)
					for project, n := range units {
						want[project] += n
					}
					continue
				}
				left := rapid.IntRange(0, 30).Draw(rt, "cut at")
				cut := func() error {
					if left--; left < 0 {
						return errCut
					}
					return nil
				}
				s.fail = func(string) error { return cut() }
				r.before, r.after = cut, cut
				_ = rapid.SampledFrom(exporters).Draw(rt, "exporter").Once(t.Context()) // may be cut
				s.fail, r.before, r.after = nil, nil, nil
				r.mu.Lock()
				for project, n := range r.units {
					if n > want[project] {
						rt.Errorf("the receiver counts %d of %s, which has %d", n, project, want[project])
					}
				}
				r.mu.Unlock()
			}
			for range 2 {
				if err := exporters[0].Once(t.Context()); err != nil {
					rt.Fatalf("Once: %v", err)
				}
			}
			if len(want) > 0 {
				r.want(rt, want)
			}
			if due := exporters[0].Stats().Due; due != 0 {
				rt.Errorf("%d hours are due after all is exported", due)
			}
		})
	})
}
