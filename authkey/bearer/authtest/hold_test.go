package authtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// begin sends a request and returns its answer's first byte, with the answer still open.
func begin(ctx context.Context, t *testing.T, issuer *authtest.Issuer) (byte, io.ReadCloser) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer.EndpointURL(authtest.EndpointKeys), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := issuer.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(response.Body, first); err != nil {
		t.Fatal(err)
	}
	return first[0], response.Body
}

func TestDripComesByteByByte(t *testing.T) {
	t.Parallel()
	fake := new(authtest.Example)
	issuer := authtest.NewIssuer(fake)
	issuer.Break(authtest.EndpointKeys, authtest.Fault{Drip: time.Hour})

	ctx, cancel := context.WithCancel(t.Context())
	first, body := begin(ctx, t, issuer)
	defer body.Close()
	cancel()
	if rest, err := io.ReadAll(body); first != '{' || len(rest) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, then %q and %v", first, rest, err)
	}

	_, other := begin(t.Context(), t, issuer)
	defer other.Close()
	fake.End() // also ends what drips
	if rest, err := io.ReadAll(other); len(rest) != 0 || err == nil {
		t.Errorf("after the end: %q and %v", rest, err)
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	var hold authtest.Hold
	issuer.Break(authtest.EndpointKeys, authtest.Fault{Hold: &hold, Status: 500})
	answers := make(chan reply, 3)
	for range 2 {
		go func() { answers <- get(t.Context(), issuer, issuer.EndpointURL(authtest.EndpointKeys)) }()
	}
	hold.Wait(t, 2)
	issuer.AddKey("EdDSA", "late")
	issuer.Heal()
	if got := kids(t, issuer); !slices.Equal(got, []string{"key-1", "late"}) {
		t.Errorf("a request after Heal is answered with %q", got)
	}
	select {
	case got := <-answers:
		t.Fatalf("an answer before the release: %+v", got)
	default:
	}
	hold.Release()
	for range 2 {
		if got := <-answers; got.status != 500 || got.err != nil || strings.Contains(string(got.body), "late") {
			t.Errorf("released: status %d, error %v, %q; want what was true on arrival", got.status, got.err, got.body)
		}
	}
	hold.Release()
	hold.Wait(t, 1)
	issuer.Break(authtest.EndpointKeys, authtest.Fault{Hold: &hold})
	if got := call(t, issuer, authtest.EndpointKeys); got.status != 200 {
		t.Errorf("a request after the release: %+v", got)
	}
	hold.Wait(t, 3)
}

func TestHoldEndsWithTheClientAndTheTest(t *testing.T) {
	t.Parallel()
	fake := new(authtest.Example)
	issuer := authtest.NewIssuer(fake)
	var hold authtest.Hold
	issuer.Break(authtest.EndpointToken, authtest.Fault{Hold: &hold})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan reply)
	for n, ctx := range []context.Context{ctx, t.Context()} {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer.EndpointURL(authtest.EndpointToken), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { answers <- send(ctx, issuer.Client(), request) }()
		hold.Wait(t, n+1)
	}
	if got := call(t, issuer, authtest.EndpointKeys); got.status != http.StatusOK {
		t.Errorf("another endpoint is held, too: %+v", got)
	}
	cancel()
	if got := <-answers; !errors.Is(got.err, context.Canceled) {
		t.Errorf("a client that gave up: %+v", got)
	}
	fake.End() // does not wait for the release
	if got := <-answers; got.err == nil {
		t.Errorf("after the end came %+v", got)
	}
}
