package httpload_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
	"github.com/tollgate-go/tollgate/examples/bench/internal/httpload"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/examples/bench/internal/service"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// patience is for a machine that is busy: no test is of speed.
const patience = 10 * time.Second

// TestMain is the children that Run starts, too: this program again.
func TestMain(m *testing.M) {
	if httpload.Child(os.Stdin, os.Stdout) {
		return
	}
	os.Exit(m.Run())
}

func job(addr string) httpload.Job {
	return httpload.Job{
		Addr: addr, Conns: 4, For: 20 * time.Millisecond,
		Requests: []string{"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /b HTTP/1.1\r\nHost: x\r\n\r\n"},
	}
}

// serve returns the address of a server, which ends with the test.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestLoad(t *testing.T) {
	t.Parallel()
	var asked, other atomic.Int64
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/b" {
			other.Add(1)
		}
		w.Header().Set("X-Long", strings.Repeat("x", int(asked.Load()%3000))) // answers end anywhere in a read
		_, _ = w.Write(make([]byte, asked.Load()%2000))
	})
	done, err := httpload.Load(t.Context(), job(addr))
	if err != nil {
		t.Fatal(err)
	}
	if done.Calls < 4 || done.Calls != asked.Load()-1 || done.Failed != 0 || done.Status != 0 {
		t.Errorf("%+v, want %d calls, for the first of all is not counted, and no failures", done, asked.Load()-1)
	}
	if n := other.Load(); n < done.Calls/4 || n > done.Calls*3/4+1 {
		t.Errorf("%d of %d requests were the second one, want half of them", n, done.Calls)
	}
	if done.P50 <= 0 || done.P99 < done.P50 || done.Elapsed < 20*time.Millisecond {
		t.Errorf("%+v, want times", done)
	}
}

func TestLoadCountsFailures(t *testing.T) {
	t.Parallel()
	var asked, refused atomic.Int64
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%4 == 0 {
			refused.Add(1)
			http.Error(w, "too many", http.StatusTooManyRequests)
		}
	})
	done, err := httpload.Load(t.Context(), job(addr))
	if err != nil {
		t.Fatal(err)
	}
	if done.Failed == 0 || done.Failed != refused.Load() || done.Status != http.StatusTooManyRequests {
		t.Errorf("%+v, want the %d answers of 429 counted", done, refused.Load())
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	closed := func() string {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	var asked atomic.Int64
	for name, tt := range map[string]struct {
		job  httpload.Job
		want string
	}{
		"nobody there": {job(closed), "refused"},
		"first answer is no 200": {
			job(serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who?", http.StatusUnauthorized) })), "401 Unauthorized: who?",
		},
		"no length": {job(serve(t, func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() })), "Content-Length"},
		"hangs up": {job(serve(t, func(http.ResponseWriter, *http.Request) {
			if asked.Add(1) > 1 {
				panic(http.ErrAbortHandler)
			}
		})), "an answer"},
		"no requests": {httpload.Job{Addr: closed, Conns: 1}, "requests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if done, err := httpload.Load(t.Context(), tt.job); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %+v, %v; want an error with %q", done, err, tt.want)
			}
		})
	}
}

// Each service answers who has a key, and those that look at keys nobody else.
func TestServices(t *testing.T) {
	t.Parallel()
	setup := tenants(t)
	for _, tt := range []struct {
		name     string
		stranger int
	}{
		{service.NameBare, 200}, {service.NameByHand, 401}, {service.NameKey, 401}, {service.NameStrict, 401}, {service.NameLeased, 401},
		{service.NameRedisRate, 401}, {service.NameNaive, 401}, {service.NameGin, 200}, {service.NameEcho, 200}, {service.NameEchoKey, 401},
		{service.NameEchoAll, 401}, {service.NameHttprate, 200}, {service.NameUlule, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := service.Open(t.Context(), tt.name, setup)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			stranger := setup.Keys[0][:len(setup.Keys[0])-1] + "~"
			for key, want := range map[string]int{setup.Keys[0]: 200, setup.Keys[1]: 200, stranger: tt.stranger} {
				for range 3 { // of which a policy without its override would refuse the second
					r := httptest.NewRequest(http.MethodGet, service.Path, nil)
					r.Header = service.Credential(tt.name, key)
					w := httptest.NewRecorder()
					s.Handler.ServeHTTP(w, r)
					if w.Code != want || want == 200 && w.Body.String() != `{"results":[]}` {
						t.Errorf("answered %d: %s; want %d", w.Code, w.Body, want)
					}
				}
			}
		})
	}
	if _, err := service.Open(t.Context(), "none", setup); err == nil {
		t.Error("a service that there is not was opened")
	}
}

func tenants(t *testing.T) service.Setup {
	t.Helper()
	p := rival.Place{Addrs: []string{redistest.StandaloneAddr(t)}, Prefix: redistest.Org(t), Patience: patience}
	tenants, err := rival.NewTenants(t.Context(), p, 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	setup := service.Setup{Place: p, Ahead: rival.Ahead}
	for i, who := range tenants.Identities {
		setup.Keys, setup.Projects = append(setup.Keys, tenants.Keys[i].Reveal()), append(setup.Projects, who.Project)
	}
	return setup
}

func TestRun(t *testing.T) {
	t.Parallel()
	setup := tenants(t)
	watch := contest.NewWatch(setup.Place.Addrs...)
	defer watch.Close()
	setting := httpload.Setting{Conns: 2, Rounds: 1, Warm: 20 * time.Millisecond, For: 20 * time.Millisecond}
	table, err := httpload.Run(t.Context(), setting, watch, setup, []string{service.NameBare, service.NameRedisRate})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{service.NameBare, service.NameRedisRate} {
		for _, m := range []result.Metric{result.Rate, result.P50, result.P99, result.Server, result.Client} {
			if got := table.Spread(name, m); got.Least <= 0 {
				t.Errorf("%s of %s = %+v, want more than nothing", m, name, got)
			}
		}
		if got := table.Spread(name, result.Errors); got.Most != 0 {
			t.Errorf("%v of %s failed: %s", got, name, table.Row(name).Fault)
		}
	}
	if table, err := httpload.Run(t.Context(), setting, watch, setup, []string{"none"}); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("Run of a service that there is not = %v, %v", table, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if table, err := httpload.Run(ctx, setting, watch, setup, []string{service.NameBare}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, %v; want context.Canceled", table, err)
	}
}

func TestChildIsNobody(t *testing.T) {
	if httpload.Child(strings.NewReader(""), new(strings.Builder)) {
		t.Error("a program that nobody started is a child")
	}
}
