package remotestore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// maxAnswer bounds the body of an answer, in bytes. What is longer is refused, never cut.
const maxAnswer = 64 << 10

// RequestFunc makes the request that asks about a key. It must not put the key into the URL, which is logged, and
// must not depend on anything but the key, for the answer is kept for all that show it.
type RequestFunc func(ctx context.Context, presented authkey.Presented) (*http.Request, error)

// DecodeFunc reads an answer: its status, header and whole body. It returns an identity, or an error that is
// authkey.ErrMalformed, ErrUnknown, ErrRevoked, ErrDisabled, ErrExpired, ErrNotYetValid or ErrSuspended; any other error
// becomes an *Error. It is called for all answers but redirects, 408, 429 and 5xx.
type DecodeFunc func(status int, header http.Header, body []byte) (*authkey.Identity, error)

// post is the default RequestFunc.
func post(url string) RequestFunc {
	return func(ctx context.Context, presented authkey.Presented) (*http.Request, error) {
		body, err := json.Marshal(struct {
			Key string `json:"key"`
		}{presented.Reveal()})
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, application/jwt")
		return r, nil
	}
}

// exchange asks the service once. A function of the caller's own that panics is a service that did not answer: in
// a goroutine of its own nobody else could recover.
func (a *Authenticator) exchange(ctx context.Context, presented authkey.Presented) (identity *authkey.Identity, err error) {
	defer func() {
		if r := recover(); r != nil {
			identity, err = nil, failed(Garbage, fmt.Errorf("remotestore: a %T panicked", r))
		}
	}()
	request, err := a.request(ctx, presented)
	if err != nil || request == nil {
		return nil, failed(Unreachable, errors.New("remotestore: no request could be made"))
	}
	// The transport itself follows no redirect, which would take the key elsewhere, and keeps no cookie.
	response, err := a.transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return nil, broken(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch status := response.StatusCode; {
	case status < http.StatusOK || status >= http.StatusMultipleChoices && status < http.StatusBadRequest,
		status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return nil, &Error{Class: Status, Status: status}
	case err != nil:
		return nil, broken(ctx, err)
	case len(body) > maxAnswer:
		return nil, &Error{Class: Size, Status: status, cause: fmt.Errorf("remotestore: more than %d bytes", maxAnswer)}
	default:
		identity, err = a.decode(status, response.Header, body)
		return judged(status, identity, err)
	}
}

// refusals are the errors that say something about a key, by what a service calls them.
var refusals = map[string]error{
	"malformed": authkey.ErrMalformed, "unknown": authkey.ErrUnknown, "revoked": authkey.ErrRevoked,
	"disabled": authkey.ErrDisabled, "expired": authkey.ErrExpired, "not_yet_valid": authkey.ErrNotYetValid,
	"suspended": authkey.ErrSuspended,
}

// judged keeps a DecodeFunc to its word.
func judged(status int, identity *authkey.Identity, err error) (*authkey.Identity, error) {
	if own, ok := errors.AsType[*Error](err); ok {
		own.Status = status
		return nil, own
	}
	if err == nil {
		if identity == nil || identity.Org == "" || identity.Project == "" || identity.Key == "" {
			return nil, &Error{Class: Garbage, Status: status, cause: errors.New("remotestore: the identity lacks an org, a project or a key")}
		}
		return identity, nil
	}
	for _, refusal := range refusals {
		if errors.Is(err, refusal) && !errors.Is(err, authkey.ErrUnavailable) {
			return nil, err
		}
	}
	return nil, &Error{Class: Garbage, Status: status, cause: err}
}

// decodeAnswer is the default DecodeFunc.
func (c *config) decodeAnswer(status int, header http.Header, body []byte) (*authkey.Identity, error) {
	if status != http.StatusOK {
		return nil, refusalOf(status, body)
	}
	switch kind, _, err := mime.ParseMediaType(header.Get("Content-Type")); {
	case err != nil:
		return nil, failed(Garbage, errors.New("remotestore: no Content-Type"))
	case kind == "application/jwt":
		return c.tokens.identity(strings.TrimSpace(string(body)), c.now())
	case kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		return nil, failed(Garbage, errors.New("remotestore: the Content-Type is neither JSON nor application/jwt"))
	}
	answer, err := readObject(body)
	if err != nil {
		return nil, failed(Garbage, err)
	}
	if token, err := answer.text("token", maxToken); err != nil {
		return nil, failed(BadToken, err)
	} else if token != "" {
		return c.tokens.identity(token, c.now())
	}
	if c.tokens != nil {
		return nil, failed(BadToken, errors.New("remotestore: the answer has no token, and WithTokens wants one"))
	}
	identity, err := answer.identity()
	if err != nil {
		return nil, failed(Garbage, err)
	}
	return identity, nil
}

// refusalOf tells what a service says of a key that it does not accept: by a code, or else by the status.
func refusalOf(status int, body []byte) error {
	if answer, err := readObject(body); err == nil && status >= http.StatusBadRequest {
		if code, err := answer.text("code", maxText); err == nil && refusals[code] != nil {
			return refusals[code]
		}
	}
	switch status {
	case http.StatusUnauthorized, http.StatusNotFound:
		return authkey.ErrUnknown
	case http.StatusPaymentRequired:
		return authkey.ErrSuspended
	case http.StatusForbidden:
		return authkey.ErrDisabled
	case http.StatusGone:
		return authkey.ErrRevoked
	}
	return failed(Status, nil)
}
