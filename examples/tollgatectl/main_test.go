package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
)

const adminToken = "an-admin-token-of-the-tests"

var now = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

// canned is what a fake answers with.
type canned struct {
	status    int // 200 unless it says otherwise
	etag      string
	body      string
	mediaType string // JSON, or a problem, by the status
}

// fake is a server that writes down what it is asked for.
type fake struct {
	*httptest.Server

	mu       sync.Mutex
	requests []string
	headers  []http.Header
	recorded []recorded
	answers  map[string]canned // by method and path, with the query first; what is not there is 200 {}
}

func newFake(t *testing.T, answers map[string]canned) *fake {
	t.Helper()
	f := &fake{answers: answers}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/admin/v1")
	line := r.Method + " " + path
	full := line
	if r.URL.RawQuery != "" {
		text, _ := url.QueryUnescape(r.URL.RawQuery)
		full += "?" + text
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.headers = append(f.headers, r.Header)
	f.recorded = append(f.recorded, recorded{r.Method, path, r.URL.Query(), r.Header, body})
	written := full
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if value := r.Header.Get(name); value != "" {
			written += " " + name + ": " + value
		}
	}
	if len(body) > 0 {
		written += " " + string(body)
	}
	f.requests = append(f.requests, written)
	answer, ok := f.answers[full]
	if !ok {
		answer, ok = f.answers[line]
	}
	if !ok {
		answer = canned{body: "{}"}
	}
	answer.write(w)
}

func (a canned) write(w http.ResponseWriter) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.mediaType == "" {
		a.mediaType = "application/json"
		if a.status >= 400 {
			a.mediaType = "application/problem+json"
		}
	}
	if a.etag != "" {
		w.Header().Set("ETag", a.etag)
	}
	w.Header().Set("Content-Type", a.mediaType)
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// outcome is what a process leaves behind.
type outcome struct {
	code           int
	stdout, stderr string
}

// process is a run of the command line, with an environment of its own, at the time of the tests.
func process(server, stdin string, args ...string) outcome {
	return processAt(func() time.Time { return now }, server, stdin, args...)
}

func processAt(clock func() time.Time, server, stdin string, args ...string) outcome {
	var out, errs bytes.Buffer
	env := cli.Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Now: clock,
		Getenv: func(name string) string {
			return map[string]string{"TOLLGATE_ADMIN_URL": server, "TOLLGATE_ADMIN_TOKEN": adminToken}[name]
		},
	}
	background := httptest.NewRequest(http.MethodGet, "/", nil).Context()
	return outcome{cli.Main(background, env, args, commands()), out.String(), errs.String()}
}

// call runs a command against the fake, for an org and a project.
func (f *fake) call(stdin string, line ...string) outcome {
	args := []string{"--org", "acme"}
	if strings.HasPrefix(line[0], "audit ") && strings.Contains(line[0], "--plans") {
		args = nil
	}
	for _, words := range line {
		if strings.Contains(words, "\x00") { // a word with a space in it
			args = append(args, strings.ReplaceAll(words, "\x00", " "))
			continue
		}
		args = append(args, strings.Fields(words)...)
	}
	return process(f.URL+"/admin", stdin, args...)
}

func (o outcome) want(t *testing.T, code int) outcome {
	t.Helper()
	if o.code != code {
		t.Fatalf("ended with %d, want %d\nstdout: %s\nstderr: %s", o.code, code, o.stdout, o.stderr)
	}
	if strings.Contains(o.stdout+o.stderr, adminToken) {
		t.Errorf("the token is told:\n%s%s", o.stdout, o.stderr)
	}
	return o
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

// Every command has help, and none is called otherwise than the table says.
func TestHelp(t *testing.T) {
	t.Parallel()
	all := process("", "", "help").want(t, cli.Done)
	for _, command := range commands() {
		contains(t, "help", all.stdout, command.Name+" ", command.Brief)
		for _, args := range [][]string{
			append([]string{"help"}, strings.Fields(command.Name)...),
			append(strings.Fields(command.Name), "--help"),
			append(strings.Fields(command.Name), "-h"),
		} {
			o := process("", "", args...).want(t, cli.Done)
			contains(t, fmt.Sprint(args), o.stdout, "usage: tollgatectl "+command.Name, "--token-file FILE", "Exit codes:")
			if o.stderr != "" {
				t.Errorf("%v writes to stderr: %s", args, o.stderr)
			}
		}
	}
	if o := process("", "", "help", "keys").want(t, cli.Done); strings.Contains(o.stdout, "plans") || !strings.Contains(o.stdout, "keys rotate") {
		t.Errorf("help keys shows\n%s", o.stdout)
	}
}

// Every command says what it misses before anything is sent.
func TestNeeds(t *testing.T) {
	t.Parallel()
	for _, command := range commands() {
		t.Run(command.Name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, nil)
			args := strings.Fields(command.Name)
			for _, name := range strings.Fields(command.Args) {
				args = append(args, strings.Trim(name, "[.]"))
			}
			full := append([]string{"--org", "acme", "--project", "shop"}, args...)
			if command.Needs&cli.NeedsOrg != 0 {
				o := process(f.URL, "", args...).want(t, cli.Misused)
				contains(t, "stderr", o.stderr, "--org is missing", "tollgatectl help "+command.Name)
			}
			if command.Needs&cli.NeedsProject != 0 {
				o := process(f.URL, "", append([]string{"--org", "acme"}, args...)...).want(t, cli.Misused)
				contains(t, "stderr", o.stderr, "--project is missing")
			}
			if !strings.Contains(command.Args, "...") {
				o := process(f.URL, "", append(full, "s3cret")...).want(t, cli.Misused)
				if strings.Contains(o.stderr, "s3cret") {
					t.Errorf("an argument too many is repeated: %s", o.stderr)
				}
			}
			if fewer := strings.Fields(command.Args); len(fewer) > 0 && !strings.HasPrefix(fewer[0], "[") {
				process(f.URL, "", full[:len(full)-1]...).want(t, cli.Misused)
				process(f.URL, "", append(full[:len(full)-1:len(full)-1], "")...).want(t, cli.Misused)
			}
			process(f.URL, "", append(full, "--never-heard-of")...).want(t, cli.Misused)
			o := process(f.URL, "", append(full, "--token=s3cret")...).want(t, cli.Misused)
			contains(t, "stderr", o.stderr, "TOLLGATE_ADMIN_TOKEN")
			if strings.Contains(o.stderr, "s3cret") {
				t.Errorf("a token is repeated: %s", o.stderr)
			}
			if len(f.requests) != 0 {
				t.Errorf("the server was asked for %q", f.requests)
			}
		})
	}
}

func TestWrongWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                             "a command is missing",
		"keyz list":                    "no such command",
		"keys":                         "keys wants one of create, list",
		"keys frobnicate":              "keys wants one of create",
		"help frobnicate":              "no such command",
		"--org":                        "flag needs an argument",
		"plans list --timeout 0s":      "--timeout",
		"plans list --timeout soon":    "invalid value",
		"plans list --limit 0":         "--limit must be at least 1",
		"audit list":                   "either --org or --plans",
		"--org o audit verify --plans": "either --org or --plans",
		"openapi --server ftp://x":     "want a URL",
		"openapi --server http://x.de": "use https",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			o := process("http://127.0.0.1:1", "", strings.Fields(line)...).want(t, cli.Misused)
			contains(t, "stderr", o.stderr, want)
			if o.stdout != "" {
				t.Errorf("stdout has %q", o.stdout)
			}
		})
	}
	o := process("", "", "plans", "list").want(t, cli.Misused)
	contains(t, "stderr", o.stderr, "TOLLGATE_ADMIN_URL")
}
