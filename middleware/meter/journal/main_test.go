package journal

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/lua"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hour = 1_700_000_000 / 3600 * 3600

func used(project string, units int64) lua.UsageEntry {
	return lua.UsageEntry{UsageName: lua.UsageName{Project: project, Product: "stores", Kind: "search"}, Units: units}
}

func pending(org string, after int64, entries ...lua.UsageEntry) Record {
	return Record{Kind: Pending, Org: org, Number: after, At: 7, Hour: hour, Entries: entries}
}

func frozen(org string, number int64, entries ...lua.UsageEntry) Record {
	return Record{Kind: Frozen, Org: org, Number: number, At: 7, Hour: hour, Entries: entries}
}

func settled(org string, number int64) Record {
	return Record{Kind: Settled, Org: org, Number: number, At: 7}
}

// in names a directory of the test's own.
func in(t *testing.T, opts ...Option) *Dir {
	t.Helper()
	d, err := In(filepath.Join(t.TempDir(), "usage"), opts...)
	if err != nil {
		t.Fatalf("In: %v", err)
	}
	return d
}

func created(t *testing.T, d *Dir) *Journal {
	t.Helper()
	j, err := d.Create(rand.Text())
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func commit(t *testing.T, j *Journal, records ...Record) {
	t.Helper()
	j.Append(records...)
	if err := j.Commit(t.Context()); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// takenOver returns the journals that nobody has, which there must be some of.
func takenOver(t *testing.T, d *Dir, want int) []*Journal {
	t.Helper()
	all, err := d.TakeOver()
	if err != nil {
		t.Fatalf("TakeOver: %v", err)
	}
	for _, j := range all {
		t.Cleanup(func() { _ = j.Close() })
	}
	if len(all) != want {
		t.Fatalf("took over %d journals, want %d", len(all), want)
	}
	return all
}

func wantRecords(t *testing.T, j *Journal, want ...Record) {
	t.Helper()
	if got := j.Records(); !reflect.DeepEqual(got, want) {
		t.Errorf("Records = %+v,\nwant %+v", got, want)
	}
}

func files(t *testing.T, d *Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatalf("ReadDir: %v", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// steps are payloads such as a meter writes, and the states after each.
func steps(t testing.TB) (payloads [][]byte, states []*state) {
	t.Helper()
	s := newState()
	for _, records := range [][]Record{
		{pending("acme", 0, used("a", 5), used("b", 1)), pending("other", 0, used("a", 9))},
		{pending("acme", 0, used("a", 6))},
		{frozen("acme", 1, used("a", 7), used("b", 1))},
		{pending("acme", 1, used("a", 2))},
		{settled("acme", 1), frozen("acme", 2, used("a", 3)), frozen("other", 3, used("a", 9))},
		{settled("acme", 2), pending("acme", 2, used("a", 4))},
		{settled("other", 3)},
	} {
		var payload []byte
		for i := range records {
			payload = records[i].appendTo(payload)
		}
		if err := s.apply(payload); err != nil {
			t.Fatalf("apply: %v", err)
		}
		payloads = append(payloads, payload)
		states = append(states, copied(t, s))
	}
	return payloads, states
}

func copied(t testing.TB, s *state) *state {
	t.Helper()
	again := newState()
	for _, rec := range s.records() {
		if err := again.apply(rec.appendTo(nil)); err != nil {
			t.Fatalf("apply: %v", err)
		}
	}
	again.last = max(again.last, s.last)
	return again
}

// fileOf returns a file with some payloads, and where each of its frames ends.
func fileOf(m marker, process string, payloads [][]byte) (file []byte, ends []int) {
	file = header(m, process)
	for _, p := range payloads {
		file = append(file, m.frame(p)...)
		ends = append(ends, len(file))
	}
	return file, ends
}

func sameState(a, b *state) bool {
	return reflect.DeepEqual(a.records(), b.records()) && a.units == b.units
}

func TestOptions(t *testing.T) {
	t.Parallel()
	d, err := In("x")
	if err != nil || d.interval != 100*time.Millisecond || d.sync != SyncAlways {
		t.Errorf("In = %+v, %v; want 100 ms and %q", d, err, SyncAlways)
	}
	if d, err := In("x", WithInterval(time.Second), WithSync(SyncNever)); err != nil || d.interval != time.Second || d.sync != SyncNever {
		t.Errorf("In = %+v, %v; want what was asked for", d, err)
	}
	for i, tt := range []struct {
		dir string
		opt Option
	}{
		{"", WithInterval(time.Second)}, {"x", nil}, {"x", WithInterval(10*time.Millisecond - 1)}, {"x", WithInterval(time.Minute + 1)},
		{"x", WithSync("")}, {"x", WithSync("now")},
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			if _, err := In(tt.dir, tt.opt); err == nil || tt.opt != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("In = %v; want ErrInvalid", err)
			}
		})
	}
	if _, err := in(t).Create("../" + rand.Text()[3:]); !errors.Is(err, ErrInvalid) {
		t.Errorf("Create of a path = %v; want ErrInvalid", err)
	}
	if slices.Contains([]bool{validProcess(""), validProcess(rand.Text() + "A"), !validProcess(rand.Text())}, true) {
		t.Error("the names of processes are not told apart")
	}
}
