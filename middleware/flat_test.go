package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// The most that the heap may grow by while strangers come: what is remembered of 1,024 unknown keys, 4,096 networks and
// 16,384 requests of a limiter, with room.
const (
	mostOfKeys   = 8 << 20
	mostOfValues = 48 << 20
)

// strangers is how many of a kind come: TOLLGATE_FLAT, or fewer where nobody asks for more.
func strangers(t *testing.T, fewer int) int {
	t.Helper()
	text := os.Getenv("TOLLGATE_FLAT")
	if text == "" {
		return fewer
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TOLLGATE_FLAT=%q: want how many strangers come, such as 10000000", text)
	}
	return n
}

// heap returns how much is in use.
func heap() uint64 {
	var m runtime.MemStats
	for range 2 { // what a pool holds goes at the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// flat calls f for each of n strangers from several goroutines, and holds that the heap has not grown by more than most. The
// first half fills what is bounded; from then on it is flat.
func flat(t *testing.T, n int, most uint64, f func(i int)) {
	t.Helper()
	some := func(from, to int) {
		var group sync.WaitGroup
		const callers = 64
		for c := range callers {
			group.Go(func() {
				for i := from + c; i < to; i += callers {
					f(i)
				}
			})
		}
		group.Wait()
	}
	before := heap()
	some(0, n/2)
	filled := heap()
	some(n/2, n)
	after := heap()
	t.Logf("%d strangers: %d KiB at first, %d KiB after half, %d KiB at the end", n, before>>10, filled>>10, after>>10)
	if after > before+most {
		t.Errorf("the heap grew by %d KiB, want at most %d", (after-before)>>10, most>>10)
	}
	if after > filled+(8<<20) {
		t.Errorf("the heap grew by %d KiB after the first half: it is not flat", (after-filled)>>10)
	}
}

var root = &url.URL{Path: "/"}

// from returns a request from an address.
func from(addr string) *http.Request {
	return &http.Request{Method: http.MethodGet, URL: root, Header: http.Header{}, Body: http.NoBody, RemoteAddr: addr}
}

// nothing is a limiter that lets everything pass and remembers nothing.
type nothing struct{}

func (nothing) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	return ratelimit.Decision{Allowed: true, Results: make([]ratelimit.Result, len(r.Charges))}, nil
}

// TestFlatUnderUnknownKeys has keys that nobody knows come from networks that nobody has seen: a third with a good checksum,
// a third with a bad one, and a third that are no keys at all. Not parallel: the heap is everybody's.
func TestFlatUnderUnknownKeys(t *testing.T) {
	for name, opts := range map[string][]authkey.Option{
		"throttled": nil,
		"looked up": {authkey.WithUnknownRate(1e6, 1e6)},
	} {
		t.Run(name, func(t *testing.T) {
			verifier, err := authkey.New(authkey.NewMemoryStore(), opts...)
			if err != nil {
				t.Fatal(err)
			}
			format, err := authkey.NewFormat("acme", "live")
			if err != nil {
				t.Fatal(err)
			}
			network := middleware.Key{Name: "network", Of: func(r *http.Request) string { return r.RemoteAddr }}
			stage := middleware.Authenticate(verifier, middleware.WithFailureBudget(nothing{}, ratelimit.PerMinute(2), network))
			n := strangers(t, 20_000)
			flat(t, n, mostOfKeys, func(i int) {
				key, _ := format.Mint(fmt.Sprint(i % 100))
				text := key.Reveal()
				switch i % 3 {
				case 1:
					text = text[:len(text)-2] + "zz"
				case 2:
					text = fmt.Sprintf("%x", i)
				}
				r := from(fmt.Sprint(i))
				r.Header.Set("X-API-Key", text)
				if a, refusal := stage.Admit(make(http.Header), r, "GET /"); refusal == nil {
					a.Done(http.StatusOK, 0)
					t.Errorf("%s passes", text)
				}
			})
			if stats := verifier.Stats(); stats.Entries > 0 || stats.NegativeEntries > 1024 || stats.Misses < uint64(n/3) {
				t.Errorf("%+v: want no entries, at most 1024 negative ones, and a look-up for each key with a good checksum", stats)
			}
		})
	}
}

// TestFlatUnderValues has a LimitBy be asked for values that nobody has seen. Not parallel: the heap is everybody's.
func TestFlatUnderValues(t *testing.T) {
	rdb := redistest.Standalone(t)
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute), ratelimit.WithRefusals(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	name := redistest.Org(t)
	value := middleware.Key{Name: "client", Of: func(r *http.Request) string { return r.RemoteAddr }}
	for kind, limit := range map[string]int64{"allowed": 10, "refused": 0} {
		t.Run(kind, func(t *testing.T) {
			stage := middleware.LimitBy(value, limiter, ratelimit.Per(limit, time.Second))
			flat(t, strangers(t, 40_000), mostOfValues, func(i int) {
				r := from(fmt.Sprint(name, i))
				a, refusal := stage.Admit(make(http.Header), r, "GET /")
				if (refusal == nil) != (limit > 0) {
					t.Errorf("%s: %v", r.RemoteAddr, refusal)
				}
				if refusal == nil {
					a.Done(http.StatusOK, 0)
				}
			})
		})
	}
}
