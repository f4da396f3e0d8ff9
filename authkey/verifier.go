package authkey

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

const methodKey = "key"

// Verifier tells whom a presented key belongs to. Make it with New. Safe for concurrent use; it has
// nothing to close.
type Verifier struct {
	basis
	store       Store
	formats     []Format // none: every well-formed key
	foreign     bool
	kinds       []Kind
	timeout     time.Duration
	uses        *Uses    // may be nil
	rehash      Rehasher // the store, if it is one
	wantsRehash bool
	good        *cache[*entry]
	bad         *cache[struct{}]
	flood       *flood
	flights     singleflight.Group
	steps       atomic.Int64 // orders the beginnings of flights and of Refresh calls

	hits, negativeHits, misses, storeErrors, rehashes, rehashErrors atomic.Uint64
}

// New returns a verifier over a store. It does no I/O and starts nothing. Faults are ErrInvalid, all
// joined; a store that has an Err() error method is asked for its own.
func New(store Store, opts ...Option) (*Verifier, error) {
	v := &Verifier{
		basis:   basis{now: time.Now},
		store:   store,
		kinds:   []Kind{KindSecret, KindPublishable},
		timeout: defaultTimeout,
		good:    newCache[*entry](defaultEntries, defaultLife),
		bad:     newCache[struct{}](defaultNegativeEntries, defaultNegativeLife),
		flood:   newFlood(defaultUnknownRate, defaultUnknownBurst),
	}
	faults := []error{checkStore(store)}
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, nilOption(n))
			continue
		}
		faults = append(faults, opt.apply(v))
	}
	if v.rehash, _ = store.(Rehasher); v.wantsRehash && v.rehash == nil {
		faults = append(faults, fmt.Errorf("%w: WithRehash: the store %T cannot replace digests", ErrInvalid, store))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return v, nil
}

// Authenticate returns the identity of a key: from the cache, without I/O and without allocation, or by
// one look-up in the store that all callers with the same key share. State and times are judged on each
// call; a change in the store is seen within the cache's life, or at once through Refresh.
//
// Errors: ErrMalformed, ErrUnknown (also for a wrong secret), ErrRevoked, ErrDisabled, ErrNotYetValid, ErrExpired and
// ErrSuspended refuse the key. ErrUnavailable says that nobody knows, and wraps the context's error when ctx
// ended or the look-up took longer than WithTimeout; it is never cached. When ctx ends, the call returns
// and the look-up goes on for the others.
func (v *Verifier) Authenticate(ctx context.Context, presented Presented) (*Identity, error) {
	q, err := v.read(presented)
	if err != nil {
		return nil, err
	}
	now := v.now()
	if e, ok := v.good.get(q.sum, now); ok {
		v.hits.Add(1)
		return e.admit(now)
	}
	if _, ok := v.bad.get(q.sum, now); ok {
		v.negativeHits.Add(1)
		return nil, ErrUnknown
	}
	v.misses.Add(1)
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	found, err := v.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if found.err != nil {
		return nil, found.err
	}
	return found.held.admit(v.now())
}

// Refresh is Authenticate for a caller who was told that held, an identity that this verifier returned
// for the same key, is stale. It answers with a later epoch if one is cached, without I/O; else with what
// the store says to a look-up that began after this call. A nil held always asks the store. Errors are
// those of Authenticate; when the store cannot answer, the stale identity is not handed out again.
func (v *Verifier) Refresh(ctx context.Context, presented Presented, held *Identity) (*Identity, error) {
	q, err := v.read(presented)
	if err != nil {
		return nil, err
	}
	stale := int64(math.MaxInt64)
	if held != nil {
		stale = held.Epoch
	}
	called := v.steps.Add(1)
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	for {
		now := v.now()
		if e, ok := v.good.get(q.sum, now); ok && e.identity.Epoch > stale {
			v.hits.Add(1)
			return e.admit(now)
		}
		v.misses.Add(1)
		found, err := v.ask(ctx, q)
		if err != nil {
			return nil, err
		}
		if e := found.held; e != nil && (e.identity.Epoch > stale || e.state == StateRevoked) {
			return e.admit(v.now())
		}
		if found.began < called {
			continue // it may have read before the change; the next one began after that one ended
		}
		if found.err != nil {
			return nil, found.err
		}
		return found.fresh.admit(v.now())
	}
}

// Stats are counts since the verifier was made, and sizes now.
type Stats struct {
	Hits            uint64 // answered by a cached record
	NegativeHits    uint64 // answered by a cached "unknown"
	Misses          uint64 // had to ask the store, alone or with others
	StoreErrors     uint64 // look-ups that the store did not answer
	Throttled       uint64 // look-ups that were not made, see WithUnknownRate
	Rehashes        uint64 // digests that were replaced by ones under the current pepper; see WithRehash
	RehashErrors    uint64 // digests that could not be, and are tried again
	Entries         int    // records cached now, ended ones included
	NegativeEntries int    // unknown keys remembered now, ended ones included
}

// Stats returns the verifier's counts. Cheap; the numbers are not of one instant.
func (v *Verifier) Stats() Stats {
	return Stats{
		Hits:            v.hits.Load(),
		NegativeHits:    v.negativeHits.Load(),
		Misses:          v.misses.Load(),
		StoreErrors:     v.storeErrors.Load(),
		Throttled:       v.flood.refused.Load(),
		Rehashes:        v.rehashes.Load(),
		RehashErrors:    v.rehashErrors.Load(),
		Entries:         v.good.len(),
		NegativeEntries: v.bad.len(),
	}
}

// question is a key that passed all checks that need no I/O.
type question struct {
	presented Presented
	sum       sum
	id        string // "": a foreign key, found by digest
}

// read checks the length, then shape and checksum, then brand and env.
func (v *Verifier) read(presented Presented) (question, error) {
	key := presented.Reveal()
	if len(key) == 0 || len(key) > maxKeyLen {
		return question{}, ErrMalformed
	}
	if p := presented.Presentation(); p != nil && strings.EqualFold(p.Scheme, "DPoP") {
		return question{}, fmt.Errorf("%w: it came by the scheme DPoP, and no key is bound to another", ErrMalformed)
	}
	q := question{presented: presented}
	parsed, err := Parse(key)
	switch {
	case err == nil && v.accepts(parsed):
		q.id = parsed.ID
	case v.foreign && onlyVisible(key):
	case err != nil:
		return question{}, err
	default:
		return question{}, fmt.Errorf("%w: of another brand or env than %v", ErrMalformed, v.formats)
	}
	var buffer [maxKeyLen]byte // on the stack, where a converted string would not be
	q.sum = sha256.Sum256(buffer[:copy(buffer[:], key)])
	return q, nil
}

func (v *Verifier) accepts(parsed Parsed) bool {
	for _, f := range v.formats {
		if f.Accepts(parsed) {
			return true
		}
	}
	return len(v.formats) == 0
}

// finding is what one look-up came to.
type finding struct {
	began int64  // its place among the steps
	fresh *entry // what the store said
	held  *entry // what the cache holds since: fresh, or something later
	err   error  // ErrUnknown or ErrUnavailable; then there is no entry
}

// ask starts a look-up or joins the one under way for the same key. Its error is that of ctx only.
func (v *Verifier) ask(ctx context.Context, q question) (finding, error) {
	landing := v.flights.DoChan(string(q.sum[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.timeout)
		defer cancel()
		return v.fly(ctx, q), nil
	})
	select {
	case landed := <-landing:
		return landed.Val.(finding), nil
	case <-ctx.Done():
		return finding{}, unavailable(ctx.Err())
	}
}

// fly asks the store and tells the caches. Entries live from before the store was asked.
func (v *Verifier) fly(ctx context.Context, q question) (found finding) {
	found.began = v.steps.Add(1)
	from := v.now()
	lately := v.good.holds(q.sum)
	if !lately && !v.flood.take(v.now) {
		found.err = errFlood
		return found
	}
	record, credential, err := v.find(ctx, q)
	switch {
	case err == nil:
		if !lately {
			v.flood.giveBack()
		}
		found.fresh = newEntry(&record, credential)
		found.fresh.used = v.uses.cell(record.ID, credential.ID)
		v.rehashed(ctx, q, &record, credential)
		found.held = v.good.put(q.sum, found.fresh, from, v.now(), (*entry).outlasts)
		v.bad.drop(q.sum)
	case errors.Is(err, ErrUnknown):
		found.err = ErrUnknown
		v.good.drop(q.sum)
		v.bad.put(q.sum, struct{}{}, from, v.now(), func(_, _ struct{}) bool { return false })
	default:
		found.err = unavailable(err)
		v.storeErrors.Add(1)
	}
	return found
}

// find looks a record up and compares digests. A store that panics is a store that did not answer: in a
// look-up's own goroutine nobody else could recover.
func (v *Verifier) find(ctx context.Context, q question) (record Record, credential *Credential, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the store panicked: %v", ErrUnavailable, r)
		}
	}()
	record, credential, err = lookup(ctx, v.store, v.hasher, q.id, q.presented)
	if err == nil && !slices.Contains(v.kinds, record.Kind) {
		err = fmt.Errorf("%w: credential %s is of a key of kind %q, which opens something else", ErrUnknown, credential.ID, record.Kind)
	}
	return record, credential, err
}
