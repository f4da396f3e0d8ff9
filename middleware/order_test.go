package middleware_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The order of stages is kept by the compiler, so the compiler is what tells.
func TestWrongOrderDoesNotCompile(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"right":         "",
		"limit_first":   "undefined: middleware.RateLimit",
		"meter_first":   "has no field or method RateLimit",
		"limitby_meter": "has no field or method Meter",
		"forged_stage":  "missing method last",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "go", "vet", "./testdata/order/"+name).CombinedOutput()
			if want == "" {
				if err != nil {
					t.Fatalf("the right order does not compile: %v\n%s", err, out)
				}
				return
			}
			if err == nil {
				t.Fatal("it compiles")
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("it fails with\n%s\nwant %q in it", out, want)
			}
		})
	}
}
