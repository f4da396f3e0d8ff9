// Package clientcred lets a service call another one as itself: it gets access tokens with its own credentials (the
// client credentials grant, RFC 6749, section 4.4), keeps them fresh, and puts them on requests.
//
//	source, err := clientcred.New("https://login.example/token", clientcred.SecretBasic("search", secret),
//		clientcred.WithScopes("maps.read"))
//	if err != nil { ... }
//	defer source.Close()
//	transport, err := clientcred.NewTransport(source, nil, "https://maps.example")
//	if err != nil { ... }
//	maps := &http.Client{Transport: transport}
//	response, err := maps.Get("https://maps.example/stores")
//
// A Source is one client that asks one endpoint for one set of scopes, audience and resources; whoever needs another
// token makes another Source. It is not for tokens of people, who log in by a browser, nor for verifying tokens,
// which is what package bearer is for.
//
// A token is asked for when it is first needed, and renewed by the calls that use it: an idle Source asks nobody. The
// first call after 70% to 80% of a token's life, as chance has it, begins the renewal, and none waits for it. While
// renewals fail, the old token goes on until shortly before its end (a tenth of its life, 10 s at most), and the
// endpoint is asked again after a pause that grows from 1 s to 15 s, of which chance takes up to half; without a token
// calls fail at once in that pause.
//
// An answer is a token if its status is 200, its type JSON and it is one object of up to 256 KiB, without a member
// twice, whose access_token is a b64token (RFC 6750, section 2.1) of up to 16 KiB and whose token_type is Bearer, in any
// case. expires_in may be a number of seconds or a string of digits, which some servers send; it is cut to 24 hours,
// and a token with 0 is for the calls that waited for it. Absent or null it is 5 minutes.
package clientcred

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tollgate-go/tollgate/authkey"
)

// When a token is renewed and how often the endpoint is asked.
const (
	renewAt     = 0.8 // of a token's life, or up to renewSpread earlier: processes that began together drift apart
	renewSpread = 0.1
	maxMargin   = 10 * time.Second // a token is handed out until a tenth of its life before its end, or this if it is less
	minPause    = time.Second      // after the first failure
	maxPause    = 15 * time.Second
	forcedPause = 30 * time.Second // between renewals that a 401 asked for
)

// Token is an access token. Printed, logged or encoded it hides its text. Immutable; the zero Token is none.
type Token struct {
	// Access is the text. Reveal it to the service that it is for, and to nobody else.
	Access authkey.Presented
	// ExpiresAt is its end, by the clock of this process.
	ExpiresAt time.Time
}

// Source gets access tokens and keeps the newest. Make it with New. Safe for concurrent use.
type Source struct {
	config
	address string
	client  Client
	flights singleflight.Group
	state   atomic.Pointer[state]
	base    context.Context // ends by Close, and every question with it
	cancel  context.CancelFunc
}

// state is what is known. Each attempt to get a token makes the next one.
type state struct {
	token  Token
	until  time.Time   // from then on the token is not handed out
	next   time.Time   // from then on the endpoint may be asked again
	begun  atomic.Bool // a renewal was begun that nobody waits for
	forced time.Time   // when a 401 last led to an attempt
	fails  int         // attempts in a row that failed
	err    error       // of the last attempt
}

// New returns a Source for the client at a token endpoint: an absolute https URL, which may have a query (RFC 6749,
// section 3.2). It does not dial and starts nothing; Close it when it is no longer needed. Faults are
// authkey.ErrInvalid, all joined.
func New(tokenURL string, client Client, opts ...Option) (*Source, error) {
	c, err := configure(tokenURL, client, opts)
	if err != nil {
		return nil, err
	}
	s := &Source{config: c, address: tokenURL, client: client}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.state.Store(&state{})
	return s, nil
}

// Token returns a token that is good for a while. Where one is held that is without I/O, locks and allocations, even
// if ctx has ended. Otherwise the endpoint is asked once for all who wait, by a request with a deadline of its own;
// each waits for as long as its ctx lives.
//
// Errors are an *Error, which is authkey.ErrUnavailable; it is also the error of ctx where that ended. One that the
// endpoint caused is remembered for the pause that the package comment tells of.
func (s *Source) Token(ctx context.Context) (Token, error) {
	seen, now := s.state.Load(), time.Now()
	if now.Before(seen.until) {
		if !now.Before(seen.next) && !seen.begun.Load() && seen.begun.CompareAndSwap(false, true) {
			s.fly(seen, false)
		}
		return seen.token, nil
	}
	if seen.err != nil && now.Before(seen.next) {
		return Token{}, seen.err
	}
	return s.wait(ctx, seen, false)
}

// Err returns what the last attempt to get a token failed with, also while the old token is still good; nil if it
// succeeded or there was none. For readiness probes and logs. No I/O.
func (s *Source) Err() error { return s.state.Load().err }

// Close ends a renewal under way and waits until it is gone, which is when the transport lets go; calls that wait for
// it fail, as do all later ones. It may be called more than once, and returns nil. Idle connections are the
// transport's to close.
func (s *Source) Close() error {
	s.state.Store(&state{err: failed(Closed, nil), next: time.Unix(1<<40, 0)})
	s.cancel()
	<-s.flights.DoChan("", func() (any, error) { return s.state.Load(), nil })
	return nil
}

// Format writes the host and path of the endpoint, and nothing else, for every verb.
func (s *Source) Format(f fmt.State, _ rune) {
	if s == nil {
		_, _ = fmt.Fprint(f, "<nil>")
		return
	}
	place := ""
	if u, err := url.Parse(s.address); err == nil {
		place = u.Host + u.EscapedPath()
	}
	_, _ = fmt.Fprintf(f, "clientcred.Source(%s)", place) // fmt.State has nobody to tell
}

// renewed returns another token than the one that a service refused. It is the one held, if that is another already;
// else the endpoint is asked, unless it was for this reason a moment ago, or does not answer. ok is false where there
// is none.
func (s *Source) renewed(ctx context.Context, refused Token) (token Token, ok bool) {
	seen, now := s.state.Load(), time.Now()
	token = seen.token
	if token.Access.Equal(refused.Access) || !now.Before(seen.until) {
		if now.Sub(seen.forced) < forcedPause || seen.err != nil && now.Before(seen.next) {
			return Token{}, false
		}
		var err error
		if token, err = s.wait(ctx, seen, true); err != nil {
			return Token{}, false
		}
	}
	return token, !token.Access.Equal(refused.Access)
}

// wait asks the endpoint, or joins those who do.
func (s *Source) wait(ctx context.Context, seen *state, forced bool) (Token, error) {
	if err := ctx.Err(); err != nil {
		return Token{}, failed(Timeout, err)
	}
	select {
	case landed := <-s.fly(seen, forced):
		found := landed.Val.(*state)
		if found.err != nil {
			return Token{}, found.err
		}
		return found.token, nil
	case <-ctx.Done():
		return Token{}, failed(Timeout, ctx.Err())
	}
}

// fly makes the state after the one that the caller saw, if nobody else did or does.
func (s *Source) fly(seen *state, forced bool) <-chan singleflight.Result {
	return s.flights.DoChan("", func() (any, error) {
		if now := s.state.Load(); now != seen {
			return now, nil
		}
		if next := s.attempt(seen, forced); s.state.CompareAndSwap(seen, next) {
			return next, nil
		}
		return s.state.Load(), nil // closed
	})
}

// attempt asks the endpoint once. The life of a token counts from before it was asked.
func (s *Source) attempt(seen *state, forced bool) *state {
	ctx, cancel := context.WithTimeout(s.base, s.timeout)
	defer cancel()
	from := time.Now()
	next := &state{forced: seen.forced}
	if forced {
		next.forced = from
	}
	access, life, err := s.exchange(ctx)
	if err != nil {
		next.token, next.until = seen.token, seen.until
		next.err, next.fails = err, seen.fails+1
		next.next = time.Now().Add(pause(next.fails))
		return next
	}
	next.token = Token{Access: access, ExpiresAt: from.Add(life)}
	next.until = next.token.ExpiresAt.Add(-min(life/10, maxMargin))
	next.next = from.Add(time.Duration(float64(life) * (renewAt - renewSpread*rand.Float64()))) //nolint:gosec // no secret
	return next
}

// pause is how long the endpoint is left alone after so many failures in a row, of which chance takes up to half.
func pause(fails int) time.Duration {
	longest := maxPause
	if fails <= 4 {
		longest = min(minPause<<(fails-1), maxPause)
	}
	return longest - time.Duration(rand.Int64N(int64(longest/2))) //nolint:gosec // no secret
}
