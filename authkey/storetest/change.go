package storetest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

func (s suite) setState(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	want := stored
	for _, state := range []authkey.State{authkey.StateDisabled, authkey.StateActive, authkey.StateRevoked} {
		want.State, want.Reason = state, "now "+string(state)
		want.Revision++
		got, err := s.SetState(t.Context(), s.org, stored.ID, want.State, want.Reason)
		if err != nil {
			t.Fatalf("SetState(%s): %v", state, err)
		}
		if revoked := !got.RevokedAt.IsZero(); revoked != (state == authkey.StateRevoked) {
			t.Errorf("SetState(%s): RevokedAt %v", state, got.RevokedAt)
		}
		want.RevokedAt = got.RevokedAt
		same(t, "SetState", got, want)
		same(t, "Find after SetState", s.mustFind(t, stored.ID), want)
	}
}

func (s suite) setStateAgain(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	first, err := s.SetState(t.Context(), s.org, stored.ID, authkey.StateRevoked, "leaked")
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.SetState(t.Context(), s.org, stored.ID, authkey.StateRevoked, "another reason")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the second SetState", again, first)
	same(t, "Find", s.mustFind(t, stored.ID), first)
}

func (s suite) revoked(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	revoked, err := s.SetState(t.Context(), s.org, stored.ID, authkey.StateRevoked, "leaked")
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []authkey.State{authkey.StateActive, authkey.StateDisabled} {
		_, err := s.SetState(t.Context(), s.org, stored.ID, state, "")
		fails(t, "SetState of a revoked record", err, authkey.ErrRevoked)
	}
	_, err = s.Create(t.Context(), stored)
	fails(t, "Create over a revoked record", err, authkey.ErrExists)
	same(t, "Find", s.mustFind(t, stored.ID), revoked)
}

func (s suite) setStateOtherOrg(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	for _, org := range []string{"", s.org + "x", strings.ToLower(s.org)} {
		_, err := s.SetState(t.Context(), org, stored.ID, authkey.StateRevoked, "")
		fails(t, "SetState by another org", err, authkey.ErrUnknown)
	}
	_, err := s.SetState(t.Context(), s.org, s.record(t, "shop").ID, authkey.StateRevoked, "")
	fails(t, "SetState of no record", err, authkey.ErrUnknown)
	same(t, "Find", s.mustFind(t, stored.ID), stored)
}

func (s suite) setStateInvalid(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	_, err := s.SetState(t.Context(), s.org, stored.ID, "gone", "")
	fails(t, "a state that does not exist", err, authkey.ErrInvalid)
	_, err = s.SetState(t.Context(), s.org, stored.ID, authkey.StateDisabled, strings.Repeat("x", 257))
	fails(t, "a long reason", err, authkey.ErrInvalid)
	same(t, "Find", s.mustFind(t, stored.ID), stored)
}

func (s suite) epochs(t *testing.T) {
	first := s.create(t, s.record(t, "shop"))
	last := s.mustFind(t, first.ID).Epoch
	if last == 0 {
		return // a store without epochs
	}
	if again := s.mustFind(t, first.ID).Epoch; again != last {
		t.Errorf("the epoch went from %d to %d without a change", last, again)
	}
	for _, state := range []authkey.State{authkey.StateDisabled, authkey.StateRevoked} {
		if _, err := s.SetState(t.Context(), s.org, first.ID, state, ""); err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		next := s.mustFind(t, first.ID).Epoch
		if next <= last {
			t.Errorf("%s left the epoch of its org at %d, was %d", state, next, last)
		}
		last = next
	}
}

func (s suite) copies(t *testing.T) {
	given := s.record(t, "shop")
	stored := s.create(t, given)
	want := slices.Clone(stored.Scopes)
	given.Scopes[0], stored.Scopes[0] = "spoilt", "spoilt"
	found := s.mustFind(t, stored.ID)
	found.Scopes[0] = "spoilt"
	page, _, err := s.List(t.Context(), s.org, "", "", 1)
	if err != nil || len(page) != 1 {
		t.Fatalf("List: %d records, %v", len(page), err)
	}
	page[0].Scopes[0] = "spoilt"
	if got := s.mustFind(t, stored.ID).Scopes; !slices.Equal(got, want) {
		t.Errorf("scopes in the store are %q after changes to copies, want %q", got, want)
	}
}

func (s suite) contexts(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late := s.record(t, "late")
	for what, call := range map[string]func() error{
		"Find":       func() error { _, err := s.Find(ended, stored.ID); return err },
		"FindDigest": func() error { _, err := s.FindDigest(ended, stored.Digest); return err },
		"Create":     func() error { _, err := s.Create(ended, late); return err },
		"SetState": func() error {
			_, err := s.SetState(ended, s.org, stored.ID, authkey.StateActive, "")
			return err
		},
		"List": func() error { _, _, err := s.List(ended, s.org, "", "", 1); return err },
	} {
		err := call()
		fails(t, what, err, authkey.ErrUnavailable)
		fails(t, what, err, context.Canceled)
	}
}
