package admin_test

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

const keys = "/v1/orgs/o/projects/p/keys"

func TestIssueKey(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	a := serve(t, h, request("POST", keys, `{"name":"ci","kind":"publishable","scopes":["read","write"],"products":["search"],
		"not_before":"2020-01-01T00:00:00Z","expires_at":"2199-01-01T00:00:00Z"}`)).want(t, 201, "")
	id, _ := a.object["id"].(string)
	secret, _ := a.object["secret"].(string)
	if parsed, err := authkey.Parse(secret); err != nil || parsed.ID != id {
		t.Errorf("secret is of %v, %v; want id %s", parsed, err, id)
	}
	if a.header.Get("Location") != keys+"/"+id {
		t.Errorf("Location %q", a.header.Get("Location"))
	}
	for name, want := range map[string]any{
		"project": "p", "name": "ci", "kind": "publishable", "state": "active", "scopes": "[read write]", "products": "[search]",
		"not_before": "2020-01-01T00:00:00Z", "expires_at": "2199-01-01T00:00:00Z",
	} {
		if got := fmt.Sprint(a.object[name]); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, target := range []string{a.header.Get("Location"), keys} {
		read := serve(t, h, request("GET", target, "")).want(t, 200, "")
		if !strings.Contains(read.text, id) || strings.Contains(read.text, secret) || strings.Contains(read.text, "secret\":") || strings.Contains(read.text, "igest") {
			t.Errorf("GET %s tells %s", target, read.text)
		}
	}
	for _, r := range []struct{ name, body string }{{"no body", ""}, {"an empty object", "{}"}, {"never", `{"expires_at":"never"}`}} {
		a := serve(t, h, request("POST", keys, r.body)).want(t, 201, "")
		if a.object["kind"] != "secret" || a.object["expires_at"] != "never" || fmt.Sprint(a.object["scopes"], a.object["products"]) != "[] []" {
			t.Errorf("%s: %s", r.name, a.text)
		}
	}
}

func TestKeyBodies(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	for _, row := range []struct {
		name, body string
		status     int
		pointers   string
	}{
		{"blank", " ", 400, ""},
		{"null", `null`, 422, ""},
		{"unknown", `{"digest":"x"}`, 422, "/digest"},
		{"long plan", `{"plan":"` + strings.Repeat("a", 129) + `"}`, 422, "/plan"},
		{"null plan", `{"plan":null}`, 422, "/plan"},
		{"null name", `{"name":null}`, 422, "/name"},
		{"null in scopes", `{"scopes":["a",null]}`, 422, "/scopes/1"},
		{"scopes as text", `{"scopes":"a b"}`, 422, "/scopes"},
		{"another kind", `{"kind":"Secret"}`, 422, "/kind"},
		{"empty kind", `{"kind":""}`, 422, "/kind"},
		{"control character", `{"name":"a\n"}`, 422, "/name"},
		{"long name", `{"name":"` + strings.Repeat("a", 129) + `"}`, 422, "/name"},
		{"scope with a blank", `{"scopes":["a b"]}`, 422, "/scopes"},
		{"scope twice", `{"scopes":["a","a"]}`, 422, "/scopes"},
		{"past", `{"expires_at":"2020-01-01T00:00:00Z"}`, 422, "/expires_at"},
		{"end before the beginning", `{"not_before":"2198-01-01T00:00:00Z","expires_at":"2197-01-01T00:00:00Z"}`, 422, "/expires_at"},
		{"never before", `{"not_before":"never"}`, 422, "/not_before"},
		{"no time", `{"not_before":"soon","expires_at":1}`, 422, "/not_before /expires_at"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, h, request("POST", keys, row.body))
			if pointers := strings.Join(pointersOf(t, a), " "); a.status != row.status || pointers != row.pointers {
				t.Errorf("%d, pointers %q; want %d, %q: %s", a.status, pointers, row.status, row.pointers, a.text)
			}
		})
	}
	form := request("POST", keys, "", "Content-Type", "application/x-www-form-urlencoded")
	serve(t, h, form).want(t, 415, "unsupported_media")
	if list := serve(t, h, request("GET", keys, "")).items(t); len(list) != 0 {
		t.Errorf("refused bodies made keys: %v", list)
	}
}

func TestKeysOfOthersAreUnknown(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	id := serve(t, h, request("POST", keys, "")).object["id"].(string)
	for _, elsewhere := range []string{"/v1/orgs/o/projects/q/keys/", "/v1/orgs/x/projects/p/keys/", "/v1/orgs/o/projects/P/keys/"} {
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			if a := serve(t, h, request(method, elsewhere+id, "")); a.status != 404 {
				t.Errorf("%s %s: %d", method, elsewhere, a.status)
			}
		}
	}
	serve(t, h, request("GET", keys+"/00nosuchkey000", "")).want(t, 404, "not_found")
	if a := serve(t, h, request("GET", keys+"/"+id, "")).want(t, 200, ""); a.object["state"] != "active" {
		t.Errorf("the key is %s", a.text)
	}
}

func TestRevokeKey(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	var changes []admin.Change
	h := newHandler(t, admin.WithKeys(store, issuer), admin.WithAudit(func(c admin.Change) { changes = append(changes, c) }))
	location := serve(t, h, request("POST", keys, "")).header.Get("Location")
	serve(t, h, request("DELETE", location+"?reason="+strings.Repeat("a", 257), "")).want(t, 400, "invalid_query")
	serve(t, h, request("DELETE", location+"?reason=a%00", "")).want(t, 400, "invalid_query")
	serve(t, h, request("DELETE", location+"?why=leaked", "")).want(t, 400, "invalid_query")
	for _, reason := range []string{"leaked%20in%20a%20log", "again"} {
		if a := serve(t, h, request("DELETE", location+"?reason="+reason, "", "X-Request-Id", "r-1")).want(t, 204, ""); a.text != "" {
			t.Errorf("204 with %q", a.text)
		}
	}
	a := serve(t, h, request("GET", location, "")).want(t, 200, "")
	if a.object["state"] != "revoked" || a.object["reason"] != "leaked in a log" || a.object["revoked_at"] == nil {
		t.Errorf("revoked: %s", a.text)
	}
	id := a.object["id"].(string)
	issued := admin.Change{Actor: admin.Actor{Name: "bearer", Scopes: []string{admin.ScopeAll}}, RequestID: changes[0].RequestID, Action: "key.issue", Org: "o", Project: "p", ID: id}
	revoked := issued
	revoked.Action, revoked.RequestID = "key.revoke", "r-1"
	if want := []admin.Change{issued, revoked}; !reflect.DeepEqual(changes, want) {
		t.Errorf("changes %+v, want %+v", changes, want)
	}
}

func TestListKeys(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	var want []string
	for range 5 {
		want = append(want, serve(t, h, request("POST", keys, "")).object["id"].(string))
	}
	serve(t, h, request("POST", "/v1/orgs/o/projects/q/keys", "")).want(t, 201, "")
	slices.Sort(want)
	var got []string
	query := "?limit=2"
	for range 3 {
		a := serve(t, h, request("GET", keys+query, "")).want(t, 200, "")
		for _, item := range a.items(t) {
			got = append(got, item["id"].(string))
		}
		if next, ok := a.object["next"].(string); ok {
			query = "?limit=2&cursor=" + url.QueryEscape(next)
			serve(t, h, request("GET", "/v1/orgs/o/projects/q/keys"+query, "")).want(t, 400, "invalid_query")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	for _, query := range []string{"cursor=", "cursor=x!", "limit=201", "limit=0", "state=Active", "kind=", "expires_before=soon", "unused_since=", "project=p"} {
		serve(t, h, request("GET", keys+"?"+query, "")).want(t, 400, "invalid_query")
	}
}

// brokenStore answers with one error.
type brokenStore struct{ err error }

func (s brokenStore) Find(context.Context, string) (authkey.Record, error) {
	return authkey.Record{}, s.err
}

func (s brokenStore) FindDigest(context.Context, authkey.Digest) (authkey.Record, error) {
	return authkey.Record{}, s.err
}

func (s brokenStore) Create(context.Context, authkey.Record) (authkey.Record, error) {
	return authkey.Record{}, s.err
}

func (s brokenStore) Change(context.Context, authkey.Record, string) (authkey.Record, error) {
	return authkey.Record{}, s.err
}

func (s brokenStore) Project(context.Context, string, string) (authkey.Project, error) {
	return authkey.Project{}, s.err
}

func (s brokenStore) SetProject(context.Context, authkey.Project) (authkey.Project, error) {
	return authkey.Project{}, s.err
}

func (s brokenStore) Projects(context.Context, string, string, int) ([]authkey.Project, string, error) {
	return nil, "", s.err
}

func (s brokenStore) List(context.Context, string, string, string, int) ([]authkey.Record, string, error) {
	return nil, "", s.err
}

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("%w: a-cause", authkey.ErrUnavailable), 503, "unavailable"},
		{fmt.Errorf("a-cause: %w", context.DeadlineExceeded), 503, "unavailable"},
		{authkey.ErrExists, 409, "conflict"},
		{fmt.Errorf("a-cause"), 500, "internal"},
	} {
		store := brokenStore{row.err}
		format, _ := authkey.NewFormat("acme", "test")
		issuer, err := authkey.NewIssuer(store, format)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		h := newHandler(t, admin.WithKeys(store, issuer), admin.WithLogger(logTo(&log)))
		for _, r := range [][2]string{{"GET", keys}, {"POST", keys}, {"GET", keys + "/x"}, {"DELETE", keys + "/x"}} {
			if row.status == 409 && r[0] != "POST" { // nothing is made there
				continue
			}
			log.Reset()
			a := serve(t, h, request(r[0], r[1], "")).want(t, row.status, row.code)
			if strings.Contains(a.text, "a-cause") {
				t.Errorf("%s %s tells the cause: %s", r[0], r[1], a.text)
			}
			if logged := strings.Contains(log.String(), row.err.Error()) && strings.Contains(log.String(), a.header.Get("X-Request-Id")); logged != (row.status >= 500) {
				t.Errorf("%s %s: %d logged %q", r[0], r[1], row.status, log.String())
			}
		}
	}
}
