package admin_test

import (
	"context"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// watched is a store that keeps whose each call is.
type watched struct {
	authkey.Store
	actor audit.Actor
}

func (w *watched) List(ctx context.Context, org, project, cursor string, limit int) ([]authkey.Record, string, error) {
	w.actor = audit.ActorOf(ctx)
	return w.Store.List(ctx, org, project, cursor, limit)
}

// What a store does for a request is done in the name of whoever sent it.
func TestStoresKnowTheActor(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	for address, want := range map[string]string{"203.0.113.7:1234": "203.0.113.7", "[2001:db8::1]:1": "2001:db8::1", "@": ""} {
		w := &watched{Store: store}
		h := newHandler(t, admin.WithKeys(w, issuer))
		r := request("GET", keys, "", "X-Request-Id", "r-1", "X-Forwarded-For", "198.51.100.1")
		r.RemoteAddr = address
		serve(t, h, r).want(t, 200, "")
		if got := (audit.Actor{Name: "bearer", RequestID: "r-1", Address: want}); w.actor != got {
			t.Errorf("from %s: %+v, want %+v", address, w.actor, got)
		}
	}
}
