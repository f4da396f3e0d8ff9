// Package introspect asks an authorization server what a token says that says nothing by itself (RFC 7662).
//
//	asks, err := introspect.New("https://login.example.com/introspect", introspect.WithSecretBasic(id, secret))
//	if err != nil { ... }
//	issuer := bearer.Issuer{URL: "https://login.example.com", Org: "acme"}
//	verifier, err := bearer.New(nil, bearer.WithIntrospection(issuer, asks))
//
// What the server says of a token is kept in the process, for up to 30 s by default and never past the token's exp; what
// it comes to is judged by bearer.Verifier on each request. So a revoked token goes on until its entry ends, or until
// Invalidate. Where revocation has to act at once on every replica, add bearer.WithRevocations.
//
// An answer has status 200, says application/json or another JSON in Content-Type, and is one JSON object of up to 64 KiB
// with no name twice. A token is good where its member active is true, and is no good where that is anything else. All
// else, be it another status, a redirect or an object without active, says nothing about the token: it is
// authkey.ErrUnavailable, and 503 to the client. So are refused credentials of our own, whatever the caller showed.
//
// Each token that nobody knows is a question to the server: let middleware.WithFailureBudget stand before it. Do not use it
// for JWTs, which a bearer.Verifier reads without asking anybody.
package introspect

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// maxToken bounds a token, in bytes. What is longer is not asked about.
const maxToken = 8 << 10

type sum = [sha256.Size]byte

// Introspector asks an endpoint what tokens say. Make it with New. Safe for concurrent use; it has nothing to close but
// what its transport keeps.
type Introspector struct {
	config
	endpoint string
	sumOf    func(token string) sum // what the caches go by
	good     *lru.Cache[sum, entry]
	bad      *lru.Cache[sum, entry] // of its own, so that made-up tokens displace none that are good
	breaker  *gobreaker.CircuitBreaker[*answer]
	flights  singleflight.Group

	mu          sync.Mutex
	invalidated uint64 // how many calls of Invalidate there were

	hits, negativeHits, misses, failures atomic.Uint64
}

var _ bearer.Introspector = (*Introspector)(nil)

// entry is an answer that is kept; claims are nil where the token is not active.
type entry struct {
	claims map[string]json.RawMessage
	until  time.Time
}

// New returns an Introspector that asks the endpoint at an absolute https URL; WithLoopback allows http on this
// machine. Without one of WithSecretBasic, WithSecretPost and WithAssertion the transport has to prove who we are, by a
// certificate or a token of our own. It does not dial and starts nothing. Faults are authkey.ErrInvalid, all joined.
func New(endpoint string, opts ...Option) (*Introspector, error) {
	c, err := configure(endpoint, opts)
	if err != nil {
		return nil, err
	}
	i := &Introspector{config: c, endpoint: endpoint, sumOf: newSum(endpoint)}
	if i.good, err = lru.New[sum, entry](c.entries); err == nil {
		i.bad, err = lru.New[sum, entry](c.entries)
	}
	if err != nil { // sizes are checked before
		return nil, fmt.Errorf("%w: introspect: %w", authkey.ErrInvalid, err)
	}
	i.breaker = gobreaker.NewCircuitBreaker[*answer](gobreaker.Settings{
		Timeout:      c.pause,
		ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= c.trips },
		IsSuccessful: well,
	})
	return i, nil
}

// Introspect returns what the endpoint says of a token that is active, without the member active: from memory, or by one
// request that all callers with the same token share. The map is shared as well; it must not be changed. An answer is kept
// from before it was asked for, for as long as WithCache says and never past exp; one without exp, and one about a token
// that is not active, for as long as WithShortLife says. No use of an entry makes it last longer.
//
// Errors: authkey.ErrMalformed for what cannot be a token (token68 of RFC 9110, up to 8 KiB), about which nobody is asked;
// authkey.ErrUnknown for one that is not active; authkey.ErrUnavailable, which is not kept, where nobody can tell. When
// ctx ends, the call returns and the request goes on for the others.
func (i *Introspector) Introspect(ctx context.Context, token string) (map[string]json.RawMessage, error) {
	if !isToken(token) {
		return nil, fmt.Errorf("%w: introspect: want a token68 of 1 to %d bytes", authkey.ErrMalformed, maxToken)
	}
	key, now := i.sumOf(token), i.now()
	if held, ok := i.good.Get(key); ok && now.Before(held.until) {
		i.hits.Add(1)
		return held.claims, nil
	}
	if held, ok := i.bad.Get(key); ok && now.Before(held.until) {
		i.negativeHits.Add(1)
		return nil, errInactive
	}
	i.misses.Add(1)
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	landing := i.flights.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.timeout)
		defer cancel()
		return i.fly(ctx, key, token)
	})
	select {
	case landed := <-landing:
		if landed.Err != nil {
			return nil, landed.Err
		}
		return landed.Val.(*answer).claims, nil
	case <-ctx.Done():
		return nil, &failure{text: "no answer in time", cause: ctx.Err()}
	}
}

var errInactive = fmt.Errorf("%w: introspect: the token is not active", authkey.ErrUnknown)

// fly asks the endpoint, unless the breaker is open, and keeps the answer.
func (i *Introspector) fly(ctx context.Context, key sum, token string) (*answer, error) {
	i.mu.Lock()
	invalidated := i.invalidated
	i.mu.Unlock()
	from := i.now()
	found, err := i.breaker.Execute(func() (*answer, error) { return i.exchange(ctx, token) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		err = &failure{text: "the endpoint failed again and again; it is left alone for a while", cause: err}
	}
	if err != nil {
		i.failures.Add(1)
		return nil, err
	}
	i.mu.Lock()
	if invalidated == i.invalidated { // else it may be of before the change
		i.keep(key, found, from)
	}
	i.mu.Unlock()
	if found.claims == nil {
		return nil, errInactive
	}
	return found, nil
}

// keep writes down an answer for as long as it may be used.
func (i *Introspector) keep(key sum, found *answer, from time.Time) {
	until := from.Add(i.life)
	if short := from.Add(i.short); (found.claims == nil || found.end.IsZero()) && short.Before(until) {
		until = short
	}
	if !found.end.IsZero() && found.end.Before(until) {
		until = found.end
	}
	into, other := i.good, i.bad
	if found.claims == nil {
		into, other = i.bad, i.good
	}
	other.Remove(key)
	into.Add(key, entry{found.claims, until})
}

// Invalidate forgets what the endpoint said of a token, for who knows that it changed: after a logout, say. A call that
// begins afterwards asks anew, also where a request is under way. It is of this process alone.
func (i *Introspector) Invalidate(token string) {
	key := i.sumOf(token)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.invalidated++
	i.flights.Forget(string(key[:]))
	i.good.Remove(key)
	i.bad.Remove(key)
}

// Stats returns counts since the Introspector was made, and sizes now. Cheap; the numbers are not of one instant.
func (i *Introspector) Stats() authkey.Stats {
	return authkey.Stats{
		Hits:            i.hits.Load(),
		NegativeHits:    i.negativeHits.Load(),
		Misses:          i.misses.Load(),
		StoreErrors:     i.failures.Load(),
		Entries:         i.good.Len(),
		NegativeEntries: i.bad.Len(),
	}
}

// newSum returns a function that makes of a token what caches go by, so that none holds a token: a MAC with a random
// secret of its own, which is out of reach of whatever prints an Introspector.
func newSum(endpoint string) func(token string) sum {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // which never fails
	return func(token string) (key sum) {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(endpoint + "\n" + token))
		mac.Sum(key[:0])
		return key
	}
}

// isToken reports whether a text is a token68 (RFC 9110, section 11.2) that is not too long.
func isToken(text string) bool {
	bare := strings.TrimRight(text, "=")
	return bare != "" && len(text) <= maxToken && !strings.ContainsFunc(bare, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", c)
	})
}
