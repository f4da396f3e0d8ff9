package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// keyed is a request to issue a key under an Idempotency-Key.
func keyed(org, body, key string) *http.Request {
	return request("POST", "/v1/orgs/"+org+"/projects/p/keys", body, "Idempotency-Key", key)
}

func countKeys(t *testing.T, h http.Handler, org string) int {
	t.Helper()
	return len(serve(t, h, request("GET", "/v1/orgs/"+org+"/projects/p/keys", "")).want(t, 200, "").items(t))
}

func TestRepeatIssuesNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		org := redistest.Org(t)
		one, other := newService(t, rdb, admin.WithIdempotency(rdb)).admin, newService(t, rdb, admin.WithIdempotency(rdb)).admin
		issued := serve(t, one, keyed(org, `{"name":"ci"}`, "k-1")).want(t, 201, "")
		for _, h := range []http.Handler{one, other} {
			again := serve(t, h, keyed(org, `{"name":"ci"}`, "k-1")).want(t, 409, "secret_already_issued")
			if again.object["key"] != issued.object["id"] || again.object["credential"] != issued.object["id"] {
				t.Errorf("%s, want key and credential %v", again.text, issued.object["id"])
			}
			if strings.Contains(again.text, issued.object["secret"].(string)) {
				t.Errorf("a repeat tells the secret: %s", again.text)
			}
			serve(t, h, keyed(org, `{"name":"cd"}`, "k-1")).want(t, 422, "idempotency_mismatch")
		}
		serve(t, other, keyed(org, `{"name":"ci"}`, "k-2")).want(t, 201, "")
		// Another project, and another org, is another request.
		elsewhere := request("POST", "/v1/orgs/"+org+"/projects/q/keys", `{"name":"ci"}`, "Idempotency-Key", "k-1")
		serve(t, one, elsewhere).want(t, 201, "")
		serve(t, one, keyed(redistest.Org(t), `{"name":"ci"}`, "k-1")).want(t, 201, "")
		if n := countKeys(t, one, org); n != 2 {
			t.Errorf("there are %d keys, want 2", n)
		}
	})
}

// One of many repeats at once, at two replicas, issues a key.
func TestRepeatsRace(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		org := redistest.Org(t)
		replicas := []http.Handler{newService(t, rdb, admin.WithIdempotency(rdb)).admin, newService(t, rdb, admin.WithIdempotency(rdb)).admin}
		answers := make([]*answer, 16)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = serve(t, replicas[i%2], keyed(org, "", "k")) })
		}
		all.Wait()
		issued := 0
		for _, a := range answers {
			code := a.object["code"]
			switch {
			case a.status == 201:
				issued++
			case a.status != 409 || code != "in_progress" && code != "secret_already_issued":
				t.Errorf("answer %d %s", a.status, a.text)
			case code == "in_progress" && a.header.Get("Retry-After") == "":
				t.Error("in progress, and no Retry-After")
			}
		}
		if issued != 1 || countKeys(t, replicas[0], org) != 1 {
			t.Errorf("%d answers with a secret", issued)
		}
	})
}

func TestRepeatOfWhatFailed(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	org := redistest.Org(t)
	store, issuer := failing(t)
	h := newHandler(t, admin.WithKeys(store, issuer), admin.WithIdempotency(rdb))
	// What was refused did nothing, so the key is free again, for another body too.
	serve(t, h, keyed(org, `{"scopes":1}`, "refused")).want(t, 422, "invalid_fields")
	serve(t, h, keyed(org, `{"scopes":[]}`, "refused")).want(t, 201, "")
	// What failed may have been done, so it is not done again at once.
	store.err = authkey.ErrUnavailable
	serve(t, h, keyed(org, "", "failed")).want(t, 503, "unavailable")
	store.err = nil
	serve(t, h, keyed(org, "", "failed")).want(t, 409, "in_progress")
	var names []string
	scan := rdb.Scan(t.Context(), 0, lua.IdempotencyKey(org, "")+"*", 10000).Iterator()
	for scan.Next(t.Context()) {
		names = append(names, scan.Val())
	}
	if len(names) != 2 {
		t.Errorf("Redis remembers %q, want two requests", names)
	}
	for _, name := range names {
		ttl := rdb.PTTL(t.Context(), name).Val()
		if finished := rdb.HExists(t.Context(), name, "key").Val(); ttl <= 0 || !finished && ttl > 30e9 {
			t.Errorf("%s: finished %v, ends in %v", name, finished, ttl)
		}
	}
}

func TestIdempotencyKeysThatAreNone(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer), admin.WithIdempotency(rdb))
	org := redistest.Org(t)
	for _, key := range []string{" ", "a b", "é", strings.Repeat("k", 129), "a\x7fb"} {
		serve(t, h, keyed(org, "", key)).want(t, 400, "invalid_idempotency_key")
	}
	empty := keyed(org, "", "x")
	empty.Header["Idempotency-Key"] = []string{""}
	serve(t, h, empty).want(t, 400, "invalid_idempotency_key")
	twice := keyed(org, "", "a")
	twice.Header.Add("Idempotency-Key", "b")
	serve(t, h, twice).want(t, 400, "invalid_idempotency_key")
	serve(t, h, keyed(org, "", strings.Repeat("k", 128))).want(t, 201, "")
	serve(t, newHandler(t, admin.WithKeys(store, issuer)), keyed(org, "", "k")).want(t, 400, "invalid_idempotency_key")
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { gone.Close() })
	serve(t, newHandler(t, admin.WithKeys(store, issuer), admin.WithIdempotency(gone)), keyed(org, "", "k")).want(t, 503, "unavailable")
	if _, err := admin.New(admin.BearerToken(token), admin.WithIdempotency(nil)); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("New: %v", err)
	}
}

// broken is a store that fails to create.
type broken struct {
	authkey.Store
	err error
}

func (b *broken) Create(ctx context.Context, record authkey.Record) (authkey.Record, error) {
	if b.err != nil {
		return authkey.Record{}, b.err
	}
	return b.Store.Create(ctx, record)
}

func failing(t *testing.T) (*broken, *authkey.Issuer) {
	t.Helper()
	b := &broken{Store: authkey.NewMemoryStore()}
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(b, format)
	if err != nil {
		t.Fatal(err)
	}
	return b, issuer
}
