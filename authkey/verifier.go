package authkey

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tollgate-go/tollgate/authkey/internal/cache"
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
	grace       time.Duration
	uses        *Uses    // may be nil
	rehash      Rehasher // the store, if it is one
	wantsRehash bool
	good        *cache.Cache[*entry]
	bad         *cache.Cache[struct{}]
	flood       *flood
	flights     singleflight.Group
	steps       atomic.Int64 // orders the beginnings of flights and of Refresh calls

	_                                                               [64]byte // each hit writes the next line, and reads the others
	hits, negativeHits, misses, storeErrors, rehashes, rehashErrors atomic.Uint64
	graces                                                          atomic.Uint64
}

// New returns a verifier over a store. It does no I/O and starts nothing. Faults are ErrInvalid, all
// joined; a store that has an Err() error method is asked for its own.
func New(store Store, opts ...Option) (*Verifier, error) {
	v := &Verifier{
		basis:   basis{now: time.Now, since: time.Since},
		store:   store,
		kinds:   []Kind{KindSecret, KindPublishable},
		timeout: defaultTimeout,
		good:    cache.New[*entry](defaultEntries, defaultLife),
		bad:     cache.New[struct{}](defaultNegativeEntries, defaultNegativeLife),
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
// call; a change in the store is seen within the cache's life, or at once through Refresh. What may pass while the store
// cannot answer WithGrace says.
//
// Errors: ErrMalformed, ErrUnknown (also for a wrong secret), ErrRevoked, ErrDisabled, ErrNotYetValid, ErrExpired and
// ErrSuspended refuse the key. ErrUnavailable says that nobody knows, and wraps the context's error when ctx
// ended or the look-up took longer than WithTimeout; it is never cached. When ctx ends, the call returns
// and the look-up goes on for the others.
func (v *Verifier) Authenticate(ctx context.Context, presented Presented) (*Identity, error) {
	if err := v.shaped(presented); err != nil {
		return nil, err
	}
	sum := cache.SumOf(presented.Reveal())
	if e, age, ok := v.good.Get(&sum, v.since); ok { // it was parsed once
		v.hits.Add(1)
		return e.admit(age)
	}
	return v.lookUp(ctx, presented, sum)
}

// lookUp is Authenticate of a key that is not held.
func (v *Verifier) lookUp(ctx context.Context, presented Presented, sum sum) (*Identity, error) {
	q, err := v.parse(presented, sum)
	if err != nil {
		return nil, err
	}
	if _, _, ok := v.bad.Get(&q.sum, v.since); ok {
		v.negativeHits.Add(1)
		return nil, ErrUnknown
	}
	v.misses.Add(1)
	within, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	found, err := v.ask(within, q)
	if err == nil {
		err = found.err
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err // the caller went away: that says nothing of the store
	case err != nil:
		return v.excused(&q.sum, err)
	}
	return found.held.judge(v.now())
}

// Refresh is Authenticate for a caller who was told that held, an identity that this verifier returned
// for the same key, is stale. It answers with a later epoch if one is cached, without I/O; else with what
// the store says to a look-up that began after this call. A nil held always asks the store. Errors are
// those of Authenticate; when the store cannot answer, the stale identity is not handed out by Refresh, and has no grace:
// Authenticate still knows it until the cache's life is over.
func (v *Verifier) Refresh(ctx context.Context, presented Presented, held *Identity) (*Identity, error) {
	if err := v.shaped(presented); err != nil {
		return nil, err
	}
	q, err := v.parse(presented, cache.SumOf(presented.Reveal()))
	if err != nil {
		return nil, err
	}
	stale := int64(math.MaxInt64)
	if held != nil {
		stale = held.Epoch
	}
	called := v.steps.Add(1)
	v.distrust(&q.sum, stale)
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	for {
		if e, age, ok := v.good.Get(&q.sum, v.since); ok && e.identity.Epoch > stale {
			v.hits.Add(1)
			return e.admit(age)
		}
		v.misses.Add(1)
		found, err := v.ask(ctx, q)
		if err != nil {
			v.distrust(&q.sum, stale) // what a look-up from before the change has put there
			return nil, err
		}
		if e := found.held; e != nil && (e.identity.Epoch > stale || e.state == StateRevoked) {
			return e.judge(v.now())
		}
		if found.began < called {
			continue // it may have read before the change; the next one began after that one ended
		}
		if found.err != nil {
			v.distrust(&q.sum, stale)
			return nil, found.err
		}
		return found.fresh.judge(v.now())
	}
}

// Stats are counts since the verifier was made, and sizes now.
type Stats struct {
	Hits            uint64 // answered by a cached record
	NegativeHits    uint64 // answered by a cached "unknown"
	Misses          uint64 // had to ask the store, alone or with others
	StoreErrors     uint64 // look-ups that the store did not answer
	Graces          uint64 // passages of what was verified before, because the store did not answer; see WithGrace
	Throttled       uint64 // look-ups that were not made, see WithUnknownRate
	Rehashes        uint64 // digests that were replaced by ones under the current pepper; see WithRehash
	RehashErrors    uint64 // digests that could not be, and are tried again
	OpenBreakers    int    // servers of the store that are left alone now, where it tells
	Entries         int    // records cached now, ended ones included
	NegativeEntries int    // unknown keys remembered now, ended ones included
}

// Stats returns the verifier's counts. Cheap; the numbers are not of one instant.
func (v *Verifier) Stats() Stats {
	open := 0
	if store, ok := v.store.(interface{ OpenBreakers() int }); ok {
		open = store.OpenBreakers()
	}
	return Stats{
		Graces:          v.graces.Load(),
		OpenBreakers:    open,
		Hits:            v.hits.Load(),
		NegativeHits:    v.negativeHits.Load(),
		Misses:          v.misses.Load(),
		StoreErrors:     v.storeErrors.Load(),
		Throttled:       v.flood.refused.Load(),
		Rehashes:        v.rehashes.Load(),
		RehashErrors:    v.rehashErrors.Load(),
		Entries:         v.good.Len(),
		NegativeEntries: v.bad.Len(),
	}
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
	lately := v.good.Holds(&q.sum)
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
		found.fresh = newEntry(&record, credential, from)
		found.fresh.used = v.uses.cell(record.ID, credential.ID)
		v.rehashed(ctx, q, &record, credential)
		if e, _, ok := v.good.Last(&q.sum, v.since); ok && e.distrusted.Load() && found.fresh.identity.Epoch <= e.identity.Epoch {
			found.fresh.distrusted.Store(true) // it was read before what is known of since
		}
		found.held = v.good.Put(&q.sum, found.fresh, from, v.since, (*entry).outlasts)
		v.bad.Drop(&q.sum)
	case errors.Is(err, ErrUnknown):
		found.err = ErrUnknown
		v.good.Drop(&q.sum)
		v.bad.Put(&q.sum, struct{}{}, from, v.since, nil)
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
