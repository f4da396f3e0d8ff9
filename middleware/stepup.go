package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// CodeStepUp is the code of the 401 for a token whose person has to be authenticated again, or better.
const CodeStepUp = "insufficient_user_authentication"

// clockSkew is how far the clock of who authenticated a person may be ahead.
const clockSkew = 30 * time.Second

// StepUp is how the person behind a token has to be authenticated (RFC 9470). At least one of the two is needed.
type StepUp struct {
	// MaxAge is how long ago that may be, by the claim auth_time, in whole seconds. Zero: any time.
	MaxAge time.Duration
	// ACR are the classes of which the claim acr has to be one. Empty: any.
	ACR []string
}

// RequireAuthentication returns a stage that refuses, with 401, a token that does not say that its person was
// authenticated so, and tells the client what to ask the authorization server for (RFC 9470, section 3). An identity by
// no token is refused so, too.
func (s *Authenticated) RequireAuthentication(need StepUp) *Authenticated {
	var faults []error
	if need.MaxAge < 0 || need.MaxAge%time.Second != 0 || need.MaxAge == 0 && len(need.ACR) == 0 {
		faults = append(faults, fmt.Errorf("middleware: RequireAuthentication: MaxAge %v must be whole seconds, and above zero where there is no ACR", need.MaxAge))
	}
	var more string
	need.ACR = slices.Clone(need.ACR)
	for _, acr := range need.ACR {
		if acr == "" || strings.Contains(acr, " ") || !quotable(acr) {
			faults = append(faults, fmt.Errorf("middleware: RequireAuthentication: ACR %q must be visible ASCII without quotes and backslashes", acr))
		}
	}
	if len(need.ACR) > 0 {
		more += `, acr_values="` + strings.Join(need.ACR, " ") + `"`
	}
	if need.MaxAge > 0 {
		more += `, max_age="` + strconv.FormatInt(int64(need.MaxAge/time.Second), 10) + `"`
	}
	return s.require(errors.Join(faults...), func(a *Admission, c *config) *Error {
		if need.met(a.identity.Token, time.Now()) {
			return nil
		}
		return c.challenged(Error{
			Status: http.StatusUnauthorized, Code: CodeStepUp, Message: "This resource needs a recent or stronger authentication.",
		}, schemeOf(a.presented), CodeStepUp, more)
	})
}

func (n *StepUp) met(t *authkey.Token, now time.Time) bool {
	if t == nil || len(n.ACR) > 0 && !slices.Contains(n.ACR, t.ACR) {
		return false
	}
	age := now.Sub(t.AuthTime)
	return n.MaxAge == 0 || !t.AuthTime.IsZero() && age <= n.MaxAge && age >= -clockSkew
}
