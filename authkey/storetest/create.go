package storetest

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func (s suite) find(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	for _, c := range stored.Credentials {
		same(t, "Find by the credential "+c.ID, s.mustFind(t, c.ID), stored)
	}

	bare := s.record(t, "shop")
	bare.Name, bare.Owner, bare.Plan, bare.Reason = "", "", "", ""
	bare.Scopes, bare.Products, bare.Networks, bare.Origins, bare.Meta = nil, nil, nil, nil, nil
	bare.Credentials = bare.Credentials[1:]
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
	_, err := s.FindDigest(t.Context(), native.Credentials[0].Digest)
	fails(t, "FindDigest of a key that is not foreign", err, authkey.ErrUnknown)

	foreign := s.record(t, "shop")
	digest := foreign.Credentials[0].Digest
	_, err = s.FindDigest(t.Context(), digest)
	fails(t, "FindDigest before Create", err, authkey.ErrUnknown)
	foreign.Credentials[0].Foreign = true
	stored := s.create(t, foreign)
	found, err := s.FindDigest(t.Context(), digest)
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
	given.Revision, given.Epoch = 7, 8
	given.Credentials[0].LastUsedAt = given.CreatedAt
	given.Within = authkey.Project{Plan: "given"}
	stored := s.create(t, given)
	want := given
	want.Revision, want.Within = 1, authkey.Project{}
	want.Credentials = slices.Clone(given.Credentials)
	want.Credentials[0].LastUsedAt = time.Time{}
	same(t, "Create", stored, want)
}

func (s suite) createTaken(t *testing.T) {
	first := s.create(t, s.record(t, "shop"))
	second := s.record(t, "other")
	second.ID = first.ID
	_, err := s.Create(t.Context(), second)
	fails(t, "Create with a taken id", err, authkey.ErrExists)
	third := s.record(t, "other")
	third.Credentials[1].ID = first.Credentials[0].ID
	_, err = s.Create(t.Context(), third)
	fails(t, "Create with a credential's taken id", err, authkey.ErrExists)
	same(t, "the first record", s.mustFind(t, first.ID), first)
	if records, _, err := s.List(t.Context(), s.org, "other", "", 10); err != nil || len(records) != 0 {
		t.Errorf("a refused record is listed: %v, %v", records, err)
	}
}

func (s suite) createTakenDigest(t *testing.T) {
	first := s.record(t, "shop")
	first.Credentials[0].Foreign = true
	first = s.create(t, first)
	second := s.record(t, "shop")
	second.Credentials[0].Foreign, second.Credentials[0].Digest = true, first.Credentials[0].Digest
	_, err := s.Create(t.Context(), second)
	fails(t, "Create with a taken digest", err, authkey.ErrExists)
	_, err = s.Find(t.Context(), second.ID)
	fails(t, "Find of the refused record", err, authkey.ErrUnknown)
	if found, err := s.FindDigest(t.Context(), first.Credentials[0].Digest); err != nil || found.ID != first.ID {
		t.Errorf("FindDigest found %q, %v; want %q", found.ID, err, first.ID)
	}
}

func (s suite) createInvalid(t *testing.T) {
	for name, spoil := range map[string]func(*authkey.Record){
		"no org":              func(r *authkey.Record) { r.Org = "" },
		"no project":          func(r *authkey.Record) { r.Project = "" },
		"a bucket of another": func(r *authkey.Record) { r.ID = "99" + r.ID[2:] },
		"a short id":          func(r *authkey.Record) { r.ID = r.ID[:5] },
		"no digest":           func(r *authkey.Record) { r.Credentials[0].Digest = authkey.Digest{} },
		"no credential":       func(r *authkey.Record) { r.Credentials = nil },
		"a credential twice":  func(r *authkey.Record) { r.Credentials[1].ID = r.Credentials[0].ID },
		"a zero network":      func(r *authkey.Record) { r.Networks = make([]netip.Prefix, 1) },
		"an odd origin":       func(r *authkey.Record) { r.Origins = []string{"https://a/b"} },
		"origins of a secret": func(r *authkey.Record) { r.Kind = authkey.KindSecret },
		"meta without a name": func(r *authkey.Record) { r.Meta = map[string]string{"": "x"} },
		"a project's state":   func(r *authkey.Record) { r.State = authkey.StateSuspended },
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
