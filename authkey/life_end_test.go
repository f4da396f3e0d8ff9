package authkey_test

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Whose clock is behind still takes for live what the issuer takes for ended: without an overlap it is revoked.
func TestEmergencyRotationRevokesWhatEndedByOneClock(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	if _, _, err := g.issuer.Rotate(t.Context(), "demo", g.record.ID, authkey.Rotation{Overlap: time.Second}); err != nil {
		t.Fatal(err)
	}
	ahead, err := authkey.NewIssuer(g.store.Store, mustFormat(t, "acme", "live"),
		authkey.WithClock(func() time.Time { return g.clock.now().Add(2 * time.Second) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ahead.Rotate(t.Context(), "demo", g.record.ID, authkey.Rotation{}); err != nil {
		t.Fatal(err)
	}
	_, err = g.Authenticate(t.Context(), g.key)
	fails(t, "the first credential", err, authkey.ErrRevoked)
}

// A credential is given an earlier end, never a later one, and its key and its other credentials stay.
func TestEndCredential(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	old := g.record.ID
	if _, _, err := g.issuer.Rotate(t.Context(), "demo", old, authkey.Rotation{Overlap: 10 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	end := func(credential string, revision int64, after time.Duration) (authkey.Record, error) {
		return g.issuer.EndCredential(t.Context(), "demo", old, credential, revision, start.Add(after), "leaked")
	}
	for _, step := range []struct {
		name        string
		after, want time.Duration
		revision    int64
	}{
		{"earlier", 5 * time.Hour, 5 * time.Hour, 3},
		{"the same", 5 * time.Hour, 5 * time.Hour, 3},
		{"later", 7 * time.Hour, 5 * time.Hour, 3},
		{"earlier again", time.Hour, time.Hour, 4},
	} {
		now, err := end(old, 0, step.after)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if c := now.Credential(old); !c.ExpiresAt.Equal(start.Add(step.want)) || c.Reason != "leaked" || now.Revision != step.revision {
			t.Errorf("%s: ends at %v because %q, revision %d", step.name, c.ExpiresAt, c.Reason, now.Revision)
		}
		if fresh := now.Credentials[0]; !fresh.ExpiresAt.IsZero() || !now.ExpiresAt.IsZero() {
			t.Errorf("%s: the other ends at %v, the key at %v", step.name, fresh.ExpiresAt, now.ExpiresAt)
		}
	}
	g.clock.advance(time.Hour)
	_, err := g.Authenticate(t.Context(), g.key)
	fails(t, "when it has ended", err, authkey.ErrExpired)
	_, err = end("00nobody", 0, time.Hour)
	fails(t, "of nobody", err, authkey.ErrUnknown)
	_, err = end(old, 1, time.Minute)
	fails(t, "another revision", err, authkey.ErrConflict)
	_, err = g.issuer.EndCredential(t.Context(), "demo", old, old, 0, time.Time{}, "")
	fails(t, "no time", err, authkey.ErrInvalid)
	_, err = g.issuer.EndCredential(t.Context(), "other", old, old, 0, start, "")
	fails(t, "another org", err, authkey.ErrUnknown)
}
