package admin_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		var log strings.Builder
		s := newService(t, rdb, admin.WithLogger(logTo(&log)))
		org := redistest.Org(t)
		key := serve(t, s.admin, request("POST", "/v1/orgs/"+org+"/projects/p/keys", "")).want(t, 201, "")
		rotated := serve(t, s.admin, request("POST", key.header.Get("Location")+"/credentials", `{"overlap":"0s"}`)).want(t, 201, "")
		old, fresh := key.object["secret"].(string), rotated.object["secret"].(string)
		serve(t, s.admin, request("DELETE", key.header.Get("Location"), "")).want(t, 204, "")
		mine := handlerOf(t, admin.Actor{Org: org}, admin.WithKeys(s.store, s.issuer))
		others := handlerOf(t, admin.Actor{Org: "x" + org}, admin.WithKeys(s.store, s.issuer))
		for secret, credential := range map[string]any{old: key.object["id"], fresh: rotated.object["credential"]} {
			body := `{"key":"` + secret + `"}`
			for _, h := range []*admin.Handler{s.admin, mine} {
				a := serve(t, h, request("POST", "/v1/keys:lookup", body)).want(t, 200, "")
				if a.object["credential"] != credential || a.object["id"] != key.object["id"] || a.object["org"] != org || a.object["project"] != "p" || a.object["state"] != "revoked" {
					t.Errorf("it finds %s", a.text)
				}
				if strings.Contains(a.text, secret) || strings.Contains(a.text, "secret\":") {
					t.Errorf("it echoes the key: %s", a.text)
				}
			}
			serve(t, others, request("POST", "/v1/keys:lookup", body)).want(t, 404, "not_found")
			last := secret[len(secret)-1:]
			wrong := secret[:len(secret)-1] + map[bool]string{true: "1", false: "0"}[last == "0"]
			serve(t, s.admin, request("POST", "/v1/keys:lookup", `{"key":"`+wrong+`"}`)).want(t, 404, "not_found")
		}
		if strings.Contains(log.String(), old) || strings.Contains(log.String(), fresh) {
			t.Errorf("the log tells the key: %s", log.String())
		}
	})
}

func TestLookupBodies(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	for body, status := range map[string]int{
		`{"key":"x"}`: 404,
		`{"key":"` + strings.Repeat("x", 512) + `"}`: 404,
		`{"key":"` + strings.Repeat("x", 513) + `"}`: 422,
		`{"key":"a b"}`:         404,
		`{"key":"\u0000"}`:      404,
		`{"key":""}`:            422,
		`{"key":null}`:          422,
		`{"key":["x"]}`:         422,
		`{}`:                    422,
		`{"key":"x","org":"o"}`: 422,
	} {
		if a := serve(t, h, request("POST", "/v1/keys:lookup", body)); a.status != status || strings.Contains(a.text, "xxxx") {
			t.Errorf("%.40s: %d %s, want %d", body, a.status, a.text, status)
		}
	}
	serve(t, h, request("GET", "/v1/keys:lookup", "")).want(t, 405, "method_not_allowed")
	serve(t, h, request("POST", "/v1/keys:lookup?key=x", `{"key":"x"}`)).want(t, 400, "invalid_query")
}

// Keys that open the admin route are for whoever has all that they may do.
func TestAdminKeysAreForAdmins(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	root := newHandler(t, admin.WithKeys(store, issuer))
	as := func(org string, scopes ...string) *admin.Handler {
		return handlerOf(t, admin.Actor{Org: org, Scopes: scopes}, admin.WithKeys(store, issuer))
	}
	const reader = `{"kind":"admin","scopes":["keys:read"]}`
	serve(t, as("o", "*"), request("POST", keys, reader)).want(t, 403, "forbidden")
	serve(t, as("", "keys:write"), request("POST", keys, reader)).want(t, 403, "forbidden")
	serve(t, as("", "keys:write", "admins:write"), request("POST", keys, reader)).want(t, 403, "forbidden")
	serve(t, as("", "keys:write", "admins:write"), request("POST", keys, `{"kind":"admin","scopes":["*"]}`)).want(t, 403, "forbidden")
	serve(t, root, request("POST", keys, `{"kind":"admin","scopes":["search"]}`)).want(t, 422, "invalid_fields")
	serve(t, as("", "keys:write", "admins:write", "keys:read"), request("POST", keys, reader)).want(t, 201, "")
	made := serve(t, root, request("POST", keys, `{"kind":"admin","scopes":["*"]}`)).want(t, 201, "")
	at, id := made.header.Get("Location"), made.object["id"].(string)
	for _, h := range []*admin.Handler{as("o", "*"), as("", "keys:write", "keys:read")} {
		serve(t, h, request("PATCH", at, `{"name":"n"}`)).want(t, 403, "forbidden")
		serve(t, h, request("POST", at+"/credentials", `{"overlap":"1h"}`)).want(t, 403, "forbidden")
		serve(t, h, request("DELETE", at+"/credentials/"+id, "")).want(t, 403, "forbidden")
		serve(t, h, request("DELETE", at, "")).want(t, 403, "forbidden")
		bulk := serve(t, h, request("POST", "/v1/orgs/o/keys:bulk-revoke", `{"keys":["`+id+`"],"reason":"r"}`)).want(t, 200, "").items(t)
		if bulk[0]["result"] != "error" || bulk[0]["code"] != "forbidden" {
			t.Errorf("in bulk: %v", bulk)
		}
	}
	some := as("", "keys:write", "admins:write", "keys:read")
	serve(t, some, request("PATCH", at, `{"scopes":["keys:read"]}`)).want(t, 403, "forbidden")
	serve(t, some, request("POST", at+"/credentials", `{"overlap":"1h"}`)).want(t, 403, "forbidden")
	serve(t, root, request("PATCH", at, `{"scopes":["search"]}`)).want(t, 422, "invalid_fields")
	serve(t, root, request("PATCH", at, `{"scopes":["keys:read"]}`)).want(t, 200, "")
	serve(t, some, request("PATCH", at, `{"scopes":["keys:write"]}`)).want(t, 200, "")

	// The data plane does not know such a key.
	verifier, err := authkey.New(store)
	if err != nil {
		t.Fatal(err)
	}
	if got := (&service{verifier: verifier}).authenticate(t, made.object["secret"].(string)); !errors.Is(got, authkey.ErrUnknown) {
		t.Errorf("the data plane answers %v", got)
	}
	serve(t, some, request("DELETE", at, "")).want(t, 204, "")
}

func (s *service) authenticate(t *testing.T, secret string) error {
	t.Helper()
	_, err := s.verifier.Authenticate(t.Context(), authkey.NewPresented(secret))
	return err
}
