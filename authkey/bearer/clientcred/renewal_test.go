package clientcred_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

const invalidToken = `Bearer realm="maps", error="invalid_token", error_description="expired"`

func unauthorized(r *http.Request, challenges ...string) *http.Response {
	refusal := response(r, http.StatusUnauthorized, "{}")
	refusal.Header["Www-Authenticate"] = challenges
	return refusal
}

// accepts answers 200 to requests with one of these tokens, and to others that theirs is invalid.
func accepts(tokens ...string) func(r *http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		for _, token := range tokens {
			if r.Header.Get("Authorization") == "Bearer "+token {
				return response(r, http.StatusOK, "")
			}
		}
		return unauthorized(r, invalidToken)
	}
}

func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	base := &service{do: accepts("token-2")} //nolint:bodyclose // trip closes it
	e := &endpoint{do: grants(3600)}
	transport := newTransport(t, newSource(t, e), base, maps)
	if status := trip(t, transport, newRequest(t, http.MethodGet, maps, nil)); status != http.StatusOK {
		t.Errorf("status %d, want 200", status)
	}
	wantSent(t, base, "Bearer token-1", "Bearer token-2")
	trip(t, transport, newRequest(t, http.MethodGet, maps, nil))
	wantSent(t, base, "Bearer token-1", "Bearer token-2", "Bearer token-2")
	if e.count() != 2 {
		t.Errorf("asked %d times, want twice", e.count())
	}
}

func TestNoLoopOfRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &service{do: accepts()} //nolint:bodyclose // trip closes it
		e := &endpoint{do: grants(3600)}
		transport := newTransport(t, newSource(t, e), base, maps)
		get := func() {
			if status := trip(t, transport, newRequest(t, http.MethodGet, maps, nil)); status != http.StatusUnauthorized {
				t.Errorf("status %d, want 401", status)
			}
		}
		get()
		wantSent(t, base, "Bearer token-1", "Bearer token-2")
		for range 50 {
			get()
		}
		if n := len(base.got()); e.count() != 2 || n != 52 {
			t.Errorf("%d tokens and %d requests, want 2 and 52", e.count(), n)
		}
		time.Sleep(30*time.Second - time.Nanosecond)
		get()
		if e.count() != 2 {
			t.Error("renewed again within 30 s")
		}
		time.Sleep(time.Nanosecond)
		get()
		get()
		if n := len(base.got()); e.count() != 3 || n != 56 {
			t.Errorf("%d tokens and %d requests after 30 s, want 3 and 56", e.count(), n)
		}
	})
}

func TestOneRequestIsSentTwiceAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(3600)}
		base := &service{do: func(r *http.Request) *http.Response {
			time.Sleep(time.Minute) // so that no pause holds a renewal up
			return unauthorized(r, invalidToken)
		}}
		trip(t, newTransport(t, newSource(t, e), base, maps), newRequest(t, http.MethodGet, maps, nil))
		wantSent(t, base, "Bearer token-1", "Bearer token-2")
	})
}

func TestManyRefusalsRenewOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan struct{})
		base := &service{}
		base.do = func(r *http.Request) *http.Response {
			if r.Header.Get("Authorization") == "Bearer token-1" {
				<-arrived // all are refused at once
			}
			return accepts("token-2")(r)
		}
		e := &endpoint{do: grants(3600)}
		transport := newTransport(t, newSource(t, e), base, maps)
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if status := trip(t, transport, newRequest(t, http.MethodGet, maps, nil)); status != http.StatusOK {
					t.Errorf("status %d, want 200", status)
				}
			})
		}
		synctest.Wait()
		close(arrived)
		callers.Wait()
		if n := len(base.got()); e.count() != 2 || n != 100 {
			t.Errorf("%d tokens and %d requests, want 2 and 100", e.count(), n)
		}
	})
}

func TestLateRefusalOfAnOldToken(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		life, asked int
		want        string
	}{
		"renews nothing where another is held": {life: 3600, asked: 2, want: "token-2"},
		"renews another that has ended too":    {life: 50, asked: 3, want: "token-3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				late := make(chan struct{})
				base := &service{}
				base.do = func(r *http.Request) *http.Response {
					if r.URL.Path == "/late" && r.Header.Get("Authorization") == "Bearer token-1" {
						<-late
					}
					return accepts("token-2", "token-3")(r)
				}
				e := &endpoint{do: grants(row.life)}
				transport := newTransport(t, newSource(t, e), base, maps)
				status := make(chan int)
				go func() { status <- trip(t, transport, newRequest(t, http.MethodGet, maps+"/late", nil)) }()
				synctest.Wait()
				trip(t, transport, newRequest(t, http.MethodGet, maps, nil))
				time.Sleep(time.Minute) // another renewal would be allowed
				close(late)
				if got := <-status; got != http.StatusOK || e.count() != row.asked {
					t.Errorf("status %d after %d tokens, want 200 after %d", got, e.count(), row.asked)
				}
				wantSent(t, base, "Bearer token-1", "Bearer token-1", "Bearer token-2", "Bearer "+row.want)
			})
		})
	}
}

func TestRenewalInTimeDoesNotAllowAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(20)}
		transport := newTransport(t, newSource(t, e), &service{do: accepts()}, maps) //nolint:bodyclose // trip closes it
		get := func() { trip(t, transport, newRequest(t, http.MethodGet, maps, nil)) }
		get() // token-1 is refused, token-2 too
		time.Sleep(16 * time.Second)
		get() // begins the renewal to token-3
		synctest.Wait()
		get()
		if e.count() != 3 {
			t.Errorf("asked %d times, want 3: it was renewed for a refusal 16 s before", e.count())
		}
	})
}

func TestRenewalThatDoesNotHelp(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		then  answer
		asked int
	}{
		"the endpoint fails":           {then: says(http.StatusInternalServerError, ""), asked: 2},
		"it answers with the same":     {then: says(http.StatusOK, `{"access_token":"token-1","token_type":"Bearer","expires_in":3600}`), asked: 2},
		"it answers with what is none": {then: says(http.StatusOK, `{}`), asked: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &endpoint{do: grants(3600)}
			source := newSource(t, e)
			wants(t, source, "token-1")
			e.set(row.then)
			content := &body{Reader: strings.NewReader("refused")}
			base := &service{do: func(r *http.Request) *http.Response {
				refusal := unauthorized(r, invalidToken)
				refusal.Body = content
				return refusal
			}}
			transport := newTransport(t, source, base, maps)
			for range 3 { // also where one failed a moment ago
				response, err := transport.RoundTrip(newRequest(t, http.MethodGet, maps, nil))
				if err != nil || response.StatusCode != http.StatusUnauthorized || content.closed.Load() != 0 {
					t.Fatalf("answer %v, error %v, closed %d times; want the 401, open", response, err, content.closed.Load())
				}
				if _, err := content.Reader.(*strings.Reader).Seek(0, io.SeekCurrent); err != nil {
					t.Fatal(err)
				}
				if left := content.Reader.(*strings.Reader).Len(); left != len("refused") {
					t.Errorf("%d bytes of the 401 are left, want all", left)
				}
				defer response.Body.Close()
			}
			wantSent(t, base, "Bearer token-1", "Bearer token-1", "Bearer token-1")
			if e.count() != row.asked {
				t.Errorf("asked %d times, want %d", e.count(), row.asked)
			}
			wants(t, source, "token-1") // goes on
		})
	}
}

func TestBodiesThatAreSentAgain(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(r *http.Request)
		want   []string
	}{
		"GetBody":               {want: []string{"text", "text"}},
		"none":                  {change: func(r *http.Request) { r.Body, r.GetBody = nil, nil }, want: []string{"", ""}},
		"NoBody":                {change: func(r *http.Request) { r.Body, r.GetBody = http.NoBody, nil }, want: []string{"", ""}},
		"no GetBody":            {change: func(r *http.Request) { r.GetBody = nil }, want: []string{"text"}},
		"GetBody that fails":    {change: func(r *http.Request) { r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") } }, want: []string{"text"}},
		"a body and no GetBody": {change: func(r *http.Request) { r.Body, r.GetBody = io.NopCloser(strings.NewReader("other")), nil }, want: []string{"other"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var read []string
			var refusal *body
			base := &service{}
			base.do = func(r *http.Request) *http.Response {
				text := ""
				if r.Body != nil {
					all, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					text = string(all)
				}
				read = append(read, text)
				answer := accepts("token-2")(r)
				if refusal == nil {
					refusal = &body{Reader: strings.NewReader(strings.Repeat("x", 1<<20))}
					answer.Body = refusal
				}
				return answer
			}
			e := &endpoint{do: grants(3600)}
			r := newRequest(t, http.MethodPost, maps, strings.NewReader("text"))
			if row.change != nil {
				row.change(r)
			}
			status := trip(t, newTransport(t, newSource(t, e), base, maps), r)
			if strings.Join(read, "|") != strings.Join(row.want, "|") || len(read) != len(row.want) {
				t.Errorf("read %q, want %q", read, row.want)
			}
			if again := len(row.want) == 2; (status == http.StatusOK) != again {
				t.Errorf("status %d after %d requests", status, len(read))
			}
			if refusal.closed.Load() != 1 {
				t.Errorf("the refusal was closed %d times, want once", refusal.closed.Load())
			}
			if left := refusal.Reader.(*strings.Reader).Len(); left < 1<<20-4<<10 {
				t.Errorf("%d bytes of the refusal were read, want no more than 4 KiB", 1<<20-left)
			}
		})
	}
}

func TestRefusalAfterCloseIsPassedOn(t *testing.T) {
	t.Parallel()
	e := &endpoint{do: grants(3600)}
	source := newSource(t, e)
	base := &service{do: func(r *http.Request) *http.Response {
		source.Close()
		return unauthorized(r, invalidToken)
	}}
	transport := newTransport(t, source, base, maps)
	if status := trip(t, transport, newRequest(t, http.MethodGet, maps, nil)); status != http.StatusUnauthorized || e.count() != 1 {
		t.Errorf("status %d after %d questions, want 401 after one", status, e.count())
	}
	_, err := transport.RoundTrip(newRequest(t, http.MethodGet, maps, nil)) //nolint:bodyclose // there is none
	isClass(t, err, clientcred.Closed)
}
