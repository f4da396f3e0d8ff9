package middleware

import (
	"errors"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// off reports whether a limiter has a kill switch, and it is on. Then it looks for no token: the authenticator has to.
func (l *limit) off() bool {
	limiter, ok := l.limiter.(interface{ Off() bool })
	return ok && limiter.Off()
}

// opens reports whether a request passes for what a limiter met: for ratelimit.ErrOff always, else where the stage was
// told so, or nobody were refused at all.
func (l *limit) opens(cause error) bool {
	return errors.Is(cause, ratelimit.ErrOff) || l.failure == FailOpen || !l.chosen && errors.Is(cause, ratelimit.ErrMonitored)
}
