package introspect_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/introspect"
)

func verifierOf(t *testing.T, i *introspect.Introspector, issuer bearer.Issuer) *bearer.Verifier {
	t.Helper()
	issuer.Org = "acme"
	v, err := bearer.New(nil, bearer.WithIntrospection(issuer, i), bearer.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ends is an answer about a good token that ends after d, by the clock of the process.
func ends(d time.Duration) string {
	return fmt.Sprintf(`{"active":true,"sub":"ann","scope":"read","exp":%d}`, time.Now().Add(d).Unix())
}

// Rows 66 and 68: the answer is kept, and what it comes to is judged for each request: its scopes, how it came, its end.
func TestDecisionsAreNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		i := s.introspector(t, introspect.WithClock(time.Now)) // which is fake in here
		v := verifierOf(t, i, bearer.Issuer{URL: "https://login.example.com", Leeway: bearer.NoLeeway})
		presented := authkey.NewPresented(token)
		s.says(ends(10 * time.Second))
		for range 2 {
			identity, err := v.Authenticate(t.Context(), presented)
			if err != nil || !identity.HasScope("read") || identity.HasScope("write") {
				t.Fatalf("%+v, %v", identity, err)
			}
		}
		byProof := presented.In(&authkey.Presentation{Scheme: "DPoP", Method: "GET", Path: "/"})
		if _, err := v.Authenticate(t.Context(), byProof); !errors.Is(err, authkey.ErrUnknown) {
			t.Errorf("a plain token by DPoP, on a hit: %v", err)
		}
		if s.calls() != 1 {
			t.Errorf("%d questions, want the answer to be kept", s.calls())
		}
		time.Sleep(10 * time.Second) // the server still says that it is active, and when it ended
		if _, err := v.Authenticate(t.Context(), presented); !errors.Is(err, authkey.ErrExpired) || s.calls() != 2 {
			t.Errorf("at exp: %v after %d questions", err, s.calls())
		}
	})
}

// A kept answer that is good for one service says nothing of another, which asks by the same Introspector.
func TestEachVerifierJudges(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	s.says(`{"active":true,"sub":"ann","aud":"maps"}`)
	maps := verifierOf(t, i, bearer.Issuer{URL: "https://login.example.com", Audiences: []string{"maps"}})
	shop := verifierOf(t, i, bearer.Issuer{URL: "https://login.example.com", Audiences: []string{"shop"}})
	if _, err := maps.Authenticate(t.Context(), authkey.NewPresented(token)); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.Authenticate(t.Context(), authkey.NewPresented(token)); !errors.Is(err, authkey.ErrUnknown) {
		t.Errorf("a token for maps at the shop, on a hit: %v", err)
	}
}

// world is an issuer, and an Introspector that asks it.
func world(t *testing.T) (*authtest.Issuer, *introspect.Introspector) {
	t.Helper()
	issuer := authtest.NewIssuer(t, authtest.WithClient("shop: 7%", password))
	i, err := introspect.New(issuer.EndpointURL(authtest.EndpointIntrospection), introspect.WithSecretBasic("shop: 7%", password),
		introspect.WithTransport(issuer.Client().Transport), introspect.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	return issuer, i
}

func TestWholeWay(t *testing.T) {
	t.Parallel()
	issuer, i := world(t)
	v := verifierOf(t, i, bearer.Issuer{URL: issuer.URL(), Audiences: []string{authtest.Audience}})
	opaque := issuer.Opaque(authtest.Claims{"scope": "read"})
	identity, err := v.Authenticate(t.Context(), authkey.NewPresented(opaque))
	if err != nil || !identity.HasScope("read") || identity.Org != "acme" {
		t.Fatalf("%+v, %v", identity, err)
	}
	issuer.Revoke(opaque)
	i.Invalidate(opaque)
	if _, err := v.Authenticate(t.Context(), authkey.NewPresented(opaque)); !errors.Is(err, authkey.ErrUnknown) {
		t.Errorf("revoked: %v", err)
	}
}

// What is wrong with the endpoint is never said to be wrong with a token.
func TestFaultsOfTheEndpoint(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]authtest.Fault{
		"500":     {Status: http.StatusInternalServerError},
		"401":     {Status: http.StatusUnauthorized},
		"huge":    {Pad: 300 << 10},
		"cut":     {Cut: true},
		"empty":   {Body: []byte{}},
		"garbage": {Body: []byte("<html>")},
		"html":    {Header: http.Header{"Content-Type": {"text/html"}}},
		"nowhere": {Redirect: "http://169.254.169.254/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer, i := world(t)
			opaque := issuer.Opaque(nil)
			issuer.Break(authtest.EndpointIntrospection, fault)
			_, err := i.Introspect(t.Context(), opaque)
			is(t, name, err, authkey.ErrUnavailable)
			issuer.Heal()
			if _, err := i.Introspect(t.Context(), opaque); err != nil {
				t.Errorf("after it was mended: %v", err)
			}
		})
	}
}

// Credentials that the server does not know are ours: the caller may be as good as can be.
func TestOurOwnCredentials(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	i, err := introspect.New(issuer.EndpointURL(authtest.EndpointIntrospection), introspect.WithSecretBasic("nobody", password),
		introspect.WithTransport(issuer.Client().Transport), introspect.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.Introspect(t.Context(), issuer.Opaque(nil))
	is(t, "wrong credentials", err, authkey.ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "our own client credentials") {
		t.Errorf("%v, want it to say whose they are", err)
	}
}

// A certificate that nobody vouches for is an endpoint out of reach, and nothing is sent to it.
func TestUntrustedEndpoint(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	i, err := introspect.New(issuer.EndpointURL(authtest.EndpointIntrospection),
		introspect.WithTransport(&http.Transport{DisableKeepAlives: true}), introspect.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(t, i)
	is(t, "untrusted", err, authkey.ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v, want it to name the certificate", err)
	}
	if issuer.Hits(authtest.EndpointIntrospection) != 0 {
		t.Error("it was asked nevertheless")
	}
}

// A server that closes a connection just when the next question comes over it is asked again, on a new one.
func TestConnectionThatCloses(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	questions := make(chan int, 10)
	go func() {
		defer close(questions)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			questions <- serveOne(conn) // answers one, and reads one more
		}
	}()
	transport := &http.Transport{}
	i, err := introspect.New("http://"+listener.Addr().String(), introspect.WithLoopback(), introspect.WithTransport(transport), introspect.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second", "third"} {
		if _, err := i.Introspect(t.Context(), text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	transport.CloseIdleConnections()
	listener.Close()
	connections := 0
	for range questions {
		connections++
	}
	if connections != 3 {
		t.Errorf("%d connections, want one for each question", connections)
	}
}

// serveOne answers the first question of a connection, reads the next and closes it; it returns how many came.
func serveOne(conn net.Conn) (questions int) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for range 2 {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return questions
		}
		_, _ = io.Copy(io.Discard, request.Body)
		if questions++; questions == 1 {
			body := `{"active":true}`
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}
	return questions
}
