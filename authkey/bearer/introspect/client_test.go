package introspect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sony/gobreaker/v2"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/introspect"
)

func TestSecretPost(t *testing.T) {
	t.Parallel()
	s, i := newServer(t, introspect.WithSecretPost("shop", password+"&%+"))
	s.set(func(r *http.Request) (said, error) {
		if got := r.PostForm; got.Get("client_id") != "shop" || got.Get("client_secret") != password+"&%+" || got.Get("token") != token {
			t.Errorf("form %v", got)
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("there is an Authorization field, too")
		}
		return says(`{"active":true}`)(r)
	})
	good(t, "by post", s, i, 1)
}

// No client of ours: the transport has to prove who we are.
func TestTransportProves(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	s.set(func(r *http.Request) (said, error) {
		if got := r.PostForm; len(got) != 2 || r.Header.Get("Authorization") != "" {
			t.Errorf("form %v, Authorization %q", got, r.Header.Get("Authorization"))
		}
		return says(`{"active":true}`)(r)
	})
	good(t, "by the transport", s, i, 1)
}

func TestAssertion(t *testing.T) {
	t.Parallel()
	key := authtest.NewKey(t, "ES256", "k1")
	sign := func(context.Context) (string, error) {
		claims := jwt.MapClaims{
			"iss": "shop", "sub": "shop", "aud": endpoint, "jti": rand.Text(), "exp": time.Now().Add(time.Minute).Unix(),
		}
		return jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key.Private.(*ecdsa.PrivateKey))
	}
	s, i := newServer(t, introspect.WithAssertion("shop", sign))
	seen := map[string]bool{}
	s.set(func(r *http.Request) (said, error) {
		form := r.PostForm
		if form.Get("client_id") != "shop" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			t.Errorf("form %v", form)
		}
		assertion := form.Get("client_assertion")
		_, err := jwt.Parse(assertion, func(*jwt.Token) (any, error) { return key.Public(), nil }, jwt.WithAudience(endpoint), jwt.WithSubject("shop"))
		if err != nil || seen[assertion] {
			t.Errorf("assertion: %v; seen before: %t", err, seen[assertion])
		}
		seen[assertion] = true
		return says(`{"active":true}`)(r)
	})
	good(t, "first", s, i, 1)
	i.Invalidate(token)
	good(t, "second", s, i, 2)
}

func TestAssertionThatCannotBeMade(t *testing.T) {
	t.Parallel()
	for name, sign := range map[string]func(context.Context) (string, error){
		"an error":     func(context.Context) (string, error) { return "", errors.New("a secret of the vault") },
		"nothing":      func(context.Context) (string, error) { return "", nil },
		"a line break": func(context.Context) (string, error) { return "secret\n", nil },
		"a long one":   func(context.Context) (string, error) { return strings.Repeat("a", 8<<10+1), nil },
		"a panic":      func(context.Context) (string, error) { panic("secret") },
	} {
		s, i := newServer(t, introspect.WithAssertion("shop", sign), introspect.WithBreaker(1, time.Minute))
		bad(t, name, s, i, authkey.ErrUnavailable, 0)
		_, err := ask(t, i)
		if trips := errors.Is(err, gobreaker.ErrOpenState); trips != (name == "a panic") {
			t.Errorf("%s: then %v; nothing says that the endpoint is not well", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	sign := func(context.Context) (string, error) { return "a.b.c", nil }
	long := strings.Repeat("a", 4<<10+1)
	for name, row := range map[string]struct {
		url  string
		opt  introspect.Option
		says string
	}{
		"no URL":                 {"", nil, "absolute"},
		"a relative one":         {"/introspect", nil, "absolute"},
		"another scheme":         {"ftp://login.example.com", nil, "absolute"},
		"no host":                {"https:///introspect", nil, "absolute"},
		"a port alone":           {"https://:443/introspect", nil, "absolute"},
		"junk":                   {"https://%zzsecret", nil, "absolute"},
		"a long one":             {"https://login.example.com/" + long, nil, "up to 2048 bytes"},
		"a password":             {"https://me:secret@login.example.com", nil, "without a user name"},
		"a fragment":             {endpoint + "#secret", nil, "without a user name"},
		"an empty fragment":      {endpoint + "#", nil, "without a user name"},
		"in clear":               {"http://login.example.com/introspect", introspect.WithLoopback(), "in clear"},
		"on this machine":        {"http://127.0.0.1/introspect", nil, "WithLoopback"},
		"localhost":              {"http://localhost/introspect", nil, "WithLoopback"},
		"a nil transport":        {endpoint, introspect.WithTransport(nil), "WithTransport(nil)"},
		"no timeout":             {endpoint, introspect.WithTimeout(0), "WithTimeout(0s)"},
		"a long timeout":         {endpoint, introspect.WithTimeout(11 * time.Second), "up to 10s"},
		"an empty cache":         {endpoint, introspect.WithCache(0, time.Second), "WithCache(0"},
		"no life":                {endpoint, introspect.WithCache(1, 0), "WithCache(1, 0s)"},
		"a long life":            {endpoint, introspect.WithCache(1, 6*time.Minute), "up to 5m0s"},
		"no short life":          {endpoint, introspect.WithShortLife(0), "WithShortLife(0s)"},
		"a short life of 11 s":   {endpoint, introspect.WithShortLife(11 * time.Second), "up to 10s"},
		"a breaker of none":      {endpoint, introspect.WithBreaker(0, time.Second), "WithBreaker(0"},
		"a breaker for ever":     {endpoint, introspect.WithBreaker(1, time.Hour), "up to 5m0s"},
		"a nil clock":            {endpoint, introspect.WithClock(nil), "WithClock(nil)"},
		"no ID":                  {endpoint, introspect.WithSecretBasic("", password), "WithSecretBasic: client ID"},
		"a long ID":              {endpoint, introspect.WithSecretPost(long, password), "WithSecretPost: client ID"},
		"an ID that is no ASCII": {endpoint, introspect.WithSecretPost("ü", password), "WithSecretPost: client ID"},
		"no secret":              {endpoint, introspect.WithSecretBasic("shop", ""), "WithSecretBasic: secret"},
		"a line in the secret":   {endpoint, introspect.WithSecretPost("shop", password+"\n"), "WithSecretPost: secret"},
		"a long secret":          {endpoint, introspect.WithSecretPost("shop", long), "1 to 4096"},
		"nobody signs":           {endpoint, introspect.WithAssertion("shop", nil), "WithAssertion: want a function"},
		"nobody's assertion":     {endpoint, introspect.WithAssertion("", sign), "WithAssertion: client ID"},
		"of several, the first":  {"http://login.example.com", introspect.WithTimeout(0), "WithTimeout"},
		"of several, the second": {"http://login.example.com", introspect.WithTimeout(0), "in clear"},
		"no option":              {endpoint, nil, "option 1: nil"},
	} {
		opts := []introspect.Option{introspect.WithTimeout(time.Second)}
		if row.opt != nil || name == "no option" {
			opts = append(opts, row.opt)
		}
		i, err := introspect.New(row.url, opts...)
		is(t, name, err, authkey.ErrInvalid)
		if i != nil || err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, row.says)
			continue
		}
		if strings.Contains(strings.ReplaceAll(strings.ToLower(err.Error()), "secret: want", ""), "our-own") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
	_, err := introspect.New(endpoint, introspect.WithSecretBasic("shop", password), introspect.WithSecretPost("shop", password))
	if !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), "another client") {
		t.Errorf("two clients: %v", err)
	}
	for _, url := range []string{"http://localhost:8080/i", "http://127.0.0.7/i", "http://[::1]/i", endpoint} {
		if _, err := introspect.New(url, introspect.WithLoopback()); err != nil {
			t.Errorf("%s with WithLoopback: %v", url, err)
		}
	}
}

type roundTripper func(*http.Request) (said, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	got, err := f(r)
	if err != nil {
		return nil, err
	}
	return got.response(), nil
}

func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, err := introspect.New(endpoint, introspect.WithSecretBasic("shop", password),
			introspect.WithTransport(roundTripper(says(`{"active":true}`))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ask(t, i); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for the flight, whose lock is printed, too
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			text := fmt.Sprintf(verb, i)
			for _, secret := range []string{token, password, fmt.Sprintf("%x", token), fmt.Sprintf("%x", password)} {
				if strings.Contains(text, secret) {
					t.Errorf("%s prints %s", verb, text)
				}
			}
		}
	})
}
