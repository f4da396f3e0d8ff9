package authkey_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// lifeOp is one way to change a key.
type lifeOp func(i *authkey.Issuer, org, id string, revision int64) error

// operations are all ways to change a key, each so that it would change something.
func operations(t *testing.T, credential string) map[string]lifeOp {
	ctx := t.Context()
	state := func(s authkey.State) lifeOp {
		return func(i *authkey.Issuer, org, id string, revision int64) error {
			_, err := i.SetState(ctx, org, id, revision, s, "why")
			return err
		}
	}
	rotate := func(r authkey.Rotation) lifeOp {
		return func(i *authkey.Issuer, org, id string, revision int64) error {
			r.Revision = revision
			record, key, err := i.Rotate(ctx, org, id, r)
			if err != nil && (!key.IsZero() || record.ID != "") {
				t.Error("Rotate returned something with its error")
			}
			return err
		}
	}
	change := func(c authkey.Changes) lifeOp {
		return func(i *authkey.Issuer, org, id string, revision int64) error {
			_, err := i.Change(ctx, org, id, revision, c)
			return err
		}
	}
	return map[string]lifeOp{
		"rotate":       rotate(authkey.Rotation{Overlap: time.Hour}),
		"rotate now":   rotate(authkey.Rotation{}),
		"rename":       change(authkey.Changes{Name: new("other")}),
		"take a scope": change(authkey.Changes{Scopes: new([]string)}),
		"disable so":   change(authkey.Changes{State: new(authkey.StateDisabled)}),
		"disable":      state(authkey.StateDisabled),
		"revoke the credential": func(i *authkey.Issuer, org, id string, revision int64) error {
			_, err := i.RevokeCredential(ctx, org, id, credential, revision, "why")
			return err
		},
	}
}

func TestRevokedIsForGood(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	revoked, err := g.issuer.SetState(t.Context(), "demo", g.record.ID, 0, authkey.StateRevoked, "leaked")
	if err != nil || !revoked.RevokedAt.Equal(start) || revoked.Reason != "leaked" || revoked.Revision != 2 {
		t.Fatalf("%+v, %v", revoked, err)
	}
	g.clock.advance(time.Hour)
	ops := operations(t, g.record.ID)
	ops["enable"] = func(i *authkey.Issuer, org, id string, revision int64) error {
		_, err := i.SetState(t.Context(), org, id, revision, authkey.StateActive, "")
		return err
	}
	ops["enable so"] = func(i *authkey.Issuer, org, id string, revision int64) error {
		_, err := i.Change(t.Context(), org, id, revision, authkey.Changes{State: new(authkey.StateActive)})
		return err
	}
	for what, op := range ops {
		for _, revision := range []int64{0, revoked.Revision} {
			fails(t, what, op(g.issuer, "demo", g.record.ID, revision), authkey.ErrRevoked)
		}
		fails(t, what+" of an earlier revision", op(g.issuer, "demo", g.record.ID, 1), authkey.ErrConflict)
	}
	again, err := g.issuer.SetState(t.Context(), "demo", g.record.ID, 0, authkey.StateRevoked, "again")
	if err != nil || !reflect.DeepEqual(again, revoked) {
		t.Errorf("revoked again: %+v, %v; want it as it was", again, err)
	}
	g.kept(t, "after all", revoked)
	g.judge(t, "after all", g.key, authkey.ErrRevoked)
}

// Each operation holds only for the revision that it was given, for the org of the key, and for the key's own id.
func TestOperationsThatAreRefused(t *testing.T) {
	t.Parallel()
	for what := range operations(t, "") {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			other := g.mintsWith(t)
			elsewhere, _, err := other.Issue(t.Context(), authkey.NewKey{Org: "other", Project: "shop"})
			if err != nil {
				t.Fatal(err)
			}
			before, _ := g.rotate(t, g.issuer, authkey.Rotation{}) // so that the key has a credential by another id
			op := operations(t, before.Credentials[0].ID)[what]
			for name, row := range map[string]struct {
				org, id  string
				revision int64
				want     error
			}{
				"an earlier revision":          {"demo", g.record.ID, 1, authkey.ErrConflict},
				"a later revision":             {"demo", g.record.ID, 3, authkey.ErrConflict},
				"a negative revision":          {"demo", g.record.ID, -1, authkey.ErrConflict},
				"another org":                  {"other", g.record.ID, 0, authkey.ErrUnknown},
				"no org":                       {"", g.record.ID, 0, authkey.ErrUnknown},
				"the key of another org":       {"demo", elsewhere.ID, 0, authkey.ErrUnknown},
				"the id of another credential": {"demo", before.Credentials[0].ID, 0, authkey.ErrUnknown},
				"no id":                        {"demo", "", 0, authkey.ErrUnknown},
			} {
				fails(t, name, op(g.issuer, row.org, row.id, row.revision), row.want)
			}
			g.kept(t, "after refusals", before)
			g.kept(t, "the other org's", elsewhere)
			if err := op(g.issuer, "demo", g.record.ID, 2); err != nil {
				t.Errorf("with the right revision: %v", err)
			}
			if now, err := g.issuer.Find(t.Context(), "demo", g.record.ID); err != nil || now.Revision != 3 {
				t.Errorf("then its revision is %d, %v; want 3", now.Revision, err)
			}
		})
	}
}

func TestLifeIsBounded(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	rotate := func(r authkey.Rotation) func() error {
		return func() error { _, _, err := g.issuer.Rotate(t.Context(), "demo", g.record.ID, r); return err }
	}
	change := func(c authkey.Changes) func() error {
		return func() error { _, err := g.issuer.Change(t.Context(), "demo", g.record.ID, 0, c); return err }
	}
	state := func(s authkey.State, reason string) func() error {
		return func() error {
			_, err := g.issuer.SetState(t.Context(), "demo", g.record.ID, 0, s, reason)
			return err
		}
	}
	long := strings.Repeat("x", 257)
	for name, call := range map[string]func() error{
		"a negative overlap":         rotate(authkey.Rotation{Overlap: -1}),
		"an overlap without end":     rotate(authkey.Rotation{Overlap: authkey.MaxOverlap + 1}),
		"a new one that is over":     rotate(authkey.Rotation{ExpiresAt: start}),
		"a reason of great length":   rotate(authkey.Rotation{Reason: long}),
		"to be revoked by Change":    change(authkey.Changes{State: new(authkey.StateRevoked)}),
		"to be suspended":            change(authkey.Changes{State: new(authkey.StateSuspended)}),
		"a state that is none":       state("gone", ""),
		"a state of projects":        state(authkey.StateSuspended, ""),
		"disabled for a long reason": state(authkey.StateDisabled, long),
		"origins of a secret key":    change(authkey.Changes{Origins: &[]string{"https://example.com"}}),
		"an end before its start":    change(authkey.Changes{NotBefore: &start, ExpiresAt: new(start.Add(-1))}),
		"a name of two lines":        change(authkey.Changes{Name: new("a\nb")}),
	} {
		t.Run(name, func(t *testing.T) { fails(t, name, call(), authkey.ErrInvalid) })
	}
	for n := range 2 {
		_, err := authkey.NewIssuer(g.store, mustFormat(t, "acme", "live"), authkey.WithMaxLive(n*(authkey.MaxCredentials+1)))
		fails(t, "WithMaxLive", err, authkey.ErrInvalid)
	}
	g.kept(t, "after all", g.record)
}

// A key that has ended can be changed like any other, and get more time.
func TestExpiredKey(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	end := func(at time.Time) {
		t.Helper()
		if _, err := g.issuer.Change(t.Context(), "demo", g.record.ID, 0, authkey.Changes{ExpiresAt: &at}); err != nil {
			t.Fatal(err)
		}
	}
	end(start.Add(time.Hour))
	g.clock.advance(time.Hour)
	g.judge(t, "at its end", g.key, authkey.ErrExpired)
	_, fresh := g.rotate(t, g.issuer, authkey.Rotation{Overlap: 2 * time.Hour})
	g.judge(t, "rotation alone does not prolong it", fresh, authkey.ErrExpired)
	end(start.Add(2 * time.Hour))
	g.judge(t, "prolonged", fresh, nil)
	if id := g.judge(t, "prolonged, the old one", g.key, nil); id != nil && !id.ExpiresAt.Equal(start.Add(2*time.Hour)) {
		t.Errorf("the old one ends %v", id.ExpiresAt)
	}
	end(time.Time{})
	g.clock.advance(2 * time.Hour)
	g.judge(t, "without an end", fresh, nil)
	g.judge(t, "the old one ends with its overlap", g.key, authkey.ErrExpired)
}

func TestLookup(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	foreign := authkey.NewPresented("a-foreign-key-0123456789")
	imported, err := g.issuer.Import(t.Context(), foreign, authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	record, fresh := g.rotate(t, g.issuer, authkey.Rotation{})
	if record, err = g.issuer.SetState(t.Context(), "demo", record.ID, 0, authkey.StateRevoked, "leaked"); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(g.key.Reveal(), "_")
	parts[3] = strings.Repeat("0", 32)
	body := strings.Join(parts, "_")
	for name, row := range map[string]struct {
		key        authkey.Presented
		record     authkey.Record
		credential string
		want       error
	}{
		"the first credential":      {g.key, record, record.ID, nil},
		"the newest":                {fresh, record, record.Credentials[0].ID, nil},
		"a foreign one":             {foreign, imported, imported.ID, nil},
		"another secret":            {authkey.NewPresented(seal(body)), authkey.Record{}, "", authkey.ErrUnknown},
		"one that nobody has":       {authkey.NewPresented("another-foreign-key-0123"), authkey.Record{}, "", authkey.ErrUnknown},
		"the foreign one and more":  {authkey.NewPresented(foreign.Reveal() + "0"), authkey.Record{}, "", authkey.ErrUnknown},
		"an id":                     {authkey.NewPresented(record.ID), authkey.Record{}, "", authkey.ErrUnknown},
		"nothing":                   {authkey.Presented{}, authkey.Record{}, "", authkey.ErrMalformed},
		"more than a key can be":    {authkey.NewPresented(strings.Repeat("k", 257)), authkey.Record{}, "", authkey.ErrMalformed},
		"what no header can hold":   {authkey.NewPresented("a foreign key"), authkey.Record{}, "", authkey.ErrMalformed},
		"the key with a line added": {authkey.NewPresented(g.key.Reveal() + "\n"), authkey.Record{}, "", authkey.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, credential, err := g.issuer.Lookup(t.Context(), row.key)
			if !errors.Is(err, row.want) || !reflect.DeepEqual(got, row.record) || credential != row.credential {
				t.Errorf("got %+v, %q, %v; want %+v, %q, %v", got, credential, err, row.record, row.credential, row.want)
			}
		})
	}
}
