package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
)

// What an answer ends a process with.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer canned
		want   int
		stderr string
	}{
		{"fine", canned{body: `{"name":"gold"}`}, cli.Done, ""},
		{"401", canned{status: 401, body: `{"code":"invalid_credential"}`}, cli.Failed, "401 invalid_credential"},
		{"403", canned{status: 403, body: `{"code":"insufficient_scope"}`}, cli.Failed, "insufficient_scope"},
		{"404", canned{status: 404, body: `{"code":"not_found"}`}, cli.NotFound, "404 not_found"},
		{"404 of a part", canned{status: 404, body: `{"code":"not_served"}`}, cli.Failed, "not_served"},
		{"404 of another server", canned{status: 404, body: "<html>", mediaType: "text/html"}, cli.Failed, "is the server's URL right?"},
		{"404 without a body", canned{status: 404}, cli.Failed, "is the server's URL right?"},
		{"409", canned{status: 409, body: `{"code":"conflict"}`}, cli.Conflict, "conflict"},
		{"412", canned{status: 412, body: `{"code":"precondition_failed"}`}, cli.Conflict, "precondition_failed"},
		{"422", canned{status: 422, body: `{"code":"invalid_fields"}`}, cli.Failed, "invalid_fields"},
		{"428", canned{status: 428, body: `{"code":"precondition_required"}`}, cli.Conflict, "precondition_required"},
		{"429", canned{status: 429, body: `{"code":"too_many"}`}, cli.Unavailable, "too_many"},
		{"500", canned{status: 500, body: `{"code":"internal"}`}, cli.Failed, "internal"},
		{"502", canned{status: 502, body: "<html>", mediaType: "text/html"}, cli.Unavailable, "502 Bad Gateway"},
		{"503", canned{status: 503, body: `{"code":"unavailable"}`}, cli.Unavailable, "unavailable"},
		{"no JSON", canned{body: "hello"}, cli.Failed, "something else than JSON"},
		{"half of JSON", canned{body: `{"name":`}, cli.Failed, "something else than JSON"},
		{"another sort", canned{body: "{}", mediaType: "text/html"}, cli.Failed, "something else than JSON"},
		{"no object", canned{body: "[]"}, cli.Failed, "no JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, map[string]canned{"GET /plans/gold": tt.answer})
			o := process(f.URL+"/admin/", "", "plans", "show", "gold").want(t, tt.want)
			contains(t, "stderr", o.stderr, tt.stderr)
			if tt.want != cli.Done && (o.stdout != "" || o.stderr == "") {
				t.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	o := process(server.URL, "", "plans", "show", "gold").want(t, cli.Unavailable)
	contains(t, "stderr", o.stderr, "connection refused")
	hung := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(hung)
	args := []string{"--timeout", "50ms", "--org", "o", "--project", "p"}
	o = process(silent.URL, "", append(args, "keys", "show", "k1")...).want(t, cli.Unavailable)
	contains(t, "stderr", o.stderr, "no answer within 50ms")
	if strings.Contains(o.stderr, "may have happened") {
		t.Errorf("a look may have changed something: %s", o.stderr)
	}
	o = process(silent.URL, "", append(args, "keys", "revoke", "k1")...).want(t, cli.Unavailable)
	contains(t, "stderr", o.stderr, "may have happened")
	o = process(silent.URL, "", append(args, "keys", "create", "--for", "1h")...).want(t, cli.Unavailable)
	contains(t, "stderr", o.stderr, "with --idempotency-key ", " --until 2026-11-21T09:00:00Z")
}

// A problem says all that the server does, in characters that drive no terminal.
func TestProblem(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]canned{"PUT /plans/gold": {status: 422, body: `{"code":"invalid\u001b_fields","detail":"Some\u009b fields","request_id":"r1",
		"errors":[{"pointer":"/rules/0/limit","code":"invalid_value","message":"want \u202e more"},{"pointer":"","code":"x","message":"y"}],"key":"k1","credential":"c1"}`}})
	o := f.call(`{"rules":[]}`, "plans set gold --if-match 1").want(t, cli.Failed)
	contains(t, "stderr", o.stderr, `422 invalid\x1b_fields: Some\u009b fields`, `/rules/0/limit: want \u202e more (invalid_value)`,
		"the body: y (x)", "key: k1", "credential: c1", "request id: r1")
}

func TestAuditVerify(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		`{"ok":true,"entries":3,"head":{"seq":3,"link":"ab"}}`:     cli.Done,
		`{"ok":false,"broken_at":2,"why":"the link is another's"}`: cli.Broken,
		`{"ok":"true"}`: cli.Failed,
		`{}`:            cli.Failed,
	} {
		for _, flags := range []string{"", " --json"} {
			f := newFake(t, map[string]canned{"GET /orgs/acme/audit:verify": {body: body}})
			o := f.call("", "audit verify"+flags).want(t, want)
			if want == cli.Broken {
				contains(t, "stdout", o.stdout, "the link is another's")
				contains(t, "stderr", o.stderr, "the audit trail is broken: the link is another's")
			}
		}
	}
	f := newFake(t, map[string]canned{"GET /audit:verify": {body: `{"ok":true}`}})
	process(f.URL+"/admin", "", "audit", "verify", "--plans").want(t, cli.Done)
	for entries, none := range map[string]bool{"0": true, "3": false} {
		f := newFake(t, map[string]canned{"GET /orgs/acme/audit:verify": {body: `{"ok":true,"entries":` + entries + `,"head":{"seq":0,"link":""}}`}})
		if o := f.call("", "audit verify").want(t, cli.Done); strings.Contains(o.stderr, "there is no trail") != none {
			t.Errorf("of %s entries it says %q", entries, o.stderr)
		}
	}
}

// The table of a trail says why something was done, where the trail does.
func TestAuditReasons(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]canned{"GET /orgs/acme/audit": {body: `{"items":[
		{"seq":3,"action":"key.revoke","after":{"state":"revoked","reason":"leaked\u001b"}},
		{"seq":2,"action":"key.create","after":{"state":"active"}},
		{"seq":1,"action":"override.delete"}]}`}})
	lines := strings.Split(f.call("", "audit list").want(t, cli.Done).stdout, "\n")
	for i, want := range []string{"REASON", `leaked\x1b`, "-", "-"} {
		if got := strings.Fields(lines[i]); got[len(got)-1] != want {
			t.Errorf("line %d is %q, want %q at its end", i, lines[i], want)
		}
	}
}

// Who revokes what is revoked learns that nothing was done; a look that fails is in nobody's way.
func TestRevokedAlready(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, command string
		look          canned
		already       bool
	}{
		{"a key", "keys revoke k1", canned{body: `{"state":"revoked"}`}, true},
		{"a key that lives", "keys revoke k1", canned{body: `{"state":"active","credentials":[{"id":"k1","revoked_at":"2026-11-20T08:00:00Z"}]}`}, false},
		{"a key nobody may look at", "keys revoke k1", canned{status: 403, body: `{"code":"insufficient_scope"}`}, false},
		{"a key that is no object", "keys revoke k1", canned{body: `[]`}, false},
		{"a credential", "keys revoke-credential k1 c1", canned{body: `{"state":"active","credentials":[{"id":"c1","revoked_at":"2026-11-20T08:00:00Z"}]}`}, true},
		{"a credential beside another", "keys revoke-credential k1 c1",
			canned{body: `{"state":"active","credentials":[{"id":"c1"},{"id":"c0","revoked_at":"2026-11-20T08:00:00Z"}]}`}, false},
		{"a credential of a revoked key", "keys revoke-credential k1 c1", canned{body: `{"state":"revoked","credentials":[{"id":"c1"}]}`}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answers := one()
			answers[look] = tt.look
			f := newFake(t, answers)
			o := f.call("", tt.command+" --project shop").want(t, cli.Done)
			if strings.Contains(o.stderr, "was revoked already") != tt.already || !strings.Contains(o.stderr, "revoked") {
				t.Errorf("it says %q", o.stderr)
			}
			if last := f.requests[len(f.requests)-1]; !strings.HasPrefix(last, "DELETE "+key) {
				t.Errorf("asked for %q", f.requests)
			}
		})
	}
}

func TestNoRoomForACredential(t *testing.T) {
	t.Parallel()
	path := "POST " + key + "/credentials"
	f := newFake(t, map[string]canned{path: {status: 409, body: `{"code":"too_many_credentials","detail":"It has all it may have."}`}})
	o := f.call("", "keys rotate --project shop k1").want(t, cli.Conflict)
	contains(t, "stderr", o.stderr, "409 too_many_credentials", "keys revoke-credential", "--now")
	f = newFake(t, map[string]canned{path: {status: 409, body: `{"code":"conflict"}`}})
	if o := f.call("", "keys rotate --project shop k1").want(t, cli.Conflict); strings.Contains(o.stderr, "--now") {
		t.Errorf("of another conflict it says %q", o.stderr)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	path := "GET " + inShop + "/keys"
	f := newFake(t, map[string]canned{
		path + "?limit=200":             {body: `{"items":[{"id":"a","name":"n\u001b]0;x","scopes":["s","t"],"expires_at":"2026-11-24T08:00:00Z"}],"next":"p2"}`},
		path + "?cursor=p2&limit=200":   {body: `{"items":[{"id":"b"}],"next":"p3"}`},
		path + "?cursor=p3&limit=200":   {body: `{"items":[{"id":"c"}]}`},
		path + "?limit=2":               {body: `{"items":[{"id":"a"}],"next":"p2"}`},
		path + "?cursor=p2&limit=1":     {body: `{"items":[{"id":"b"}],"next":"p3\u001b"}`},
		path + "?cursor=loop&limit=200": {body: `{"items":[],"next":"loop"}`},
	})
	o := f.call("", "keys list --project shop").want(t, cli.Done)
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	if len(lines) != 4 {
		t.Fatalf("wrote %q", lines)
	}
	for i, want := range []string{
		"ID NAME KIND STATE OWNER PLAN SCOPES EXPIRES",
		`a n\x1b]0;x - - - - s,t 2026-11-24T08:00:00Z (in 3d)`, "b - - - - - - -", "c - - - - - - -",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
	for flags, want := range map[string]string{"": "a,b,c", " --all": "a,b,c", " --limit 2": "a,b", " --cursor p3": "c"} {
		o := f.call("", "keys list --project shop --json"+flags).want(t, cli.Done)
		var document struct {
			Items []struct{ ID string }
			Next  string
		}
		if err := json.Unmarshal([]byte(o.stdout), &document); err != nil {
			t.Fatalf("%q: %v", o.stdout, err)
		}
		var ids []string
		for _, item := range document.Items {
			ids = append(ids, item.ID)
		}
		if got := strings.Join(ids, ","); got != want || (document.Next != "") != (want == "a,b") {
			t.Errorf("%q reads %s and next %q, want %s", flags, got, document.Next, want)
		}
	}
	o = f.call("", "keys list --project shop --limit 2").want(t, cli.Done)
	contains(t, "stderr", o.stderr, `--cursor p3\x1b`)
	o = f.call("", "keys list --project shop --cursor loop").want(t, cli.Failed)
	contains(t, "stderr", o.stderr, "followed by itself")
}

func TestShow(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]canned{"GET " + inShop + "/keys/k1": {body: `{"zeta":1,"id":"k1","meta":{"b":"2","a":"1"},"scopes":[],
		"credentials":[{"id":"c1","created_at":"2026-11-20T08:00:00Z"},{"id":"c0","expires_at":"2026-11-21T08:00:00Z"}]}`}})
	o := f.call("", "keys show --project shop k1").want(t, cli.Done)
	want := `id      k1
scopes  -
meta    a=1 b=2
zeta    1

credentials
ID  CREATED_AT                       EXPIRES_AT
c1  2026-11-20T08:00:00Z (24h ago)   -
c0  -                                2026-11-21T08:00:00Z (now)
`
	squeeze := func(text string) string {
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	if squeeze(o.stdout) != squeeze(want) {
		t.Errorf("shows\n%s\nwant\n%s", o.stdout, want)
	}
}

// More keys than the route takes at once go out in parts, and pages of a filter are followed.
func TestBulkInParts(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]canned{"POST /orgs/acme/keys:bulk-revoke": {body: `{"items":[{"id":"x","result":"revoked"}]}`}})
	args := []string{"keys bulk-revoke --yes --reason r --json"}
	for i := range 401 {
		args = append(args, fmt.Sprint("k", i))
	}
	o := f.call("", args...).want(t, cli.Done)
	if n := strings.Count(o.stdout, `"x"`); len(f.requests) != 3 || n != 3 {
		t.Errorf("%d requests, %d items", len(f.requests), n)
	}
	if strings.Count(f.requests[0], `"k`) != 201 { // with "keys"
		t.Errorf("the first part is %s", f.requests[0])
	}
}

// Whatever is not revoked shows in the exit code, and what was revoked before a failure is told.
func TestBulkThatFails(t *testing.T) {
	t.Parallel()
	path := "POST /orgs/acme/keys:bulk-revoke"
	f := newFake(t, map[string]canned{path: {body: `{"items":[{"id":"a","result":"revoked"},{"id":"b","result":"not_found"},{"id":"c","result":"error","code":"forbidden"}]}`}})
	o := f.call("", "keys bulk-revoke a b c --yes --reason r").want(t, cli.Failed)
	contains(t, "stderr", o.stderr, "of 3 keys, 2 were not revoked")
	contains(t, "stdout", o.stdout, "not_found", "forbidden")
	f = newFake(t, map[string]canned{path: {body: `{"items":[{"id":"a","result":"revoked"}],"next":"same"}`}})
	o = f.call("", "keys bulk-revoke --owner me --yes --reason r").want(t, cli.Failed)
	contains(t, "stderr", o.stderr, "followed by itself")
	contains(t, "stdout", o.stdout, "revoked")
	if len(f.requests) != 2 || !strings.Contains(f.requests[1], `"cursor":"same"`) {
		t.Errorf("asked for %q", f.requests)
	}
}
