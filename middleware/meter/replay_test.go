package meter

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter/journal"
)

// unread is a book that cannot tell the mark of some orgs.
type unread struct {
	*book
	faults map[string]error // by org
}

func (u unread) UsageMark(ctx context.Context, org, process string) (int64, error) {
	if err := u.faults[org]; err != nil {
		return 0, err
	}
	return u.book.UsageMark(ctx, org, process)
}

// takeOver returns what the only process that died has left.
func takeOver(t *testing.T, m *Meter) *orphan {
	t.Helper()
	all, err := m.journals.TakeOver()
	if err != nil || len(all) != 1 {
		t.Fatalf("TakeOver = %d journals, %v; want 1", len(all), err)
	}
	return m.revive(all[0])
}

// wantUnsure reads what is open in the file that a process's journal was set aside as, by org.
func wantUnsure(t *testing.T, dir, process string, want map[string]int64) {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, process+".unsure"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, records, err := journal.Read(file)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	b := book{units: make(map[string]int64)}
	for _, rec := range records {
		b.units[rec.Org] += int64(unitsOf(rec.Entries))
	}
	b.want(t, want)
}

// TestReplayHoldsOnlyTheUnproved: an org whose mark cannot be read waits, with all that it has, and no other org does.
func TestReplayHoldsOnlyTheUnproved(t *testing.T) {
	t.Parallel()
	near := neighbour("acme")
	for _, tt := range []struct {
		name   string
		faults map[string]error
		first  map[string]int64
	}{
		{"of another type", map[string]error{"acme": lua.ErrReply}, map[string]int64{near: 3, "other": 7}},
		{"on a node that is down", map[string]error{"acme": errDown, near: errDown}, map[string]int64{"other": 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := book{before: func(lua.UsageBatch) error { return errDown }}
			dir := t.TempDir()
			m := journaled(t, &b, dir)
			m.Record(usage("acme", 1))
			_ = m.Flush(t.Context())
			m.Record(usage("acme", 4))
			m.Record(usage(near, 3))
			m.Record(usage("other", 7))
			die(t, m)
			b.before = nil
			heir := journaled(t, unread{&b, tt.faults}, dir)
			o := takeOver(t, heir)
			for range 3 {
				if heir.settle(t.Context(), o) {
					t.Fatal("it is done with what it cannot prove")
				}
			}
			b.want(t, tt.first)
			clear(tt.faults)
			if !heir.settle(t.Context(), o) {
				t.Error("it is not done with what it can prove")
			}
			b.want(t, map[string]int64{"acme": 5, near: 3, "other": 7})
			if got := heir.Stats(); got.Replayed != 15 || got.Unsure != 0 {
				t.Errorf("Replayed = %d, Unsure = %d; want 15, 0", got.Replayed, got.Unsure)
			}
		})
	}
}

// TestReplayKeepsWhatItCannotProve: a journal outlives heirs that cannot read the marks.
func TestReplayKeepsWhatItCannotProve(t *testing.T) {
	t.Parallel()
	b := book{markFault: errDown}
	dir := t.TempDir()
	m := journaled(t, &b, dir)
	m.Record(usage("acme", 5))
	die(t, m)
	heir := journaled(t, &b, dir)
	for range 2 {
		if got := len(replayAll(t, heir)); got != 1 {
			t.Fatalf("left %d journals, want 1", got)
		}
	}
	b.markFault = nil
	replay(t, heir)
	b.want(t, map[string]int64{"acme": 5})
}

// TestReplayJudgesAgeByPart: a batch of a week ago keeps neither other orgs' units from Redis nor those of its own org
// that came later, and is all that the file has in the end.
func TestReplayJudgesAgeByPart(t *testing.T) {
	t.Parallel()
	b := book{before: func(batch lua.UsageBatch) error {
		if batch.Org == "acme" {
			return errDown
		}
		return nil
	}}
	dir := t.TempDir()
	m := journaled(t, &b, dir)
	now := noon
	m.now = func() time.Time { return now }
	m.Record(usage("acme", 1))
	_ = m.Flush(t.Context())
	now = noon.Add(8 * day)
	m.Record(usage("acme", 20))
	m.Record(usage("other", 100))
	die(t, m)
	b.before = nil
	heir := journaled(t, &b, dir)
	heir.now = func() time.Time { return now.Add(time.Second) }
	if left := replay(t, heir); len(left) != 0 {
		t.Errorf("left %d journals, want none", len(left))
	}
	if got := heir.Stats(); got.Unsure != 1 || got.Replayed != 120 {
		t.Errorf("Unsure = %d, Replayed = %d; want 1, 120", got.Unsure, got.Replayed)
	}
	b.want(t, map[string]int64{"acme": 20, "other": 100})
	wantUnsure(t, dir, m.process, map[string]int64{"acme": 1})
}

// TestReplayGivesUpWhatGrowsOld: what cannot be written for a week is set aside, be it proved or not.
func TestReplayGivesUpWhatGrowsOld(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		mark error
	}{{"proved", nil}, {"unproved", errDown}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := book{markFault: tt.mark, before: func(lua.UsageBatch) error { return errDown }}
			dir := t.TempDir()
			m := journaled(t, &b, dir)
			now := noon
			clock := func() time.Time { return now }
			m.now = clock
			m.Record(usage("acme", 5))
			die(t, m)
			heir := journaled(t, &b, dir)
			heir.now = clock
			o := takeOver(t, heir)
			if heir.settle(t.Context(), o) || heir.Stats().Unsure != 0 {
				t.Fatal("it gave up at once")
			}
			now = now.Add(lua.UsageMarkTime)
			if !heir.settle(t.Context(), o) || heir.Stats().Unsure != 5 {
				t.Errorf("Unsure = %d after a week, want 5", heir.Stats().Unsure)
			}
			wantUnsure(t, dir, m.process, map[string]int64{"acme": 5})
		})
	}
}

// TestReplayAsksWhatWasSent: the file is behind, since the disk was full when the process sent what the file still has
// as pending. That may be counted, so it is neither sent nor told to be replayed.
func TestReplayAsksWhatWasSent(t *testing.T) {
	t.Parallel()
	var b book
	dir := t.TempDir()
	m := journaled(t, &b, dir)
	path := filepath.Join(dir, m.process+".journal")
	m.Record(usage("acme", 5))
	m.writeJournal(t.Context())
	behind, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	die(t, m)
	if err := os.WriteFile(path, behind, 0o600); err != nil {
		t.Fatal(err)
	}
	heir := journaled(t, &b, dir)
	replay(t, heir)
	if got := heir.Stats(); got.Unsure != 5 || got.Replayed != 0 {
		t.Errorf("Unsure = %d, Replayed = %d; want 5, 0", got.Unsure, got.Replayed)
	}
	b.want(t, map[string]int64{"acme": 5})
	wantUnsure(t, dir, m.process, map[string]int64{"acme": 5})
}

// TestReplayOfARefusedBatch: the file has batch 1 alone. Then the disk was full; Redis refused 1, its units were put back
// behind batch 2, which Redis took, and the process died. A new batch 2 of those units would be dropped.
func TestReplayOfARefusedBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := journaled(t, &book{}, dir)
	m.Record(usage("acme", 5))
	s := m.shardOf("acme")
	m.freeze(s, s.accounts["acme"])
	die(t, m)
	of := mark{"acme", m.process}
	b := book{decided: map[mark]int64{of: 2}, refused: map[mark]int64{of: 1}, units: map[string]int64{"acme": 3}}
	heir := journaled(t, &b, dir)
	replay(t, heir)
	if got := heir.Stats(); got.Unsure != 5 || got.Replayed != 0 {
		t.Errorf("Unsure = %d, Replayed = %d; want 5, 0", got.Unsure, got.Replayed)
	}
	b.want(t, map[string]int64{"acme": 3})
	wantUnsure(t, dir, m.process, map[string]int64{"acme": 5})
}

// TestJournalLeavesOutWhatFreezes writes the journal while a name is freezing and is pending anew. Were the new units
// told then, the batch that follows would take their place in the file.
func TestJournalLeavesOutWhatFreezes(t *testing.T) {
	t.Parallel()
	b := book{before: func(lua.UsageBatch) error { return errDown }}
	dir := t.TempDir()
	m := journaled(t, &b, dir)
	m.Record(usage("acme", 5))
	froze := false
	m.now = func() time.Time {
		if s := m.shardOf("acme"); !froze && s.mu.TryLock() {
			freezing := s.accounts["acme"].freezing != nil
			s.mu.Unlock()
			if freezing {
				froze = true
				m.Record(usage("acme", 2))
				m.writeJournal(context.Background())
			}
		}
		return noon
	}
	if err := m.Flush(t.Context()); !errors.Is(err, errDown) || !froze {
		t.Fatalf("Flush = %v, with the journal written meanwhile: %t", err, froze)
	}
	die(t, m)
	b.before = nil
	heir := journaled(t, &b, dir)
	heir.now = m.now
	replay(t, heir)
	b.want(t, map[string]int64{"acme": 7})
}
