package authkey_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

const (
	hour = time.Hour
	day  = 24 * hour
)

// mintsWith returns an issuer on the gate's store with options of its own.
func (g *gate) mintsWith(t testing.TB, opts ...authkey.IssuerOption) *authkey.Issuer {
	t.Helper()
	issuer, err := authkey.NewIssuer(g.store, mustFormat(t, "acme", "live"), append(opts, authkey.WithClock(g.clock.now))...)
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

func (g *gate) rotate(t testing.TB, issuer *authkey.Issuer, r authkey.Rotation) (authkey.Record, authkey.Presented) {
	t.Helper()
	record, key, err := issuer.Rotate(t.Context(), "demo", g.record.ID, r)
	if err != nil {
		t.Fatalf("Rotate %+v: %v", r, err)
	}
	return record, key
}

// judge asks the store what a key is worth now; nothing is cached.
func (g *gate) judge(t testing.TB, what string, key authkey.Presented, want error) *authkey.Identity {
	t.Helper()
	identity, err := g.verifier(t, authkey.WithForeignKeys()).Authenticate(t.Context(), key)
	fails(t, what, err, want)
	return identity
}

// kept compares the stored record with one.
func (g *gate) kept(t testing.TB, what string, want authkey.Record) {
	t.Helper()
	got, err := g.store.Find(t.Context(), want.ID)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: stored is %+v, %v; want %+v", what, got, err, want)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		own, key time.Duration // when the old credential and the key end; 0: never
		overlap  time.Duration
		fresh    time.Duration // when the new one ends
		old      time.Duration // when the old one ends then
	}{
		"an overlap":                                 {0, 0, day, 0, day},
		"longer than the old one lives":              {hour, 0, day, 0, hour},
		"shorter than it lives":                      {2 * day, 0, day, 0, day},
		"longer than the key lives":                  {0, hour, day, 0, hour},
		"the new one ends too":                       {0, 0, hour, day, hour},
		"the new one ends after its key":             {0, day, hour, 2 * day, hour},
		"the old one ends first, then the key":       {hour, day, 2 * day, 0, hour},
		"as short as can be":                         {0, 0, time.Microsecond, 0, time.Microsecond},
		"as long as may be, the old one ends before": {day, 0, authkey.MaxOverlap, 0, day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			at := func(d time.Duration) (end time.Time) {
				if d != 0 {
					end = start.Add(d)
				}
				return end
			}
			if _, err := g.issuer.Change(t.Context(), "demo", g.record.ID, 0, authkey.Changes{ExpiresAt: new(at(row.key))}); err != nil {
				t.Fatal(err)
			}
			_, old := g.rotate(t, g.issuer, authkey.Rotation{ExpiresAt: at(row.own)})
			before := g.judge(t, "before", old, nil)
			record, fresh := g.rotate(t, g.issuer, authkey.Rotation{Overlap: row.overlap, ExpiresAt: at(row.fresh), Reason: "yearly"})

			first, second := record.Credentials[0], record.Credentials[1]
			if second.ID != before.Credential || !second.SupersededAt.Equal(start) || second.Reason != "yearly" || !second.RevokedAt.IsZero() {
				t.Errorf("the old credential is %+v", second)
			}
			if !first.SupersededAt.IsZero() || first.Reason != "" || !first.CreatedAt.Equal(start) || !first.ExpiresAt.Equal(at(row.fresh)) {
				t.Errorf("the new credential is %+v", first)
			}
			outgoing, incoming := g.judge(t, "the old one", old, nil), g.judge(t, "the new one", fresh, nil)
			if !outgoing.ExpiresAt.Equal(at(row.old)) || !outgoing.SupersededAt.Equal(start) {
				t.Errorf("the old one ends %v, superseded %v; want %v, %v", outgoing.ExpiresAt, outgoing.SupersededAt, at(row.old), start)
			}
			if incoming.Key != before.Key || incoming.Credential != first.ID || incoming.Credential == before.Credential || !incoming.SupersededAt.IsZero() {
				t.Errorf("the new one is %+v, was %+v", incoming, before)
			}
			g.clock.advance(row.old - 1)
			g.judge(t, "the old one, a moment before its end", old, nil)
			g.clock.advance(1)
			g.judge(t, "the old one, at its end", old, authkey.ErrExpired)
		})
	}
}

// What is limited, counted, allowed and audited hangs on the key, so all of it is the same for each of its credentials.
func TestRotationLeavesTheIdentity(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	before := *g.judge(t, "before", g.key, nil)
	record, key := g.rotate(t, g.issuer, authkey.Rotation{Overlap: day})
	after := *g.judge(t, "after", key, nil)
	after.Credential = before.Credential
	if !reflect.DeepEqual(after, before) {
		t.Errorf("the identity is %+v, was %+v", after, before)
	}
	if record.ID != g.record.ID || record.CreatedAt != g.record.CreatedAt || record.Revision != g.record.Revision+1 {
		t.Errorf("the record is %+v, was %+v", record, g.record)
	}
}

func TestRotateTwiceWithinTheOverlap(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	first, second := g.rotate(t, g.issuer, authkey.Rotation{Overlap: hour})
	g.clock.advance(hour / 2)
	_, none, err := g.issuer.Rotate(t.Context(), "demo", g.record.ID, authkey.Rotation{Overlap: day})
	fails(t, "a third live credential", err, authkey.ErrTooMany)
	if !none.IsZero() {
		t.Error("Rotate returned a key with its error")
	}
	g.kept(t, "after a refusal", first)

	three := g.mintsWith(t, authkey.WithMaxLive(3))
	record, third := g.rotate(t, three, authkey.Rotation{Overlap: day, Reason: "again"})
	oldest := record.Credentials[2]
	if !oldest.ExpiresAt.Equal(start.Add(hour)) || !oldest.SupersededAt.Equal(start) || oldest.Reason != "" {
		t.Errorf("the second rotation made the oldest %+v", oldest)
	}
	for _, key := range []authkey.Presented{g.key, second, third} {
		g.judge(t, "with room for three", key, nil)
	}
	g.clock.advance(hour / 2) // the oldest ends: of two live ones, one is to go
	_, _, err = g.issuer.Rotate(t.Context(), "demo", g.record.ID, authkey.Rotation{Overlap: day})
	fails(t, "while two are live", err, authkey.ErrTooMany)
	g.clock.advance(day)
	g.rotate(t, g.issuer, authkey.Rotation{Overlap: day})
}

func TestMaxLive(t *testing.T) {
	t.Parallel()
	for most := 1; most <= authkey.MaxCredentials; most++ {
		g := newGate(t)
		issuer := g.mintsWith(t, authkey.WithMaxLive(most))
		for range most - 1 {
			g.rotate(t, issuer, authkey.Rotation{Overlap: day})
		}
		_, _, err := issuer.Rotate(t.Context(), "demo", g.record.ID, authkey.Rotation{Overlap: day})
		fails(t, "one more", err, authkey.ErrTooMany)
		g.rotate(t, issuer, authkey.Rotation{})
	}
}

// Nothing stands in the way of an emergency: neither how many are live, nor how many there are.
func TestRotateWithoutOverlap(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	issuer := g.mintsWith(t, authkey.WithMaxLive(authkey.MaxCredentials))
	keys := []authkey.Presented{g.key}
	for range authkey.MaxCredentials - 1 {
		_, key := g.rotate(t, issuer, authkey.Rotation{Overlap: day})
		keys = append(keys, key)
	}
	for _, key := range keys {
		g.judge(t, "before", key, nil)
	}
	record, fresh := g.rotate(t, g.issuer, authkey.Rotation{Reason: "leaked"})
	for i, key := range keys {
		want := authkey.ErrRevoked
		if i == 0 {
			want = authkey.ErrUnknown // the oldest is forgotten: there is no room for it
		}
		g.judge(t, "after", key, want)
	}
	g.judge(t, "the new one", fresh, nil)
	if len(record.Credentials) != authkey.MaxCredentials {
		t.Errorf("%d credentials, want %d", len(record.Credentials), authkey.MaxCredentials)
	}
	for _, c := range record.Credentials[1:] {
		if !c.RevokedAt.Equal(start) {
			t.Errorf("not revoked: %+v", c)
		}
	}
	if newest := record.Credentials[1]; newest.Reason != "leaked" {
		t.Errorf("the one that was current is %+v", newest)
	}
}

// The first credential lives on, and stays although it is the oldest.
func TestRotateForgetsTheDeadAlone(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	issuer := g.mintsWith(t, authkey.WithMaxLive(3))
	record, key := g.rotate(t, issuer, authkey.Rotation{Overlap: day})
	var dead []authkey.Presented
	for range 12 {
		dead = append(dead, key)
		record, key = g.rotate(t, issuer, authkey.Rotation{Overlap: day})
		var err error
		if record, err = issuer.RevokeCredential(t.Context(), "demo", record.ID, record.Credentials[1].ID, 0, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if len(record.Credentials) != authkey.MaxCredentials {
		t.Fatalf("%d credentials, want %d", len(record.Credentials), authkey.MaxCredentials)
	}
	g.judge(t, "the oldest, which lives", g.key, nil)
	g.judge(t, "the newest", key, nil)
	for i, old := range dead {
		want := authkey.ErrUnknown
		if i >= len(dead)-(authkey.MaxCredentials-2) {
			want = authkey.ErrRevoked
		}
		g.judge(t, "a dead one", old, want)
	}
	parsed, err := authkey.Parse(dead[0].Reveal())
	if err != nil {
		t.Fatal(err)
	}
	_, err = issuer.RevokeCredential(t.Context(), "demo", record.ID, parsed.ID, 0, "")
	fails(t, "RevokeCredential of one that was forgotten", err, authkey.ErrUnknown)
}

func TestRevokeCredential(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	_, fresh := g.rotate(t, g.issuer, authkey.Rotation{Overlap: day})
	g.clock.advance(hour)
	record, err := g.issuer.RevokeCredential(t.Context(), "demo", g.record.ID, g.record.ID, 2, "seen in a log")
	if err != nil {
		t.Fatal(err)
	}
	if c := record.Credential(g.record.ID); c.Reason != "seen in a log" || !c.RevokedAt.Equal(start.Add(hour)) || !c.ExpiresAt.Equal(start.Add(day)) {
		t.Errorf("it is %+v", c)
	}
	g.judge(t, "the one that was revoked", g.key, authkey.ErrRevoked)
	g.judge(t, "the other one", fresh, nil)
	again, err := g.issuer.RevokeCredential(t.Context(), "demo", g.record.ID, g.record.ID, 0, "again")
	if err != nil || !reflect.DeepEqual(again, record) {
		t.Errorf("again: %+v, %v; want it as it was", again, err)
	}
	if _, err := g.issuer.RevokeCredential(t.Context(), "demo", g.record.ID, record.Credentials[0].ID, 0, ""); err != nil {
		t.Fatal(err)
	}
	g.judge(t, "the last one too", fresh, authkey.ErrRevoked)
	_, third := g.rotate(t, g.issuer, authkey.Rotation{Overlap: day})
	g.judge(t, "a key without a live credential gets a new one", third, nil)
}
