package demo

import (
	"bytes"
	"context"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// announced ends a run as soon as it has said where it listens.
type announced struct{ cancel context.CancelFunc }

func (a announced) Write(p []byte) (int, error) {
	a.cancel()
	return len(p), nil
}

func TestRunWarnsOfEviction(t *testing.T) {
	for _, tt := range []struct {
		name     string
		embedded bool
		settings []string
		warning  string
	}{
		{"evicts", false, []string{"--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"}, "set maxmemory-policy noeviction"},
		{"keeps", false, nil, ""},
		{"embedded", true, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var url string
			if !tt.embedded {
				url = "redis://" + redistest.Start(t, tt.settings...)
			}
			var logged bytes.Buffer
			log.SetOutput(&logged)
			t.Cleanup(func() { log.SetOutput(os.Stderr) })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := run(ctx, []string{"quickstart", "-addr", "127.0.0.1:0", "-redis", url}, announced{cancel}, withService(func(*Service) http.Handler {
				return http.NotFoundHandler()
			}))
			if err != nil {
				t.Fatalf("run: %v", err)
			}
			got := logged.String()
			if (got == "") != (tt.warning == "") || !strings.Contains(got, tt.warning) {
				t.Errorf("logged %q, want %q", got, tt.warning)
			}
		})
	}
}

func TestDemoServesPlans(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	s, err := New(t.Context(), rdb, 10*time.Second)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	r := httptest.NewRequest(http.MethodGet, "/admin/v1/plans", nil)
	r.Header.Set("Authorization", "Bearer "+s.adminToken)
	w := httptest.NewRecorder()
	s.Admin.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("GET %s: %d %s", r.URL, w.Code, w.Body)
	}
}
