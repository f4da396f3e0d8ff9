package journal

import (
	"errors"
	"fmt"
	"os"
)

var errTaken = errors.New("another process has it")

// rewrite puts a new file with what is open in the place of the old one, and so mends a journal that is behind.
func (j *Journal) rewrite() error {
	m := newMarker()
	file, err := create(j.root, j.path()+fresh)
	if err != nil {
		return j.fail("rewrite", err)
	}
	size, err := j.dump(file, m)
	if err == nil {
		err = j.root.Rename(j.path()+fresh, j.path())
	}
	if err != nil {
		return j.fail("rewrite", errors.Join(err, j.root.Remove(j.path()+fresh), file.Close()))
	}
	if j.file != nil {
		_ = j.file.Close() // what it had is in the new one
	}
	j.file, j.marker, j.size, j.rewrote = file, m, size, size
	if err := syncDir(j.root); err != nil {
		return j.fail("rewrite", err)
	}
	j.behind = nil
	j.units.Store(j.state.units)
	return nil
}

// dump writes what is open to a new file, down to the disk, and returns its size.
func (j *Journal) dump(file *os.File, m marker) (int64, error) {
	size, err := file.Write(header(m, j.process))
	var payload []byte
	flush := func() {
		if err == nil && len(payload) > 0 {
			var n int
			n, err = file.Write(m.frame(payload))
			size, payload = size+n, payload[:0]
		}
	}
	for _, rec := range j.state.records() {
		if payload = rec.appendTo(payload); len(payload) >= aim {
			flush()
		}
	}
	flush()
	if err != nil {
		return 0, err
	}
	return int64(size), file.Sync()
}

// create makes a file that is locked before anybody finds it under its last name. What a dead process left of it goes.
func create(root *os.Root, path string) (*os.File, error) {
	return again(func() (*os.File, error) {
		if err := root.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		file, err := root.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		if err := claim(root, path, file); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return file, nil
	})
}

// again tries a few times to make a file: one that cleans up may take it for a dead process's before it is locked.
func again(try func() (*os.File, error)) (file *os.File, err error) {
	for range 3 {
		if file, err = try(); !errors.Is(err, errTaken) && !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return file, err
}

// claim takes the lock of an open file and makes sure that the file still has its name.
func claim(root *os.Root, path string, file *os.File) error {
	held, err := lock(file)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if !held {
		return errTaken
	}
	there, err := root.Lstat(path)
	if err != nil {
		return err
	}
	if mine, err := file.Stat(); err != nil || !os.SameFile(there, mine) {
		return errors.Join(errTaken, err)
	}
	return nil
}

// syncDir has the names in a directory reach the disk.
func syncDir(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
