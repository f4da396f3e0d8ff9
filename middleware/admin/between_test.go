package admin_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// meddling is a store to which somebody comes just before the next change.
type meddling struct {
	*authkey.MemoryStore
	meddle func(record authkey.Record)
}

func (s *meddling) Change(ctx context.Context, record authkey.Record, action string) (authkey.Record, error) {
	if meddle := s.meddle; meddle != nil {
		s.meddle = nil
		meddle(record)
	}
	return s.MemoryStore.Change(ctx, record, action)
}

// A rotation under a revision loses to a change that comes between its look and its write.
func TestRotationUnderARevisionLosesToAChange(t *testing.T) {
	t.Parallel()
	store := &meddling{MemoryStore: authkey.NewMemoryStore()}
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, admin.WithKeys(store, issuer))
	made := serve(t, h, request("POST", keys, "")).want(t, 201, "")
	key := made.header.Get("Location")
	store.meddle = func(record authkey.Record) {
		name := "meanwhile"
		if _, err := issuer.Change(t.Context(), record.Org, record.ID, 0, authkey.Changes{Name: &name}); err != nil {
			t.Error(err)
		}
	}
	tag := serve(t, h, request("GET", key, "")).want(t, 200, "").header.Get("ETag")
	serve(t, h, request("POST", key+"/credentials", `{"overlap":"0s"}`, "If-Match", tag)).want(t, 412, "precondition_failed")
	now := serve(t, h, request("GET", key, "")).want(t, 200, "")
	if n := len(now.object["credentials"].([]any)); n != 1 || now.object["name"] != "meanwhile" {
		t.Errorf("%d credentials of %s", n, now.text)
	}
}

// The word that one actor marks a request with is nobody else's: it neither tells him of the key, nor holds him up.
func TestAnotherActorsRepeatIsAnotherRequest(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newService(t, rdb)
		org := redistest.Org(t)
		for _, name := range []string{"mia", "noa"} {
			h := handlerOf(t, admin.Actor{Name: name}, admin.WithKeys(s.store, s.issuer), admin.WithIdempotency(rdb))
			serve(t, h, keyed(org, `{"name":"ci"}`, "the-same")).want(t, 201, "")
			serve(t, h, keyed(org, `{"name":"ci"}`, "the-same")).want(t, 409, "secret_already_issued")
		}
	})
}
