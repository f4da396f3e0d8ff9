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
	"github.com/tollgate-go/tollgate/middleware"
)

// The log tells what a stranger is not told, on one line, and no credential.
func TestFailures(t *testing.T) {
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
	last := s.apiKey[len(s.apiKey)-1:]
	mistyped := strings.TrimSuffix(s.apiKey, last) + map[bool]string{true: "b", false: "a"}[last == "a"]
	for _, tt := range []struct{ name, key, says string }{
		{"good", s.apiKey, ""},
		{"none", "", "401 " + middleware.CodeMissing},
		{"mistyped", mistyped, "401 " + middleware.CodeInvalid + ": authkey: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var logged bytes.Buffer
			log.SetOutput(&logged)
			t.Cleanup(func() { log.SetOutput(os.Stderr) })
			r := httptest.NewRequest(http.MethodGet, "/v1/whoami", http.NoBody)
			if tt.key != "" {
				r.Header.Set("X-API-Key", tt.key)
			}
			admission, refusal := s.Whoami.Admit(http.Header{}, r, "GET /v1/whoami")
			if (refusal == nil) != (tt.says == "") {
				t.Fatalf("Admit: %v", refusal)
			}
			if admission != nil {
				admission.Done(http.StatusOK, 0)
			}
			got := logged.String()
			if tt.says == "" {
				if got != "" {
					t.Errorf("logged %q, want nothing", got)
				}
				return
			}
			if !strings.Contains(got, `GET /v1/whoami: refused: "middleware: `+tt.says) || strings.Count(got, "\n") != 1 {
				t.Errorf("logged %q, want one line that says %q", got, tt.says)
			}
			if tt.key != "" && strings.Contains(got, tt.key[len(tt.key)-20:]) {
				t.Errorf("logged %q, which has the secret", got)
			}
		})
	}
}
