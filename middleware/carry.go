package middleware

import (
	"context"
	"net/http"
)

type admissionKey struct{}

// FromContext returns the admission of the request that a context belongs to. ok is false where no stage
// admitted it. No allocation.
func FromContext(ctx context.Context) (a *Admission, ok bool) {
	a, ok = ctx.Value(admissionKey{}).(*Admission)
	return a, ok
}

// carrier is the context that carries an admission, of which it is a part. Everything else is the request's own.
type carrier struct {
	context.Context
	admission *Admission
}

// Value returns the admission under its key.
func (c *carrier) Value(key any) any {
	if _, ok := key.(admissionKey); ok {
		return c.admission
	}
	return c.Context.Value(key)
}

// String names the context as those of package context do, without what they hold.
func (c *carrier) String() string {
	if outer, ok := c.Context.(interface{ String() string }); ok {
		return outer.String() + ".WithAdmission"
	}
	return "context.WithAdmission"
}

// carry begins the admission of a request, whose copy carries it from here on.
func (a *Admission) carry(r *http.Request, endpoint string, config *config) *http.Request {
	a.endpoint, a.config, a.ran = endpoint, config, a.firstRan[:0]
	a.carrier = carrier{r.Context(), a}
	a.copied = *r.WithContext(&a.carrier) // which stays on the stack
	return &a.copied
}

// lock guards what others look at. Nobody but who admits the request has its admission until a stage around the handler did,
// or a timer renews what it holds.
func (a *Admission) lock() {
	if a.shared {
		a.mu.Lock()
	}
}

func (a *Admission) unlock() {
	if a.shared {
		a.mu.Unlock()
	}
}
