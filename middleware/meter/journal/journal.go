// Package journal keeps on disk what a meter has not written to Redis yet, so that it outlives the process.
//
// It is what meter.WithJournal uses; whoever counts by package meter needs nothing else of it, but its options and,
// for a file that was set aside, [Read]. Not for events or anything but a meter's sums.
//
//	dir, err := journal.In("/var/lib/service/usage")
//	j, err := dir.Create(process)            // locked while the process lives
//	j.Append(journal.Record{Kind: journal.Pending, Org: "acme", Hour: hour, Entries: sums})
//	err = j.Commit(ctx)                      // in the file, and on the disk
//	orphans, err := dir.TakeOver()           // the journals of processes that are dead
//	for _, j := range orphans {
//		replay(j.Process(), j.Records())
//		err = j.Remove()
//	}
//
// A directory holds a file for each process, <process>.journal, which that process has locked (flock) while it lives.
// Give each service and each Redis a directory of its own, on a local disk that a restart finds again, and that others
// may not write to. Directories are made with mode 0700, files with 0600.
//
// A file is bounded: it is written anew, with what is still open alone, before it is 1 MiB larger than thrice what that
// takes. What is half written at its end is cut off. Damage before its end is an error, and nothing of such a file is
// believed.
//
// A journal that cannot be written, as when the disk is full, falls behind; it is tried again every 5 seconds. One
// that is behind loses what it could not write, and does no other harm: see Commit.
package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// What callers branch on. Compare with errors.Is.
var (
	// ErrInvalid: an option, a directory or the name of a process is out of its bounds.
	ErrInvalid = errors.New("journal: invalid")
	// ErrCorrupt: a file is damaged, and not only at its end. The error names it and the offset.
	ErrCorrupt = errors.New("journal: corrupt")
	// ErrUnsupported: the system has no flock.
	ErrUnsupported = errors.New("journal: not for this system: it has no flock")
)

// slack is how much a file may grow before it is written anew.
const slack = 1 << 20

// Journal is the file of one process. Dir.Create and Dir.TakeOver make it; end it by Remove, SetAside or Close. Safe for
// concurrent use. A nil *Journal takes all that it is told and keeps nothing.
type Journal struct {
	config
	root    *os.Root
	process string

	mu     sync.Mutex // never held during I/O
	buffer [][]byte   // payloads that Append made, which Commit has not taken
	closed bool

	writing chan struct{} // holds a token while somebody uses what follows
	file    *os.File
	marker  marker
	state   *state
	size    int64 // of the file
	rewrote int64 // its size when it was last written anew
	behind  error // why the file is behind the state; nil if it is not
	retry   time.Time

	units  atomic.Uint64
	faults atomic.Uint64
	fault  atomic.Pointer[error]
}

// Process returns the name of the process whose journal it is.
func (j *Journal) Process() string { return j.process }

// Interval returns that of WithInterval.
func (j *Journal) Interval() time.Duration { return j.interval }

// Append adds records, of at most lua.MaxUsageEntries entries each, all of a call or none of it once they are in the
// file. They are there after the next Commit. No I/O.
func (j *Journal) Append(records ...Record) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	last := len(j.buffer) - 1
	if last < 0 || len(j.buffer[last]) >= aim {
		j.buffer = append(j.buffer, nil)
		last++
	}
	for i := range records {
		j.buffer[last] = records[i].appendTo(j.buffer[last])
	}
}

// Commit writes what was appended before the call, with what other callers did, and returns when it is as safe as
// WithSync says. If ctx ends while another writes, its error is returned, and nothing is known. Any other error says
// that the journal is behind: the caller may go on.
//
// What is sent while a journal is behind is not in it. So whoever replays it asks Redis first what was the last batch of
// the process, and leaves what is pending, and a batch that Redis refuses, where that is none that the journal knows. What
// Redis has not decided by then is dropped by it later: a replay numbers its batches from the last that it knows, in the order of hours and names, as
// the process does, so that each unit went, if at all, under the same number or a later one.
func (j *Journal) Commit(ctx context.Context) error {
	if j == nil {
		return nil
	}
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.leave()
	j.mu.Lock()
	payloads, closed := j.buffer, j.closed
	j.buffer = nil
	j.mu.Unlock()
	if closed {
		return nil
	}
	for _, p := range payloads {
		if err := j.state.apply(p); err != nil { // only a caller's mistake
			return j.fail("append to", err)
		}
	}
	return j.write(payloads)
}

func (j *Journal) enter(ctx context.Context) error {
	select {
	case j.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *Journal) leave() { <-j.writing }

func (j *Journal) write(payloads [][]byte) error {
	if j.behind != nil {
		if time.Now().Before(j.retry) {
			return j.behind
		}
		return j.rewrite()
	}
	for _, p := range payloads {
		if err := j.put(p); err != nil {
			return j.fail("write", err)
		}
	}
	if j.size > slack+3*j.rewrote {
		return j.rewrite()
	}
	j.units.Store(j.state.units)
	return nil
}

// put writes a frame. The next is not begun before it is on the disk, so that a power cut damages no frame but the last.
func (j *Journal) put(payload []byte) error {
	n, err := j.file.WriteAt(j.marker.frame(payload), j.size)
	if err != nil {
		return err
	}
	j.size += int64(n)
	if j.sync == SyncNever {
		return nil
	}
	return j.file.Sync()
}

// fail notes that the file is behind, and returns why.
func (j *Journal) fail(what string, cause error) error {
	j.behind = fmt.Errorf("journal: %s %s of %s: %w", what, j.path(), j.root.Name(), cause)
	j.retry = time.Now().Add(j.wait)
	j.units.Store(0)
	j.note(j.behind)
	return j.behind
}

func (j *Journal) note(err error) {
	j.faults.Add(1)
	j.fault.Store(&err)
}

func (j *Journal) path() string { return j.process + suffix }

// Records returns what is open: of each org the batches that are frozen, in the order of their numbers, and then what is
// pending. For a journal that nobody appends to.
func (j *Journal) Records() []Record { return j.state.records() }

// Units returns how many units are open in the file; 0 while the journal is behind.
func (j *Journal) Units() uint64 {
	if j == nil {
		return 0
	}
	return j.units.Load()
}

// Faults returns how often the file could not be written, and the last cause.
func (j *Journal) Faults() (uint64, error) {
	if j == nil {
		return 0, nil
	}
	if last := j.fault.Load(); last != nil {
		return j.faults.Load(), *last
	}
	return 0, nil
}

// Remove deletes the file and ends the journal: all is settled. To end it again is harmless.
func (j *Journal) Remove() error {
	return j.end(func() error { return j.root.Remove(j.path()) })
}

// SetAside ends the journal and leaves its file as <process>.unsure, which no process takes over.
func (j *Journal) SetAside() error {
	return j.end(func() error { return j.root.Rename(j.path(), j.process+unsure) })
}

// Close ends the journal and leaves its file to whoever takes it over.
func (j *Journal) Close() error {
	return j.end(func() error { return nil })
}

func (j *Journal) end(last func() error) error {
	if j == nil {
		return nil
	}
	j.writing <- struct{}{}
	defer j.leave()
	j.mu.Lock()
	closed := j.closed
	j.closed, j.buffer = true, nil
	j.mu.Unlock()
	if closed {
		return nil
	}
	err := errors.Join(ignore(last(), os.ErrNotExist), syncDir(j.root))
	if j.file != nil { // it was written once
		err = errors.Join(err, j.file.Close())
	}
	if err = errors.Join(err, j.root.Close()); err != nil {
		err = fmt.Errorf("journal: end %s: %w", j.path(), err)
		j.note(err)
	}
	return err
}
