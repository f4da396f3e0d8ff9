package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
)

func TestSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t, one())
	o := f.call("", "keys create --project shop").want(t, cli.Done)
	contains(t, "stdout", o.stdout, "secret", "tg_live_abc", "k1")
	contains(t, "stderr", o.stderr, "not shown again")
	for _, line := range []string{"keys create --project shop --secret-only", "keys rotate --project shop k1 --secret-only"} {
		if o := f.call("", line).want(t, cli.Done); o.stdout != "tg_live_abc\n" || o.stderr != "" {
			t.Errorf("%s writes %q and %q", line, o.stdout, o.stderr)
		}
	}
	o = f.call("", "keys create --project shop --json").want(t, cli.Done)
	var key map[string]any
	if err := json.Unmarshal([]byte(o.stdout), &key); err != nil || key["secret"] != "tg_live_abc" {
		t.Errorf("--json writes %q: %v", o.stdout, err)
	}
	sent := map[string]bool{}
	for i, line := range f.requests {
		if strings.HasPrefix(line, http.MethodPost) {
			sent[f.headers[i].Get("Idempotency-Key")] = true
		}
	}
	if len(sent) != 4 || sent[""] {
		t.Errorf("of 4 requests, the keys of idempotency are %v", sent)
	}
	f.call("", "keys create --project shop --idempotency-key mine").want(t, cli.Done)
	if got := f.headers[len(f.headers)-1].Get("Idempotency-Key"); got != "mine" {
		t.Errorf("Idempotency-Key %q, want the one given", got)
	}
}

// A server that does not count repeats refuses the key of a request, before it does anything.
func TestServerWithoutIdempotency(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]canned{"POST " + inShop + "/keys": {status: 400, body: `{"code":"invalid_idempotency_key"}`}})
	f.call("", "keys create --project shop").want(t, cli.Failed)
	if len(f.headers) != 2 || f.headers[0].Get("Idempotency-Key") == "" || f.headers[1].Get("Idempotency-Key") != "" {
		t.Errorf("asked with %v", f.headers)
	}
	f.call("", "keys create --project shop --idempotency-key mine").want(t, cli.Failed)
	if len(f.headers) != 3 {
		t.Errorf("asked %d times, though the key was given", len(f.headers)-2)
	}
}

// A secret that would drive the terminal is none, and one that is not written is lost: it says so.
func TestSecretThatCannotBeShown(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", "tg\u001b[31m", "tg_live abc", "tg\n"} {
		text, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		f := newFake(t, map[string]canned{"POST " + inShop + "/keys": {status: 201, body: `{"id":"k1","secret":` + string(text) + `}`}})
		for _, flags := range []string{"", " --secret-only", " --json"} {
			o := f.call("", "keys create --project shop"+flags).want(t, cli.Failed)
			if o.stdout != "" {
				t.Errorf("secret %q%s is written: %q", secret, flags, o.stdout)
			}
		}
	}
	f := newFake(t, one())
	var stderr strings.Builder
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: full{}, Stderr: &stderr, Now: time.Now, Getenv: func(string) string { return adminToken }}
	code := cli.Main(t.Context(), env, []string{"--server", f.URL + "/admin", "--org", "acme", "--project", "shop", "keys", "create"}, commands())
	if code != cli.Failed {
		t.Errorf("ended with %d", code)
	}
	contains(t, "stderr", stderr.String(), "the secret of key k1 was not written", "rotate or revoke")
	if strings.Contains(stderr.String(), "tg_live_abc") {
		t.Errorf("the secret is in %s", stderr.String())
	}
}

// Whoever waits for stdin can be interrupted.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr strings.Builder
	env := cli.Env{
		Stdin: waiting{func() { cancel() }, ctx.Done()}, Stdout: &stdout, Stderr: &stderr, Now: time.Now,
		Getenv: func(string) string { return adminToken },
	}
	code := cli.Main(ctx, env, []string{"--server", "https://example.com", "keys", "lookup"}, commands())
	if code != cli.Failed || stdout.String() != "" {
		t.Errorf("ended with %d and %q", code, &stdout)
	}
	contains(t, "stderr", stderr.String(), "interrupted")
}

// waiting is a terminal where nobody types, but for whoever interrupts.
type waiting struct {
	begin func()
	end   <-chan struct{}
}

func (w waiting) Read([]byte) (int, error) {
	w.begin()
	<-w.end
	select {} // for ever
}

// full is a disk that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestTokenFile(t *testing.T) {
	t.Parallel()
	f := newFake(t, one())
	write := func(text string, mode os.FileMode) string {
		name := filepath.Join(t.TempDir(), "token")
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := write("another-token-of-a-file\n", 0o600)
	f.call("", "plans show gold --token-file "+good).want(t, cli.Done)
	if got := f.headers[0].Get("Authorization"); got != "Bearer another-token-of-a-file" {
		t.Errorf("Authorization %q", got)
	}
	for name, want := range map[string]string{
		write("another-token-of-a-file\n", 0o644): "chmod 600",
		write("\n", 0o600):                        "is empty",
		write(strings.Repeat("a", 5000), 0o600):   "longer than 4096 bytes",
		write("two words", 0o600):                 "visible ASCII",
		write("a-token\r\nX-Evil: header", 0o600): "visible ASCII",
		filepath.Join(t.TempDir(), "missing"):     "no such file",
	} {
		o := f.call("", "plans show gold --token-file "+name).want(t, cli.Misused)
		contains(t, "stderr", o.stderr, want)
		if strings.Contains(o.stderr, "a-token") || strings.Contains(o.stderr, "two words") {
			t.Errorf("the token is told: %s", o.stderr)
		}
	}
	if !slices.Equal(f.requests, []string{"GET /plans/gold"}) {
		t.Errorf("asked for %q", f.requests)
	}
}
