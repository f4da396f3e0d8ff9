package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// mustChange changes a record that is in the store.
func (s suite) mustChange(t *testing.T, record authkey.Record, edit func(*authkey.Record)) authkey.Record {
	t.Helper()
	edit(&record)
	changed, err := s.Change(t.Context(), record, "test")
	if err != nil {
		t.Fatalf("Change: %v", err)
	}
	return changed
}

func (s suite) change(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	for _, edit := range []func(*authkey.Record){
		func(r *authkey.Record) { r.State, r.Reason = authkey.StateDisabled, "for now" },
		func(r *authkey.Record) { r.State, r.Name, r.Owner, r.Plan = authkey.StateActive, "", "", "" },
		func(r *authkey.Record) { r.Scopes, r.Products, r.Networks, r.Origins, r.Meta = nil, nil, nil, nil, nil },
		func(r *authkey.Record) { r.ExpiresAt = r.NotBefore.AddDate(0, 0, 1) },
		func(r *authkey.Record) { r.State, r.RevokedAt = authkey.StateRevoked, r.ExpiresAt },
	} {
		want := stored
		edit(&want)
		got := s.mustChange(t, stored, edit)
		want.Revision++
		same(t, "Change", got, want)
		same(t, "Find after Change", s.mustFind(t, stored.ID), want)
		stored = got
	}
}

func (s suite) changeConflict(t *testing.T) {
	first := s.create(t, s.record(t, "shop"))
	second := s.mustChange(t, first, func(r *authkey.Record) { r.Name = "second" })
	for _, revision := range []int64{0, first.Revision, second.Revision + 1} {
		late := first
		late.Revision, late.Name = revision, "late"
		_, err := s.Change(t.Context(), late, "test")
		fails(t, "Change of another revision", err, authkey.ErrConflict)
	}
	same(t, "Find", s.mustFind(t, first.ID), second)
}

func (s suite) changeRace(t *testing.T) {
	record := s.create(t, s.record(t, "shop"))
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			mine := record
			mine.Name = strings.Repeat("x", i)
			_, errs[i] = s.Change(t.Context(), mine, "test")
		})
	}
	wg.Wait()
	changed := 0
	for _, err := range errs {
		if err == nil {
			changed++
		} else {
			fails(t, "Change", err, authkey.ErrConflict)
		}
	}
	if changed != 1 {
		t.Errorf("changed %d times, want once", changed)
	}
}

func (s suite) revoked(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	revoked := s.mustChange(t, stored, func(r *authkey.Record) { r.State = authkey.StateRevoked })
	for _, state := range []authkey.State{authkey.StateActive, authkey.StateDisabled} {
		for _, revision := range []int64{stored.Revision, revoked.Revision} { // a late write, and a new one
			again := stored
			again.State, again.Revision = state, revision
			_, err := s.Change(t.Context(), again, "test")
			fails(t, "another state of a revoked record", err, authkey.ErrRevoked)
		}
	}
	_, err := s.Create(t.Context(), stored)
	fails(t, "Create over a revoked record", err, authkey.ErrExists)
	same(t, "Find", s.mustFind(t, stored.ID), revoked)
}

func (s suite) changeElsewhere(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	other := stored
	other.Project = "other"
	_, err := s.Change(t.Context(), other, "test")
	fails(t, "Change by another project", err, authkey.ErrUnknown)
	other = stored
	for other.Org += "x"; ; other.Org += "x" { // until one of the same bucket, or the ids would be invalid
		if _, err = s.Change(t.Context(), other, "test"); !errors.Is(err, authkey.ErrInvalid) || len(other.Org) == 128 {
			break
		}
	}
	if !errors.Is(err, authkey.ErrInvalid) {
		fails(t, "Change by another org", err, authkey.ErrUnknown)
	}
	missing := s.record(t, "shop")
	missing.Revision = 1
	_, err = s.Change(t.Context(), missing, "test")
	fails(t, "Change of no record", err, authkey.ErrUnknown)
	same(t, "Find", s.mustFind(t, stored.ID), stored)
}

func (s suite) changeInvalid(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	for name, spoil := range map[string]func(*authkey.Record){
		"a state that does not exist": func(r *authkey.Record) { r.State = "gone" },
		"a long reason":               func(r *authkey.Record) { r.Reason = strings.Repeat("x", 257) },
		"no credential":               func(r *authkey.Record) { r.Credentials = nil },
	} {
		record := stored
		spoil(&record)
		_, err := s.Change(t.Context(), record, "test")
		fails(t, name, err, authkey.ErrInvalid)
	}
	same(t, "Find", s.mustFind(t, stored.ID), stored)
}

func (s suite) changeCredentials(t *testing.T) {
	stored, other := s.create(t, s.record(t, "shop")), s.create(t, s.record(t, "shop"))
	fresh := s.record(t, "shop").Credentials[0]
	changed := s.mustChange(t, stored, func(r *authkey.Record) { r.Credentials = append([]authkey.Credential{fresh}, r.Credentials[0]) })
	for _, id := range []string{fresh.ID, stored.Credentials[0].ID, stored.Credentials[1].ID} {
		same(t, "Find by any credential that it ever had", s.mustFind(t, id), changed)
	}
	for name, taken := range map[string]authkey.Credential{
		"the id of another key's": {ID: other.Credentials[0].ID, Digest: fresh.Digest, CreatedAt: fresh.CreatedAt},
	} {
		record := changed
		record.Credentials = []authkey.Credential{taken}
		_, err := s.Change(t.Context(), record, "test")
		fails(t, name, err, authkey.ErrExists)
	}
	same(t, "Find", s.mustFind(t, stored.ID), changed)
	same(t, "Find the other", s.mustFind(t, other.Credentials[0].ID), other)

	foreign := s.record(t, "shop").Credentials[0]
	foreign.Foreign = true
	changed = s.mustChange(t, changed, func(r *authkey.Record) { r.Credentials = []authkey.Credential{foreign} })
	found, err := s.FindDigest(t.Context(), foreign.Digest)
	if err != nil {
		t.Fatalf("FindDigest of a foreign credential that was added: %v", err)
	}
	same(t, "FindDigest", found, changed)
	s.mustChange(t, changed, func(r *authkey.Record) {
		r.Credentials = slices.Clone(r.Credentials)
		r.Credentials[0].Digest = fresh.Digest
	})
	if _, err = s.FindDigest(t.Context(), fresh.Digest); err != nil {
		t.Errorf("FindDigest of a digest that was replaced: %v", err)
	}
	_, err = s.FindDigest(t.Context(), foreign.Digest)
	fails(t, "FindDigest of the digest before", err, authkey.ErrUnknown)
}

func (s suite) epochs(t *testing.T) {
	record := s.create(t, s.record(t, "shop"))
	last := s.mustFind(t, record.ID).Epoch
	if last == 0 {
		return // a store without epochs
	}
	s.create(t, s.record(t, "shop"))
	if again := s.mustFind(t, record.ID).Epoch; again != last {
		t.Errorf("the epoch went from %d to %d without a change", last, again)
	}
	raised := func(what string) {
		t.Helper()
		next := s.mustFind(t, record.ID).Epoch
		if next <= last {
			t.Errorf("%s left the epoch of its org at %d, was %d", what, next, last)
		}
		last = next
	}
	record = s.mustChange(t, record, func(r *authkey.Record) { r.Scopes = nil })
	raised("a scope taken")
	s.mustChange(t, record, func(r *authkey.Record) { r.State = authkey.StateRevoked })
	raised("a revocation")
	if _, err := s.SetProject(t.Context(), authkey.Project{Org: s.org, Name: "shop", State: authkey.StateSuspended}); err != nil {
		t.Fatal(err)
	}
	raised("a suspension")
}

func (s suite) rehash(t *testing.T) {
	store, ok := s.Store.(authkey.Rehasher)
	if !ok {
		return // it need not
	}
	record := s.record(t, "shop")
	record.Credentials[0].Foreign = true
	record = s.create(t, record)
	old, epoch := record.Credentials[0].Digest, s.mustFind(t, record.ID).Epoch
	moved := record
	moved.Credentials = slices.Clone(record.Credentials)
	moved.Credentials[0].Digest, moved.Credentials[0].PepperVersion = digestOf("moved"+record.ID), "v2"
	got, err := store.Rehash(t.Context(), moved)
	if err != nil {
		t.Fatalf("Rehash: %v", err)
	}
	_, err = store.Rehash(t.Context(), moved)
	fails(t, "Rehash of another revision", err, authkey.ErrConflict)
	moved.Revision++
	same(t, "Rehash", got, moved)
	found, err := s.FindDigest(t.Context(), moved.Credentials[0].Digest)
	if err != nil || found.Epoch != epoch {
		t.Errorf("by the digest of now: epoch %d, %v; want %d, as nothing else changed", found.Epoch, err, epoch)
	}
	same(t, "FindDigest", found, moved)
	_, err = s.FindDigest(t.Context(), old)
	fails(t, "by the digest of before", err, authkey.ErrUnknown)
}

func (s suite) copies(t *testing.T) {
	given := s.record(t, "shop")
	stored := s.create(t, given)
	want := slices.Clone(stored.Scopes)
	spoil := func(r *authkey.Record) {
		r.Scopes[0], r.Meta["ticket"], r.Credentials[0].Reason = "spoilt", "spoilt", "spoilt"
	}
	spoil(&given)
	spoil(&stored)
	found := s.mustFind(t, stored.ID)
	spoil(&found)
	page, _, err := s.List(t.Context(), s.org, "", "", 1)
	if err != nil || len(page) != 1 {
		t.Fatalf("List: %d records, %v", len(page), err)
	}
	spoil(&page[0])
	got := s.mustFind(t, stored.ID)
	if !slices.Equal(got.Scopes, want) || got.Meta["ticket"] == "spoilt" || got.Credentials[0].Reason == "spoilt" {
		t.Errorf("the store has %+v after changes to copies", got)
	}
}

func (s suite) contexts(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late := s.record(t, "late")
	for what, call := range map[string]func() error{
		"Find":       func() error { _, err := s.Find(ended, stored.ID); return err },
		"FindDigest": func() error { _, err := s.FindDigest(ended, stored.Credentials[0].Digest); return err },
		"Create":     func() error { _, err := s.Create(ended, late); return err },
		"Change":     func() error { _, err := s.Change(ended, stored, "test"); return err },
		"Project":    func() error { _, err := s.Project(ended, s.org, "shop"); return err },
		"Projects":   func() error { _, _, err := s.Projects(ended, s.org, "", 1); return err },
		"SetProject": func() error {
			_, err := s.SetProject(ended, authkey.Project{Org: s.org, Name: "shop", State: authkey.StateActive})
			return err
		},
		"List": func() error { _, _, err := s.List(ended, s.org, "", "", 1); return err },
	} {
		err := call()
		fails(t, what, err, authkey.ErrUnavailable)
		fails(t, what, err, context.Canceled)
	}
}
