package leak_test

import (
	"context"
	"crypto/elliptic"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
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
		{"shorten", authkey.NewKey{}, []leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.Shortened, "credential.end"},
		{"shorten what ends later", authkey.NewKey{ExpiresAt: in(1000 * time.Hour)},
			[]leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.Shortened, "credential.end"},
		{"shorten what ends sooner", authkey.NewKey{ExpiresAt: soon}, []leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.None, ""},
		{"shorten what begins later", authkey.NewKey{NotBefore: in(1000 * time.Hour)},
			[]leak.Option{leak.WithPolicy("", "", leak.Shorten(24*time.Hour))}, leak.Shortened, "credential.end"},
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
			if got := a.labels(); !slices.Equal(got, []string{truePositive}) {
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
			if got := serve(t, h, github.request(t, report(t, key))).want(t, http.StatusOK, "").labels(); !slices.Equal(got, []string{truePositive}) {
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
		if end := credential.ExpiresAt; end.Before(least) || end.After(most) || credential.Reason != reason {
			t.Errorf("ends at %v because %q", end, credential.Reason)
		}
		if !now.ExpiresAt.Equal(was.ExpiresAt) || now.State != authkey.StateActive {
			t.Errorf("the key is %s and ends at %v, ended at %v", now.State, now.ExpiresAt, was.ExpiresAt)
		}
	}
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
		if got := a.labels(); !slices.Equal(got, []string{truePositive}) {
			t.Errorf("labels %q", got)
		}
	}
	if now := find(t, issuer, &record); now.Revision != was.Revision || now.Reason != "by hand" {
		t.Errorf("revision %d because %q, was %d", now.Revision, now.Reason, was.Revision)
	}
}

// A credential whose own end has come is dead whatever its key is, and no reason to end the key.
func TestEndedCredentials(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]leak.Policy{
		"revoke": leak.Revoke(), "revoke the key": leak.RevokeKey(), "shorten": leak.Shorten(time.Hour), "notify": leak.Notify(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			github := newSigner(t, elliptic.P256())
			store := &watched{Store: authkey.NewMemoryStore()}
			issuer := newIssuer(t, store)
			record, key := issue(t, issuer, authkey.NewKey{})
			if _, _, err := issuer.Rotate(t.Context(), record.Org, record.ID, authkey.Rotation{Overlap: time.Hour}); err != nil {
				t.Fatal(err)
			}
			was := find(t, issuer, &record)
			was.Credential(record.ID).ExpiresAt = time.Now().Add(-time.Second)
			was, err := store.Change(t.Context(), was, "key.rotate")
			if err != nil {
				t.Fatal(err)
			}
			var told []leak.Report
			h := newHandler(t, issuer, github.keys(t), leak.WithPolicy("", "", policy),
				leak.WithNotify(func(_ context.Context, r leak.Report) { told = append(told, r) }))
			a := serve(t, h, github.request(t, report(t, key))).want(t, http.StatusOK, "")
			if got := a.labels(); !slices.Equal(got, []string{truePositive}) {
				t.Errorf("labels %q", got)
			}
			if len(told) != 1 || told[0].Done != leak.None {
				t.Errorf("told %+v", told)
			}
			now := find(t, issuer, &record)
			if now.Revision != was.Revision || now.State != authkey.StateActive || !now.ExpiresAt.IsZero() {
				t.Errorf("revision %d, was %d; the key is %s and ends at %v", now.Revision, was.Revision, now.State, now.ExpiresAt)
			}
		})
	}
}
