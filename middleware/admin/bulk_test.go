package admin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// results returns what became of keys, by their id.
func results(t *testing.T, a *answer) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, item := range a.want(t, 200, "").items(t) {
		all[item["id"].(string)] = item["result"].(string)
	}
	return all
}

func TestBulkRevoke(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		var revoked []string
		s := newService(t, rdb, admin.WithAudit(func(c admin.Change) {
			if c.Action == "key.revoke" {
				revoked = append(revoked, c.Project+" "+c.ID)
			}
		}))
		org := "/v1/orgs/" + redistest.Org(t)
		issue := func(org, project, body string) string {
			return serve(t, s.admin, request("POST", org+"/projects/"+project+"/keys", body)).want(t, 201, "").object["id"].(string)
		}
		a, b := issue(org, "p", `{"owner":"ops"}`), issue(org, "q", `{"owner":"ops"}`)
		c, d := issue(org, "p", `{"owner":"dev"}`), issue(org, "q", "")
		foreign := issue("/v1/orgs/"+redistest.Org(t), "p", `{"owner":"ops"}`)
		serve(t, s.admin, request("DELETE", org+"/projects/q/keys/"+d, "")).want(t, 204, "")
		revoked = nil
		bulk := func(body string) map[string]string {
			t.Helper()
			return results(t, serve(t, s.admin, request("POST", org+"/keys:bulk-revoke", body)))
		}
		before := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		for _, row := range []struct {
			body string
			want map[string]string
		}{
			{`{"keys":["` + a + `","` + d + `","` + foreign + `","nosuch"],"dry_run":true}`, map[string]string{a: "would_revoke", d: "already_revoked", foreign: "not_found", "nosuch": "not_found"}},
			{`{"owner":"ops","dry_run":true}`, map[string]string{a: "would_revoke", b: "would_revoke"}},
			{`{"project":"p","owner":"dev","created_before":"` + before + `","reason":"r"}`, map[string]string{}},
			{`{"project":"p","owner":"ops","reason":"r"}`, map[string]string{a: "revoked"}},
			{`{"project":"p","owner":"ops","reason":"r"}`, map[string]string{}},
			{`{"keys":["` + a + `","` + foreign + `","` + c + `"],"reason":"r"}`, map[string]string{a: "already_revoked", foreign: "not_found", c: "revoked"}},
			{`{"created_before":"2199-01-01T00:00:00Z","reason":"r"}`, map[string]string{b: "revoked"}},
		} {
			if got := bulk(row.body); fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("%s: %v, want %v", row.body, got, row.want)
			}
		}
		if want := []string{"p " + a, "p " + c, "q " + b}; fmt.Sprint(revoked) != fmt.Sprint(want) {
			t.Errorf("the audit tells of %v, want %v", revoked, want)
		}
	})
}

func TestBulkBodies(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	many := strings.TrimSuffix(strings.Repeat(`"x",`, 201), ",")
	for body, want := range map[string]string{
		`{"reason":"r"}`:                              "/keys",
		`{"keys":[],"reason":"r"}`:                    "/keys",
		`{"keys":[` + many + `],"reason":"r"}`:        "/keys",
		`{"keys":["x"],"owner":"o","reason":"r"}`:     "/keys",
		`{"keys":["x"],"cursor":"c","reason":"r"}`:    "/keys",
		`{"keys":["x",""],"reason":"r"}`:              "/keys/1",
		`{"keys":["x"]}`:                              "/reason",
		`{"keys":["x"],"reason":""}`:                  "/reason",
		`{"project":"","reason":"r"}`:                 "/project",
		`{"owner":"o","org":"x","reason":"r"}`:        "/org",
		`{"owner":"o","dry_run":"no","reason":"r"}`:   "/dry_run",
		`{"created_before":"yesterday","reason":"r"}`: "/created_before",
	} {
		a := serve(t, h, request("POST", "/v1/orgs/o/keys:bulk-revoke", body)).want(t, 422, "invalid_fields")
		if got := strings.Join(pointersOf(t, a), " "); got != want {
			t.Errorf("%.60s: %s, want %s", body, got, want)
		}
	}
	serve(t, h, request("POST", "/v1/orgs/o/keys:bulk-revoke", `{"owner":"o","cursor":"x!","reason":"r"}`)).want(t, 400, "invalid_query")
}

// Pages of 200 go on until all are revoked.
func TestBulkPages(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	for range 450 {
		if _, _, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "o", Project: "p", Owner: "ops"}); err != nil {
			t.Fatal(err)
		}
	}
	body, revoked, sizes := `{"project":"p","reason":"r"}`, map[string]string{}, ""
	for range 9 {
		a := serve(t, h, request("POST", "/v1/orgs/o/keys:bulk-revoke", body))
		page := results(t, a)
		sizes += fmt.Sprint(" ", len(page))
		for id, result := range page {
			revoked[id] = result
		}
		next, ok := a.object["next"].(string)
		if !ok {
			break
		}
		body = `{"project":"p","reason":"r","cursor":"` + next + `"}`
	}
	if len(revoked) != 450 || sizes != " 200 200 50" {
		t.Errorf("%d revoked, in pages of%s", len(revoked), sizes)
	}
}

// lostStore loses its Redis after some changes.
type lostStore struct {
	authkey.Store

	changes, finds int
}

func (s *lostStore) Find(ctx context.Context, id string) (authkey.Record, error) {
	s.finds++
	return s.Store.Find(ctx, id)
}

func (s *lostStore) Change(ctx context.Context, r authkey.Record, action string) (authkey.Record, error) {
	if s.changes--; s.changes < 0 {
		return authkey.Record{}, authkey.ErrUnavailable
	}
	return s.Store.Change(ctx, r, action)
}

// What a lost Redis costs is bounded: it is not asked for each key.
func TestBulkOnALostStore(t *testing.T) {
	t.Parallel()
	memory, _ := memory(t)
	store := &lostStore{Store: memory, changes: 1}
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, admin.WithKeys(store, issuer))
	var ids []string
	for range 20 {
		ids = append(ids, serve(t, h, request("POST", keys, "")).object["id"].(string))
	}
	store.finds = 0
	a := serve(t, h, request("POST", "/v1/orgs/o/keys:bulk-revoke", `{"keys":["`+strings.Join(ids, `","`)+`"],"reason":"r"}`)).want(t, 200, "")
	for i, item := range a.items(t) {
		if want := map[bool]string{true: "revoked", false: "error"}[i == 0]; item["result"] != want || item["id"] != ids[i] || i > 0 && item["code"] != "unavailable" {
			t.Errorf("number %d: %v", i, item)
		}
	}
	if len(a.items(t)) != 20 || store.finds > 4 {
		t.Errorf("%d items, %d looks", len(a.items(t)), store.finds)
	}
}
