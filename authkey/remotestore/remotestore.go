// Package remotestore asks a remote service over HTTP who is calling, for those who have an authentication service
// already and keep no keys of their own.
//
//	service, err := remotestore.New("https://auth.internal/validate",
//		remotestore.WithTokens(remotestore.Tokens{Issuer: "auth.internal", Audience: "search", Keys: keys}))
//	if err != nil { ... }
//	auth := middleware.Authenticate(service)
//
// It posts {"key": "..."} as JSON and wants one of these answers:
//
//	200  {"org": "acme", "project": "shop", "key": "k1", "kind": "secret", "scopes": ["write"], ...}
//	200  {"token": "..."}, or a token alone as application/jwt: a JWT with the same members as claims
//	401, 404  nobody knows the key      402  its project is suspended
//	403  it is disabled                 410  it is revoked
//
// All but application/jwt are JSON objects and say so in Content-Type, refusals too, if only {}: a page with 404 may be
// that of a proxy before the service, which knows no keys. WithDecoder reads a service that answers with bare statuses.
// A refusal may say better what is wrong: {"code": "revoked"}, or unknown, disabled, expired, not_yet_valid, suspended;
// malformed is read as unknown. Whatever else comes, or comes not in time, says nothing about the key: it is
// authkey.ErrUnavailable, and 503 to the client.
//
// Of an identity org, project, key and kind ("secret" or "publishable") are needed; name, plan, owner, credential,
// scopes, products, networks, origins and expires_at (RFC 3339) are optional. Other members are ignored, but none may
// be one of these in another case. The question names nothing but the key, not even the method: so one answer serves
// all requests that show the key, and what they may do is for the stages to decide, from its scopes, products,
// networks and origins.
//
// Answers are kept in the process, so a revoked key goes on until its entry ends: 10 s by default, and for as long
// as WithCache says. Nothing shortens that, since a limiter has no epoch of the service's keys to compare. Where
// revocation has to act at once, keep the keys in authkey/redisstore instead.
//
// Each key that nobody knows is a question to the service: let middleware.WithFailureBudget stand before it. That counts
// unknown keys alone, so a service that says 403 for them escapes it: have it say 401, or the code unknown.
package remotestore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/cache"
)

// method is what an Identity says of how it was authenticated.
const method = "remote"

// maxKey bounds a key, in bytes. What is longer is not asked about.
const maxKey = 4 << 10

// Authenticator tells whom a presented key belongs to by asking a service. It is an Authenticator of package
// middleware. Make it with New. Safe for concurrent use; it has nothing to close but what its transport keeps.
type Authenticator struct {
	config
	good    *cache.Cache[known]
	bad     *cache.Cache[error]
	breaker *gobreaker.CircuitBreaker[*authkey.Identity]
	flights singleflight.Group
	steps   atomic.Int64 // orders the beginnings of flights and of Refresh calls

	hits, negativeHits, misses, failures atomic.Uint64
}

// known is what the service said of a good key, and when it was asked.
type known struct {
	identity *authkey.Identity
	asked    time.Time
}

// New returns an Authenticator that asks the service at an absolute https URL; one with http is for this machine
// alone, unless WithPlaintext is given. It does not dial and starts nothing. Faults are authkey.ErrInvalid, all
// joined.
func New(url string, opts ...Option) (*Authenticator, error) {
	c, err := configure(url, opts)
	if err != nil {
		return nil, err
	}
	a := &Authenticator{
		config: c, good: cache.New[known](c.entries, c.life), bad: cache.New[error](c.negativeEntries, c.negativeLife),
	}
	a.breaker = gobreaker.NewCircuitBreaker[*authkey.Identity](gobreaker.Settings{
		Timeout:      c.pause,
		ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= c.trips },
		IsSuccessful: answered,
	})
	return a, nil
}

// Authenticate returns the identity of a key: from the cache, without I/O, or by one request to the service that
// all callers with the same key share. An end of the key is seen while its answer is cached.
//
// Errors: authkey.ErrMalformed is for what cannot be a key, and asks nobody. ErrUnknown, ErrRevoked, ErrDisabled,
// ErrExpired, ErrNotYetValid and ErrSuspended are what the service said, kept for as long as WithNegativeCache says.
// Everything else is an *Error, which is authkey.ErrUnavailable, and is not kept. When ctx ends, the call returns
// and the request goes on for the others.
func (a *Authenticator) Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	key, err := sumOf(presented)
	if err != nil {
		return nil, err
	}
	if held, age, ok := a.good.Get(&key, a.since); ok {
		a.hits.Add(1)
		return admit(held.identity, held.asked.Add(age))
	}
	if refusal, _, ok := a.bad.Get(&key, a.since); ok {
		a.negativeHits.Add(1)
		return nil, refusal
	}
	a.misses.Add(1)
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	found, err := a.ask(ctx, key, presented)
	if err != nil {
		return nil, err
	}
	return found.answer(a.now())
}

// Refresh asks the service anew, for a caller who was told that held is stale: its answer is one to a request that
// began after this call. Errors are those of Authenticate.
func (a *Authenticator) Refresh(ctx context.Context, presented authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	key, err := sumOf(presented)
	if err != nil {
		return nil, err
	}
	called := a.steps.Add(1)
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	for {
		a.misses.Add(1)
		found, err := a.ask(ctx, key, presented)
		if err != nil {
			return nil, err
		}
		if found.began > called { // else the service may have answered before the change
			return found.answer(a.now())
		}
	}
}

// Stats returns counts since the Authenticator was made, and sizes now. Cheap; the numbers are not of one instant.
func (a *Authenticator) Stats() authkey.Stats {
	return authkey.Stats{
		Hits:            a.hits.Load(),
		NegativeHits:    a.negativeHits.Load(),
		Misses:          a.misses.Load(),
		StoreErrors:     a.failures.Load(),
		Entries:         a.good.Len(),
		NegativeEntries: a.bad.Len(),
	}
}

// sumOf checks what can be checked of a key without I/O, and returns what caches go by, so that none holds a key.
func sumOf(presented authkey.Presented) (cache.Sum, error) {
	key := presented.Reveal()
	if key == "" || len(key) > maxKey {
		return cache.Sum{}, authkey.ErrMalformed
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return cache.Sum{}, authkey.ErrMalformed
		}
	}
	return cache.SumOf(key), nil
}

// finding is what one request came to.
type finding struct {
	began    int64 // its place among the steps
	identity *authkey.Identity
	err      error
}

func (f *finding) answer(now time.Time) (*authkey.Identity, error) {
	if f.err != nil {
		return nil, f.err
	}
	return admit(f.identity, now)
}

// admit judges the end of a key on each call.
func admit(identity *authkey.Identity, now time.Time) (*authkey.Identity, error) {
	if end := identity.ExpiresAt; !end.IsZero() && !now.Before(end) {
		return nil, authkey.ErrExpired
	}
	return identity, nil
}

// ask begins a request or joins the one under way for the same key. Its error is that of ctx only.
func (a *Authenticator) ask(ctx context.Context, key cache.Sum, presented authkey.Presented) (*finding, error) {
	landing := a.flights.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
		defer cancel()
		return a.fly(ctx, key, presented), nil
	})
	select {
	case landed := <-landing:
		return landed.Val.(*finding), nil
	case <-ctx.Done():
		return nil, failed(Timeout, ctx.Err())
	}
}

// fly asks the service, unless the breaker is open, and tells the caches. Entries live from before it was asked.
func (a *Authenticator) fly(ctx context.Context, key cache.Sum, presented authkey.Presented) *finding {
	found := &finding{began: a.steps.Add(1)}
	from := a.now()
	found.identity, found.err = a.breaker.Execute(func() (*authkey.Identity, error) { return a.exchange(ctx, presented) })
	switch {
	case found.err == nil:
		own := *found.identity // a decoder may return one to many
		own.Notes = new(authkey.Notes)
		found.identity = &own
		a.bad.Drop(&key)
		a.good.Put(&key, known{found.identity, from}, from, a.since, nil)
	case errors.Is(found.err, gobreaker.ErrOpenState) || errors.Is(found.err, gobreaker.ErrTooManyRequests):
		found.err = failed(Open, found.err)
		a.failures.Add(1)
	case errors.Is(found.err, authkey.ErrUnavailable):
		a.failures.Add(1)
	default:
		a.good.Drop(&key)
		_ = a.bad.Put(&key, found.err, from, a.since, nil)
	}
	return found
}
