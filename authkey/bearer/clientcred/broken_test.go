package clientcred_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

// body counts how often it is closed.
type body struct {
	io.Reader
	closed atomic.Int32
}

func (b *body) Close() error {
	b.closed.Add(1)
	return nil
}

func TestBodyIsClosedWithoutAToken(t *testing.T) {
	t.Parallel()
	base := &service{}
	transport := newTransport(t, newSource(t, &endpoint{do: says(http.StatusInternalServerError, "")}), base, maps)
	b := &body{Reader: strings.NewReader("x")}
	_, err := transport.RoundTrip(newRequest(t, http.MethodPost, maps, b)) //nolint:bodyclose // there is none
	isClass(t, err, clientcred.Refused)
	if b.closed.Load() != 1 || len(base.got()) != 0 {
		t.Errorf("closed %d times and sent %d requests, want once and none", b.closed.Load(), len(base.got()))
	}
	_, err = transport.RoundTrip(newRequest(t, http.MethodGet, maps, nil)) //nolint:bodyclose // there is none
	isClass(t, err, clientcred.Refused)
}

func TestErrorsOfTheBaseArePassedOn(t *testing.T) {
	t.Parallel()
	base := &service{error: io.ErrUnexpectedEOF}
	transport := newTransport(t, newSource(t, &endpoint{do: grants(60)}), base, maps)
	_, err := transport.RoundTrip(newRequest(t, http.MethodGet, maps, nil)) //nolint:bodyclose // there is none
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(base.got()) != 1 {
		t.Errorf("error %v after %d requests", err, len(base.got()))
	}
}

func TestErrorsOfAClientTellNoSecret(t *testing.T) {
	t.Parallel()
	e := &endpoint{do: says(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"`+secret+`"}`)}
	client := &http.Client{Transport: newTransport(t, newSource(t, e), &service{}, maps)}
	_, err := client.Do(newRequest(t, http.MethodGet, maps, nil)) //nolint:bodyclose // there is none
	isClass(t, err, clientcred.Refused)
	if want := `Get "https://maps.example": authkey: unavailable: clientcred: refused (status 401): invalid_client`; fmt.Sprint(err) != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestContextOfTheRequest(t *testing.T) {
	t.Parallel()
	transport := newTransport(t, newSource(t, &endpoint{do: hangs(nil, nil)}), &service{}, maps)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := transport.RoundTrip(newRequest(t, http.MethodGet, maps, nil).WithContext(ctx)) //nolint:bodyclose // there is none
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
