package middleware

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Preparer is what a Limiter may be besides, to work out once what is the same for all requests of an identity that is
// cached. A stage then asks the Prepared, unless a policy has a Lease or a partition that a request has to tell.
// *ratelimit.Limiter is one. Implementations are safe for concurrent use.
type Preparer interface {
	// Prepare remembers a request, which has neither an Epoch, a Token nor a Hold. After an error the limiter itself is
	// asked.
	Prepare(request ratelimit.Request) (*ratelimit.Prepared, error)
}

// prepared is a *ratelimit.Prepared.
type prepared interface {
	Admit(ctx context.Context, call ratelimit.Call, d *ratelimit.Decision) error
}

// preparing returns how a limit has its request prepared, nil where it cannot.
func preparing(limiter Limiter) func(ratelimit.Request) (prepared, error) {
	p, ok := limiter.(Preparer)
	if !ok {
		return nil
	}
	return func(request ratelimit.Request) (prepared, error) { return p.Prepare(request) }
}

// note is what an identity keeps for one limit at one endpoint.
type note struct {
	of       tenant // whom it was made for: an authenticator may hand out copies of an identity that differ
	once     sync.Once
	prepared prepared // nil: the limiter itself is asked
	told     atomic.Pointer[told]
}

// tenant is what of an identity is worked into what is kept of it.
type tenant struct{ org, project, key, plan string }

func tenantOf(id *authkey.Identity) tenant { return tenant{id.Org, id.Project, id.Key, id.Plan} }

// noteKeys are the keys that a limit's notes are kept under, one for each endpoint. Safe for concurrent use.
type noteKeys struct {
	known atomic.Pointer[map[string]*noteKey]
}

// noteKey has a size, or all would have one address.
type noteKey struct{ _ byte }

// maxNoteKeys bounds the endpoints that a limit has notes of. A service has so many routes, a mistake has more.
const maxNoteKeys = 1024

// at returns the key of an endpoint, nil beyond the bound.
func (k *noteKeys) at(endpoint string) *noteKey {
	if known := k.known.Load(); known != nil {
		if key := (*known)[endpoint]; key != nil || len(*known) >= maxNoteKeys {
			return key
		}
	}
	return k.add(endpoint)
}

func (k *noteKeys) add(endpoint string) *noteKey {
	key := new(noteKey)
	for {
		known, next := k.known.Load(), map[string]*noteKey{endpoint: key}
		if known != nil {
			if meanwhile := (*known)[endpoint]; meanwhile != nil {
				return meanwhile
			}
			maps.Copy(next, *known)
		}
		if k.known.CompareAndSwap(known, &next) {
			return key
		}
	}
}

// note returns what the identity keeps for a limit at the request's endpoint. The first request gets nil: what is not
// kept, because there is no room, is not worth preparing.
func (a *Admission) note(l *limit) *note {
	if l.anonymous || a.identity == nil || a.identity.Notes == nil {
		return nil
	}
	key := l.keys.at(a.endpoint)
	if key == nil {
		return nil
	}
	n, kept := a.identity.Notes.Load(key).(*note)
	if !kept {
		a.identity.Notes.Store(key, &note{of: tenantOf(a.identity)})
		return nil
	}
	if n.of != tenantOf(a.identity) {
		return nil
	}
	n.once.Do(func() { n.prepare(a, l) })
	return n
}

func (n *note) prepare(a *Admission, l *limit) {
	if l.prepare == nil || !l.ofIdentity || slices.ContainsFunc(l.usual, holds) {
		return
	}
	request := ratelimit.Request{Endpoint: a.endpoint, Charges: l.usual}
	fillIdentity(&request, a.identity)
	request.Epoch = 0 // which comes with each call, as the token does
	if p, err := l.prepare(request); err == nil {
		n.prepared = p
	}
}

// told is RateLimit-Policy of results that look so.
type told struct {
	looks []look
	text  string
}

// look is what RateLimit-Policy tells of a result.
type look struct {
	policy, unit, key string
	limit, window     int64
	announced         bool
}

func (a *Admission) look(i int) look {
	r := &a.results[i]
	return look{r.Policy, r.Unit, a.markOf(i).key, r.Limit, wholeWindow(r), a.announced(i)}
}

// policies returns RateLimit-Policy of all results: the same text for as long as it says the same.
func (a *Admission) policies() string {
	if a.noted == nil {
		return a.tell(nil)
	}
	t := a.noted.told.Load()
	if t == nil || !t.fits(a) {
		t = new(told)
		t.text = a.tell(t)
		a.noted.told.Store(t)
	}
	return t.text
}

// tell lists the policies of all results, and has t keep how they looked.
func (a *Admission) tell(t *told) string {
	b := make([]byte, 0, 128)
	for i := range a.results {
		l := a.look(i)
		if l.announced {
			b = appendPolicy(b, &l)
		}
		if t != nil {
			t.looks = append(t.looks, l)
		}
	}
	return string(b)
}

func (t *told) fits(a *Admission) bool {
	if len(t.looks) != len(a.results) {
		return false
	}
	for i := range t.looks {
		if t.looks[i] != a.look(i) {
			return false
		}
	}
	return true
}
