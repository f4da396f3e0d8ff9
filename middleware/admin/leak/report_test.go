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
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

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
		if label != falsePositive {
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
	if got := serve(t, h, github.request(t, report(t, foreign))).want(t, http.StatusOK, "").labels(); got[0] != falsePositive {
		t.Errorf("%s without WithForeignKeys", got[0])
	}
	h = newHandler(t, issuer, github.keys(t), leak.WithForeignKeys())
	body := bodyOf(t, leak.Match{Token: foreign, Type: "old_key", URL: "https://a.example/?k=" + foreign})
	if got := serve(t, h, github.request(t, body)).want(t, http.StatusOK, "").labels(); got[0] != truePositive {
		t.Errorf("%s with WithForeignKeys", got[0])
	}
	if now := find(t, issuer, &record); now.Credentials[0].RevokedAt.IsZero() || now.Credentials[0].Reason != "leaked: https://a.example/" {
		t.Errorf("revoked at %v because %q", now.Credentials[0].RevokedAt, now.Credentials[0].Reason)
	}
	for _, token := range []string{strings.Repeat("x", 257), "with space and more than that"} {
		if got := serve(t, h, github.request(t, report(t, token))).want(t, http.StatusOK, "").labels(); got[0] != falsePositive {
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
		if got := a.labels(); got[0] != truePositive {
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
