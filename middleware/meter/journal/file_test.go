package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
)

const process = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// TestTornTail cuts a file at every byte: what is whole before is there, and nothing else.
func TestTornTail(t *testing.T) {
	t.Parallel()
	payloads, states := steps(t)
	file, ends := fileOf(newMarker(), process, payloads)
	for cut := headerLen; cut <= len(file); cut++ {
		whole := newState()
		for i, end := range ends {
			if end <= cut {
				whole = states[i]
			}
		}
		_, _, s, at, err := parse(file[:cut])
		if err != nil || !sameState(s, whole) || cut != len(file) && at == cut && !slices.Contains(ends, cut) && cut != headerLen {
			t.Fatalf("cut at %d of %v: %v, whole until %d", cut, ends, err, at)
		}
	}
	for cut := range headerLen {
		if _, _, _, _, err := parse(file[:cut]); !errors.Is(err, errHeader) {
			t.Errorf("cut at %d of the header: %v", cut, err)
		}
	}
}

// TestDamage changes every byte of a file: that is told, unless it is in the last frame, which is cut off.
func TestDamage(t *testing.T) {
	t.Parallel()
	payloads, states := steps(t)
	file, ends := fileOf(newMarker(), process, payloads)
	last := ends[len(ends)-2]
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 0x40
		_, _, s, at, err := parse(damaged)
		switch {
		case i >= last && (err != nil || at != last || !sameState(s, states[len(states)-2])):
			t.Fatalf("byte %d of the last frame: %v at %d", i, err, at)
		case i < last && (err == nil || at > i):
			t.Fatalf("byte %d: %v at %d", i, err, at)
		}
	}
}

func TestTakeOverCutsOrSetsAside(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		edit   func(file []byte) []byte
		damage string
	}{
		{"whole", func(b []byte) []byte { return b }, ""},
		{"torn", func(b []byte) []byte { return b[:len(b)-1] }, ""},
		{"zeros at the end", func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, ""},
		{"empty", func([]byte) []byte { return nil }, "offset 0: its header is damaged"},
		{"header", func(b []byte) []byte { b[3] ^= 1; return b }, "offset 0: its header is damaged"},
		{"middle", func(b []byte) []byte { b[headerLen+20] ^= 1; return b }, "offset 42: a frame before the last is damaged"},
		{"another's", func(b []byte) []byte {
			return bytes.Join([][]byte{header(marker(b[8:]), process), b[headerLen:]}, nil)
		}, "it is of the process " + process},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := in(t)
			j := created(t, d)
			for i := range int64(3) {
				commit(t, j, frozen("acme", i+1, used("a", i+1)))
			}
			_ = j.Close()
			path := filepath.Join(d.path, j.path())
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file = tt.edit(file)
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.damage == "" {
				next := takenOver(t, d, 1)[0]
				commit(t, next, frozen("acme", 9, used("a", 9)))
				_ = next.Close()
				records := takenOver(t, d, 1)[0].Records()
				if records[0].Number != 1 || records[len(records)-1].Number != 9 {
					t.Errorf("Records = %+v; want batches 1 to 9", records)
				}
				return
			}
			all, err := d.TakeOver()
			if len(all) != 0 || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tt.damage) || !strings.Contains(err.Error(), j.path()) {
				t.Errorf("TakeOver = %v, %v; want %q", all, err, tt.damage)
			}
			left, err := os.ReadFile(filepath.Join(d.path, j.Process()+corrupt))
			if err != nil || !bytes.Equal(left, file) {
				t.Errorf("what was set aside: %v", err)
			}
			takenOver(t, d, 0)
			if _, _, err := Read(bytes.NewReader(file)); tt.name != "another's" && !errors.Is(err, ErrCorrupt) {
				t.Errorf("Read = %v; want ErrCorrupt", err)
			}
		})
	}
}

func TestSetAside(t *testing.T) {
	t.Parallel()
	d := in(t)
	j := created(t, d)
	commit(t, j, frozen("acme", 1, used("a", 1)))
	if err := j.SetAside(); err != nil {
		t.Fatalf("SetAside: %v", err)
	}
	takenOver(t, d, 0)
	file, err := os.Open(filepath.Join(d.path, j.Process()+unsure))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, records, err := Read(file)
	if err != nil || got != j.Process() || len(records) != 1 || records[0].Entries[0].Units != 1 {
		t.Errorf("Read = %q, %+v, %v", got, records, err)
	}
}

// TestOutOfBounds gives frames that are whole, and say what no meter writes.
func TestOutOfBounds(t *testing.T) {
	t.Parallel()
	good := pending("acme", 0, used("a", 1))
	with := func(edit func(*Record)) []byte {
		rec := good
		rec.Entries = slices.Clone(good.Entries)
		edit(&rec)
		return rec.appendTo(nil)
	}
	for name, payload := range map[string][]byte{
		"no kind":       with(func(r *Record) { r.Kind = 0 }),
		"a new kind":    with(func(r *Record) { r.Kind = 4 }),
		"no org":        with(func(r *Record) { r.Org = "" }),
		"a long org":    with(func(r *Record) { r.Org = strings.Repeat("x", 129) }),
		"a late hour":   with(func(r *Record) { r.Hour = 253402300800 }),
		"no entries":    with(func(r *Record) { r.Entries = nil }),
		"many entries":  with(func(r *Record) { r.Entries = slices.Repeat(r.Entries, 501) }),
		"no units":      with(func(r *Record) { r.Entries[0].Units = 0 }),
		"many units":    with(func(r *Record) { r.Entries[0].Units = lua.MaxUsageUnits + 1 }),
		"negative":      with(func(r *Record) { r.Entries[0].Units = -1 }),
		"a long name":   with(func(r *Record) { r.Entries[0].Source = strings.Repeat("x", 129) }),
		"no number":     with(func(r *Record) { r.Kind = Frozen }),
		"cut":           with(func(*Record) {})[:9],
		"numbers fall":  slices.Concat(with(func(r *Record) { r.Kind, r.Number = Frozen, 2 }), with(func(r *Record) { r.Kind, r.Number = Frozen, 2 })),
		"a long number": append([]byte{1}, bytes.Repeat([]byte{0x80}, 20)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarker()
			file, _ := fileOf(m, process, [][]byte{good.appendTo(nil), payload})
			if _, _, s, at, err := parse(file); err == nil || s != nil || at == headerLen {
				t.Errorf("parse = %v at %d; want an error in the second frame", err, at)
			}
		})
	}
}

// FuzzReplay cuts and changes a file, and puts other bytes behind it. What is read is what some of its frames say, from
// the first on, or an error; and bytes that are all the fuzzer's have nothing open that cannot be written again.
func FuzzReplay(f *testing.F) {
	payloads, states := steps(f)
	m := marker{1, 2, 3, 4}
	file, _ := fileOf(m, process, payloads)
	f.Add(len(file), 0, byte(0), []byte(nil))
	f.Add(100, 60, byte(1), []byte{1, 2, 3, 4, 0, 0, 0, 1})
	f.Add(0, 0, byte(0), file)
	f.Fuzz(func(t *testing.T, cut, at int, change byte, behind []byte) {
		if _, _, s, _, err := parse(behind); err == nil && !sameState(s, copied(t, s)) {
			t.Error("what is open is not what it writes")
		}
		own := bytes.Clone(file[:max(0, min(cut, len(file)))])
		if at >= 0 && at < len(own) {
			own[at] ^= change
		}
		if bytes.Contains(behind, m[:]) {
			return // nobody knows it
		}
		_, _, s, _, err := parse(append(own, behind...))
		if err != nil {
			return
		}
		for _, known := range append(slices.Clone(states), newState()) {
			if sameState(s, known) {
				return
			}
		}
		t.Errorf("invented %s", fmt.Sprint(s.records()))
	})
}
