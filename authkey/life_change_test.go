package authkey_test

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestChange(t *testing.T) {
	t.Parallel()
	later := start.Add(day)
	for name, row := range map[string]struct {
		changes authkey.Changes
		want    func(*authkey.Record)
		opens   error
	}{
		"name":        {authkey.Changes{Name: new("n")}, func(r *authkey.Record) { r.Name = "n" }, nil},
		"owner":       {authkey.Changes{Owner: new("o")}, func(r *authkey.Record) { r.Owner = "o" }, nil},
		"plan":        {authkey.Changes{Plan: new("p")}, func(r *authkey.Record) { r.Plan = "p" }, nil},
		"no plan":     {authkey.Changes{Plan: new("")}, func(r *authkey.Record) { r.Plan = "" }, nil},
		"scopes":      {authkey.Changes{Scopes: &[]string{"a", "b"}}, func(r *authkey.Record) { r.Scopes = []string{"a", "b"} }, nil},
		"no products": {authkey.Changes{Products: new([]string)}, func(r *authkey.Record) { r.Products = nil }, nil},
		"networks": {
			authkey.Changes{Networks: &[]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
			func(r *authkey.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, nil,
		},
		"meta": {
			authkey.Changes{Meta: &map[string]string{"a": "b"}}, func(r *authkey.Record) { r.Meta = map[string]string{"a": "b"} }, nil,
		},
		"an end":           {authkey.Changes{ExpiresAt: &later}, func(r *authkey.Record) { r.ExpiresAt = later }, nil},
		"an end that came": {authkey.Changes{ExpiresAt: &start}, func(r *authkey.Record) { r.ExpiresAt = start }, authkey.ErrExpired},
		"a beginning":      {authkey.Changes{NotBefore: &later}, func(r *authkey.Record) { r.NotBefore = later }, authkey.ErrNotYetValid},
		"times are stored exactly": {
			authkey.Changes{ExpiresAt: new(later.In(time.FixedZone("", 60)).Add(999))}, func(r *authkey.Record) { r.ExpiresAt = later }, nil,
		},
		"disabled": {
			authkey.Changes{State: new(authkey.StateDisabled), Reason: new("unpaid")},
			func(r *authkey.Record) { r.State, r.Reason = authkey.StateDisabled, "unpaid" }, authkey.ErrDisabled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			want := g.record
			row.want(&want)
			want.Revision++
			got, err := g.issuer.Change(t.Context(), "demo", g.record.ID, g.record.Revision, row.changes)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("Change: %+v, %v; want %+v", got, err, want)
			}
			g.kept(t, "Change", want)
			g.judge(t, "then", g.key, row.opens)
			if again, err := g.issuer.Change(t.Context(), "demo", g.record.ID, 0, row.changes); err != nil || again.Revision != want.Revision {
				t.Errorf("the same again: revision %d, %v; want it as it is", again.Revision, err)
			}
		})
	}
}

func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, row := range []struct {
		state authkey.State
		opens error
	}{{authkey.StateDisabled, authkey.ErrDisabled}, {authkey.StateDisabled, authkey.ErrDisabled}, {authkey.StateActive, nil}} {
		record, err := g.issuer.SetState(t.Context(), "demo", g.record.ID, 0, row.state, "unpaid")
		if err != nil || record.State != row.state || record.Reason != "unpaid" || !record.RevokedAt.IsZero() {
			t.Errorf("%s: %+v, %v", row.state, record, err)
		}
		g.judge(t, string(row.state), g.key, row.opens)
	}
	if record, err := g.issuer.Find(t.Context(), "demo", g.record.ID); err != nil || record.Revision != 3 {
		t.Errorf("revision %d, %v; want 3: to disable it twice is one change", record.Revision, err)
	}
}

func TestSetProject(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	_, planless, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "blog"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what         string
		revision     int64
		state        authkey.State
		plan, reason string
		want         error
		is           int64 // the revision then; 0: nothing is set
		opens        error
	}{
		{"a revision of nothing", 1, authkey.StateSuspended, "", "", authkey.ErrConflict, 0, nil},
		{"a state of keys", 0, authkey.StateDisabled, "", "", authkey.ErrInvalid, 0, nil},
		{"no state", 0, "", "", "", authkey.ErrInvalid, 0, nil},
		{"the first", authkey.IfAbsent, authkey.StateActive, "gold", "", nil, 1, nil},
		{"the first again", authkey.IfAbsent, authkey.StateSuspended, "gold", "", authkey.ErrConflict, 1, nil},
		{"no such revision", -2, authkey.StateSuspended, "gold", "", authkey.ErrConflict, 1, nil},
		{"suspended", 1, authkey.StateSuspended, "gold", "unpaid", nil, 2, authkey.ErrSuspended},
		{"the same again", 0, authkey.StateSuspended, "gold", "unpaid", nil, 2, authkey.ErrSuspended},
		{"an earlier revision", 1, authkey.StateActive, "gold", "", authkey.ErrConflict, 2, authkey.ErrSuspended},
		{"another reason", 0, authkey.StateSuspended, "gold", "abuse", nil, 3, authkey.ErrSuspended},
		{"active again", 3, authkey.StateActive, "free", "", nil, 4, nil},
	} {
		set, err := g.issuer.SetProject(t.Context(), "demo", "shop", step.revision, step.state, step.plan, step.reason)
		fails(t, step.what, err, step.want)
		if step.want == nil && (set.State != step.state || set.Plan != step.plan || set.Reason != step.reason || set.Revision != step.is) {
			t.Errorf("%s: %+v", step.what, set)
		}
		got, err := g.store.Project(t.Context(), "demo", "shop")
		if (step.is == 0) != errors.Is(err, authkey.ErrUnknown) || got.Revision != step.is {
			t.Errorf("%s: it is set to %+v, %v", step.what, got, err)
		}
		g.judge(t, step.what, g.key, step.opens)
		if id := g.judge(t, step.what, planless, step.opens); id != nil && id.Plan != got.Plan {
			t.Errorf("%s: a key without a plan has %q, want %q", step.what, id.Plan, got.Plan)
		}
		g.judge(t, step.what+": another project", other, nil)
	}
	if id := g.judge(t, "at last", g.key, nil); id.Plan != "gold" {
		t.Errorf("a key with a plan of its own has %q", id.Plan)
	}
}
