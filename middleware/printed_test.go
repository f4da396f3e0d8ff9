package middleware_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware"
)

// TestAdmissionByValueShowsNoCredential prints what holds an admission, not a pointer to one.
func TestAdmissionByValueShowsNoCredential(t *testing.T) {
	p := &struct{ Room middleware.Admission }{}
	_, refusal := middleware.Authenticate(demoCallers()).AdmitInto(&p.Room, http.Header{}, request("GET", "/"), "GET /")
	if refusal != nil {
		t.Fatal(refusal)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, p); strings.Contains(text, goodKey) {
			t.Errorf("%s has the key", verb)
		}
	}
}
