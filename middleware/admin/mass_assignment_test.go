package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware/admin"
)

// What a body may not say is refused as a whole, whoever sends it: nobody writes what belongs to the service
// (CVE-2025-61928 is such a hole, in another system).
func TestMassAssignment(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	root := newHandler(t, admin.WithKeys(store, issuer))
	tenant := handlerOf(t, admin.Actor{Org: "o", Scopes: []string{"*"}}, admin.WithKeys(store, issuer))
	made := serve(t, root, request("POST", keys, `{"name":"ci"}`)).want(t, 201, "")
	at := made.header.Get("Location")
	before := serve(t, root, request("GET", at, "")).text
	members := []string{
		`"id":"x"`, `"org":"x"`, `"project":"q"`, `"project_state":"active"`, `"revision":1`, `"created_at":"2020-01-01T00:00:00Z"`,
		`"created_by":"x"`, `"revoked_at":null`, `"credentials":[]`, `"credentials":[{"id":"x","digest":"x"}]`, `"credential":"x"`, `"secret":"x"`, `"digest":"x"`,
		`"last_used_at":"2020-01-01T00:00:00Z"`, `"foreign":true`, `"pepper_version":"x"`, `"within":{}`, `"epoch":1`, `"source":"x"`,
		`"user_id":"x"`, `"Name":"x"`, `"__proto__":{}`,
	}
	for _, h := range []*admin.Handler{root, tenant} {
		for _, row := range []struct {
			method, path string
			members      []string
		}{
			{"PATCH", at, append([]string{`"kind":"admin"`, `"state":"revoked"`, `"state":null`, `"kind":null`}, members...)},
			{"POST", keys, append([]string{`"state":"active"`, `"reason":"x"`}, members...)},
			{"POST", at + "/credentials", append([]string{`"key":"x"`, `"scopes":["*"]`}, members...)},
		} {
			for _, member := range row.members {
				sound := map[string]string{"PATCH": `"scopes":["taken"]`, "POST": `"expires_at":"2199-01-01T00:00:00Z"`}[row.method]
				if strings.HasSuffix(row.path, "/credentials") {
					sound += `,"overlap":"0s"`
				}
				for _, body := range []string{"{" + sound + "," + member + "}", "{" + member + "," + sound + "}"} {
					serve(t, h, request(row.method, row.path, body)).want(t, 422, "invalid_fields")
				}
			}
		}
	}
	if after := serve(t, root, request("GET", at, "")).text; after != before {
		t.Errorf("the key was %s, is %s", before, after)
	}
	if list := serve(t, root, request("GET", keys, "")).items(t); len(list) != 1 {
		t.Errorf("there are %d keys, want one", len(list))
	}
}

// A revocation has no author, end or state but those that the service gives it.
func TestMassAssignmentOfRevocations(t *testing.T) {
	t.Parallel()
	h := newHandler(t, admin.WithRevocations(newRevocations(t, noRedis(t)))) // which nothing reaches
	for _, member := range []string{
		`"actor":"x"`, `"at":"2020-01-01T00:00:00Z"`, `"updated_at":"2020-01-01T00:00:00Z"`, `"until":"2020-01-01T00:00:00Z"`, `"damaged":false`,
		`"org":"x"`, `"project":"p"`, `"id":"x"`, `"record":{}`, `"revision":1`, `"token":"x"`, `"keep":1`, `"Reason":"x"`, `"kind ":"x"`, `"__proto__":{}`,
	} {
		for _, body := range []string{revoking("subject", "i", "v", ","+member), "{" + member + "," + revoking("subject", "i", "v", "")[1:]} {
			serve(t, h, request("POST", "/v1/orgs/o/revocations", body)).want(t, 422, "invalid_fields")
		}
	}
	serve(t, h, request("POST", "/v1/orgs/o/revocations", revoking("subject", "i", "v", ""))).want(t, 503, "unavailable")
}

// No answer but the one that issues a secret holds one, and none holds a digest.
func TestNoDigestAnywhere(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	made := serve(t, h, request("POST", keys, "")).want(t, 201, "")
	at, id := made.header.Get("Location"), made.object["id"].(string)
	rotated := serve(t, h, request("POST", at+"/credentials", `{"overlap":"1h"}`)).want(t, 201, "")
	secrets := []string{made.object["secret"].(string), rotated.object["secret"].(string)}
	if strings.Contains(rotated.text, secrets[0]) {
		t.Errorf("a rotation tells the old secret: %s", rotated.text)
	}
	record, err := store.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range record.Credentials {
		sum := c.Digest.Sum()
		secrets = append(secrets, fmt.Sprintf("%x", sum), string(sum[:]))
	}
	texts := made.text + rotated.text
	for i, secret := range secrets[2:] {
		if strings.Contains(texts, secret) {
			t.Errorf("digest %d is in %s", i, texts)
		}
	}
	for _, r := range [][3]string{
		{"GET", at, ""}, {"GET", keys, ""}, {"GET", at + "/credentials", ""}, {"GET", at + "/credentials/" + id, ""},
		{"POST", "/v1/keys:lookup", `{"key":"` + secrets[0] + `"}`}, {"POST", "/v1/keys:lookup", `{"key":"` + secrets[1] + `x"}`},
		{"PATCH", at, `{"name":"n"}`}, {"PATCH", at, `{"state":"` + secrets[0] + `"}`}, {"GET", "/v1/orgs/o/projects/p", ""}, {"GET", "/v1/orgs/o/projects", ""},
		{"POST", "/v1/orgs/o/keys:bulk-revoke", `{"keys":["` + id + `"],"reason":"r"}`}, {"DELETE", at, ""},
	} {
		a := serve(t, h, request(r[0], r[1], r[2]))
		for i, secret := range append(secrets, "digest", `secret":`) {
			if strings.Contains(a.text, secret) {
				t.Errorf("%s %s tells number %d: %s", r[0], r[1], i, a.text)
			}
		}
	}
}
