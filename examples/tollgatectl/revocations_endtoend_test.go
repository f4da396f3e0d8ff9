package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
)

// check returns what the service says of a token that was made an hour ago.
func (s *service) check(t *testing.T, subject string) error {
	t.Helper()
	return s.revoked.Check(t.Context(), s.org, &authkey.Token{
		Issuer: "https://id.example/", ID: "t/1", Subject: subject, Session: "s", Client: "app", IssuedAt: time.Now().Add(-time.Hour),
	})
}

func TestRevocationsOfAService(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		const of = " --issuer https://id.example/"
		for kind, value := range map[string]string{"token": "t/1", "subject": "mia\u00fc&x", "session": "s", "client": "app"} {
			if err := s.check(t, "mia\u00fc&x"); err != nil {
				t.Fatalf("before anything was revoked: %v", err)
			}
			made := s.object(t, "", "revocations add "+kind+" "+value+of+" --reason left_us")
			if made["kind"] != kind || made["value"] != value || made["reason"] != "left us" || made["actor"] != "ops" {
				t.Errorf("it was written as %v", made)
			}
			if err := s.check(t, "mia\u00fc&x"); !errors.Is(err, authkey.ErrRevoked) {
				t.Errorf("after revocations add %s: %v", kind, err)
			}
			contains(t, "stdout", s.call(t, cli.Done, "", "revocations list").stdout, kind, value, "https://id.example/", "left us", "ops")
			s.call(t, cli.NotFound, "", "revocations lift "+kind+" other"+of)
			contains(t, "stderr", s.call(t, cli.Done, "", "revocations lift "+kind+" "+value+of).stderr, "lifted")
			s.call(t, cli.NotFound, "", "revocations lift "+kind+" "+value+of)
		}
		if got := s.items(t, "revocations list"); len(got) != 0 {
			t.Errorf("there is %v", got)
		}
		s.call(t, cli.Done, "", "revocations add subject mia"+of+" --before -2h --reason x")
		if err := s.check(t, "mia"); err != nil {
			t.Errorf("a token that is younger: %v", err)
		}
		contains(t, "stderr", s.call(t, cli.Failed, "", "revocations add subject mia"+of+" --until +1h --reason x").stderr, "/expires_at: ")
		contains(t, "stderr", s.call(t, cli.Failed, "", "revocations add person mia"+of+" --reason x").stderr, "/kind: ")
		contains(t, "stdout", s.call(t, cli.Done, "", "audit list").stdout, "token.revoke", "token.lift", "left us")

		once := "revocations add client app" + of + " --reason x --idempotency-key once"
		made := s.object(t, "", once)
		s.call(t, cli.Done, "", "revocations lift client app"+of)
		if again := s.object(t, "", once); again["updated_at"] != made["updated_at"] || s.check(t, "noa") != nil {
			t.Errorf("a repeat is answered with %v, the first with %v; then %v", again, made, s.check(t, "noa"))
		}
	})
}

// A repeat of what got no answer says again which moment was meant.
func TestRevocationWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]canned{"POST /orgs/acme/revocations": {status: http.StatusServiceUnavailable, body: `{"code":"unavailable"}`}})
	o := f.call("", "revocations add subject mia --issuer i --before -1h --reason x").want(t, cli.Unavailable)
	contains(t, "stderr", o.stderr, "with --idempotency-key "+f.headers[0].Get("Idempotency-Key"), " --before 2026-11-21T07:00:00Z")
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	o = process(server.URL, "", "--org", "o", "revocations", "add", "token", "t", "--issuer", "i", "--until", "+1h", "--reason", "x").want(t, cli.Unavailable)
	contains(t, "stderr", o.stderr, " --until 2026-11-21T09:00:00Z")
	f = newFake(t, map[string]canned{"POST /orgs/acme/revocations": {status: http.StatusBadRequest, body: `{"code":"invalid_idempotency_key"}`}})
	f.call("", "revocations add subject mia --issuer i --reason x").want(t, cli.Failed)
	if len(f.headers) != 2 || f.headers[0].Get("Idempotency-Key") == "" || f.headers[1].Get("Idempotency-Key") != "" {
		t.Errorf("asked with %v", f.headers)
	}
}
