package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func (s suite) project(t *testing.T) {
	record := s.create(t, s.record(t, "shöp: {a}"))
	_, err := s.Project(t.Context(), s.org, record.Project)
	fails(t, "Project before it is set", err, authkey.ErrUnknown)
	want := authkey.Project{
		Org: s.org, Name: record.Project, State: authkey.StateSuspended, Plan: "gold", Reason: "ünpaid: {a}\" %",
		UpdatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	for range 2 {
		set, err := s.SetProject(t.Context(), want)
		if err != nil {
			t.Fatalf("SetProject: %v", err)
		}
		_, err = s.SetProject(t.Context(), want)
		fails(t, "SetProject of another revision", err, authkey.ErrConflict)
		want.Revision++
		got, err := s.Project(t.Context(), s.org, want.Name)
		if err != nil || !reflect.DeepEqual(set, want) || !reflect.DeepEqual(got, want) {
			t.Errorf("set %+v, got %+v, %v; want %+v", set, got, err, want)
		}
		if found := s.mustFind(t, record.ID); !reflect.DeepEqual(found.Within, want) {
			t.Errorf("the key is within %+v, want %+v", found.Within, want)
		}
		page, _, err := s.List(t.Context(), s.org, "", "", 10)
		if err != nil || len(page) != 1 || !reflect.DeepEqual(page[0].Within, want) {
			t.Errorf("List: %+v, %v", page, err)
		}
	}
	for name, bad := range map[string]authkey.Project{
		"no org":                 {Name: "shop", State: authkey.StateActive},
		"no name":                {Org: s.org, State: authkey.StateActive},
		"a state of keys":        {Org: s.org, Name: "shop", State: authkey.StateRevoked},
		"a long reason":          {Org: s.org, Name: "shop", State: authkey.StateActive, Reason: strings.Repeat("x", 257)},
		"a name of two lines":    {Org: s.org, Name: "sh\nop", State: authkey.StateActive},
		"a plan of great length": {Org: s.org, Name: "shop", State: authkey.StateActive, Plan: strings.Repeat("x", 129)},
	} {
		_, err := s.SetProject(t.Context(), bad)
		fails(t, name, err, authkey.ErrInvalid)
	}
	if _, err := s.Project(t.Context(), s.org+"x", want.Name); err == nil {
		t.Error("another org has the project too")
	}
}

func (s suite) projects(t *testing.T) {
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("p%d: %%", i)
		want = append(want, name)
		if i%2 == 0 {
			s.create(t, s.record(t, name))
		}
		if i%3 == 0 || i%2 == 1 {
			if _, err := s.SetProject(t.Context(), authkey.Project{Org: s.org, Name: name, State: authkey.StateSuspended}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, size := range []int{1, 3, 7, 200} {
		var names []string
		cursor := ""
		for range 100 {
			page, next, err := s.Projects(t.Context(), s.org, cursor, size)
			if err != nil || len(page) > size {
				t.Fatalf("Projects: %d of them, the limit was %d: %v", len(page), size, err)
			}
			for _, p := range page {
				set := p.Revision == 1 && p.State == authkey.StateSuspended
				if bare := p == (authkey.Project{Org: s.org, Name: p.Name, State: authkey.StateActive}); set == bare {
					t.Errorf("listed as %+v", p)
				}
				names = append(names, p.Name)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if !slices.Equal(names, want) {
			t.Errorf("by pages of %d: %q, want %q", size, names, want)
		}
	}
	_, _, err := s.Projects(t.Context(), s.org, "?", 10)
	fails(t, "a cursor that no call gave", err, authkey.ErrInvalid)
	_, _, err = s.Projects(t.Context(), s.org, "", 0)
	fails(t, "no limit", err, authkey.ErrInvalid)
}

func (s suite) uses(t *testing.T) {
	store, ok := s.Store.(authkey.UseStore)
	if !ok {
		return // it need not
	}
	record := s.create(t, s.record(t, "shop"))
	epoch := s.mustFind(t, record.ID).Epoch
	at := record.CreatedAt.Add(time.Minute)
	for _, use := range []struct{ at, want time.Time }{
		{at, at}, {at.Add(-time.Second), at}, {at.Add(time.Second), at.Add(time.Second)},
	} {
		uses := []authkey.Use{
			{Key: record.ID, Credential: record.Credentials[0].ID, At: use.at},
			{Key: s.record(t, "shop").ID, Credential: record.Credentials[0].ID, At: use.at},
		}
		if err := store.NoteUses(t.Context(), uses); err != nil {
			t.Fatalf("NoteUses: %v", err)
		}
		want := record
		want.Credentials = slices.Clone(record.Credentials)
		want.Credentials[0].LastUsedAt = use.want
		found := s.mustFind(t, record.ID)
		same(t, "Find after NoteUses", found, want)
		if found.Epoch != epoch {
			t.Errorf("a use raised the epoch from %d to %d", epoch, found.Epoch)
		}
	}
	changed := s.mustChange(t, record, func(r *authkey.Record) { r.Name = "changed" })
	if got := changed.Credentials[0].LastUsedAt; !got.Equal(at.Add(time.Second)) {
		t.Errorf("a change set the last use to %v", got)
	}
}
