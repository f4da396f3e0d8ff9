package ratelimit

import (
	"context"
	"fmt"
)

// Prepared is a request that will be made again and again: what of it is the same each time is worked out once. Make it
// with Limiter.Prepare, and keep it with whoever makes the request, as in the Notes of an identity. Safe for concurrent
// use; it has nothing to close.
type Prepared struct {
	limiter *Limiter
	request Request
}

// Call is what may differ from one time that a Prepared is asked to the next.
type Call struct {
	// Epoch is as in Request.
	Epoch int64
	// Token is as in Request. It is not kept.
	Token *Token
	// Costs are those of the charges, in their order; nil, the default: as prepared. They are not kept.
	Costs []int64
}

// Prepare validates a request and remembers it. Its Epoch, Token and Hold come with each call instead; Peek is for
// Admit alone. The Charges are copied. No I/O. Errors: ErrInvalid.
func (l *Limiter) Prepare(r Request) (*Prepared, error) {
	if r.Epoch != 0 || r.Token != nil || r.Hold != "" || r.Peek {
		return nil, fmt.Errorf("%w request: Epoch, Token, Hold and Peek cannot be prepared", ErrInvalid)
	}
	r.Charges = append([]Charge(nil), r.Charges...)
	if err := r.validate(); err != nil {
		return nil, err
	}
	return &Prepared{limiter: l, request: r}, nil
}

// Admit decides as Limiter.Admit does, into d, whose Results are written over.
func (p *Prepared) Admit(ctx context.Context, call Call, d *Decision) error {
	r := p.request
	r.Epoch, r.Token = call.Epoch, call.Token
	if call.Costs != nil {
		if len(call.Costs) != len(r.Charges) {
			return fmt.Errorf("%w request: %d Costs for %d Charges", ErrInvalid, len(call.Costs), len(r.Charges))
		}
		r.Charges = append([]Charge(nil), r.Charges...)
		for i, cost := range call.Costs {
			r.Charges[i].Cost = cost
		}
	}
	decided, err := p.limiter.Admit(ctx, r)
	decided.Results = append(d.Results[:0], decided.Results...)
	*d = decided
	return err
}
