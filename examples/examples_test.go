package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// frameworks are the examples that keep one contract.
var frameworks = []string{"quickstart", "gin", "echo"}

var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tollgate-examples")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is a running example.
type process struct {
	Addr       string `json:"addr"`
	Org        string `json:"org"`
	Project    string `json:"project"`
	APIKey     string `json:"api_key"`
	AdminToken string `json:"admin_token"`
	Redis      string `json:"redis"`

	// Of oidc.
	Issuer       string `json:"issuer"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`

	t    *testing.T
	stop func() error
}

func start(t *testing.T, framework string, args ...string) *process {
	t.Helper()
	binary := filepath.Join(binaries, framework)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+framework).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", framework, err, out)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, append([]string{"-json", "-addr", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "REDIS_URL=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	p := &process{t: t}
	p.stop = func() error {
		p.stop = func() error { return nil }
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			return fmt.Errorf("%s did not end after SIGTERM", framework)
		}
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadBytes('\n')
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("%s ended with %v\n%s", framework, err, &stderr)
		}
	})
	if err != nil {
		t.Fatalf("%s said nothing: %v\n%s", framework, err, &stderr)
	}
	if err := json.Unmarshal(line, p); err != nil {
		t.Fatalf("%s said %s: %v", framework, line, err)
	}
	return p
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) decode(t *testing.T) map[string]any {
	t.Helper()
	v := map[string]any{}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return v
}

func (p *process) do(method, path, body string, fields ...string) answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+p.Addr+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// call calls a route with the demo key, admin one below /admin with the token.
func (p *process) call(method, path, body string) answer {
	p.t.Helper()
	return p.do(method, path, body, "X-API-Key", p.APIKey, "Content-Type", "application/json")
}

func (p *process) admin(method, path, body string, fields ...string) answer {
	p.t.Helper()
	return p.do(method, "/admin/v1/orgs/"+p.Org+path, body, append(fields, "Authorization", "Bearer "+p.AdminToken, "Content-Type", "application/json")...)
}

func (p *process) want(what string, a answer, status int) answer {
	p.t.Helper()
	if a.status != status {
		p.t.Fatalf("%s: status %d, want %d\n%s", what, a.status, status, a.body)
	}
	return a
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, framework := range frameworks {
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			p := start(t, framework)
			if p.Org != "demo" || p.Project != "demo" || p.Redis != "embedded" {
				t.Errorf("announced %+v", p)
			}
			t.Run("search and override", p.search)
			t.Run("other routes", p.routes)
			t.Run("matrix", p.matrix)
			t.Run("keys", p.keys)
			t.Run("usage", p.usage)
			p.t = t
			if err := p.stop(); err != nil {
				t.Errorf("SIGTERM: %v, want a clean end", err)
			}
		})
	}
}

func (p *process) search(t *testing.T) {
	p.t = t
	p.want("no key", p.do("GET", "/v1/search", ""), 401)
	for i := range 10 {
		a := p.want("within the limit", p.call("GET", "/v1/search?q=x", ""), 200)
		if got := a.header.Get("RateLimit-Policy"); got != `"requests";q=10;w=10` {
			t.Fatalf("call %d: RateLimit-Policy %s", i, got)
		}
		if got, want := a.header.Get("RateLimit"), fmt.Sprintf(`"requests";r=%d;t=`, 9-i); !strings.HasPrefix(got, want) {
			t.Fatalf("call %d: RateLimit %s, want %s", i, got, want)
		}
	}
	a := p.want("over the limit", p.call("GET", "/v1/search", ""), 429)
	if a.header.Get("Retry-After") == "" || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("429 with %v", a.header)
	}
	const selector = `"project":"demo","endpoint":"GET /v1/search","policy":"requests"`
	set := p.want("set an override", p.admin("PUT", "/overrides", `{`+selector+`,"limit":15,"window":"1m","expires_at":"never","reason":"test"}`), 201)
	id, _ := set.decode(t)["id"].(string)
	if id == "" || set.header.Get("ETag") == "" || !strings.HasSuffix(set.header.Get("Location"), "/admin/v1/orgs/demo/overrides/"+id) {
		t.Errorf("201 with %v %s", set.header, set.body)
	}
	for range 5 {
		p.want("after the raise", p.call("GET", "/v1/search", ""), 200)
	}
	p.want("over the raised limit", p.call("GET", "/v1/search", ""), 429)
	p.want("stale If-Match", p.admin("PUT", "/overrides", `{`+selector+`,"limit":99,"expires_at":"never","reason":"late"}`, "If-Match", `"1"`), 412)
	p.want("replace it", p.admin("PUT", "/overrides", `{`+selector+`,"limit":0,"expires_at":"never","reason":"stop"}`, "If-Match", set.header.Get("ETag")), 200)
	if a := p.want("limit zero", p.call("GET", "/v1/search", ""), 429); a.header.Get("Retry-After") != "" {
		t.Error("a limit of zero tells to come back")
	}
	limits := p.want("limits", p.admin("GET", "/projects/demo/limits?endpoint=GET+/v1/search", ""), 200).body
	if !strings.Contains(limits, `"source":"override:`+id+`"`) || !strings.Contains(limits, `"used":15`) {
		t.Errorf("limits: %s", limits)
	}
	p.want("delete it", p.admin("DELETE", "/overrides/"+id, ""), 204)
	p.want("gone", p.admin("GET", "/overrides/"+id, ""), 404)
	p.want("unknown field", p.admin("PUT", "/overrides", `{`+selector+`,"limits":1}`), 422)
	p.want("no token", p.do("GET", "/admin/v1/orgs/demo/overrides", ""), 401)
}

func (p *process) routes(t *testing.T) {
	p.t = t
	if a := p.want("item", p.call("GET", "/v1/items/42", ""), 200); a.decode(t)["id"] != "42" {
		t.Errorf("item: %s", a.body)
	}
	if a := p.call("GET", "/v1/items/43", ""); !strings.HasPrefix(a.header.Get("RateLimit"), `"requests";r=998`) {
		t.Errorf("two items have a count of their own each: %s", a.header.Get("RateLimit"))
	}
	who := p.want("whoami", p.call("GET", "/v1/whoami", ""), 200)
	if v := who.decode(t); v["org"] != "demo" || v["project"] != "demo" || strings.Contains(who.body, p.APIKey) {
		t.Errorf("whoami: %s", who.body)
	}
	if a := p.want("public", p.do("GET", "/v1/public", ""), 200); a.header.Get("RateLimit") != "" {
		t.Error("a stranger is told of limits")
	}
	for range 59 {
		p.want("public", p.do("GET", "/v1/public", "", "X-Forwarded-For", "198.51.100.1"), 200)
	}
	p.want("public, over the limit", p.do("GET", "/v1/public", "", "X-Forwarded-For", "198.51.100.2"), 429)
	p.want("health", p.do("GET", "/healthz", ""), 200)
	if a := p.want("metrics", p.do("GET", "/metrics", ""), 200); !strings.Contains(a.body, `endpoint="GET /v1/search"`) {
		t.Errorf("metrics do not know the search:\n%s", a.body)
	}
}

func (p *process) matrix(t *testing.T) {
	p.t = t
	p.want("not a matrix", p.call("POST", "/v1/matrix", `{"origins":0}`), 400)
	// The cost is above the limit, so it is refused at any time, for good, and takes nothing of the other policy.
	a := p.want("too many elements", p.call("POST", "/v1/matrix", `{"origins":1001,"destinations":1}`), 429)
	if v, ok := a.decode(t)["violated-policies"].([]any); !ok || len(v) != 1 || v[0] != "elements" {
		t.Errorf("violated: %s", a.body)
	}
	if a.header.Get("Retry-After") != "" {
		t.Error("a cost above the limit tells to come back")
	}
	if got := a.header.Get("RateLimit"); !strings.HasPrefix(got, `"requests";r=10`) {
		t.Errorf("RateLimit %s, want all requests left", got)
	}
	if a := p.want("a matrix", p.call("POST", "/v1/matrix", `{"origins":20,"destinations":30}`), 200); a.decode(t)["elements"] != 600.0 {
		t.Errorf("matrix: %s", a.body)
	}
}

func (p *process) keys(t *testing.T) {
	p.t = t
	made := p.want("create a key", p.admin("POST", "/projects/demo/keys", `{"name":"second"}`), 201)
	if made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", made.header.Get("Cache-Control"))
	}
	v := made.decode(t)
	id, _ := v["id"].(string)
	secret, _ := v["secret"].(string)
	p.want("use it", p.do("GET", "/v1/items/1", "", "Authorization", "Bearer "+secret), 200)
	if one := p.want("read it", p.admin("GET", "/projects/demo/keys/"+id, ""), 200); strings.Contains(one.body, secret) {
		t.Error("the secret is shown twice")
	}
	p.want("not in another project", p.admin("GET", "/projects/other/keys/"+id, ""), 404)
	p.want("two credentials", p.do("GET", "/v1/items/1", "", "Authorization", "Bearer "+secret, "X-API-Key", p.APIKey), 400)
	rotated := p.want("rotate it", p.admin("POST", "/projects/demo/keys/"+id+"/credentials", `{"overlap":"24h"}`), 201)
	second, _ := rotated.decode(t)["secret"].(string)
	if a := p.want("the old one", p.do("GET", "/v1/items/1", "", "X-API-Key", secret), 200); a.header.Get("Sunset") == "" {
		t.Error("whoever has the old credential is not told of its end")
	}
	a := p.want("the new one", p.do("GET", "/v1/self/whoami", "", "X-API-Key", second), 200)
	if v := a.decode(t); v["key"] != id || a.header.Get("Sunset") != "" {
		t.Errorf("whoami of the new credential: %s", a.body)
	}
	p.want("its own limits", p.do("GET", "/v1/self/limits", "", "X-API-Key", second), 200)
	p.want("revoke it", p.admin("DELETE", "/projects/demo/keys/"+id, ""), 204)
	p.want("the new one of a revoked key", p.do("GET", "/v1/items/1", "", "X-API-Key", second), 401)
	if a := p.want("the trail", p.admin("GET", "/audit?action=key.rotate", ""), 200); !strings.Contains(a.body, id) {
		t.Errorf("the trail does not tell of the rotation: %s", a.body)
	}
	p.want("the next request", p.do("GET", "/v1/items/1", "", "Authorization", "Bearer "+secret), 401)
}

// usage waits for the flush that happens by itself.
func (p *process) usage(t *testing.T) {
	p.t = t
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := map[string]float64{}
		for _, item := range p.want("usage", p.admin("GET", "/usage?project=demo&step=day", ""), 200).decode(t)["items"].([]any) {
			row := item.(map[string]any)
			if row["product"] != "demo" || row["project"] != "demo" {
				t.Fatalf("usage of %v", row)
			}
			got[row["kind"].(string)] += row["units"].(float64)
		}
		if got["search"] == 15 && got["item"] == 4 && got["matrix"] == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("usage %v, want 15 searches, 4 items and 1 matrix", got)
		}
	}
}

// Two processes on one Redis, with different routers, are replicas of one service.
func TestReplicas(t *testing.T) {
	t.Parallel()
	addr, database := redistest.StandaloneAddr(t), 11 // the examples' org has one name, so they get a database of their own
	rdb := redis.NewClient(&redis.Options{Addr: addr, DB: database})
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := rdb.Close(); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("redis://%s/%d", addr, database)
	all := make([]*process, len(frameworks))
	for i, framework := range frameworks {
		all[i] = start(t, framework, "-redis", url)
	}
	key := all[0].APIKey
	for range 2 {
		for _, p := range all {
			p.want("warm", p.do("GET", "/v1/items/1", "", "X-API-Key", key), 200)
		}
	}
	all[1].want("override", all[1].admin("PUT", "/overrides", `{"project":"demo","limit":0,"expires_at":"never","reason":"stop"}`), 201)
	for _, p := range all {
		p.want("the next request", p.do("GET", "/v1/items/1", "", "X-API-Key", key), 429)
	}
	all[2].want("clear", all[2].admin("DELETE", "/overrides?project=demo", ""), 200)
	for _, p := range all {
		if a := p.want("the next request", p.do("GET", "/v1/items/1", "", "X-API-Key", key), 200); a.header.Get("RateLimit-Policy") != `"requests";q=1000;w=60` {
			t.Errorf("RateLimit-Policy %s", a.header.Get("RateLimit-Policy"))
		}
	}
	for _, p := range all {
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
	}
	// What they counted was flushed before they ended.
	p := start(t, "quickstart", "-redis", url)
	var units float64
	for _, item := range p.want("usage", p.admin("GET", "/usage?step=month", ""), 200).decode(t)["items"].([]any) {
		units += item.(map[string]any)["units"].(float64)
	}
	if want := 9.0; units != want {
		t.Errorf("usage says %v, want %v", units, want)
	}
}
