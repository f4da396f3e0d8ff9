package storetest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func (s suite) find(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	same(t, "Find", s.mustFind(t, stored.ID), stored)

	bare := s.record(t, "shop")
	bare.Name, bare.Plan, bare.Reason, bare.PepperVersion = "", "", "", ""
	bare.Scopes, bare.Products = nil, nil
	bare.NotBefore, bare.ExpiresAt = time.Time{}, time.Time{}
	bare.State = authkey.StateDisabled
	found := s.mustFind(t, s.create(t, bare).ID)
	if len(found.Scopes) != 0 || len(found.Products) != 0 || !found.NotBefore.IsZero() || !found.ExpiresAt.IsZero() || found.State != authkey.StateDisabled {
		t.Errorf("a record with nothing optional came back as %+v", found)
	}
}

func (s suite) findUnknown(t *testing.T) {
	for _, id := range []string{s.record(t, "shop").ID, "", "0", "99aaaaaaaaaaaa", strings.Repeat("x", 300), "00:{a}*%"} {
		_, err := s.Find(t.Context(), id)
		fails(t, "Find", err, authkey.ErrUnknown)
	}
}

func (s suite) findDigest(t *testing.T) {
	native := s.create(t, s.record(t, "shop"))
	_, err := s.FindDigest(t.Context(), native.Digest)
	fails(t, "FindDigest of a key that is not foreign", err, authkey.ErrUnknown)

	foreign := s.record(t, "shop")
	_, err = s.FindDigest(t.Context(), foreign.Digest)
	fails(t, "FindDigest before Create", err, authkey.ErrUnknown)
	foreign.Foreign = true
	stored := s.create(t, foreign)
	found, err := s.FindDigest(t.Context(), foreign.Digest)
	if err != nil {
		t.Fatalf("FindDigest: %v", err)
	}
	same(t, "FindDigest", found, stored)
	same(t, "Find", s.mustFind(t, stored.ID), stored)
	if found.Epoch != s.mustFind(t, stored.ID).Epoch {
		t.Error("FindDigest and Find differ in the epoch")
	}
}

func (s suite) createSets(t *testing.T) {
	given := s.record(t, "shop")
	given.CreatedAt, given.RevokedAt = time.Unix(1, 0), time.Unix(2, 0)
	given.Revision, given.Epoch = 7, 8
	stored := s.create(t, given)
	if stored.CreatedAt.Equal(given.CreatedAt) || stored.CreatedAt.IsZero() || !stored.RevokedAt.IsZero() || stored.Revision != 1 {
		t.Errorf("created %v, revoked %v, revision %d: want the store's own, none, 1", stored.CreatedAt, stored.RevokedAt, stored.Revision)
	}
	want := given
	want.CreatedAt, want.RevokedAt, want.Revision = stored.CreatedAt, time.Time{}, 1
	same(t, "Create", stored, want)
}

func (s suite) createTaken(t *testing.T) {
	first := s.create(t, s.record(t, "shop"))
	second := s.record(t, "other")
	second.ID = first.ID
	_, err := s.Create(t.Context(), second)
	fails(t, "Create with a taken id", err, authkey.ErrExists)
	same(t, "the first record", s.mustFind(t, first.ID), first)
	if records, _, err := s.List(t.Context(), s.org, "other", "", 10); err != nil || len(records) != 0 {
		t.Errorf("a refused record is listed: %v, %v", records, err)
	}
}

func (s suite) createTakenDigest(t *testing.T) {
	first := s.record(t, "shop")
	first.Foreign = true
	first = s.create(t, first)
	second := s.record(t, "shop")
	second.Foreign, second.Digest = true, first.Digest
	_, err := s.Create(t.Context(), second)
	fails(t, "Create with a taken digest", err, authkey.ErrExists)
	_, err = s.Find(t.Context(), second.ID)
	fails(t, "Find of the refused record", err, authkey.ErrUnknown)
	if found, err := s.FindDigest(t.Context(), first.Digest); err != nil || found.ID != first.ID {
		t.Errorf("FindDigest found %q, %v; want %q", found.ID, err, first.ID)
	}
}

func (s suite) createInvalid(t *testing.T) {
	for name, spoil := range map[string]func(*authkey.Record){
		"no org":              func(r *authkey.Record) { r.Org = "" },
		"no project":          func(r *authkey.Record) { r.Project = "" },
		"a bucket of another": func(r *authkey.Record) { r.ID = "99" + r.ID[2:] },
		"a short id":          func(r *authkey.Record) { r.ID = r.ID[:5] },
		"no digest":           func(r *authkey.Record) { r.Digest = authkey.Digest{} },
		"revoked at birth":    func(r *authkey.Record) { r.State = authkey.StateRevoked },
		"no kind":             func(r *authkey.Record) { r.Kind = "" },
		"a scope of two":      func(r *authkey.Record) { r.Scopes = []string{"a b"} },
		"ends as it begins":   func(r *authkey.Record) { r.ExpiresAt = r.NotBefore },
		"a control character": func(r *authkey.Record) { r.Name = "a\nb" },
	} {
		record := s.record(t, "shop")
		id := record.ID
		spoil(&record)
		_, err := s.Create(t.Context(), record)
		fails(t, name, err, authkey.ErrInvalid)
		_, err = s.Find(t.Context(), id)
		fails(t, name+": Find", err, authkey.ErrUnknown)
	}
}

func (s suite) createRace(t *testing.T) {
	record := s.record(t, "shop")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.Create(t.Context(), record) })
	}
	wg.Wait()
	created := 0
	for _, err := range errs {
		if err == nil {
			created++
		} else {
			fails(t, "Create", err, authkey.ErrExists)
		}
	}
	if created != 1 {
		t.Errorf("created %d times, want once", created)
	}
}
