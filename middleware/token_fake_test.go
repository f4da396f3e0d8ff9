package middleware_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// issued is an Authenticator that takes any credential for the same token, and notes what came with it.
type issued struct {
	mu       sync.Mutex
	identity authkey.Identity
	err      error           // refuses
	kind     authkey.Pending // what it leaves to others where they ask for that
	rude     bool            // and where they do not
	revoked  bool
	looked   int // how often it looked itself
	seen     []*authkey.Presentation
	shown    []string
}

// newIssued returns one for a token that may do much.
func newIssued(kind authkey.Pending) *issued {
	return &issued{kind: kind, identity: authkey.Identity{
		Org: "acme", Project: "shop", Key: "user-7", Kind: authkey.KindSecret, Method: "bearer", Scopes: []string{"search"},
		Token: &authkey.Token{
			Issuer: "https://login.example.com", ID: "t7", Subject: "user-7", Session: "s7", Client: "app", IssuedAt: time.Unix(1_700_000_000, 0),
		},
	}}
}

func (i *issued) Authenticate(_ context.Context, p authkey.Presented) (*authkey.Identity, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen, i.shown = append(i.seen, p.Presentation()), append(i.shown, p.Reveal())
	if i.err != nil {
		return nil, i.err
	}
	id, token := i.identity, *i.identity.Token
	id.Token = &token
	if i.rude || p.Presentation() != nil && p.Presentation().DeferRevocation {
		token.Pending = i.kind
	}
	if token.Pending != authkey.NothingPending {
		return &id, nil
	}
	i.looked++
	if i.revoked {
		return nil, fmt.Errorf("%w: t7", authkey.ErrRevoked)
	}
	return &id, nil
}

func (i *issued) Refresh(ctx context.Context, p authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return i.Authenticate(ctx, p)
}

// last returns what came with the credential that was shown last.
func (i *issued) last() *authkey.Presentation {
	if len(i.seen) == 0 {
		return nil
	}
	return i.seen[len(i.seen)-1]
}

// watcher is a Limiter and a Holder that looks up tokens, or behaves in some other way.
type watcher struct {
	behaviour behaviour
	revoked   bool
	asked     int // with a token
	looked    int
	tokens    []*ratelimit.Token
	settled   []ratelimit.Request
}

// behaviour is what a limiter does with a request.
type behaviour string

const (
	looks      behaviour = "looks"
	blind      behaviour = "looks for no token"
	denies     behaviour = "denies"
	blindNo    behaviour = "denies and looks for no token"
	down       behaviour = "is down"
	monitored  behaviour = "is down and monitored"
	staleFirst behaviour = "finds the first identity stale"
	staleEver  behaviour = "finds every identity stale"
)

func (w *watcher) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	w.tokens = append(w.tokens, r.Token)
	if r.Token != nil {
		w.asked++
	}
	d, _ := allow(r)
	switch w.behaviour {
	case down:
		return ratelimit.Decision{}, ratelimit.ErrUnavailable
	case monitored:
		return ratelimit.Decision{}, fmt.Errorf("%w: %w", ratelimit.ErrMonitored, ratelimit.ErrUnavailable)
	case staleEver:
		return ratelimit.Decision{}, ratelimit.ErrStale
	case staleFirst:
		w.behaviour = looks
		return ratelimit.Decision{}, ratelimit.ErrStale
	case denies, blindNo:
		d.Allowed = false
		for i := range d.Results {
			d.Results[i].Exceeded = true
		}
	}
	if w.behaviour == blind || w.behaviour == blindNo || r.Token == nil {
		return d, nil
	}
	if w.revoked {
		return ratelimit.Decision{}, ratelimit.ErrRevoked
	}
	w.looked++
	d.TokenChecked = true
	return d, nil
}

func (w *watcher) Settle(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	w.settled = append(w.settled, r)
	return ratelimit.Decision{}, nil
}

func (*watcher) Renew(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, nil
}

func (w *watcher) Refund(_ context.Context, r ratelimit.Request, _ time.Time) (ratelimit.Decision, error) {
	w.settled = append(w.settled, r)
	return ratelimit.Decision{}, nil
}
