package authkey_test

import (
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// TestHostsThatFoldToASCII: a browser looks such a name up as another one than the rule's.
func TestHostsThatFoldToASCII(t *testing.T) {
	t.Parallel()
	id := &authkey.Identity{Origins: []string{"https://files.example", "https://*.kit.example"}}
	for _, origin := range []string{"https://f\u0130les.example", "https://a.\u212Ait.example", "https://\u212A.kit.example"} {
		if id.AllowsOrigin(origin) {
			t.Errorf("%q is allowed", origin)
		}
		if authkey.ValidateOrigin(origin) == nil {
			t.Errorf("%q is a rule", origin)
		}
	}
	if !id.AllowsOrigin("https://FILES.example") || !id.AllowsOrigin("https://a.kit.example") {
		t.Error("names in ASCII are refused")
	}
}
