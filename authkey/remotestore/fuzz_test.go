package remotestore_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

// Whatever a service answers is an identity that is whole, or an outage.
func FuzzIdentity(f *testing.F) {
	f.Add(good)
	f.Add(`{"org":"a","project":"b","key":"c","kind":"publishable","scopes":["x"],"networks":["::/0"],"origins":["*"],"expires_at":"2031-01-01T00:00:00Z"}`)
	f.Add(`{"token":"a.b.c"}`)
	f.Add(`{"org":null,"org":1}`)
	f.Fuzz(func(t *testing.T, body string) {
		a := newOn(t, &transport{do: says(http.StatusOK, body)}, remotestore.WithClock(new(clock).now))
		identity, err := a.Authenticate(t.Context(), authkey.NewPresented(secret))
		switch own, ok := errors.AsType[*remotestore.Error](err); {
		case ok && own.Class != remotestore.Garbage && own.Class != remotestore.Size && own.Class != remotestore.BadToken:
			t.Errorf("error %v of %q", err, body)
		case !ok && err != nil && !errors.Is(err, authkey.ErrExpired):
			t.Errorf("error %v of %q", err, body)
		case err == nil && (identity.Org == "" || identity.Project == "" || identity.Key == "" || identity.Credential == "" ||
			identity.Kind != authkey.KindSecret && identity.Kind != authkey.KindPublishable):
			t.Errorf("identity %+v of %q", identity, body)
		}
	})
}

// Only a token that somebody signed is trusted.
func FuzzToken(f *testing.F) {
	const header, payload = `{"alg":"HS256","kid":"h1"}`, `{"iss":"https://auth.internal","aud":"search","exp":9999999999,"org":"a","project":"b","key":"c","kind":"secret"}`
	f.Add("a.b.c")
	f.Add("..")
	f.Add(encode(header) + "." + encode(payload) + "." + encode(strings.Repeat("\x00", 32)))
	f.Add(encode(`{"alg":"none"}`) + "." + encode(payload) + ".")
	f.Add(encode(`{"alg":"ES256","kid":"e1"}`) + "." + encode(payload) + "." + encode(strings.Repeat("\x00", 64)))
	f.Fuzz(func(t *testing.T, token string) {
		body := &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/jwt"}}, Body: io.NopCloser(strings.NewReader(token)),
		}
		a := newOn(t, roundTrip(func(*http.Request) (*http.Response, error) { return body, nil }), remotestore.WithTokens(ring().verdict))
		identity, err := a.Authenticate(t.Context(), authkey.NewPresented(secret))
		if own, ok := errors.AsType[*remotestore.Error](err); !ok || identity != nil || own.Class != remotestore.BadToken && own.Class != remotestore.Size {
			t.Errorf("identity %+v, error %v of the token %q", identity, err, token)
		}
	})
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
