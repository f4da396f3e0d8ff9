package auditlog_test

import (
	"errors"
	"fmt"
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
			if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: lua.AuditKey(w.org), ID: fmt.Sprintf("%d-7", 1000*(i+1)), Values: m.Values}).Err(); err != nil {
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
			{"newest", auditlog.Query{Order: auditlog.NewestFirst, Limit: 2}, "5 4", "4000-7"},
			{"newest, on", auditlog.Query{Order: auditlog.NewestFirst, Limit: 3, After: "4000-7"}, "3 2 1", ""},
			{"oldest", auditlog.Query{Limit: 2}, "1 2", "2000-7"},
			{"oldest, on", auditlog.Query{Limit: 2, After: "2000-7"}, "3 4", "4000-7"},
			{"actor", auditlog.Query{Actor: "ben"}, "4 5", ""},
			{"part of an actor", auditlog.Query{Actor: "be"}, "", ""},
			{"action", auditlog.Query{Action: "override.set", Limit: 2}, "1 2", "2000-7"},
			{"action, on", auditlog.Query{Action: "override.set", Limit: 2, After: "2000-7"}, "3", ""},
			{"id", auditlog.Query{ID: "1"}, "2 5", ""},
			{"all of them", auditlog.Query{ID: "1", Actor: "ben", Action: "override.delete"}, "5", ""},
			{"from", auditlog.Query{From: second(3)}, "3 4 5", ""},
			{"from just after", auditlog.Query{From: second(3.0001)}, "4 5", ""},
			{"to", auditlog.Query{To: second(3)}, "1 2", ""},
			{"to just after", auditlog.Query{To: second(3.0001)}, "1 2 3", ""},
			{"between, newest", auditlog.Query{From: second(2), To: second(5), Order: auditlog.NewestFirst}, "4 3 2", ""},
			{"after before from", auditlog.Query{From: second(4), After: "2000-7"}, "4 5", ""},
			{"after beyond from", auditlog.Query{From: second(2), After: "4000-7"}, "5", ""},
			{"newest, after beyond to", auditlog.Query{To: second(3), After: "4000-7", Order: auditlog.NewestFirst}, "2 1", ""},
			{"newest, after before to", auditlog.Query{To: second(4), After: "3000-7", Order: auditlog.NewestFirst}, "2 1", ""},
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
