package h2spec

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/adapters/ginkit"
	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// routers serve a handler at all paths, behind a stage or, where it is nil, behind nothing.
var routers = map[string]func(stage middleware.Stage) http.Handler{
	"net/http": func(stage middleware.Stage) http.Handler {
		if stage == nil {
			return http.HandlerFunc(answer)
		}
		return httpkit.Middleware(stage)(http.HandlerFunc(answer))
	},
	"gin": func(stage middleware.Stage) http.Handler {
		gin.SetMode(gin.TestMode)
		router := gin.New()
		if stage != nil {
			router.Use(ginkit.Middleware(stage))
		}
		router.Any("/*path", gin.WrapF(answer))
		return router
	},
	"echo": func(stage middleware.Stage) http.Handler {
		e := echo.New()
		if stage != nil {
			e.Use(echokit.Middleware(stage))
		}
		e.Any("/*", echo.WrapHandler(http.HandlerFunc(answer)))
		return e
	},
}

// answer reads what there is, and answers with more than one frame of the smallest window that h2spec asks for.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "what is behind the gate")
}

// gate returns all of it: who calls, a limit, what runs at a time, and usage. h2spec has no key. passed counts the requests
// that come to their handler.
func gate(t *testing.T, passed *atomic.Int64) middleware.Stage {
	t.Helper()
	rdb, org := redistest.Standalone(t), redistest.Org(t)
	verifier, err := authkey.New(authkey.NewMemoryStore())
	if err != nil {
		t.Fatal(err)
	}
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	usage, err := meter.New(rdb)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := usage.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	count := middleware.ObserverFunc(func(e middleware.Event) {
		if e.Step == middleware.StepHandler {
			passed.Add(1)
		}
	})
	return middleware.Authenticate(verifier, middleware.WithAnonymous(org, "h2spec"), middleware.WithObserver(count)).
		RateLimit(limiter, ratelimit.PerMinute(1e6), ratelimit.Concurrent(1e6)).Meter(usage, "h2spec", "requests")
}

// TestNoWorseThanWithout compares what fails. What a case sees is a matter of time here and there, so a failure counts that
// comes again each time, and comes never without the gate. Most of the time h2spec waits: all of it at once.
func TestNoWorseThanWithout(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for name, router := range routers {
		var passed atomic.Int64
		bare, gated := serve(t, router(nil)), serve(t, router(gate(t, &passed)))
		group.Go(func() {
			worse, err := compare(t, bare, gated)
			for _, test := range worse {
				t.Errorf("%s: fails behind the gate alone: %s", name, test)
			}
			if err != nil || passed.Load() < 50 { // a gate that lets nobody pass speaks HTTP/2, too
				t.Errorf("%s: %v; %d requests came to their handler", name, err, passed.Load())
			}
		})
	}
	group.Wait()
}

// compare returns the tests that fail with the gate alone, also when all are run again.
func compare(t *testing.T, bare, gated string) (worse []string, err error) {
	t.Helper()
	var without []string
	for attempt := range 3 {
		var failed [2][]string
		var errs [2]error
		var group sync.WaitGroup
		for i, port := range []string{bare, gated} {
			group.Go(func() { failed[i], errs[i] = failures(t, port) })
		}
		group.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		without = append(without, failed[0]...)
		alone := slices.DeleteFunc(failed[1], func(test string) bool { return slices.Contains(without, test) })
		if attempt > 0 {
			alone = slices.DeleteFunc(alone, func(test string) bool { return !slices.Contains(worse, test) })
		}
		if worse = alone; len(worse) == 0 {
			break
		}
	}
	return worse, nil
}

// serve returns the port of a server with HTTP/2 over TLS.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2, server.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// report is what h2spec writes, as JUnit has it.
type report struct {
	Suites []struct {
		Name  string `xml:"name,attr"`
		Cases []struct {
			Name    string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// failures runs h2spec against a port, and returns which of its tests fail.
func failures(t *testing.T, port string) ([]string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.xml")
	command := exec.CommandContext(t.Context(), "go", "tool", "h2spec", "-h", "127.0.0.1", "-p", port, "-t", "-k", "-o", "1", "-j", file)
	out, err := command.CombinedOutput() // it fails where one of its tests does
	text, readErr := os.ReadFile(file)
	if readErr != nil {
		return nil, fmt.Errorf("h2spec: %w, %w\n%s", err, readErr, out)
	}
	var r report
	if err := xml.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("h2spec's report: %w", err)
	}
	failed, ran := map[string]bool{}, 0
	for _, suite := range r.Suites {
		for _, test := range suite.Cases {
			ran++
			if test.Failure != nil || test.Error != nil {
				failed[suite.Name+": "+test.Name] = true
			}
		}
	}
	if ran < 140 {
		return nil, fmt.Errorf("h2spec ran %d tests, want all 145\n%s", ran, out)
	}
	t.Logf("port %s: %d tests, %d fail", port, ran, len(failed))
	return slices.Sorted(maps.Keys(failed)), nil
}
