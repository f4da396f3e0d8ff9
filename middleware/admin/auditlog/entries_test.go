package auditlog_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
)

func TestEntries(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		w := newWritten(t, rdb)
		if entries, next := w.entries(auditlog.Query{}); entries == nil || len(entries) != 0 || next != "" {
			t.Errorf("nothing: %v, %q", entries, next)
		}
		w.write(3, "mia", "override.set")
		w.write(2, "ben", "override.delete")
		all, _ := w.entries(auditlog.Query{})
		if len(all) != 5 {
			t.Fatalf("%d entries, want 5", len(all))
		}
		e := all[3]
		if e.Seq != 4 || e.Actor != "ben" || e.Address != "203.0.113.7" || e.RequestID != "r" || e.Action != "override.delete" || e.Org != w.org ||
			e.Project != "shop" || e.ID != "0" || string(e.After) != `{"limit":"5"}` || e.Fault != "" || len(e.Link) != 40 || e.Written.Sub(e.At).Abs() > time.Hour {
			t.Errorf("the fourth entry is %+v", e)
		}
		// Apart by a second each, so that times tell them apart.
		stored := w.stored()
		if err := rdb.Del(t.Context(), lua.AuditKey(w.org)).Err(); err != nil {
			t.Fatalf("DEL: %v", err)
		}
		for i, m := range stored {
			if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: lua.AuditKey(w.org), ID: fmt.Sprintf("%d-0", 1000*(i+1)), Values: m.Values}).Err(); err != nil {
				t.Fatalf("XADD: %v", err)
			}
		}
		second := func(s float64) time.Time { return time.UnixMicro(int64(s * 1e6)) }
		for _, tt := range []struct {
			name string
			q    auditlog.Query
			want string // the numbers
			next string
		}{
			{"all", auditlog.Query{}, "1 2 3 4 5", ""},
			{"exactly all", auditlog.Query{Limit: 5}, "1 2 3 4 5", ""},
			{"newest", auditlog.Query{Order: auditlog.NewestFirst, Limit: 2}, "5 4", "4000-0"},
			{"newest, on", auditlog.Query{Order: auditlog.NewestFirst, Limit: 3, After: "4000-0"}, "3 2 1", ""},
			{"oldest", auditlog.Query{Limit: 2}, "1 2", "2000-0"},
			{"oldest, on", auditlog.Query{Limit: 2, After: "2000-0"}, "3 4", "4000-0"},
			{"actor", auditlog.Query{Actor: "ben"}, "4 5", ""},
			{"part of an actor", auditlog.Query{Actor: "be"}, "", ""},
			{"action", auditlog.Query{Action: "override.set", Limit: 2}, "1 2", "2000-0"},
			{"action, on", auditlog.Query{Action: "override.set", Limit: 2, After: "2000-0"}, "3", ""},
			{"id", auditlog.Query{ID: "1"}, "2 5", ""},
			{"all of them", auditlog.Query{ID: "1", Actor: "ben", Action: "override.delete"}, "5", ""},
			{"from", auditlog.Query{From: second(3)}, "3 4 5", ""},
			{"from just after", auditlog.Query{From: second(3.0001)}, "4 5", ""},
			{"to", auditlog.Query{To: second(3)}, "1 2", ""},
			{"to just after", auditlog.Query{To: second(3.0001)}, "1 2 3", ""},
			{"between, newest", auditlog.Query{From: second(2), To: second(5), Order: auditlog.NewestFirst}, "4 3 2", ""},
			{"after before from", auditlog.Query{From: second(4), After: "2000-0"}, "4 5", ""},
			{"after beyond from", auditlog.Query{From: second(2), After: "4000-0"}, "5", ""},
			{"newest, after beyond to", auditlog.Query{To: second(3), After: "4000-0", Order: auditlog.NewestFirst}, "2 1", ""},
			{"newest, after before to", auditlog.Query{To: second(4), After: "3000-0", Order: auditlog.NewestFirst}, "2 1", ""},
		} {
			entries, next := w.entries(tt.q)
			var numbers []string
			for _, e := range entries {
				numbers = append(numbers, strconv.FormatInt(e.Seq, 10))
			}
			if got := strings.Join(numbers, " "); got != tt.want || next != tt.next {
				t.Errorf("%s: %q, next %q; want %q, next %q", tt.name, got, next, tt.want, tt.next)
			}
		}
		if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: lua.AuditKey(w.org), ID: "6000-0", Values: []string{"seq", "6"}}).Err(); err != nil {
			t.Fatalf("XADD: %v", err)
		}
		entries, _ := w.entries(auditlog.Query{Actor: "nobody"})
		if len(entries) != 1 || entries[0].Fault == "" || entries[0].Written != time.Unix(6, 0).UTC() {
			t.Errorf("a damaged entry: %+v, want it in every answer", entries)
		}
		if _, err := w.log.Head(t.Context(), w.org); !errors.Is(err, auditlog.ErrDamaged) {
			t.Errorf("Head: %v, want ErrDamaged", err)
		}
	}, redistest.OrEmbedded())
}

// TestEntriesReadsPages lists a trail that is longer than what one call to Redis reads, in pages of any size.
func TestEntriesReadsPages(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		w := newWritten(t, rdb)
		w.write(1001, "mia", "override.set")
		for _, order := range []auditlog.Order{auditlog.OldestFirst, auditlog.NewestFirst} {
			for _, limit := range []int{300, 499, 500, 501, 1000} {
				var seqs []int64
				for q := (auditlog.Query{Order: order, Limit: limit}); ; {
					entries, next := w.entries(q)
					if len(entries) > limit || next != "" && len(entries) < limit {
						t.Errorf("%s: a page of %d entries, want %d", order, len(entries), limit)
					}
					for _, e := range entries {
						seqs = append(seqs, e.Seq)
					}
					if q.After = next; next == "" {
						break
					}
				}
				want := make([]int64, 1001)
				for i := range want {
					want[i] = int64(i + 1)
				}
				if order == auditlog.NewestFirst {
					slices.Reverse(want)
				}
				if !slices.Equal(seqs, want) {
					t.Errorf("%s: pages of %d: %d entries, want all once and in order", order, limit, len(seqs))
				}
			}
			if entries, next := w.entries(auditlog.Query{Order: order, ID: "500", Actor: "mia"}); len(entries) != 1 || entries[0].Seq != 501 || next != "" {
				t.Errorf("%s: one of them: %+v, %q", order, entries, next)
			}
		}
	})
}

// TestEntriesLooksNoFurther: a call that finds nothing ends all the same, and says where to go on.
func TestEntriesLooksNoFurther(t *testing.T) {
	t.Parallel()
	w := newWritten(t, redistest.Standalone(t, redistest.OrEmbedded()))
	w.write(1, "mia", "override.set")
	values := w.stored()[0].Values
	pipe := w.rdb.Pipeline()
	for range 10_500 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: lua.AuditKey(w.org), Values: values})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatalf("XADD: %v", err)
	}
	q := auditlog.Query{Actor: "nobody"}
	first, next := w.entries(q)
	q.After = next
	second, last := w.entries(q)
	if len(first) != 0 || next == "" || len(second) != 0 || last != "" {
		t.Errorf("%d entries, next %q; then %d, next %q; want two empty pages", len(first), next, len(second), last)
	}
}
