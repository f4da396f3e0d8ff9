// Package pin keeps processes to one core each, so that a caller and the Redis that it waits for do not take turns on one
// core by chance: without that, a round trip differs from run to run by a factor of eight.
package pin

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Apart keeps this process to one core and others, by their ids, to a second one, and has Go use the one core only. It
// returns a function that undoes all of it for this process and for those that have not ended. It is an error where
// there are no two cores, or the system does not let us; then nothing has changed. For one goroutine at a time.
func Apart(pids ...int) (undo func() error, err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("pin: the cores of this process: %w", err)
	}
	var cores []int
	for i := 0; len(cores) < 2 && i < len(before)*64; i++ {
		if before.IsSet(i) {
			cores = append(cores, i)
		}
	}
	if len(cores) < 2 {
		return nil, errors.New("pin: there is one core only")
	}
	procs := runtime.GOMAXPROCS(1)
	undo = func() error {
		runtime.GOMAXPROCS(procs)
		err := set(os.Getpid(), before)
		for _, pid := range pids {
			if e := set(pid, before); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
		return err
	}
	err = set(os.Getpid(), one(cores[0]))
	for _, pid := range pids {
		err = errors.Join(err, set(pid, one(cores[1])))
	}
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

func one(core int) (set unix.CPUSet) {
	set.Set(core)
	return set
}

// set keeps all threads of a process to some cores. Those that it starts later do as the thread that starts them.
func set(pid int, cores unix.CPUSet) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return fmt.Errorf("pin: process %d: %w", pid, err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return fmt.Errorf("pin: process %d: %w", pid, err)
		}
		if err := unix.SchedSetaffinity(id, &cores); err != nil && !errors.Is(err, unix.ESRCH) { // ended meanwhile
			return fmt.Errorf("pin: process %d: %w", pid, err)
		}
	}
	return nil
}
