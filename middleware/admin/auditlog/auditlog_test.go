package auditlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/lua/seal"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
)

func sealerOf(t *testing.T, secret string) *seal.Sealer {
	t.Helper()
	s, err := seal.New(seal.NewKey("1", bytes.Repeat([]byte(secret), 32)))
	if err != nil {
		t.Fatalf("seal.New: %v", err)
	}
	return s
}

// written is an org with a trail.
type written struct {
	*testing.T
	rdb    redis.UniversalClient
	log    *auditlog.Log
	org    string
	sealer *seal.Sealer
}

func newWritten(t *testing.T, rdb redis.UniversalClient) written {
	t.Helper()
	sealer := sealerOf(t, "k")
	log, err := auditlog.New(rdb, auditlog.WithSealer(sealer), auditlog.WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return written{t, rdb, log, redistest.Org(t), sealer}
}

// write makes n changes, each with its entry.
func (w written) write(n int, actor, action string) {
	w.Helper()
	conn, err := lua.NewConn(w.rdb)
	if err != nil {
		w.Fatalf("NewConn: %v", err)
	}
	ctx := audit.NewContext(w.Context(), audit.Actor{Name: actor, RequestID: "r", Address: "203.0.113.7"})
	for i := range n {
		line, err := audit.NewLine(ctx, w.sealer, audit.Entry{Action: action, Org: w.org, Project: "shop", ID: strconv.Itoa(i), After: json.RawMessage(`{"limit":"5"}`)})
		if err != nil {
			w.Fatalf("NewLine: %v", err)
		}
		if _, err := conn.SetOverride(ctx, w.org, "a", lua.AnyRevision, `{"project":"","until":"0"}`, 0, line); err != nil {
			w.Fatalf("SetOverride: %v", err)
		}
	}
}

func (w written) verify(anchor *auditlog.Head) auditlog.Report {
	w.Helper()
	report, err := w.log.Verify(w.Context(), w.org, anchor)
	if err != nil {
		w.Fatalf("Verify: %v", err)
	}
	return report
}

func (w written) entries(q auditlog.Query) ([]auditlog.Entry, string) {
	w.Helper()
	entries, next, err := w.log.Entries(w.Context(), w.org, q)
	if err != nil {
		w.Fatalf("Entries: %v", err)
	}
	return entries, next
}

// stored returns the trail as Redis has it, and put writes another in its place.
func (w written) stored() []redis.XMessage {
	w.Helper()
	all, err := w.rdb.XRange(w.Context(), lua.AuditKey(w.org), "-", "+").Result()
	if err != nil {
		w.Fatalf("XRANGE: %v", err)
	}
	return all
}

func (w written) put(all []redis.XMessage) {
	w.Helper()
	key := lua.AuditKey(w.org)
	if err := w.rdb.Del(w.Context(), key).Err(); err != nil {
		w.Fatalf("DEL: %v", err)
	}
	for i, m := range all {
		// In the order given, whatever their times are.
		if err := w.rdb.XAdd(w.Context(), &redis.XAddArgs{Stream: key, ID: fmt.Sprintf("5-%d", i), Values: m.Values}).Err(); err != nil {
			w.Fatalf("XADD: %v", err)
		}
	}
}

// TestVerifyWhatRedisHas alters a stored trail, as somebody with access to Redis can.
func TestVerifyWhatRedisHas(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		w := newWritten(t, rdb)
		if got := w.verify(nil); !got.OK || got.Entries != 0 {
			t.Errorf("nothing: %+v", got)
		}
		w.write(5, "mia", "override.set")
		head, err := w.log.Head(t.Context(), w.org)
		report := w.verify(&auditlog.Head{})
		if err != nil || !report.OK || report.Entries != 5 || report.Head != head || head.Seq != 5 || report.First.Seq != 1 {
			t.Fatalf("as written: %+v, head %+v, %v", report, head, err)
		}
		all := w.stored()
		edit := func(i int, field, value string) func([]redis.XMessage) []redis.XMessage {
			return func(all []redis.XMessage) []redis.XMessage {
				values := map[string]any{}
				for k, v := range all[i].Values {
					values[k] = v
				}
				values[field] = value
				all[i].Values = values
				return all
			}
		}
		for name, tt := range map[string]struct {
			change func([]redis.XMessage) []redis.XMessage
			broken int64
			says   string
		}{
			"text":     {edit(1, "entry", strings.Replace(all[1].Values["entry"].(string), "mia", "eve", 1)), 2, "sum"},
			"sum":      {edit(1, "sum", all[2].Values["sum"].(string)), 2, "sum"},
			"seal":     {edit(1, "seal", all[2].Values["seal"].(string)), 2, "seal"},
			"no seal":  {edit(1, "seal", ""), 2, "seal"},
			"link":     {edit(4, "link", all[3].Values["link"].(string)), 5, "link"},
			"number":   {edit(2, "seq", "4"), 3, "removed"},
			"no entry": {edit(2, "seq", "x"), 3, "not made"},
			"more":     {edit(2, "more", "x"), 3, "not made"},
			"removed":  {func(all []redis.XMessage) []redis.XMessage { return slices.Delete(all, 2, 3) }, 3, "removed"},
			"cut":      {func(all []redis.XMessage) []redis.XMessage { return all[:3] }, 4, "ends before the anchor"},
			"empty":    {func([]redis.XMessage) []redis.XMessage { return nil }, 1, "ends before the anchor"},
			"swapped":  {func(all []redis.XMessage) []redis.XMessage { all[1], all[2] = all[2], all[1]; return all }, 2, "moved"},
			"repeated": {func(all []redis.XMessage) []redis.XMessage { return slices.Insert(all, 1, all[0]) }, 2, "inserted"},
		} {
			w.put(tt.change(slices.Clone(all)))
			if got := w.verify(&head); got.OK || got.BrokenAt != tt.broken || !strings.Contains(got.Why, tt.says) {
				t.Errorf("%s: %+v, want it broken at %d with %q", name, got, tt.broken, tt.says)
			}
		}
		w.put(all[2:])
		if got := w.verify(&head); !got.OK || got.First.Seq != 3 || got.Entries != 3 {
			t.Errorf("trimmed: %+v, want it told that it begins at 3", got)
		}
		w.put(nil)
		w.write(7, "eve", "override.set")
		if got := w.verify(&head); got.OK || got.BrokenAt != 5 || !strings.Contains(got.Why, "anew") {
			t.Errorf("written anew: %+v", got)
		}
	})
}

// TestTrailsDoNotMix: an entry of another org's trail does not pass for one of this.
func TestTrailsDoNotMix(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	w, other := newWritten(t, rdb), newWritten(t, rdb)
	w.write(3, "mia", "override.set")
	other.put(w.stored())
	if got := other.verify(nil); got.OK || got.BrokenAt != 1 || !strings.Contains(got.Why, "seal") {
		t.Errorf("another org's trail: %+v", got)
	}
	entries, _ := other.entries(auditlog.Query{})
	if len(entries) != 3 || !strings.Contains(entries[0].Fault, "seal") {
		t.Errorf("another org's entries: %+v", entries)
	}
}

// TestVerifyReadsPages verifies a trail of several pages, with a fault on the last of them.
func TestVerifyReadsPages(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		w := newWritten(t, rdb)
		for _, n := range []int{500, 1, 600} {
			w.write(n, "mia", "override.set")
		}
		if got := w.verify(nil); !got.OK || got.Entries != 1101 || got.Head.Seq != 1101 {
			t.Errorf("three pages: %+v", got)
		}
		all := w.stored()
		if err := rdb.XDel(t.Context(), lua.AuditKey(w.org), all[1050].ID).Err(); err != nil {
			t.Fatalf("XDEL: %v", err)
		}
		if got := w.verify(nil); got.OK || got.BrokenAt != 1051 || got.Entries != 1050 {
			t.Errorf("removed on the last page: %+v", got)
		}
	})
}

func TestArguments(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { rdb.Close() })
	for name, tt := range map[string]struct {
		rdb  redis.UniversalClient
		opts []auditlog.Option
		says []string
	}{
		"no client":   {nil, nil, []string{"client is nil"}},
		"all at once": {nil, []auditlog.Option{auditlog.WithTimeout(0), auditlog.WithSealer(nil), nil}, []string{"client is nil", "WithTimeout(0s)", "WithSealer(nil)", "number 3 is nil"}},
		"too long":    {rdb, []auditlog.Option{auditlog.WithTimeout(time.Minute + 1)}, []string{"1m"}},
	} {
		log, err := auditlog.New(tt.rdb, tt.opts...)
		if log != nil || err == nil {
			t.Errorf("%s: %v, %v; want an error", name, log, err)
		}
		for _, text := range tt.says {
			if !strings.Contains(fmt.Sprint(err), text) {
				t.Errorf("%s: %v, want it to say %q", name, err, text)
			}
		}
	}
	log, err := auditlog.New(rdb)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	long, link := strings.Repeat("o", 129), strings.Repeat("0", 40)
	for name, q := range map[string]auditlog.Query{
		"limit": {Limit: 1001}, "negative limit": {Limit: -1}, "order": {Order: "oldest"}, "after": {After: "x"}, "after all": {After: "+"},
		"after, open": {After: "(5-0"}, "after, no count": {After: "5"}, "after, not canonical": {After: "05-0"}, "from": {From: time.Unix(-1, 0)}, "to": {To: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if entries, next, err := log.Entries(t.Context(), "acme", q); !errors.Is(err, auditlog.ErrInvalid) || entries != nil || next != "" {
			t.Errorf("%s: %v, %q, %v; want ErrInvalid", name, entries, next, err)
		}
	}
	for _, anchor := range []auditlog.Head{{Seq: -1, Link: link}, {Seq: 1}, {Seq: 0, Link: link}, {Seq: 1, Link: "x"}} {
		if _, err := log.Verify(t.Context(), "acme", &anchor); !errors.Is(err, auditlog.ErrInvalid) {
			t.Errorf("anchor %+v: %v, want ErrInvalid", anchor, err)
		}
	}
	_, headErr := log.Head(t.Context(), long)
	_, verifyErr := log.Verify(t.Context(), long, nil)
	_, _, entriesErr := log.Entries(t.Context(), long, auditlog.Query{})
	for i, err := range []error{headErr, verifyErr, entriesErr} {
		if !errors.Is(err, auditlog.ErrInvalid) {
			t.Errorf("call %d with a long org: %v, want ErrInvalid", i, err)
		}
	}
	_, headErr = log.Head(t.Context(), "acme")
	_, verifyErr = log.Verify(t.Context(), "acme", nil)
	_, _, entriesErr = log.Entries(t.Context(), "acme", auditlog.Query{})
	for i, err := range []error{headErr, verifyErr, entriesErr} {
		if !errors.Is(err, auditlog.ErrUnavailable) {
			t.Errorf("call %d without Redis: %v, want ErrUnavailable", i, err)
		}
	}
}
