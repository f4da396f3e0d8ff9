package remotestore_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

func TestTLSIsThatOfTheTransport(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(answers(http.StatusOK, "application/json", good))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the strange client's end of it
	server.StartTLS()
	t.Cleanup(server.Close)
	trusting := server.Client().Transport
	strange := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	t.Cleanup(strange.CloseIdleConnections)
	for _, row := range []struct {
		transport http.RoundTripper
		good      bool
	}{{trusting, true}, {strange, false}} {
		a, err := remotestore.New(server.URL, remotestore.WithTransport(row.transport), remotestore.WithTimeout(calm))
		if err != nil {
			t.Fatal(err)
		}
		_, err = authenticate(t, a)
		if row.good && err != nil {
			t.Error(err)
		} else if !row.good {
			isClass(t, "a certificate of nobody", err, remotestore.Unreachable, 0)
		}
	}
}

func TestOwnRequestAndDecoder(t *testing.T) {
	t.Parallel()
	var base string
	a := newAuthenticator(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Readable-Token") != secret || r.Method != http.MethodGet {
			t.Errorf("asked %s with %v", r.Method, r.Header)
		}
		answers(http.StatusTeapot, "text/plain", "acme/shop")(w, r)
	}, remotestore.WithRequest(func(ctx context.Context, presented authkey.Presented) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
		if err == nil {
			r.Header.Set("X-Readable-Token", presented.Reveal())
		}
		return r, err
	}), remotestore.WithDecoder(func(status int, header http.Header, body []byte) (*authkey.Identity, error) {
		org, project, _ := strings.Cut(string(body), "/")
		if status != http.StatusTeapot || header.Get("Content-Type") != "text/plain" {
			return nil, errors.New("not what was said")
		}
		return &authkey.Identity{Org: org, Project: project, Key: "k", Kind: authkey.KindSecret}, nil
	}))
	base = newAuthenticatorOf(t, func(w http.ResponseWriter, r *http.Request) {
		answers(http.StatusTeapot, "text/plain", "acme/shop")(w, r)
	})
	if id, err := authenticate(t, a); err != nil || id.Org != "acme" || id.Project != "shop" {
		t.Errorf("identity %+v, error %v", id, err)
	}
	for name, row := range map[string]struct {
		decode remotestore.DecodeFunc
		want   error
		class  remotestore.Class
	}{
		"refused": {func(int, http.Header, []byte) (*authkey.Identity, error) {
			return nil, fmt.Errorf("gone: %w", authkey.ErrRevoked)
		}, authkey.ErrRevoked, ""},
		"another error": {func(int, http.Header, []byte) (*authkey.Identity, error) { return nil, errors.New("odd") }, nil, remotestore.Garbage},
		"both": {func(int, http.Header, []byte) (*authkey.Identity, error) {
			return nil, errors.Join(authkey.ErrUnknown, authkey.ErrUnavailable)
		}, nil, remotestore.Garbage},
		"nothing":        {func(int, http.Header, []byte) (*authkey.Identity, error) { return nil, nil }, nil, remotestore.Garbage}, //nolint:nilnil // what is tested
		"without an org": {func(int, http.Header, []byte) (*authkey.Identity, error) { return &authkey.Identity{Key: "k"}, nil }, nil, remotestore.Garbage},
		"malformed": {func(int, http.Header, []byte) (*authkey.Identity, error) {
			return nil, fmt.Errorf("odd: %w", authkey.ErrMalformed)
		}, authkey.ErrUnknown, ""},
		"malformed, and an outage": {func(int, http.Header, []byte) (*authkey.Identity, error) {
			return nil, errors.Join(authkey.ErrMalformed, authkey.ErrUnavailable)
		}, nil, remotestore.Garbage},
		"without a kind": {func(int, http.Header, []byte) (*authkey.Identity, error) {
			return &authkey.Identity{Org: "acme", Project: "shop", Key: "k"}, nil
		}, nil, remotestore.Garbage},
		"of another kind": {func(int, http.Header, []byte) (*authkey.Identity, error) {
			return &authkey.Identity{Org: "acme", Project: "shop", Key: "k", Kind: "admin"}, nil
		}, nil, remotestore.Garbage},
		"a panic": {func(int, http.Header, []byte) (*authkey.Identity, error) { panic("out of the blue") }, nil, remotestore.Garbage},
	} {
		a := newOn(t, &transport{do: says(200, good)}, remotestore.WithDecoder(row.decode))
		_, err := authenticate(t, a)
		if row.want != nil {
			is(t, name, err, row.want)
			if errors.Is(err, authkey.ErrMalformed) {
				t.Errorf("%s: error %v, which says that nobody was asked", name, err)
			}
			continue
		}
		is(t, name, err, authkey.ErrUnavailable)
		if own, ok := errors.AsType[*remotestore.Error](err); !ok || own.Class != row.class {
			t.Errorf("%s: error %v, want one of class %s", name, err, row.class)
		}
	}
}

func TestKeysThatNobodyIsAskedAbout(t *testing.T) {
	t.Parallel()
	s := &transport{do: says(200, good)}
	a := newOn(t, s)
	for _, key := range []string{"", "with a space", "with\ncontrol", "wíth more", strings.Repeat("a", 4<<10+1)} {
		_, err := a.Authenticate(t.Context(), authkey.NewPresented(key))
		is(t, "Authenticate", err, authkey.ErrMalformed)
		_, err = a.Refresh(t.Context(), authkey.NewPresented(key), nil)
		is(t, "Refresh", err, authkey.ErrMalformed)
	}
	if n := s.count(); n != 0 {
		t.Errorf("the service was asked %d times, want never", n)
	}
	odd := `quote"and\backslash`
	s.set(func(r *http.Request) (int, string, error) {
		var question struct{ Key string }
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil || question.Key != odd {
			t.Errorf("asked about %q, error %v", question.Key, err)
		}
		return says(200, good)(r)
	})
	if _, err := a.Authenticate(t.Context(), authkey.NewPresented(odd)); err != nil {
		t.Error(err)
	}
}
