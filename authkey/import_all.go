package authkey

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

const (
	importWorkers  = 16
	importAttempts = 3
	importPause    = 100 * time.Millisecond // before the second attempt, and four times that before the third
)

// Existing is a key for ImportAll: itself, or its plain SHA-256 where only that is known, with the bounds of Import and
// ImportDigest.
type Existing struct {
	Presented Presented
	Digest    Digest
	Key       NewKey // Source is required
}

// ImportStatus is what an import of one key came to.
type ImportStatus string

// What an import of one key comes to.
const (
	ImportDone     ImportStatus = "imported" // there is a record now
	ImportSkipped  ImportStatus = "skipped"  // there was one before, of the same org and project; it stays as it is
	ImportConflict ImportStatus = "conflict" // the key is another org's or project's, or its source is another key's
	ImportInvalid  ImportStatus = "invalid"  // out of bounds
	ImportFailed   ImportStatus = "failed"   // the store did not answer: run ImportAll again
)

// ImportResult is what became of one key.
type ImportResult struct {
	Position int // 1 is the first of the sequence; a line, with ImportLines
	Source   string
	Status   ImportStatus
	ID       string // of the key's record, if ImportDone or ImportSkipped
	Err      error  // why not; nil if ImportDone or ImportSkipped
}

// ImportAll imports the keys of another system, each as Import or ImportDigest does, sixteen at a time. One that cannot
// be imported does not keep the rest: report, which may be nil, is told of each, one call at a time, in whatever order
// they end. Errors in the sequence are results too where they are ErrInvalid; any other ends it.
//
// It may be run again, over the same or more: what is there already is skipped and stays as it is, and what a run that
// broke off began is completed. The sequence is read and report is called on the caller's goroutine.
//
// It returns how many keys came to what. The error says why the sequence was not read to its end, the context's among
// the reasons, or wraps ErrUnavailable if some of it is ImportFailed. Cost: that of Import for each, a few Finds more
// for what is there already. A key that the store does not answer for is tried three times in half a second.
func (i *Issuer) ImportAll(ctx context.Context, keys iter.Seq2[Existing, error], report func(ImportResult)) (map[ImportStatus]int, error) {
	counts := map[ImportStatus]int{}
	if keys == nil {
		return counts, fmt.Errorf("%w: ImportAll: keys: nil", ErrInvalid)
	}
	note := func(r ImportResult) {
		counts[r.Status]++
		if report != nil {
			report(r)
		}
	}
	work := i.startImport(ctx)
	defer work.stop()
	position, broken := 0, error(nil)
	for existing, err := range keys {
		position++
		if ctx.Err() != nil {
			break
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			broken = err
			break
		}
		if err != nil {
			note(ImportResult{Position: position, Source: existing.Key.Source, Status: ImportInvalid, Err: err})
			continue
		}
		work.give(importJob{position, existing}, note)
	}
	work.finish(note)
	switch failed := counts[ImportFailed]; {
	case ctx.Err() != nil:
		return counts, ctx.Err()
	case broken != nil:
		return counts, broken
	case failed > 0:
		return counts, fmt.Errorf("%w: %d of %d keys were not imported: run it again", ErrUnavailable, failed, position)
	}
	return counts, nil
}

type importJob struct {
	position int
	Existing
}

// importWork is a run of ImportAll. Everything but the workers is on the caller's goroutine.
type importWork struct {
	jobs    chan importJob
	results chan ImportResult
	quit    chan struct{} // nobody takes results any more
	workers sync.WaitGroup
}

func (i *Issuer) startImport(ctx context.Context) *importWork {
	w := &importWork{jobs: make(chan importJob), results: make(chan ImportResult), quit: make(chan struct{})}
	for range importWorkers {
		w.workers.Go(func() {
			for {
				select {
				case job, more := <-w.jobs:
					if !more {
						return
					}
					select {
					case w.results <- i.importOne(ctx, job):
					case <-w.quit:
						return
					}
				case <-w.quit:
					return
				}
			}
		})
	}
	return w
}

// give hands a job to a worker, taking results until there is one.
func (w *importWork) give(job importJob, note func(ImportResult)) {
	for {
		select {
		case w.jobs <- job:
			return
		case r := <-w.results:
			note(r)
		}
	}
}

// finish takes the results of all that was given.
func (w *importWork) finish(note func(ImportResult)) {
	close(w.jobs)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.workers.Wait()
	}()
	for {
		select {
		case r := <-w.results:
			note(r)
		case <-done:
			return
		}
	}
}

// stop ends the workers, also where the sequence or report panicked.
func (w *importWork) stop() {
	close(w.quit)
	w.workers.Wait()
}

// importOne imports a key, in up to three attempts.
func (i *Issuer) importOne(ctx context.Context, job importJob) ImportResult {
	r := ImportResult{Position: job.position, Source: job.Key.Source}
	pause := importPause
	for attempt := 1; ; attempt++ {
		r.ID, r.Status, r.Err = i.importExisting(ctx, job.Existing)
		if r.Status != ImportFailed || attempt == importAttempts {
			return r
		}
		select {
		case <-time.After(pause):
			pause *= 4
		case <-ctx.Done():
			return r
		}
	}
}

func (i *Issuer) importExisting(ctx context.Context, e Existing) (id string, status ImportStatus, err error) {
	var record Record
	switch {
	case e.Key.Source == "":
		err = fmt.Errorf("%w: Source: required, or the same could be imported twice", ErrInvalid)
	case e.Presented.IsZero() == e.Digest.IsZero():
		err = fmt.Errorf("%w: Presented, Digest: want one of them", ErrInvalid)
	case e.Digest.IsZero():
		record, err = i.Import(ctx, e.Presented, e.Key)
	default:
		record, err = i.ImportDigest(ctx, e.Digest, e.Key)
	}
	if errors.Is(err, ErrExists) {
		record, err = i.imported(ctx, e)
		if err == nil {
			return record.ID, ImportSkipped, nil
		}
	}
	switch {
	case err == nil:
		return record.ID, ImportDone, nil
	case errors.Is(err, ErrInvalid):
		return "", ImportInvalid, err
	case errors.Is(err, ErrExists):
		return "", ImportConflict, err
	}
	return "", ImportFailed, err
}

// imported returns the record that stands in the way of an import, if it is that of the same key.
func (i *Issuer) imported(ctx context.Context, e Existing) (Record, error) {
	record, err := i.foreign(ctx, e)
	if errors.Is(err, ErrUnknown) {
		// The key is not known, so the source must be. A credential that was made of another key conflicts; where
		// its pepper is not at hand, or the credential was replaced, nobody can tell.
		record, err = i.store.Find(ctx, sourceID(e.Key.Org, e.Key.Source))
		if err == nil && i.differs(&record, e) {
			return Record{}, fmt.Errorf("%w: source %q, of another key", ErrExists, e.Key.Source)
		}
	}
	switch {
	case errors.Is(err, ErrUnknown): // what the digest is bound to is not there
		return Record{}, fmt.Errorf("%w: something has the digest of source %q, but no record is found", ErrUnavailable, e.Key.Source)
	case err != nil:
		return Record{}, err
	case record.Org != e.Key.Org || record.Project != e.Key.Project:
		return Record{}, fmt.Errorf("%w: the key of source %q, in another org or project", ErrExists, e.Key.Source)
	}
	return record, nil
}

func (i *Issuer) foreign(ctx context.Context, e Existing) (Record, error) {
	if e.Digest.IsZero() {
		record, _, err := lookupForeign(ctx, i.store, i.hasher, e.Presented)
		return record, err
	}
	return i.store.FindDigest(ctx, e.Digest)
}

// differs reports whether the credential that was made of a source is certainly of another key.
func (i *Issuer) differs(record *Record, e Existing) bool {
	credential := record.Credential(sourceID(e.Key.Org, e.Key.Source))
	if credential == nil {
		return false
	}
	digest, known := e.Digest, credential.PepperVersion == ""
	if e.Digest.IsZero() {
		digest, known = i.hasher.digestWith(credential.PepperVersion, e.Presented)
	}
	return known && !digest.Equal(credential.Digest)
}
