package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// What the names of files end with.
const (
	suffix  = ".journal"
	fresh   = ".new"     // behind suffix: a file that is being written anew
	corrupt = ".corrupt" // a file that nobody could read
	unsure  = ".unsure"  // a file whose units may have been counted
)

const (
	// maxFile is the largest file that is read.
	maxFile = 1 << 30
	// young is how old a file that is being written anew must be before another looks whether its process is dead.
	young = time.Minute
)

// Dir is a directory of journals. Make it with In. Safe for concurrent use.
type Dir struct {
	path string
	config
}

// In names a directory. No I/O. The error joins all that is wrong with the arguments.
func In(dir string, opts ...Option) (*Dir, error) {
	c, err := configure(dir, opts)
	if err != nil {
		return nil, err
	}
	return &Dir{path: dir, config: c}, nil
}

// Create begins the journal of a process, whose name must be as crypto/rand.Text makes them, and makes the directory if
// there is none. Where the disk is full the journal begins behind; any other failure is an error.
func (d *Dir) Create(process string) (*Journal, error) {
	if !validProcess(process) {
		return nil, fmt.Errorf("%w process: %.40q is not %d of A to Z and 2 to 7", ErrInvalid, process, processLen)
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, fmt.Errorf("journal: make the directory: %w", err)
	}
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	j := d.journal(root, process)
	if err = j.rewrite(); err == nil || full(err) {
		return j, nil
	}
	return nil, errors.Join(err, root.Close())
}

func (d *Dir) journal(root *os.Root, process string) *Journal {
	return &Journal{config: d.config, root: root, process: process, state: newState(), writing: make(chan struct{}, 1)}
}

// open opens the directory, which others may not write to: what they put there would be counted.
func (d *Dir) open() (*os.Root, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, fmt.Errorf("journal: open the directory: %w", err)
	}
	info, err := root.Stat(".")
	if err == nil && info.Mode().Perm()&0o002 != 0 {
		err = fmt.Errorf("%w directory: everybody may write to %s; take that away (chmod o-w)", ErrInvalid, d.path)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// TakeOver returns the journals whose processes are dead, each to one caller alone. The error joins what was wrong with
// others, which are left; ErrCorrupt is in it for those that were set aside, as <process>.corrupt.
func (d *Dir) TakeOver() ([]*Journal, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	dir, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("journal: open the directory: %w", err)
	}
	defer func() { _ = dir.Close() }()
	files, err := dir.ReadDir(-1)
	faults := []error{err}
	var all []*Journal
	for _, f := range files {
		process, end, _ := strings.Cut(f.Name(), ".")
		if !validProcess(process) || !f.Type().IsRegular() {
			continue
		}
		switch "." + end {
		case suffix:
			j, err := d.takeOver(process)
			if j != nil {
				all = append(all, j)
			}
			faults = append(faults, err)
		case suffix + fresh:
			faults = append(faults, sweep(root, f.Name()))
		}
	}
	return all, errors.Join(faults...)
}

// takeOver returns the journal of a process that is dead; nil if it is not, or another was quicker.
func (d *Dir) takeOver(process string) (_ *Journal, err error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	j := d.journal(root, process)
	j.file, err = root.OpenFile(j.path(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, root.Close()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal: take over: %w", err), root.Close())
	}
	if err = claim(root, j.path(), j.file); err == nil {
		if err = j.load(); err == nil {
			return j, nil
		}
		if errors.Is(err, ErrCorrupt) {
			err = errors.Join(err, root.Rename(j.path(), process+corrupt))
		}
	}
	if errors.Is(err, errTaken) || errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return nil, errors.Join(err, j.file.Close(), root.Close())
}

// load reads the file, and cuts off what is half written at its end.
func (j *Journal) load() error {
	b, err := io.ReadAll(io.LimitReader(j.file, maxFile+1))
	if err != nil {
		return fmt.Errorf("journal: read %s: %w", j.path(), err)
	}
	if len(b) > maxFile {
		return fmt.Errorf("journal: read %s: it is larger than %d bytes", j.path(), maxFile)
	}
	process, m, s, at, err := parse(b)
	if err == nil && process != j.process {
		err = fmt.Errorf("it is of the process %s", process)
	}
	if err != nil {
		return fmt.Errorf("%w: %s at offset %d: %w", ErrCorrupt, j.path(), at, err)
	}
	j.marker, j.state, j.size, j.rewrote = m, s, int64(at), int64(headerLen)
	j.units.Store(s.units)
	if at < len(b) {
		if err := j.file.Truncate(int64(at)); err != nil {
			_ = j.fail("cut", err) // it is written anew before anything is added
		}
	}
	return nil
}

// sweep removes a new file whose process died before it was done. One that is young may be about to be locked.
func sweep(root *os.Root, path string) error {
	file, err := root.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return ignore(err, os.ErrNotExist)
	}
	info, err := file.Stat()
	if err != nil || time.Since(info.ModTime()) < young {
		return errors.Join(err, file.Close())
	}
	if err = claim(root, path, file); err == nil {
		err = root.Remove(path)
	}
	return errors.Join(ignore(ignore(err, errTaken), os.ErrNotExist), file.Close())
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// Read returns what is open in a file, also one that was set aside, as Journal.Records does, and whose it is. It takes
// no lock and changes nothing. ErrCorrupt names the offset of the damage.
func Read(r io.Reader) (process string, records []Record, err error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil || len(b) > maxFile {
		return "", nil, errors.Join(errors.New("journal: read: it failed, or there is too much"), err)
	}
	process, _, s, at, err := parse(b)
	if err != nil {
		return process, nil, fmt.Errorf("%w: at offset %d: %w", ErrCorrupt, at, err)
	}
	return process, s.records(), nil
}

func validProcess(process string) bool {
	return len(process) == processLen && strings.Trim(process, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}
