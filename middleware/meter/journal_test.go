package meter

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter/journal"
)

// journaled returns a Meter with a journal that does nothing but what it is told.
func journaled(t testing.TB, to ledger, dir string, opts ...Option) *Meter {
	t.Helper()
	c := defaults()
	for _, o := range append([]Option{WithJournal(dir, journal.WithSync(journal.SyncNever))}, opts...) {
		if err := o.apply(&c); err != nil {
			t.Fatalf("option: %v", err)
		}
	}
	m := build(nil, to, c, rand.Text())
	m.stop = func() {}
	var err error
	if m.journal, err = c.journals.Create(m.process); err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { _ = m.journal.Close() })
	return m
}

// die writes the journal and leaves it, as a process does that is killed.
func die(t testing.TB, m *Meter) {
	t.Helper()
	m.writeJournal(context.Background())
	if err := m.journal.Close(); err != nil {
		t.Fatalf("close the journal: %v", err)
	}
}

// replay makes an attempt to write what others left, and returns how many it is not done with.
func replay(t testing.TB, m *Meter) (left []*orphan) {
	t.Helper()
	all, err := m.journals.TakeOver()
	if err != nil {
		t.Fatalf("TakeOver: %v", err)
	}
	for _, j := range all {
		if o := m.revive(j); !m.settle(context.Background(), o) {
			left = append(left, o)
		}
	}
	return left
}

func left(t testing.TB, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ends []string
	for _, f := range files {
		ends = append(ends, filepath.Ext(f.Name()))
	}
	return strings.Join(ends, " ")
}

func TestReplay(t *testing.T) {
	t.Parallel()
	down := func(lua.UsageBatch) error { return errDown }
	for _, tt := range []struct {
		name string
		live func(b *book, m *Meter)
	}{
		{"what was pending", func(*book, *Meter) {}},
		{"what was frozen", func(b *book, m *Meter) {
			b.before = down
			_ = m.Flush(context.Background())
		}},
		{"what Redis had, and nobody heard", func(b *book, m *Meter) {
			b.after = down
			_ = m.Flush(context.Background())
		}},
		{"what was refused", func(b *book, m *Meter) {
			b.before = func(lua.UsageBatch) error { return lua.ErrUsageRefused }
			_ = m.Flush(context.Background())
		}},
		{"what Redis refused, and nobody heard", func(b *book, m *Meter) {
			b.before = func(batch lua.UsageBatch) error {
				of := mark{batch.Org, batch.Process}
				b.decided[of], b.refused[of] = batch.Number, batch.Number
				return errDown
			}
			_ = m.Flush(context.Background())
		}},
		{"nothing", func(_ *book, m *Meter) { _ = m.Flush(context.Background()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b book
			dir := t.TempDir()
			m := journaled(t, &b, dir)
			m.Record(usage("other", 7))
			for _, u := range names(lua.MaxUsageEntries + 100) {
				m.Record(u)
				u.At = noon.Add(-time.Hour)
				m.Record(u)
			}
			m.writeJournal(t.Context())
			m.Record(usage("acme", 800))
			tt.live(&b, m)
			m.Record(usage("other", 10))
			die(t, m)
			b.before, b.after = nil, nil
			heir := journaled(t, &b, dir)
			pending := m.Stats().Pending
			for range 3 { // whoever is not done with it dies too
				for _, o := range replay(t, heir) {
					die(t, o.Meter)
				}
			}
			b.want(t, map[string]int64{"acme": 2000, "other": 17})
			if got := heir.Stats(); got.Replayed != pending || got.Unsure != 0 || got.JournalErrors != 0 || got.Recorded != 0 {
				t.Errorf("Stats = %+v; want %d replayed", got, pending)
			}
			if got := left(t, dir); got != ".journal" {
				t.Errorf("left %s, want the heir's own", got)
			}
		})
	}
}

func TestReplayWaitsForRedis(t *testing.T) {
	t.Parallel()
	var b book
	dir := t.TempDir()
	m := journaled(t, &b, dir)
	m.Record(usage("acme", 5))
	die(t, m)
	heir := journaled(t, &b, dir)
	for _, failure := range []error{errDown, lua.ErrUsageRefused, errDown} {
		b.before = func(lua.UsageBatch) error { return failure }
		orphans := replay(t, heir)
		if len(orphans) != 1 || heir.Stats().Replayed != 0 || heir.Stats().Pending != 0 {
			t.Fatalf("left %d, Stats = %+v; want it to be kept", len(orphans), heir.Stats())
		}
		if errors.Is(failure, errDown) {
			die(t, orphans[0].Meter) // and another goes on
			continue
		}
		if heir.settle(t.Context(), orphans[0]) {
			t.Error("it is done with what Redis refuses")
		}
		die(t, orphans[0].Meter)
	}
	b.before = nil
	replay(t, heir)
	b.want(t, map[string]int64{"acme": 5})
	if got := heir.Stats().Failures; got[lua.ClassUnavailable] != 2 || got[lua.ClassConfig] != 3 {
		t.Errorf("Failures = %v", got)
	}
}

func TestReplayOfWhatIsOld(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		age    time.Duration
		unsure uint64
		left   string
	}{
		{"within the week", lua.UsageMarkTime - doubt, 0, ".journal"},
		{"a week old", lua.UsageMarkTime - doubt + time.Second, 6, ".journal .unsure"},
		{"of tomorrow", -doubt - time.Second, 6, ".journal .unsure"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := book{before: func(lua.UsageBatch) error { return errDown }}
			dir := t.TempDir()
			m := journaled(t, &b, dir)
			m.now = func() time.Time { return noon }
			m.Record(usage("acme", 1))
			_ = m.Flush(t.Context())
			m.Record(usage("acme", 5))
			die(t, m)
			b.before = nil
			heir := journaled(t, &b, dir)
			heir.now = func() time.Time { return noon.Add(tt.age) }
			replay(t, heir)
			if got := heir.Stats(); got.Unsure != tt.unsure || got.Replayed != 6-tt.unsure {
				t.Errorf("Stats = %+v; want %d unsure", got, tt.unsure)
			}
			if got := b.units["acme"]; got != int64(6-tt.unsure) {
				t.Errorf("counted %d, want %d", got, 6-tt.unsure)
			}
			got := left(t, dir)
			if strings.Count(got, ".journal") != 1 || strings.Contains(got, ".unsure") != (tt.unsure > 0) {
				t.Errorf("left %s, want %s", got, tt.left)
			}
		})
	}
}

func TestReplayTellsOfDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := journaled(t, &book{}, dir)
	m.Record(usage("acme", 1))
	die(t, m)
	path := filepath.Join(dir, m.process+".journal")
	if err := os.WriteFile(path, []byte("no journal"), 0o600); err != nil {
		t.Fatal(err)
	}
	heir, err := newJournaled(t, &book{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	for heir.Stats().JournalErrors == 0 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond) // until it looked, which the test's own deadline bounds
	}
	if got := heir.Stats(); !errors.Is(got.JournalFault, journal.ErrCorrupt) || !strings.Contains(got.JournalFault.Error(), m.process) {
		t.Errorf("JournalFault = %v; want ErrCorrupt and the file", got.JournalFault)
	}
	if err := heir.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := left(t, dir); got != ".corrupt" {
		t.Errorf("left %s, want what is damaged", got)
	}
}

// newJournaled is New on a ledger, with short intervals.
func newJournaled(t testing.TB, to ledger, dir string) (m *Meter, err error) {
	t.Helper()
	c := defaults()
	c.interval = 10 * time.Millisecond
	if c.journals, err = journal.In(dir, journal.WithInterval(10*time.Millisecond)); err != nil {
		return nil, err
	}
	m = build(nil, to, c, rand.Text())
	if m.journal, err = c.journals.Create(m.process); err != nil {
		return nil, err
	}
	m.start()
	return m, nil
}

func TestCloseEndsTheJournal(t *testing.T) {
	t.Parallel()
	var b book
	dir := t.TempDir()
	m, err := newJournaled(t, &b, dir)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.before = func(lua.UsageBatch) error { return errDown }
	b.mu.Unlock()
	m.Record(usage("acme", 3))
	if err := m.Close(ended()); !errors.Is(err, ErrNotFlushed) {
		t.Errorf("Close = %v; want ErrNotFlushed", err)
	}
	if got := m.Stats().Journaled; got != 3 {
		t.Errorf("Journaled = %d after a Close in vain, want 3", got)
	}
	b.mu.Lock()
	b.before = nil
	b.mu.Unlock()
	for range 2 {
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	b.want(t, map[string]int64{"acme": 3})
	if got := left(t, dir); got != "" {
		t.Errorf("left %s, want nothing", got)
	}
	if got := m.Stats(); got.JournalErrors != 0 || got.Journaled != 0 {
		t.Errorf("Stats = %+v; want no fault of the journal", got)
	}
}

func TestLossBound(t *testing.T) {
	t.Parallel()
	b := book{before: func(lua.UsageBatch) error { return errDown }}
	now := noon
	clock := func() time.Time { return now }
	withClock := optionFunc(func(c *config) error { c.now = clock; return nil })
	plain, kept := open(t, &b, withClock), journaled(t, &b, t.TempDir(), WithInterval(time.Second), withClock)
	want := func(when string, m *Meter, bound time.Duration, units uint64) {
		t.Helper()
		if got := m.Stats(); got.LossBound != bound || got.Journaled != units {
			t.Errorf("%s: LossBound = %v, Journaled = %d; want %v, %d", when, got.LossBound, got.Journaled, bound, units)
		}
	}
	want("nothing pending", plain, time.Hour, 0) // its interval
	kept.writeJournal(t.Context())
	want("nothing pending, with a journal", kept, 100*time.Millisecond, 0)
	for _, m := range []*Meter{plain, kept} {
		m.Record(usage("acme", 4))
	}
	now = now.Add(300 * time.Millisecond)
	want("a while later, with a journal that was not written", kept, 300*time.Millisecond, 0)
	now = now.Add(2 * time.Hour)
	_ = plain.Flush(t.Context())
	_ = kept.Flush(t.Context())
	kept.writeJournal(t.Context())
	want("Redis does not answer", plain, 2*time.Hour+300*time.Millisecond, 0)
	want("Redis does not answer, with a journal", kept, 100*time.Millisecond, 4)
}

func TestJournalOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Option{
		WithJournal(""), WithJournal("x", nil), WithJournal("x", journal.WithInterval(time.Hour)), WithJournal("x", journal.WithSync("")),
	} {
		if _, err := New(nil, o); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "WithJournal") {
			t.Errorf("New = %v; want ErrInvalid", err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newJournaled(t, &book{}, file); err == nil {
		t.Error("a file is taken for a directory")
	}
}

// TestJournalWhileBusy records, flushes, fails and journals in all ways at once, and dies: nothing is lost or counted
// twice.
func TestJournalWhileBusy(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	fault := func(want int64, err error) func(lua.UsageBatch) error {
		return func(lua.UsageBatch) error {
			if n.Add(1)%7 == want {
				return err
			}
			return nil
		}
	}
	b := book{before: fault(1, lua.ErrUsageRefused), after: fault(4, errDown)}
	dir := t.TempDir()
	m := journaled(t, &b, dir)
	orgs := []string{"acme", neighbour("acme"), "other"}
	var recording, busy sync.WaitGroup
	var done atomic.Bool
	for _, work := range []func(){
		func() { _ = m.Flush(context.Background()) },
		func() { m.writeJournal(context.Background()) },
	} {
		busy.Go(func() {
			for !done.Load() {
				work()
			}
		})
	}
	for i := range 4 {
		recording.Go(func() {
			for k := range 5000 {
				u := usage(orgs[(i+k)%len(orgs)], 1)
				u.Source = strconv.Itoa(k % 600)
				m.Record(u)
			}
		})
	}
	recording.Wait()
	done.Store(true)
	busy.Wait()
	die(t, m)
	heir := journaled(t, &b, dir)
	for range 1000 {
		if len(replayAll(t, heir)) == 0 {
			break
		}
	}
	b.want(t, map[string]int64{orgs[0]: 6667, orgs[1]: 6667, orgs[2]: 6666})
}

// replayAll is replay, where nobody holds on to what is left.
func replayAll(t testing.TB, m *Meter) []*orphan {
	t.Helper()
	orphans := replay(t, m)
	for _, o := range orphans {
		die(t, o.Meter)
	}
	return orphans
}

// TestJournalBehind gives back a file as it was at any earlier moment, as a disk that was full or a power cut does.
// Its replay counts nothing twice.
func TestJournalBehind(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var b book
		dir := t.TempDir()
		m := journaled(t, &b, dir)
		path := filepath.Join(dir, m.process+".journal")
		var files [][]byte
		var recorded int64
		for range rapid.IntRange(1, 30).Draw(r, "steps") {
			switch rapid.IntRange(0, 5).Draw(r, "step") {
			case 0, 1:
				u := usage("acme", rapid.Int64Range(1, 9).Draw(r, "units"))
				u.Source = strconv.Itoa(rapid.IntRange(0, 3).Draw(r, "source"))
				u.At = noon.Add(time.Duration(rapid.IntRange(-2, 2).Draw(r, "hour")) * time.Hour)
				m.Record(u)
				recorded += u.Units
			case 2:
				m.writeJournal(context.Background())
			default:
				fates := rapid.SliceOfN(rapid.SampledFrom([]error{nil, nil, errDown, lua.ErrUsageRefused}), 6, 6).Draw(r, "fates")
				lost := rapid.SliceOfN(rapid.Bool(), 6, 6).Draw(r, "lost")
				n := -1
				b.before = func(lua.UsageBatch) error { n++; return fates[n%6] }
				b.after = func(lua.UsageBatch) error {
					if lost[n%6] && fates[(n+1)%6] != nil {
						return errDown
					}
					return nil
				}
				_ = m.Flush(context.Background())
			}
			file, err := os.ReadFile(path)
			if err != nil {
				r.Fatal(err)
			}
			files = append(files, file)
		}
		b.before, b.after = nil, nil
		counted := b.units["acme"]
		die(t, m)
		if behind := rapid.IntRange(0, len(files)).Draw(r, "behind"); behind < len(files) {
			if err := os.WriteFile(path, files[behind], 0o600); err != nil {
				r.Fatal(err)
			}
		} else {
			counted = recorded // a journal that is not behind loses nothing
		}
		heir := journaled(t, &b, dir)
		for range 3 {
			replayAll(t, heir)
		}
		_ = heir.journal.Remove()
		if got := b.units["acme"]; got > recorded || got < counted {
			r.Fatalf("counted %d, want %d to %d", got, counted, recorded)
		}
	})
}

// TestNumbersRise: an org that was idle goes on behind every number that it had, or Redis would drop it.
func TestNumbersRise(t *testing.T) {
	t.Parallel()
	var b book
	m := open(t, &b)
	var sum int64
	for i := range int64(20) {
		for _, org := range []string{"acme", "other", "third"} {
			if mathrand.IntN(2) == 0 {
				m.Record(usage(org, 1+i))
				sum += 1 + i
			}
		}
		flush(t, m)
		flush(t, m) // forgets who is idle
	}
	var got int64
	for _, units := range b.units {
		got += units
	}
	if got != sum || sum == 0 {
		t.Errorf("counted %d, want %d", got, sum)
	}
}
