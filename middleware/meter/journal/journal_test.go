package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

func TestJournalOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	for _, how := range []Sync{SyncAlways, SyncNever} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			d := in(t, WithSync(how))
			j := created(t, d)
			commit(t, j, pending("acme", 0, used("a", 5), used("b", 1)), pending("other", 0, used("a", 2)))
			commit(t, j, frozen("acme", 1, used("a", 7)))
			commit(t, j, settled("other", 1))
			j.Append(pending("acme", 1, used("a", 100))) // not committed
			if got := j.Units(); got != 10 {
				t.Errorf("Units = %d, want 10", got)
			}
			takenOver(t, d, 0) // it lives
			_ = j.Close()
			next := takenOver(t, d, 1)[0]
			if next.Process() != j.Process() {
				t.Errorf("Process = %q, want %q", next.Process(), j.Process())
			}
			wantRecords(t, next, frozen("acme", 1, used("a", 7)), pending("acme", 1, used("b", 1)), pending("other", 1, used("a", 2)))
			commit(t, next, settled("acme", 1), frozen("acme", 2, used("b", 1)))
			_ = next.Close()
			third := takenOver(t, d, 1)[0]
			wantRecords(t, third, frozen("acme", 2, used("b", 1)), pending("other", 1, used("a", 2)))
			if err := third.Remove(); err != nil || len(files(t, d)) != 0 {
				t.Errorf("Remove = %v, left %v", err, files(t, d))
			}
			if err := third.Remove(); err != nil {
				t.Errorf("Remove again: %v", err)
			}
		})
	}
}

func TestNilJournal(t *testing.T) {
	t.Parallel()
	var j *Journal
	j.Append(pending("acme", 0, used("a", 1)))
	n, err := j.Faults()
	if j.Commit(t.Context()) != nil || j.Units() != 0 || n != 0 || err != nil || j.Remove() != nil {
		t.Error("a nil Journal is not silent")
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	d := in(t)
	j := created(t, d)
	for path, want := range map[string]os.FileMode{d.path: 0o700, filepath.Join(d.path, j.path()): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("the mode of %s is %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	d, err := In(open)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(j.Process()); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("Create where everybody writes = %v; want ErrInvalid", err)
	}
	if _, err := d.TakeOver(); !errors.Is(err, ErrInvalid) {
		t.Errorf("TakeOver where everybody writes = %v; want ErrInvalid", err)
	}
}

func TestOneTakesOver(t *testing.T) {
	t.Parallel()
	d := in(t)
	for range 10 {
		j := created(t, d)
		commit(t, j, pending("acme", 0, used("a", 1)))
		_ = j.Close()
	}
	var group sync.WaitGroup
	var units atomic.Uint64
	for range 8 {
		group.Go(func() {
			all, err := d.TakeOver()
			if err != nil {
				t.Errorf("TakeOver: %v", err)
			}
			for _, j := range all {
				units.Add(j.Units())
				// Writing it anew must not let others have it meanwhile.
				j.size = slack * 2
				if err := j.Commit(t.Context()); err != nil {
					t.Errorf("Commit: %v", err)
				}
				if err := j.Remove(); err != nil {
					t.Errorf("Remove: %v", err)
				}
			}
		})
	}
	group.Wait()
	if got := units.Load(); got != 10 {
		t.Errorf("took over %d units, want 10", got)
	}
	if left := files(t, d); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestOthersFilesAreLeft(t *testing.T) {
	t.Parallel()
	d := in(t)
	j := created(t, d)
	commit(t, j, pending("acme", 0, used("a", 1)))
	_ = j.Close()
	put := func(name string) {
		if err := os.WriteFile(filepath.Join(d.path, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("notes.txt")
	put("short.journal")
	put(j.Process() + unsure)
	put(j.path() + fresh) // its process died while it wrote it
	made := time.Now().Add(-young)
	if err := os.Chtimes(filepath.Join(d.path, j.path()+fresh), made, made); err != nil {
		t.Fatal(err)
	}
	linked := strings.Repeat("A", processLen) + suffix
	if err := os.Symlink(filepath.Join(d.path, j.path()), filepath.Join(d.path, linked)); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, takenOver(t, d, 1)[0], pending("acme", 0, used("a", 1)))
	got := strings.Join(files(t, d), " ")
	if strings.Contains(got, fresh) || !strings.Contains(got, "notes.txt") || !strings.Contains(got, linked) || !strings.Contains(got, unsure) {
		t.Errorf("left %s; want all but what is half written anew", got)
	}
}

// TestYoungFilesAreLeft: a process makes a file before it can lock it, and whoever cleans up must not take it meanwhile.
func TestYoungFilesAreLeft(t *testing.T) {
	t.Parallel()
	d := in(t)
	j := created(t, d)
	path := filepath.Join(d.path, j.path()+fresh)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	takenOver(t, d, 0)
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a file that is being made is gone: %v", err)
	}
}

// TestCreateTriesAgain: a file that another took while it was made is made once more, and no other fault is tried again.
func TestCreateTriesAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fates []error
		want  error
	}{
		{"removed", []error{os.ErrNotExist, nil}, nil},
		{"locked, then removed", []error{errTaken, os.ErrNotExist, nil}, nil},
		{"always locked", []error{errTaken, errTaken, errTaken}, errTaken},
		{"no permission", []error{os.ErrPermission}, os.ErrPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := 0
			_, err := again(func() (*os.File, error) {
				n++
				return nil, tt.fates[n-1]
			})
			if !errors.Is(err, tt.want) || n != len(tt.fates) {
				t.Errorf("%v after %d of %d", err, n, len(tt.fates))
			}
		})
	}
}

func TestFileIsBounded(t *testing.T) {
	t.Parallel()
	d := in(t, WithSync(SyncNever))
	j := created(t, d)
	entries := make([]lua.UsageEntry, lua.MaxUsageEntries)
	for i := range entries {
		entries[i] = used(strings.Repeat("p", i%100)+string(rune('a'+i/100)), 1)
	}
	commit(t, j, frozen("acme", 1, entries...))
	open := j.size
	for i := range int64(400) {
		entries[0].Units = i + 1
		commit(t, j, pending("acme", 1, entries...))
		if j.size > slack+10*open {
			t.Fatalf("the file has %d bytes where %d are open", j.size, 2*open)
		}
	}
	if j.rewrote < int64(2*headerLen) {
		t.Error("the file was never written anew")
	}
	if got := j.Units(); got != 500+499+400 {
		t.Errorf("Units = %d, want %d", got, 500+499+400)
	}
	_ = j.Close()
	next := takenOver(t, d, 1)[0]
	if got := next.Units(); got != 500+499+400 {
		t.Errorf("Units = %d after it was taken over", got)
	}
	next.Append(settled("acme", 1))
}

func TestJournalBehind(t *testing.T) {
	t.Parallel()
	d := in(t)
	j := created(t, d)
	commit(t, j, pending("acme", 0, used("a", 1)))
	_ = j.file.Close() // nothing can be written any more
	j.Append(pending("acme", 0, used("a", 2)))
	cause := j.Commit(t.Context())
	if !errors.Is(cause, os.ErrClosed) || !strings.Contains(cause.Error(), j.path()) {
		t.Fatalf("Commit = %v; want the cause and the file", cause)
	}
	j.Append(pending("acme", 0, used("a", 3)))
	if err := j.Commit(t.Context()); !errors.Is(err, os.ErrClosed) || j.Units() != 0 {
		t.Errorf("Commit = %v, Units = %d; want it to be behind still", err, j.Units())
	}
	if n, err := j.Faults(); n != 1 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Faults = %d, %v; want 1", n, err)
	}
	j.retry = time.Now()
	if err := j.Commit(t.Context()); err != nil || j.Units() != 3 {
		t.Errorf("Commit = %v, Units = %d; want it mended, with 3", err, j.Units())
	}
	commit(t, j, pending("acme", 0, used("b", 4)))
	_ = j.Close()
	wantRecords(t, takenOver(t, d, 1)[0], pending("acme", 0, used("a", 3), used("b", 4)))
}

func TestCommitWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	j := created(t, in(t))
	j.writing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit = %v; want the context's error", err)
	}
	<-j.writing
}

// TestCommitsShareWrites has many append and commit at once: each finds its record in the file.
func TestCommitsShareWrites(t *testing.T) {
	t.Parallel()
	d := in(t)
	j := created(t, d)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range int64(20) {
				j.Append(frozen(string(rune('a'+i)), n+1, used("a", 1)))
				if err := j.Commit(t.Context()); err != nil {
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	group.Wait()
	if got := j.Units(); got != 160 {
		t.Errorf("Units = %d, want 160", got)
	}
	_ = j.Close()
	if got := len(takenOver(t, d, 1)[0].Records()); got != 160 {
		t.Errorf("%d batches, want 160", got)
	}
}
