package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
)

const (
	key    = inShop + "/keys/k1"
	look   = "GET " + key
	inShop = "/orgs/acme/projects/shop"
	issued = `{"id":"k1","name":"ci","secret":"tg_live_abc","expires_at":"never","revision":1}`
)

// answers of a server that has one of everything, at revision 7.
func one() map[string]canned {
	thing := canned{etag: `"7"`, body: `{"id":"k1","name":"ci","state":"active","revision":7}`}
	return map[string]canned{
		"GET " + inShop + "/keys/k1":                             thing,
		"PATCH " + inShop + "/keys/k1":                           thing,
		"DELETE " + inShop + "/keys/k1":                          {status: 204},
		"DELETE " + inShop + "/keys/k1/credentials/c1":           {status: 204},
		"POST " + inShop + "/keys":                               {status: 201, body: issued},
		"POST " + inShop + "/keys/k1/credentials":                {status: 201, body: issued},
		"GET /orgs/acme/projects/shop":                           thing,
		"GET /orgs/acme/projects/unset":                          {body: `{"name":"unset","state":"active"}`},
		"GET /orgs/acme/projects/new":                            {status: 404, body: `{"code":"not_found"}`},
		"GET /orgs/acme/overrides/o1":                            thing,
		"DELETE /orgs/acme/overrides/o1":                         {status: 204},
		"GET /orgs/acme/overrides?limit=200&project=shop":        {body: `{"items":[{"id":"o1","endpoint":"","policy":"search","revision":7}]}`},
		"GET /orgs/acme/overrides?limit=200&project=":            {body: `{"items":[]}`},
		"GET /plans/gold":                                        {etag: `"7"`, body: `{"name":"gold","rules":[{"limit":1}],"revision":7}`},
		"GET /plans/new":                                         {status: 404, body: `{"code":"not_found"}`},
		"DELETE /plans/gold":                                     {status: 204},
		"DELETE " + inShop + "/limits":                           {body: `{"items":[]}`},
		"GET " + inShop + "/limits":                              {body: `{"items":[{"policy":"a","partition":"project"},{"policy":"b","partition":"org"}]}`},
		"GET /orgs/acme/audit:verify":                            {body: `{"ok":true,"entries":3,"head":{"seq":3,"link":"ab"}}`},
		"POST /orgs/acme/overrides/dry-run":                      {body: `{"state":"active","items":[]}`},
		"POST /orgs/acme/keys:bulk-revoke":                       {body: `{"items":[{"id":"k1","result":"revoked"}]}`},
		"GET /orgs/acme/overrides":                               {body: `{"items":[]}`},
		"GET /orgs/acme/projects":                                {body: `{"items":[]}`},
		"GET /orgs/acme/revocations":                             {body: `{"items":[]}`},
		"DELETE /orgs/acme/revocations":                          {status: 204},
		"GET /orgs/acme/audit":                                   {body: `{"items":[]}`},
		"GET /audit":                                             {body: `{"items":[]}`},
		"GET /audit:verify":                                      {body: `{"ok":true}`},
		"GET /plans":                                             {body: `{"items":[]}`},
		"GET " + inShop + "/keys":                                {body: `{"items":[]}`},
		"GET /orgs/acme/usage?limit=1000&project=shop&step=hour": {body: `{"items":[]}`},
	}
}

// request is what a command asks the server for.
type request struct {
	name  string
	line  string
	stdin string
	want  []string
}

var requests = []request{
	{"create", "keys create --project shop --name ci --scopes a,b --scopes c --meta team=x --for 2d", "", []string{
		"POST " + inShop + `/keys {"expires_at":"2026-11-23T08:00:00Z","meta":{"team":"x"},"name":"ci","scopes":["a","b","c"]}`,
	}},
	{"create from a beginning", "keys create --project shop --not-before 2026-12-01 --for 24h", "", []string{
		"POST " + inShop + `/keys {"expires_at":"2026-12-02T00:00:00Z","not_before":"2026-12-01T00:00:00Z"}`,
	}},
	{"list", "keys list --project shop --state active --expires-before +7d --unused-since -90d --limit 5", "", []string{
		"GET " + inShop + "/keys?expires_before=2026-11-28T08:00:00Z&limit=5&state=active&unused_since=2026-08-23T08:00:00Z",
	}},
	{"create with everything", "keys create --project shop --name a --kind publishable --plan gold --owner me --products p --networks 192.0.2.0/24 " +
		"--origins https://a.example --not-before now --until never", "", []string{
		"POST " + inShop + `/keys {"expires_at":"never","kind":"publishable","name":"a","networks":["192.0.2.0/24"],"not_before":"2026-11-21T08:00:00Z",` +
			`"origins":["https://a.example"],"owner":"me","plan":"gold","products":["p"]}`,
	}},
	{"list by everything", "keys list --project shop --owner me --scope a --kind secret --cursor x --all", "", []string{
		"GET " + inShop + "/keys?cursor=x&kind=secret&limit=200&owner=me&scope=a",
	}},
	{"show", "keys show --project shop k1", "", []string{look}},
	{"change", "keys change k1 --project shop --networks= --meta team --until never", "", []string{
		look, "PATCH " + key + ` If-Match: "7" {"expires_at":"never","meta":{"team":null},"networks":[]}`,
	}},
	{"change a revision", "keys change k1 --project shop --name x --if-match 3", "", []string{"PATCH " + key + ` If-Match: "3" {"name":"x"}`}},
	{"change by force", "keys change k1 --project shop --name x --force", "", []string{"PATCH " + key + ` If-Match: * {"name":"x"}`}},
	{"rotate", "keys rotate --project shop k1", "", []string{look, "POST " + key + `/credentials If-Match: "7" {"overlap":"24h"}`}},
	{"rotate now", "keys rotate --project shop k1 --now --reason leaked --force", "", []string{
		"POST " + key + `/credentials If-Match: * {"overlap":"0s","reason":"leaked"}`,
	}},
	{"disable", "keys disable --project shop k1 --reason odd", "", []string{"PATCH " + key + ` If-Match: * {"reason":"odd","state":"disabled"}`}},
	{"enable", "keys enable --project shop k1", "", []string{look, "PATCH " + key + ` If-Match: "7" {"state":"active"}`}},
	{"revoke", "keys revoke --project shop k1 --reason leaked", "", []string{look, "DELETE " + key + "?reason=leaked If-Match: *"}},
	{"revoke a revision", "keys revoke --project shop k1 --if-match 3", "", []string{look, "DELETE " + key + ` If-Match: "3"`}},
	{"revoke a credential", "keys revoke-credential --project shop k1 c1", "", []string{look, "DELETE " + key + "/credentials/c1 If-Match: *"}},
	{"lookup", "keys lookup", "tg_live_abc\r\n", []string{`POST /keys:lookup {"key":"tg_live_abc"}`}},
	{"bulk by name", "keys bulk-revoke k1 k2 --yes --reason x", "", []string{`POST /orgs/acme/keys:bulk-revoke {"dry_run":false,"keys":["k1","k2"],"reason":"x"}`}},
	{"bulk by filter", "keys bulk-revoke --project shop --owner me --created-before -30d --yes --reason x", "", []string{
		`POST /orgs/acme/keys:bulk-revoke {"created_before":"2026-10-22T08:00:00Z","dry_run":false,"owner":"me","project":"shop","reason":"x"}`,
	}},
	{"suspend", "projects suspend shop --reason unpaid", "", []string{
		"GET " + inShop, "PATCH " + inShop + ` If-Match: * {"reason":"unpaid","state":"suspended"}`,
	}},
	{"suspend what nothing was said of", "projects suspend new", "", []string{
		"GET /orgs/acme/projects/new", `PUT /orgs/acme/projects/new If-None-Match: * {"state":"suspended"}`,
	}},
	{"suspend what is set to nothing", "projects suspend unset", "", []string{
		"GET /orgs/acme/projects/unset", `PUT /orgs/acme/projects/unset If-None-Match: * {"state":"suspended"}`,
	}},
	{"activate", "projects activate shop", "", []string{"GET " + inShop, "PATCH " + inShop + ` If-Match: "7" {"state":"active"}`}},
	{"set a project", "projects set new --plan gold", "", []string{
		"GET /orgs/acme/projects/new", `PUT /orgs/acme/projects/new If-None-Match: * {"plan":"gold","state":"active"}`,
	}},
	{"set an override", "overrides set --project shop --policy search --limit 0 --for 24h --reason x", "", []string{
		"GET /orgs/acme/overrides?limit=200&project=shop",
		`PUT /orgs/acme/overrides If-Match: "7" {"expires_at":"2026-11-22T08:00:00Z","limit":0,"policy":"search","project":"shop","reason":"x"}`,
	}},
	{"set another override", "overrides set --project shop --policy other --window 1m --until never --force", "", []string{
		"GET /orgs/acme/overrides?limit=200&project=shop",
		`PUT /orgs/acme/overrides If-None-Match: * {"expires_at":"never","policy":"other","project":"shop","window":"1m0s"}`,
	}},
	{"set an override of the org", "overrides set --org-wide --access blocked --until +1h", "", []string{
		"GET /orgs/acme/overrides?limit=200&project=",
		`PUT /orgs/acme/overrides If-None-Match: * {"access":"blocked","expires_at":"2026-11-21T09:00:00Z","project":""}`,
	}},
	{"set everything of an override", "overrides set --project shop --endpoint e --policy p --limit 1 --window 2w --burst 3 --change reset --starts +1h --for 1h", "", []string{
		"GET /orgs/acme/overrides?limit=200&project=shop",
		`PUT /orgs/acme/overrides If-None-Match: * {"burst":3,"change":"reset","endpoint":"e","expires_at":"2026-11-21T10:00:00Z","limit":1,"policy":"p",` +
			`"project":"shop","starts_at":"2026-11-21T09:00:00Z","window":"336h0m0s"}`,
	}},
	{"list overrides", "overrides list --project shop --endpoint e --state active --ending-before +1d --limit 3", "", []string{
		"GET /orgs/acme/overrides?ending_before=2026-11-22T08:00:00Z&endpoint=e&limit=3&project=shop&state=active",
	}},
	{"list projects", "projects list --limit 3", "", []string{"GET /orgs/acme/projects?limit=3"}},
	{"list plans", "plans list --limit 3", "", []string{"GET /plans?limit=3"}},
	{"list the audit trail", "audit list --actor me --action key.revoke --id k1 --from -7d --to now --order oldest --limit 3", "", []string{
		"GET /orgs/acme/audit?action=key.revoke&actor=me&from=2026-11-14T08:00:00Z&id=k1&limit=3&order=oldest&to=2026-11-21T08:00:00Z",
	}},
	{"list the audit trail of plans", "audit list --plans --limit 3", "", []string{"GET /audit?limit=3"}},
	{"verify that of plans", "audit verify --plans", "", []string{"GET /audit:verify"}},
	{"preview", "overrides preview --org-wide --look-at shop --limit 5 --for 1h", "", []string{
		`POST /orgs/acme/overrides/dry-run?project=shop {"expires_at":"2026-11-21T09:00:00Z","limit":5,"project":""}`,
	}},
	{"delete an override", "overrides delete o1", "", []string{"GET /orgs/acme/overrides/o1", `DELETE /orgs/acme/overrides/o1 If-Match: "7"`}},
	{"clear overrides", "overrides clear --project shop --yes", "", []string{"DELETE /orgs/acme/overrides?project=shop"}},
	{"explain", "limits explain --project shop --key k1", "", []string{"GET " + inShop + "/limits?key=k1"}},
	{"reset one", "limits reset --project shop --policy a", "", []string{"DELETE " + inShop + "/limits?policy=a"}},
	{"reset all", "limits reset --project shop --yes --partition org", "", []string{"DELETE " + inShop + "/limits?partition=org"}},
	{"set a plan", "plans set gold", `{"rules":[{"limit":2}]}`, []string{"GET /plans/gold", `PUT /plans/gold If-Match: "7" {"rules":[{"limit":2}]}`}},
	{"set a plan that was read", "plans set gold", `{"name":"gold","rules":[],"revision":5}`, []string{`PUT /plans/gold If-Match: "5" {"rules":[]}`}},
	{"set a plan by force", "plans set gold --force", `{"name":"gold","rules":[],"revision":5}`, []string{"GET /plans/gold", `PUT /plans/gold If-Match: * {"rules":[]}`}},
	{"set a revision of a plan", "plans set gold --if-match 3", `{"name":"gold","rules":[],"revision":5}`, []string{`PUT /plans/gold If-Match: "3" {"rules":[]}`}},
	{"set a plan like another", "plans set new", `{"name":"gold","rules":[],"revision":5}`, []string{"GET /plans/new", `PUT /plans/new If-None-Match: * {"rules":[]}`}},
	{"set a new plan", "plans set new", `{"rules":[]}`, []string{"GET /plans/new", `PUT /plans/new If-None-Match: * {"rules":[]}`}},
	{"delete a plan", "plans delete gold --yes", "", []string{"GET /plans/gold", `DELETE /plans/gold If-Match: "7"`}},
	{"list revocations", "revocations list --limit 3", "", []string{"GET /orgs/acme/revocations?limit=3"}},
	{"revoke a token", "revocations add token t/1 --issuer https://id.example/ --until +1h --reason leaked", "", []string{
		`POST /orgs/acme/revocations {"expires_at":"2026-11-21T09:00:00Z","issuer":"https://id.example/","kind":"token","reason":"leaked","value":"t/1"}`,
	}},
	{"revoke a subject", "revocations add --issuer i --before -1h --reason left subject mia@example.com", "", []string{
		`POST /orgs/acme/revocations {"before":"2026-11-21T07:00:00Z","issuer":"i","kind":"subject","reason":"left","value":"mia@example.com"}`,
	}},
	{"lift", "revocations lift client a&b=c --issuer https://id.example/?x", "", []string{
		"DELETE /orgs/acme/revocations?issuer=https://id.example/?x&kind=client&value=a&b=c",
	}},
	{"usage", "usage --project shop --step hour", "", []string{"GET /orgs/acme/usage?limit=1000&project=shop&step=hour"}},
	{"verify", "audit verify --seq 3 --link ab", "", []string{"GET /orgs/acme/audit:verify?link=ab&seq=3"}},
	{"openapi", "openapi", "", []string{"GET /openapi.json"}},
}

func TestRequests(t *testing.T) {
	t.Parallel()
	documented := documentOf(t)
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, one())
			f.call(tt.stdin, tt.line).want(t, cli.Done)
			if !slices.Equal(f.requests, tt.want) {
				t.Errorf("asked for\n%s\nwant\n%s", strings.Join(f.requests, "\n"), strings.Join(tt.want, "\n"))
			}
			for _, r := range f.recorded {
				documented.check(t, r)
			}
			for _, header := range f.headers {
				want := "Bearer " + adminToken
				if tt.name == "openapi" {
					want = ""
				}
				if got := header.Get("Authorization"); got != want {
					t.Errorf("Authorization %q, want %q", got, want)
				}
			}
		})
	}
}

// What is refused before anything is sent.
func TestContradictions(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"keys create --project shop --for 1h --until never":                      "--for and --until",
		"keys create --project shop --for 0s":                                    "more than nothing",
		"keys create --project shop --for 200000000000d":                         "want a duration",
		"keys create --project shop --until soon":                                "want a time",
		"keys create --project shop --meta =x":                                   "want name=value",
		"keys create --project shop --json --secret-only":                        "--secret-only and --json",
		"keys create --project shop --idempotency-key \u00e9":                    "visible ASCII",
		"keys change --project shop k1":                                          "what is to be changed",
		"keys change --project shop k1 --name x --force --if-match 1":            "contradict",
		"keys revoke --project shop k1 --force --if-match 1":                     "contradict",
		"keys rotate --project shop k1 --now --overlap 1h":                       "contradict",
		"keys rotate --project shop k1 --if-match 0":                             "want a revision",
		"keys bulk-revoke --yes":                                                 "name keys, or select",
		"keys bulk-revoke --yes k1":                                              "--reason is missing",
		"keys bulk-revoke --yes --owner x k1":                                    "name keys, or select",
		"projects set shop":                                                      "what is to be set",
		"overrides set --limit 1 --for 1h":                                       "either --project or --org-wide",
		"overrides set --project shop --org-wide --limit 1 --for 1h":             "either --project or --org-wide",
		"overrides set --project shop --limit 1":                                 "must say when it ends",
		"overrides set --project shop --limit many --for 1h":                     "want a whole number",
		"overrides set --project shop --limit 1 --for 1h --force --if-match 2":   "contradict",
		"overrides clear --yes":                                                  "either --project or --org-wide",
		"revocations add subject mia --reason x":                                 "--issuer is missing",
		"revocations add subject mia --issuer i":                                 "--reason is missing",
		"revocations add subject mia --issuer i --reason x --before soon":        "want a time",
		"revocations add subject mia --issuer i --reason x --idempotency-key é":  "visible ASCII",
		"revocations lift subject mia":                                           "--issuer is missing",
		"revocations lift subject":                                               "its arguments are KIND VALUE",
		"audit verify --seq 3":                                                   "go together",
		"plans set gold --file /does/not/exist":                                  "no such file",
		"plans set gold --force --if-match 1":                                    `object with "rules"`,
		"keys list --project shop --unused-since yesterday":                      "want a time",
		"overrides preview --project shop --limit 1 --for 1h --starts tomorrow":  "want a time",
		"keys lookup --file /does/not/exist":                                     "no such file",
		"keys lookup":                                                            "must be one line",
		"keys lookup tg_live_abc":                                                "it takes no arguments",
		"keys create --project shop --token-file /does/not/exist --name whoever": "--token-file",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, one())
			o := f.call("", line).want(t, cli.Misused)
			contains(t, "stderr", o.stderr, want)
			if len(f.requests) != 0 || o.stdout != "" {
				t.Errorf("asked for %q, wrote %q", f.requests, o.stdout)
			}
		})
	}
}

func TestRefusedInput(t *testing.T) {
	t.Parallel()
	f := newFake(t, one())
	for stdin, line := range map[string]string{
		"": "plans set gold", "[]": "plans set gold", `{"rules":[],"limit":1}`: "plans set gold", `{"name":"gold"}`: "plans set gold",
		"two\nlines": "keys lookup", "\n": "keys lookup", strings.Repeat("a", 2<<20): "keys lookup",
	} {
		if o := f.call(stdin, line); o.code == cli.Done || o.stdout != "" || len(f.requests) != 0 {
			t.Errorf("%.20q ends with %d, after %q", stdin, o.code, f.requests)
		}
	}
	process(f.URL, "", "--org", "acme", "keys", "bulk-revoke", "--yes", "--reason", "x", "k1", "").want(t, cli.Misused)
}

// What changes many things shows them first.
func TestBulkNeedsYes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"keys bulk-revoke k1":               `POST /orgs/acme/keys:bulk-revoke {"dry_run":true,"keys":["k1"]}`,
		"keys bulk-revoke --owner me":       `POST /orgs/acme/keys:bulk-revoke {"dry_run":true,"owner":"me"}`,
		"overrides clear --project shop":    "GET /orgs/acme/overrides?limit=200&project=shop",
		"overrides clear --org-wide":        "GET /orgs/acme/overrides?limit=200&project=",
		"limits reset --project shop":       "GET " + inShop + "/limits",
		"plans delete gold":                 "GET /plans/gold",
		"plans delete gold --force":         "GET /plans/gold",
		"limits reset --project shop --key": "",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, one())
			if want == "" {
				f.call("", line).want(t, cli.Misused)
				return
			}
			o := f.call("", line).want(t, cli.Failed)
			contains(t, "stderr", o.stderr, "nothing was changed; add --yes")
			if o.stdout == "" {
				t.Error("it does not show what it would change")
			}
			if !slices.Equal(f.requests, []string{want}) {
				t.Errorf("asked for %q, want %q", f.requests, want)
			}
		})
	}
	t.Run("a reset shows only what it would reset", func(t *testing.T) {
		t.Parallel()
		f := newFake(t, one())
		for partition, want := range map[string]string{"project": `"a"`, "org": `"b"`} {
			o := f.call("", "limits reset --json --project shop --partition "+partition).want(t, cli.Failed)
			if strings.Count(o.stdout, `"policy"`) != 1 || !strings.Contains(o.stdout, want) {
				t.Errorf("of partition %s it shows %s", partition, o.stdout)
			}
		}
	})
}
