package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
)

// ErrNotHeld says that nothing is held under that name any more, or never was: it was settled before, or its lease
// ended. Nothing was taken.
var ErrNotHeld = errors.New("ratelimit: not held")

// Settle ends what a request holds: the request that was admitted, with the Hold of its decision, what each
// charge Held, and as Cost what it really came to. That is taken at once, whatever the limit is; zero gives
// everything back. Where the limit is zero by now, nothing is counted. Charges of Concurrency only end. A hold is
// settled once: who comes again, or after the lease, gets ErrNotHeld for the policies named in it, and nothing is
// taken for those; candidates are not named.
//
// One Redis call, as Admit; it does not compare the request's Epoch, for what was begun has to be ended. The
// decision tells the numbers after it. Errors: ErrInvalid, ErrNotHeld, ErrUnavailable.
func (l *Limiter) Settle(ctx context.Context, r Request) (Decision, error) {
	return l.held(ctx, r, lua.Settle)
}

// Renew makes what a request holds last for the whole lease from now on. The request is as for Settle; its
// costs do not matter. Errors: ErrInvalid, ErrNotHeld, ErrUnavailable.
func (l *Limiter) Renew(ctx context.Context, r Request) (Decision, error) {
	return l.held(ctx, r, lua.Renew)
}

func (l *Limiter) held(ctx context.Context, r Request, mode lua.Mode) (Decision, error) {
	for i := range r.Charges {
		if c := &r.Charges[i]; c.lease() == 0 || c.Held < 1 || c.Held > MaxLimit || r.Hold == "" {
			return Decision{}, fmt.Errorf("%w request: policy %q needs a Lease, Held 1 to %d and the request its Hold", ErrInvalid, c.Policy.Name, int64(MaxLimit))
		}
	}
	r.Epoch = 0
	d, err := l.ask(ctx, &r, lua.Check{Mode: mode})
	if err != nil {
		return Decision{}, err
	}
	var lost []error
	for i := range d.Results {
		if d.Results[i].Exceeded {
			d.Results[i].Exceeded, d.Results[i].RetryAfter = false, 0
			if d.Results[i].Candidate == "" { // which is nothing that the caller has to know of
				lost = append(lost, fmt.Errorf("%w: policy %q", ErrNotHeld, d.Results[i].Policy))
			}
		}
	}
	return d, errors.Join(lost...)
}

// Refund gives back what a request took at a time, which is the At of its decision: for each charge its Cost,
// or less where less counts by now, never more. It is for a request that was admitted and whose work
// was not done; nothing tells whether it was given back before, so do it once. In the decision Cost is what
// was given back. One Redis call. Errors: ErrInvalid, ErrUnavailable, after which nobody knows.
func (l *Limiter) Refund(ctx context.Context, r Request, taken time.Time) (Decision, error) {
	for i := range r.Charges {
		if c := &r.Charges[i]; c.lease() != 0 {
			return Decision{}, fmt.Errorf("%w request: policy %q has a Lease: Settle it, or refund what was taken AtOnce", ErrInvalid, c.Policy.Name)
		}
	}
	if at := taken.UnixMicro(); taken.IsZero() || at < 1 || at > lua.MaxTime {
		return Decision{}, fmt.Errorf("%w request: taken must be the At of the decision that took it", ErrInvalid)
	}
	r.Epoch = 0
	return l.ask(ctx, &r, lua.Check{Mode: lua.Refund, At: taken.UnixMicro()})
}

// Reset forgets what was taken and held of each policy of a request: the next one begins anew. If there was anything,
// the same call appends an entry, limits.reset, to the org's audit trail, in the name of the audit.Actor of ctx; a
// request without an Org has no trail. What this process has taken ahead in the org's bucket is forgotten with it; what
// others have, they may still use, and give back. One Redis call. Errors: ErrInvalid, ErrUnavailable.
func (l *Limiter) Reset(ctx context.Context, r Request) error {
	r.Epoch = 0
	check := lua.Check{Mode: lua.Reset}
	if r.Org != "" {
		line, err := audit.NewLine(ctx, l.sealer, r.resetEntry())
		if err != nil {
			return fmt.Errorf("%w request: %w", ErrInvalid, err)
		}
		check.Trail, check.Line = lua.AuditKey(r.Org), line
	}
	d, err := l.ask(ctx, &r, check)
	if err == nil {
		at := lua.BucketOf(r.key(&r.Charges[0]))
		l.reset[at].Store(d.At.UnixMicro())
		l.leases.forget(at)
	}
	return err
}

// resetEntry tells whose counts are forgotten: those of the key, of the project, or of the whole org.
func (r *Request) resetEntry() audit.Entry {
	type policy struct {
		Name      string    `json:"name"`
		Partition Partition `json:"partition"`
		Value     string    `json:"value,omitempty"`
	}
	after := struct {
		Endpoint string   `json:"endpoint,omitempty"`
		Policies []policy `json:"policies"`
	}{Endpoint: r.Endpoint}
	e := audit.Entry{Action: "limits.reset", Org: r.Org}
	for i := range r.Charges {
		c := &r.Charges[i]
		switch c.Policy.partition() {
		case ByProject:
			e.Project = r.Project
		case ByKey:
			e.Project, e.ID = r.Project, r.Key
		}
		after.Policies = append(after.Policies, policy{c.Policy.name(), c.Policy.partition(), r.value(c)})
	}
	e.After, _ = json.Marshal(after) // texts alone
	return e
}
