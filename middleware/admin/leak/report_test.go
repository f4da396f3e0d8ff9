package leak_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) time.Time { return time.Now().Add(d).UTC().Truncate(time.Microsecond) }
	soon := in(time.Hour)
	for _, c := range []struct {
		name   string
		key    authkey.NewKey
		opts   []leak.Option
		done   leak.Action
		action string // of the audit trail
	}{
		{"default of a secret key", authkey.NewKey{}, nil, leak.Revoked, "credential.revoke"},
		{"default of an admin key", authkey.NewKey{Kind: authkey.KindAdmin}, nil, leak.Revoked, "credential.revoke"},
		{"default of a publishable key", authkey.NewKey{Kind: authkey.KindPublishable}, nil, leak.None, ""},
		{"of its kind", authkey.NewKey{Kind: authkey.KindPublishable},
			[]leak.Option{leak.WithPolicy("", authkey.KindPublishable, leak.Revoke())}, leak.Revoked, "credential.revoke"},
		{"of its env", authkey.NewKey{}, []leak.Option{leak.WithPolicy("live", "", leak.RevokeKey())}, leak.KeyRevoked, "key.revoke"},
		{"of another env", authkey.NewKey{}, []leak.Option{leak.WithPolicy("test", "", leak.Notify())}, leak.Revoked, "credential.revoke"},
		{"of another kind", authkey.NewKey{}, []leak.Option{leak.WithPolicy("", authkey.KindAdmin, leak.Notify())}, leak.Revoked, "credential.revoke"},
		{"the first that fits", authkey.NewKey{},
			[]leak.Option{leak.WithPolicy("live", "", leak.Notify()), leak.WithPolicy("", "", leak.RevokeKey())}, leak.None, ""},
		{"shorten", authkey.NewKey{}, []leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.Shortened, "key.change"},
		{"shorten what ends later", authkey.NewKey{ExpiresAt: in(1000 * time.Hour)},
			[]leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.Shortened, "key.change"},
		{"shorten what ends sooner", authkey.NewKey{ExpiresAt: soon}, []leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.None, ""},
		{"shorten what begins later", authkey.NewKey{NotBefore: in(1000 * time.Hour)},
			[]leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.Revoked, "credential.revoke"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			github := newSigner(t, elliptic.P256())
			store := &watched{Store: authkey.NewMemoryStore()}
			issuer := newIssuer(t, store)
			record, key := issue(t, issuer, c.key)
			var told []leak.Report
			h := newHandler(t, issuer, github.keys(t), append(c.opts, leak.WithNotify(func(_ context.Context, r leak.Report) { told = append(told, r) }))...)
			before := time.Now()
			a := serve(t, h, github.request(t, report(t, key))).want(t, http.StatusOK, "")
			if got := a.labels(); !slices.Equal(got, []string{leak.TruePositive}) {
				t.Errorf("labels %q", got)
			}
			now := find(t, issuer, &record)
			checkDone(t, c.done, &record, &now, before)
			if len(told) != 1 || told[0].Done != c.done || told[0].Record.Revision != now.Revision || told[0].Credential != record.ID ||
				told[0].Env != "live" || told[0].URL != found || told[0].Source != "content" || told[0].Type != "acme_live_key" {
				t.Errorf("told %+v", told)
			}
			if got := store.last(); got != c.action {
				t.Errorf("changed by %q, want %q", got, c.action)
			}
			// The same again changes nothing.
			if got := serve(t, h, github.request(t, report(t, key))).want(t, http.StatusOK, "").labels(); !slices.Equal(got, []string{leak.TruePositive}) {
				t.Errorf("labels of the repeat %q", got)
			}
			if again := find(t, issuer, &record); again.Revision != now.Revision {
				t.Errorf("the repeat made revision %d of %d", again.Revision, now.Revision)
			}
			if len(told) != 2 || told[1].Done != leak.None {
				t.Errorf("told of the repeat %+v", told)
			}
		})
	}
}

// checkDone checks that a key is as an action leaves it.
func checkDone(t *testing.T, done leak.Action, was, now *authkey.Record, before time.Time) {
	t.Helper()
	reason := "leaked: " + found
	credential := now.Credentials[0]
	switch done {
	case leak.None:
		if now.Revision != was.Revision {
			t.Errorf("revision %d, was %d", now.Revision, was.Revision)
		}
	case leak.Revoked:
		if credential.RevokedAt.IsZero() || credential.Reason != reason || now.State != authkey.StateActive {
			t.Errorf("credential revoked at %v because %q, key %s", credential.RevokedAt, credential.Reason, now.State)
		}
	case leak.KeyRevoked:
		if now.State != authkey.StateRevoked || now.Reason != reason {
			t.Errorf("key %s because %q", now.State, now.Reason)
		}
	case leak.Shortened:
		least, most := before.Add(24*time.Hour-time.Second), time.Now().Add(24*time.Hour)
		if now.ExpiresAt.Before(least) || now.ExpiresAt.After(most) || now.Reason != reason || now.State != authkey.StateActive {
			t.Errorf("ends at %v because %q, key %s", now.ExpiresAt, now.Reason, now.State)
		}
	}
}

// watched is a store that keeps who changed what, and can fail or be overtaken.
type watched struct {
	authkey.Store
	actions []string
	actor   audit.Actor
	finds   int
	fail    func(find int) error
	race    func(record authkey.Record) // before a change
}

func (s *watched) Find(ctx context.Context, id string) (authkey.Record, error) {
	s.finds++
	if s.fail != nil {
		if err := s.fail(s.finds); err != nil {
			return authkey.Record{}, err
		}
	}
	return s.Store.Find(ctx, id)
}

func (s *watched) Change(ctx context.Context, record authkey.Record, action string) (authkey.Record, error) {
	if race := s.race; race != nil {
		s.race = nil
		race(record)
	}
	changed, err := s.Store.Change(ctx, record, action)
	if err == nil {
		s.actions, s.actor = append(s.actions, action), audit.ActorOf(ctx)
	}
	return changed, err
}

func (s *watched) last() string {
	if len(s.actions) == 0 {
		return ""
	}
	return s.actions[len(s.actions)-1]
}

func TestOtherCredentialsStay(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	issuer := newIssuer(t, authkey.NewMemoryStore())
	record, old := issue(t, issuer, authkey.NewKey{})
	_, fresh, err := issuer.Rotate(t.Context(), record.Org, record.ID, authkey.Rotation{Overlap: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, newHandler(t, issuer, github.keys(t)), github.request(t, report(t, old))).want(t, http.StatusOK, "")
	now := find(t, issuer, &record)
	if c := now.Credential(record.ID); c.RevokedAt.IsZero() {
		t.Error("the credential that leaked lives")
	}
	if now.State != authkey.StateActive || !now.Credentials[0].Live(time.Now()) || fresh.IsZero() {
		t.Errorf("the key is %s, its newer credential revoked at %v", now.State, now.Credentials[0].RevokedAt)
	}
}

func TestExpiredAndDisabledKeysAreEnded(t *testing.T) {
	t.Parallel()
	past := time.Now().Add(-time.Hour)
	disabled := authkey.StateDisabled
	for name, changes := range map[string]authkey.Changes{
		"expired": {ExpiresAt: &past, NotBefore: new(time.Time)}, "disabled": {State: &disabled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			github := newSigner(t, elliptic.P256())
			issuer := newIssuer(t, authkey.NewMemoryStore())
			record, key := issue(t, issuer, authkey.NewKey{})
			if _, err := issuer.Change(t.Context(), record.Org, record.ID, 0, changes); err != nil {
				t.Fatal(err)
			}
			serve(t, newHandler(t, issuer, github.keys(t)), github.request(t, report(t, key))).want(t, http.StatusOK, "")
			if now := find(t, issuer, &record); now.Credentials[0].RevokedAt.IsZero() {
				t.Error("the credential would come back with its key")
			}
		})
	}
}

func TestDeadKeys(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	store := &watched{Store: authkey.NewMemoryStore()}
	issuer := newIssuer(t, store)
	record, key := issue(t, issuer, authkey.NewKey{})
	if _, err := issuer.SetState(t.Context(), record.Org, record.ID, 0, authkey.StateRevoked, "by hand"); err != nil {
		t.Fatal(err)
	}
	was := find(t, issuer, &record)
	for _, policy := range []leak.Policy{leak.Revoke(), leak.RevokeKey(), leak.Shorten(time.Hour), leak.Notify()} {
		h := newHandler(t, issuer, github.keys(t), leak.WithPolicy("", "", policy))
		a := serve(t, h, github.request(t, report(t, key))).want(t, http.StatusOK, "")
		if got := a.labels(); !slices.Equal(got, []string{leak.TruePositive}) {
			t.Errorf("labels %q", got)
		}
	}
	if now := find(t, issuer, &record); now.Revision != was.Revision || now.Reason != "by hand" {
		t.Errorf("revision %d because %q, was %d", now.Revision, now.Reason, was.Revision)
	}
}

func TestJunkAsksNobody(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	store := &watched{Store: authkey.NewMemoryStore()}
	issuer := newIssuer(t, store)
	_, key := issue(t, issuer, authkey.NewKey{})
	minted, _ := newFormat(t, "live").Mint("demo")
	last := map[bool]string{true: "0", false: "1"}[key[len(key)-1] != '0']
	h := newHandler(t, issuer, github.keys(t))
	var matches []leak.Match
	for _, token := range []string{"ghp_x", key + "x", key[:len(key)-1] + last, strings.Repeat("a", 5000), "\u0000", minted.Reveal()} {
		matches = append(matches, leak.Match{Token: token, Type: "acme_live_key"})
	}
	a := serve(t, h, github.request(t, bodyOf(t, matches...))).want(t, http.StatusOK, "")
	for i, label := range a.labels() {
		if label != leak.FalsePositive {
			t.Errorf("token %d is a %s", i, label)
		}
	}
	if len(a.feedback) != len(matches) || store.finds != 1 {
		t.Errorf("%d answers, asked the store %d times, want %d and 1: for the one of the right form", len(a.feedback), store.finds, len(matches))
	}
}

func TestForeignKeys(t *testing.T) {
	t.Parallel()
	const foreign = "legacy-0123456789abcdef0123456789abcdef"
	github := newSigner(t, elliptic.P256())
	issuer := newIssuer(t, authkey.NewMemoryStore())
	record, err := issuer.Import(t.Context(), authkey.NewPresented(foreign), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, issuer, github.keys(t))
	if got := serve(t, h, github.request(t, report(t, foreign))).want(t, http.StatusOK, "").labels(); got[0] != leak.FalsePositive {
		t.Errorf("%s without WithForeignKeys", got[0])
	}
	h = newHandler(t, issuer, github.keys(t), leak.WithForeignKeys())
	if got := serve(t, h, github.request(t, report(t, foreign))).want(t, http.StatusOK, "").labels(); got[0] != leak.TruePositive {
		t.Errorf("%s with WithForeignKeys", got[0])
	}
	if now := find(t, issuer, &record); now.Credentials[0].RevokedAt.IsZero() {
		t.Error("it lives")
	}
	for _, token := range []string{"", strings.Repeat("x", 257), "with space and more than that"} {
		if token == "" {
			continue // refused with the body
		}
		if got := serve(t, h, github.request(t, report(t, token))).want(t, http.StatusOK, "").labels(); got[0] != leak.FalsePositive {
			t.Errorf("%.10q is a %s", token, got[0])
		}
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	store := &watched{Store: authkey.NewMemoryStore()}
	issuer := newIssuer(t, store)
	first, one := issue(t, issuer, authkey.NewKey{})
	second, two := issue(t, issuer, authkey.NewKey{})
	body := bodyOf(t, leak.Match{Token: one, Type: "a"}, leak.Match{Token: two, Type: "a"})
	// The store breaks between the two.
	store.fail = func(int) error {
		if len(store.actions) > 0 {
			return fmt.Errorf("%w: gone", authkey.ErrUnavailable)
		}
		return nil
	}
	h := newHandler(t, issuer, github.keys(t))
	a := serve(t, h, github.request(t, body)).want(t, http.StatusServiceUnavailable, "unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	store.fail = nil
	serve(t, h, github.request(t, body)).want(t, http.StatusOK, "")
	for _, record := range []authkey.Record{first, second} {
		if now := find(t, issuer, &record); now.Revision != 2 || now.Credentials[0].RevokedAt.IsZero() {
			t.Errorf("key %s: revision %d, revoked at %v", record.ID, now.Revision, now.Credentials[0].RevokedAt)
		}
	}
}

func TestOvertaken(t *testing.T) {
	t.Parallel()
	t.Run("by a change", func(t *testing.T) {
		t.Parallel()
		github := newSigner(t, elliptic.P256())
		inner := authkey.NewMemoryStore()
		store := &watched{Store: inner}
		issuer := newIssuer(t, store)
		record, key := issue(t, issuer, authkey.NewKey{})
		end := time.Now().Add(time.Minute).UTC().Truncate(time.Microsecond)
		store.race = func(authkey.Record) {
			if _, err := newIssuer(t, inner).Change(t.Context(), record.Org, record.ID, 0, authkey.Changes{ExpiresAt: &end}); err != nil {
				t.Error(err)
			}
		}
		h := newHandler(t, issuer, github.keys(t), leak.WithPolicy("", "", leak.Shorten(time.Hour)))
		serve(t, h, github.request(t, report(t, key))).want(t, http.StatusOK, "")
		if now := find(t, issuer, &record); !now.ExpiresAt.Equal(end) {
			t.Errorf("ends at %v, was to end at %v already", now.ExpiresAt, end)
		}
	})
	t.Run("by a revocation", func(t *testing.T) {
		t.Parallel()
		github := newSigner(t, elliptic.P256())
		inner := authkey.NewMemoryStore()
		store := &watched{Store: inner}
		issuer := newIssuer(t, store)
		record, key := issue(t, issuer, authkey.NewKey{})
		store.race = func(authkey.Record) {
			if _, err := newIssuer(t, inner).SetState(t.Context(), record.Org, record.ID, 0, authkey.StateRevoked, "by hand"); err != nil {
				t.Error(err)
			}
		}
		a := serve(t, newHandler(t, issuer, github.keys(t)), github.request(t, report(t, key))).want(t, http.StatusOK, "")
		if got := a.labels(); got[0] != leak.TruePositive {
			t.Errorf("a %s", got[0])
		}
		if now := find(t, issuer, &record); now.Reason != "by hand" {
			t.Errorf("revoked because %q", now.Reason)
		}
	})
}

func TestActor(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"Commit": "leak-report:commit", "": "leak-report:unknown", "a b": "leak-report:unknown",
		"evil\n": "leak-report:unknown", strings.Repeat("x", 65): "leak-report:unknown",
	} {
		github := newSigner(t, elliptic.P256())
		store := &watched{Store: authkey.NewMemoryStore()}
		issuer := newIssuer(t, store)
		_, key := issue(t, issuer, authkey.NewKey{})
		r := github.request(t, bodyOf(t, leak.Match{Token: key, Type: "a", Source: source}))
		r.RemoteAddr = "192.0.2.7:1234"
		a := serve(t, newHandler(t, issuer, github.keys(t)), r).want(t, http.StatusOK, "")
		if got := (audit.Actor{Name: want, RequestID: a.header.Get("X-Request-Id"), Address: "192.0.2.7"}); store.actor != got {
			t.Errorf("actor %+v, want %+v", store.actor, got)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ url, want string }{
		"none":       {"", "leaked"},
		"control":    {"https://a.example/\r\n\x00\u0085x", "leaked: https://a.example/x"},
		"long":       {strings.Repeat("é", 300), "leaked: " + strings.Repeat("é", 124)},
		"very long":  {strings.Repeat("a", 100_000), "leaked: " + strings.Repeat("a", 248)},
		"with token": {"https://a.example/?key=%s&x_%s", "leaked: https://a.example/?key=****&x_****"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			github := newSigner(t, elliptic.P256())
			issuer := newIssuer(t, authkey.NewMemoryStore())
			record, key := issue(t, issuer, authkey.NewKey{})
			other, _ := newFormat(t, "live").Mint("other")
			url := c.url
			if strings.Contains(url, "%s") {
				url = fmt.Sprintf(url, key, other.Reveal())
			}
			var told leak.Report
			h := newHandler(t, issuer, github.keys(t), leak.WithNotify(func(_ context.Context, r leak.Report) { told = r }))
			serve(t, h, github.request(t, bodyOf(t, leak.Match{Token: key, Type: "a", URL: url}))).want(t, http.StatusOK, "")
			if now := find(t, issuer, &record); now.Credentials[0].Reason != c.want {
				t.Errorf("reason %q, want %q", now.Credentials[0].Reason, c.want)
			}
			if strings.Contains(told.URL, key) || len(told.URL) > 2048 {
				t.Errorf("told %q", told.URL)
			}
		})
	}
}

func TestNoTokenLeavesIt(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	store := &watched{Store: authkey.NewMemoryStore()}
	issuer := newIssuer(t, store)
	_, key := issue(t, issuer, authkey.NewKey{})
	var told string
	h := newHandler(t, issuer, github.keys(t), leak.WithLogger(log), leak.WithNotify(func(_ context.Context, r leak.Report) {
		told += fmt.Sprintf("%+v %#v", r, r)
	}))
	var texts string
	ask := func(r *http.Request, status int) {
		t.Helper()
		a := serve(t, h, r)
		if a.status != status {
			t.Errorf("answer %d, want %d", a.status, status)
		}
		texts += a.text + fmt.Sprint(a.header)
	}
	body := bodyOf(t, leak.Match{Token: key, Type: "a", URL: "https://a.example/" + key, Source: key})
	ask(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), http.StatusUnauthorized)
	ask(github.request(t, strings.TrimSuffix(body, "]")), http.StatusBadRequest)
	ask(github.request(t, `[{"token":"`+key+`","type":7}]`), http.StatusBadRequest)
	store.fail = func(int) error { return authkey.ErrUnavailable }
	ask(github.request(t, body), http.StatusServiceUnavailable)
	store.fail = nil
	ask(github.request(t, body), http.StatusOK)
	secret := key[len(key)-38:]
	if all := texts + told + logged.String(); strings.Contains(all, secret) || told == "" || logged.Len() == 0 {
		t.Errorf("a secret in %s", all)
	}
	raw := newHandler(t, issuer, github.keys(t), leak.WithRawTokens())
	a := serve(t, raw, github.request(t, body)).want(t, http.StatusOK, "")
	if a.feedback[0]["token_raw"] != key || a.feedback[0]["token_hash"] != "" {
		t.Errorf("feedback with WithRawTokens %v", a.feedback)
	}
}

func TestFeedback(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	issuer := newIssuer(t, authkey.NewMemoryStore())
	_, key := issue(t, issuer, authkey.NewKey{})
	h := newHandler(t, issuer, github.keys(t))
	a := serve(t, h, github.request(t, bodyOf(t, leak.Match{Token: "x", Type: "one"}, leak.Match{Token: key, Type: "two"}))).want(t, http.StatusOK, "")
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	want := fmt.Sprintf(`[{"token_hash":%q,"token_type":"one","label":"false_positive"},{"token_hash":%q,"token_type":"two","label":"true_positive"}]`, hash("x"), hash(key))
	if a.text != want {
		t.Errorf("answer %s, want %s", a.text, want)
	}
}
