package leak_test

import (
	"context"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

func TestKeysThatCannotBe(t *testing.T) {
	t.Parallel()
	good := newSigner(t, elliptic.P256()).text(t)
	for name, texts := range map[string]map[string]string{
		"none":                {},
		"no PEM":              {"a": "x"},
		"no key":              {"a": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
		"another curve":       {"a": newSigner(t, elliptic.P384()).text(t)},
		"empty identifier":    {"": good},
		"identifier too long": {strings.Repeat("a", 129): good},
		"one of two":          {"a": good, "b": "x"},
	} {
		if keys, err := leak.Keys(texts); !errors.Is(err, leak.ErrInvalid) || keys != nil {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}

// serving is what a server answers: status, body and, where there is no answer, an error.
type serving func(*http.Request) (int, string, error)

// listing is a server that lists keys, without a network.
type listing struct {
	mu    sync.Mutex
	calls int
	serve serving
}

func (l *listing) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.calls++
	serve := l.serve
	l.mu.Unlock()
	status, body, err := serve(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://elsewhere.example/"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (l *listing) set(serve serving) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serve = serve
}

func (l *listing) called() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

func responding(status int, body string) serving {
	return func(*http.Request) (int, string, error) { return status, body, nil }
}

// listOf is the answer of a server, as GitHub documents it.
func listOf(t *testing.T, keys map[string]string) string {
	t.Helper()
	type item struct {
		Identifier string `json:"key_identifier"`
		Key        string `json:"key"`
		Current    bool   `json:"is_current"`
	}
	list := struct {
		Keys []item `json:"public_keys"`
	}{}
	for identifier, key := range keys {
		list.Keys = append(list.Keys, item{identifier, key, true})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func fetching(t *testing.T, l *listing) leak.PublicKeys {
	t.Helper()
	keys, err := leak.FetchKeys(&http.Client{Transport: l}, leak.GitHubKeys)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestFetchedKeysAreKept(t *testing.T) {
	t.Parallel()
	text := newSigner(t, elliptic.P256()).text(t)
	list := listOf(t, map[string]string{"one": text, "odd": newSigner(t, elliptic.P384()).text(t)})
	synctest.Test(t, func(t *testing.T) {
		l := &listing{serve: responding(http.StatusOK, list)}
		keys := fetching(t, l)
		check := func(identifier string, want error, calls int) {
			t.Helper()
			key, err := keys.PublicKey(t.Context(), identifier)
			if !errors.Is(err, want) || (key != nil) != (want == nil) || l.called() != calls {
				t.Fatalf("%s: %v, %v after %d calls, want %v after %d", identifier, key, err, l.called(), want, calls)
			}
		}
		if l.called() != 0 {
			t.Fatal("FetchKeys asked")
		}
		check("one", nil, 1)
		check("one", nil, 1)
		check("odd", leak.ErrUnknownKey, 1) // within a minute of the first
		time.Sleep(time.Minute)
		check("two", leak.ErrUnknownKey, 2)
		check("three", leak.ErrUnknownKey, 2) // whatever strangers send
		l.set(responding(http.StatusOK, listOf(t, map[string]string{"one": text, "two": text})))
		time.Sleep(time.Minute - 1)
		check("two", leak.ErrUnknownKey, 2)
		time.Sleep(time.Nanosecond)
		check("two", nil, 3)
		time.Sleep(24*time.Hour - 1)
		check("one", nil, 3)
		time.Sleep(time.Nanosecond)
		check("one", nil, 4)
		l.set(responding(http.StatusOK, listOf(t, map[string]string{"two": text})))
		time.Sleep(24 * time.Hour)
		check("one", leak.ErrUnknownKey, 5) // withdrawn
	})
}

func TestFetchedKeysInAnOutage(t *testing.T) {
	t.Parallel()
	text := newSigner(t, elliptic.P256()).text(t)
	good := responding(http.StatusOK, listOf(t, map[string]string{"one": text}))
	synctest.Test(t, func(t *testing.T) {
		l := &listing{serve: responding(http.StatusForbidden, "rate limited")}
		keys := fetching(t, l)
		fails := func(identifier string, calls int) {
			t.Helper()
			if key, err := keys.PublicKey(t.Context(), identifier); err == nil || errors.Is(err, leak.ErrUnknownKey) || key != nil || l.called() != calls {
				t.Fatalf("%v, %v after %d calls, want a failure after %d", key, err, l.called(), calls)
			}
		}
		fails("one", 1)
		fails("one", 1) // not again within a minute
		l.set(good)
		time.Sleep(time.Minute)
		if _, err := keys.PublicKey(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		l.set(responding(http.StatusInternalServerError, ""))
		time.Sleep(time.Minute)
		fails("two", 3) // it may be new: nobody can tell
		if _, err := keys.PublicKey(t.Context(), "one"); err != nil {
			t.Fatalf("what is known is unknown in an outage: %v", err)
		}
		time.Sleep(24 * time.Hour)
		fails("one", 4) // too old
	})
}

func TestListsThatCannotBe(t *testing.T) {
	t.Parallel()
	text := newSigner(t, elliptic.P256()).text(t)
	list := listOf(t, map[string]string{"one": text})
	for name, serve := range map[string]serving{
		"redirect":     responding(http.StatusFound, list),
		"no JSON":      responding(http.StatusOK, "<html>"),
		"no keys":      responding(http.StatusOK, `{"public_keys":[]}`),
		"no good keys": responding(http.StatusOK, listOf(t, map[string]string{"one": "x"})),
		"too large":    responding(http.StatusOK, list+strings.Repeat(" ", 256<<10)),
		"no answer":    func(*http.Request) (int, string, error) { return 0, "", io.ErrUnexpectedEOF },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &listing{serve: serve}
			if key, err := fetching(t, l).PublicKey(t.Context(), "one"); err == nil || errors.Is(err, leak.ErrUnknownKey) || key != nil || l.called() != 1 {
				t.Errorf("%v, %v after %d calls", key, err, l.called())
			}
		})
	}
}

// TestFetchOutlivesWhoCausedIt holds that a stranger who goes away does not keep others from the list.
func TestFetchOutlivesWhoCausedIt(t *testing.T) {
	t.Parallel()
	list := listOf(t, map[string]string{"one": newSigner(t, elliptic.P256()).text(t)})
	synctest.Test(t, func(t *testing.T) {
		l := &listing{serve: func(r *http.Request) (int, string, error) {
			select {
			case <-time.After(2 * time.Second):
				return http.StatusOK, list, nil
			case <-r.Context().Done():
				return 0, "", r.Context().Err()
			}
		}}
		keys := fetching(t, l)
		stranger, leave := context.WithCancel(t.Context())
		go func() { _, _ = keys.PublicKey(stranger, "junk") }()
		time.Sleep(time.Second)
		leave()
		if _, err := keys.PublicKey(t.Context(), "one"); err != nil || l.called() != 1 {
			t.Errorf("%v after %d calls", err, l.called())
		}
	})
}

func TestFetchIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &listing{serve: func(r *http.Request) (int, string, error) {
			<-r.Context().Done()
			return 0, "", r.Context().Err()
		}}
		keys, began := fetching(t, l), time.Now()
		waiting := make(chan error)
		go func() {
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := keys.PublicKey(ctx, "two")
			waiting <- err
		}()
		go func() {
			_, err := keys.PublicKey(t.Context(), "one")
			waiting <- err
		}()
		if err := <-waiting; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("who waits: %v after %v", err, time.Since(began))
		}
		if err := <-waiting; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("who asks: %v after %v", err, time.Since(began))
		}
	})
}

func TestFetchFromAServer(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/keys", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, listOf(t, map[string]string{identifier: github.text(t)}))
	}))
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	keys, err := leak.FetchKeys(server.Client(), server.URL+"/keys")
	if err != nil {
		t.Fatal(err)
	}
	if key, err := keys.PublicKey(t.Context(), identifier); err != nil || !key.Equal(&github.PublicKey) {
		t.Errorf("%v, %v", key, err)
	}
	if keys, err = leak.FetchKeys(server.Client(), server.URL+"/moved"); err != nil {
		t.Fatal(err)
	}
	if key, err := keys.PublicKey(t.Context(), identifier); err == nil {
		t.Errorf("followed a redirect: %v", key)
	}
}

func TestFetchKeysThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"", "http://api.github.com/x", "https://", "https://a:b@c.example/", "ftp://c.example/", "\x7f"} {
		if keys, err := leak.FetchKeys(http.DefaultClient, from); !errors.Is(err, leak.ErrInvalid) || keys != nil {
			t.Errorf("%q: %v, %v", from, keys, err)
		}
	}
	if keys, err := leak.FetchKeys(nil, leak.GitHubKeys); !errors.Is(err, leak.ErrInvalid) || keys != nil {
		t.Errorf("no client: %v, %v", keys, err)
	}
}
