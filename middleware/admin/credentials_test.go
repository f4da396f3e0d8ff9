package admin_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

func TestRotateKey(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		key := serve(t, s.admin, request("POST", "/v1/orgs/"+redistest.Org(t)+"/projects/p/keys", "")).want(t, 201, "")
		at, first := key.header.Get("Location"), key.object["id"].(string)
		rotated := serve(t, s.admin, request("POST", at+"/credentials", `{"overlap":"24h","expires_at":"2199-01-01T00:00:00Z","reason":"yearly"}`)).want(t, 201, "")
		second := rotated.object["credential"].(string)
		if rotated.object["id"] != first || second == first || rotated.header.Get("Location") != at+"/credentials/"+second || rotated.header.Get("ETag") != `"2"` {
			t.Errorf("rotated: %v %s", rotated.header, rotated.text)
		}
		serve(t, s.admin, request("POST", at+"/credentials", `{"overlap":"24h"}`)).want(t, 409, "too_many_credentials")
		list := serve(t, s.admin, request("GET", at+"/credentials", "")).want(t, 200, "").items(t)
		if len(list) != 2 || list[0]["id"] != second || list[0]["expires_at"] != "2199-01-01T00:00:00Z" || list[1]["id"] != first ||
			list[1]["reason"] != "yearly" || list[1]["superseded_at"] == nil || list[1]["revoked_at"] != nil {
			t.Fatalf("credentials %v", list)
		}
		if end, err := time.Parse(time.RFC3339, list[1]["expires_at"].(string)); err != nil || time.Until(end) > 24*time.Hour || time.Until(end) < 23*time.Hour {
			t.Errorf("the old one ends at %v, %v", end, err)
		}
		for range 2 {
			serve(t, s.admin, request("DELETE", at+"/credentials/"+first+"?reason=idle", "")).want(t, 204, "")
		}
		if old := serve(t, s.admin, request("GET", at+"/credentials/"+first, "")).want(t, 200, ""); old.object["revoked_at"] == nil || old.object["reason"] != "idle" {
			t.Errorf("revoked: %s", old.text)
		}
		serve(t, s.admin, request("GET", at+"/credentials/00nosuchkey000", "")).want(t, 404, "not_found")
		serve(t, s.admin, request("DELETE", at+"/credentials/00nosuchkey000", "")).want(t, 404, "not_found")
		serve(t, s.admin, request("DELETE", at, "")).want(t, 204, "")
		serve(t, s.admin, request("POST", at+"/credentials", `{"overlap":"0s"}`)).want(t, 409, "conflict")
		serve(t, s.admin, request("DELETE", at+"/credentials/"+second, "")).want(t, 204, "")
	})
}

func TestRotationBodies(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	at := serve(t, h, request("POST", keys, "")).header.Get("Location") + "/credentials"
	for body, want := range map[string]string{
		`{}`:                  "/overlap",
		`{"overlap":null}`:    "/overlap",
		`{"overlap":"1d"}`:    "/overlap",
		`{"overlap":86400}`:   "/overlap",
		`{"overlap":"-1s"}`:   "/overlap",
		`{"overlap":"9000h"}`: "/overlap",
		`{"overlap":"0s","expires_at":"2020-01-01T00:00:00Z"}`:         "/expires_at",
		`{"overlap":"0s","reason":"` + strings.Repeat("a", 257) + `"}`: "/reason",
		`{"overlap":"0s","secret":"mine"}`:                             "/secret",
		`{"overlap":"0s","digest":"mine"}`:                             "/digest",
	} {
		a := serve(t, h, request("POST", at, body)).want(t, 422, "invalid_fields")
		if got := strings.Join(pointersOf(t, a), " "); got != want {
			t.Errorf("%s: %s, want %s: %s", body, got, want, a.text)
		}
	}
	if list := serve(t, h, request("GET", at, "")).items(t); len(list) != 1 {
		t.Errorf("refused bodies made credentials: %v", list)
	}
}

// One of many repeats, at two replicas, rotates a key.
func TestRotationsRepeat(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		replicas := []http.Handler{newService(t, rdb, admin.WithIdempotency(rdb)).admin, newService(t, rdb, admin.WithIdempotency(rdb)).admin}
		key := serve(t, replicas[0], request("POST", "/v1/orgs/"+redistest.Org(t)+"/projects/p/keys", "")).want(t, 201, "")
		at := key.header.Get("Location") + "/credentials"
		rotate := func(h http.Handler, body string) *answer {
			return serve(t, h, request("POST", at, body, "Idempotency-Key", "k"))
		}
		answers := make([]*answer, 8)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = rotate(replicas[i%2], `{"overlap":"1h"}`) })
		}
		all.Wait()
		var secret, id string
		for _, a := range answers {
			if a.status == 201 {
				if secret != "" {
					t.Error("it was rotated twice")
				}
				secret, id = a.object["secret"].(string), a.object["credential"].(string)
			} else if a.status != 409 {
				t.Errorf("%d %s", a.status, a.text)
			}
		}
		for _, h := range replicas {
			a := rotate(h, `{"overlap":"1h"}`).want(t, 409, "secret_already_issued")
			if a.object["credential"] != id || a.object["key"] != key.object["id"] || strings.Contains(a.text, secret) {
				t.Errorf("a repeat tells %s", a.text)
			}
			rotate(h, `{"overlap":"0s"}`).want(t, 422, "idempotency_mismatch")
		}
		if list := serve(t, replicas[0], request("GET", at, "")).items(t); len(list) != 2 {
			t.Errorf("credentials %v", list)
		}
	})
}

// Of rotations at once from one revision, one is done: nobody ends a credential that another was just given.
func TestRotationsRace(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		replicas := []http.Handler{newService(t, rdb).admin, newService(t, rdb).admin}
		at := serve(t, replicas[0], request("POST", "/v1/orgs/"+redistest.Org(t)+"/projects/p/keys", "")).want(t, 201, "").header.Get("Location")
		for _, row := range []struct {
			tag  string
			done int
		}{{`"1"`, 1}, {"", 8}} {
			answers := make([]*answer, 8)
			var all sync.WaitGroup
			for i := range answers {
				fields := []string{"If-Match", row.tag}
				all.Go(func() {
					answers[i] = serve(t, replicas[i%2], request("POST", at+"/credentials", `{"overlap":"0s"}`, fields...))
				})
			}
			all.Wait()
			done := 0
			for _, a := range answers {
				if a.status == 201 {
					done++
				} else {
					a.want(t, 412, "precondition_failed")
				}
			}
			if done != row.done {
				t.Errorf("with If-Match %q, %d were done, want %d", row.tag, done, row.done)
			}
		}
		live := 0
		for _, c := range serve(t, replicas[0], request("GET", at+"/credentials", "")).items(t) {
			if c["revoked_at"] == nil {
				live++
			}
		}
		if live != 1 {
			t.Errorf("%d credentials live, want one", live)
		}
	})
}
