package clientcred_test

import (
	"net/http"
	"testing"
)

func TestChallenges(t *testing.T) {
	t.Parallel()
	for challenge, want := range map[string]bool{
		invalidToken:                                                true,
		`Bearer error="invalid_token"`:                              true,
		`bearer ERROR=invalid_token`:                                true,
		`Bearer error = "invalid_token"`:                            true,
		`Bearer  a=b ,, error="invalid_token"`:                      true,
		`Bearer error="invalid\_token"`:                             true,
		`Basic realm="a", Bearer error="invalid_token"`:             true,
		`Negotiate YII=, Bearer error="invalid_token"`:              true,
		`Negotiate YI/I+w==, Bearer error="invalid_token"`:          true,
		`Negotiate, Bearer realm="a, \"b\"", error="invalid_token"`: true,
		`Bearer error="invalid_token", Basic realm="a"`:             true,
		``:                               false,
		`Bearer`:                         false,
		`Bearer realm="maps"`:            false,
		`Bearer error="invalid_request"`: false,
		`Bearer error="insufficient_scope", scope="a"`:       false,
		`Bearer error="invalid_token_x"`:                     false,
		`Bearer error="Invalid_Token"`:                       false,
		`Bearer error_x="invalid_token"`:                     false,
		`Bearer x_error="invalid_token"`:                     false,
		`DPoP error="invalid_token"`:                         false,
		`BearerX error="invalid_token"`:                      false,
		`error="invalid_token"`:                              false,
		`Bearer realm="a", DPoP error="invalid_token"`:       false,
		`Basic realm="Bearer error=\"invalid_token\""`:       false,
		`Basic realm="a\", Bearer error=\"invalid_token"`:    false,
		`Bearer realm="error=invalid_token`:                  false,
		`Bearer realm="a\`:                                   false,
		`Bearer error_description="error=\"invalid_token\""`: false,
		`Bearer error="invalid_token`:                        false,
		`Bearer @ error="invalid_token"`:                     false,
		`Bearer error=`:                                      false,
		`Bearer error`:                                       false,
		`Bearer invalid_token`:                               false,
	} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest} {
				for _, fields := range [][]string{{challenge}, {"Basic", challenge}, {`Basic realm="`, challenge}} {
					e := &endpoint{do: grants(3600)}
					base := &service{do: func(r *http.Request) *http.Response {
						refusal := unauthorized(r, fields...)
						refusal.StatusCode = status
						return refusal
					}}
					trip(t, newTransport(t, newSource(t, e), base, maps), newRequest(t, http.MethodGet, maps, nil))
					if renewed := e.count() == 2; renewed != (want && status == http.StatusUnauthorized) {
						t.Errorf("status %d with %q: renewed is %v", status, fields, renewed)
					}
				}
			}
		})
	}
}
