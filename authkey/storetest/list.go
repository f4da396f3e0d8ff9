package storetest

import (
	"slices"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// ids lists all ids by pages of a size, and checks that no page is too large.
func (s suite) ids(t *testing.T, project string, size int) []string {
	t.Helper()
	var ids []string
	cursor := ""
	for range 100 {
		page, next, err := s.List(t.Context(), s.org, project, cursor, size)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if len(page) > size {
			t.Fatalf("List gave %d records, the limit was %d", len(page), size)
		}
		for _, record := range page {
			ids = append(ids, record.ID)
		}
		if cursor = next; cursor == "" {
			return ids
		}
	}
	t.Fatal("List does not come to an end")
	return nil
}

func (s suite) list(t *testing.T) {
	stored := s.create(t, s.record(t, "shop"))
	page, next, err := s.List(t.Context(), s.org, "shop", "", authkey.MaxPage)
	if err != nil || next != "" || len(page) != 1 {
		t.Fatalf("List: %d records, cursor %q, %v", len(page), next, err)
	}
	if page[0].Epoch != 0 {
		t.Errorf("a listed record carries epoch %d", page[0].Epoch)
	}
	same(t, "List", page[0], stored)
	s.mustChange(t, stored, func(r *authkey.Record) { r.State = authkey.StateRevoked })
	if page, _, err = s.List(t.Context(), s.org, "", "", 10); err != nil || len(page) != 1 || page[0].State != authkey.StateRevoked {
		t.Errorf("List after a revocation: %+v, %v", page, err)
	}
	if page, _, err = s.List(t.Context(), s.org+"x", "", "", 10); err != nil || len(page) != 0 {
		t.Errorf("List of another org: %+v, %v", page, err)
	}
}

func (s suite) listPages(t *testing.T) {
	want := map[string][]string{}
	for _, project := range []string{"a", "a1", "a:b", "a b", "a%", "b", "b;"} {
		for range 3 {
			want[project] = append(want[project], s.create(t, s.record(t, project)).ID)
		}
		slices.Sort(want[project])
	}
	for _, size := range []int{1, 2, 3, 200} {
		all := s.ids(t, "", size)
		if len(all) != 3*len(want) {
			t.Fatalf("%d records by pages of %d, want %d", len(all), size, 3*len(want))
		}
		for project, ids := range want {
			if got := s.ids(t, project, size); !slices.Equal(got, ids) {
				t.Errorf("project %q by pages of %d: %q, want %q", project, size, got, ids)
			}
			at := slices.Index(all, ids[0])
			if at < 0 || !slices.Equal(all[at:min(at+3, len(all))], ids) {
				t.Errorf("project %q is not together, in order of id, among all by pages of %d", project, size)
			}
		}
	}
}

func (s suite) listInvalid(t *testing.T) {
	s.create(t, s.record(t, "shop"))
	for _, limit := range []int{-1, 0, authkey.MaxPage + 1} {
		_, _, err := s.List(t.Context(), s.org, "", "", limit)
		fails(t, "a limit out of bounds", err, authkey.ErrInvalid)
	}
	for _, cursor := range []string{"?", "x", "AAAA", "=", "Kw"} {
		_, _, err := s.List(t.Context(), s.org, "shop", cursor, 10)
		fails(t, "a cursor that List never gave", err, authkey.ErrInvalid)
	}
}
