package clientcred_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

var (
	token68  = regexp.MustCompile(`\A[A-Za-z0-9._~+/-]+=*\z`)
	anyCode  = regexp.MustCompile(`\A[a-z_]{0,64}\z`)
	newlines = regexp.MustCompile(`[\r\n]`)
)

// An answer is a token that encoding/json finds there too, or an error that repeats nothing but a harmless code.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		good, `{"error":"invalid_client"}`, `{"access_token":"a","access_token":"b","token_type":"bearer"}`,
		`{"access_token":"a","token_type":"bearer","expires_in":"60"}`, `{"access_token":"a\r\nb","token_type":"bearer"}`,
	} {
		f.Add(200, body)
		f.Add(400, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		source := newSource(t, &endpoint{do: says(status, body)})
		token, err := source.Token(t.Context())
		if err != nil {
			own, ok := errors.AsType[*clientcred.Error](err)
			if !ok || own.Class != clientcred.Garbage && own.Class != clientcred.Refused || !anyCode.MatchString(own.Code) || newlines.MatchString(err.Error()) {
				t.Errorf("error %#v", err)
			}
			return
		}
		var second struct {
			Access string          `json:"access_token"`
			Type   string          `json:"token_type"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &second); err != nil || second.Access != token.Access.Reveal() || !strings.EqualFold(second.Type, "bearer") ||
			second.Error != nil && string(second.Error) != "null" || status != http.StatusOK || !token68.MatchString(second.Access) {
			t.Errorf("status %d with %q was taken for a token", status, body)
		}
	})
}

// A challenge that asks for a renewal has a Bearer and an invalid_token in it, in whatever else.
func FuzzChallenge(f *testing.F) {
	for _, value := range []string{invalidToken, `Basic realm="a\", Bearer error=\"invalid_token"`, `Negotiate a==, Bearer error=invalid_token`, `Bearer a="`, `\`} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		source := newSource(t, &endpoint{do: grants(60)})
		base := &service{do: func(r *http.Request) *http.Response { return unauthorized(r, value) }}
		trip(t, newTransport(t, source, base, maps), newRequest(t, http.MethodGet, maps, nil))
		plain := strings.ReplaceAll(value, `\`, "")
		if len(base.got()) > 1 && !(strings.Contains(strings.ToLower(plain), "bearer") && strings.Contains(plain, "invalid_token")) {
			t.Errorf("%q was taken for a refused token", value)
		}
	})
}
