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
// authkey.ErrUnknown, ErrRevoked, ErrDisabled, ErrExpired, ErrNotYetValid or ErrSuspended; ErrMalformed becomes
// ErrUnknown, and any other error an *Error. The identity needs an Org, a Project, a Key and a Kind. It is called for all
// answers but redirects, 408, 429 and 5xx.
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
	status := 0
	defer func() {
		if r := recover(); r != nil {
			identity, err = nil, &Error{Class: Garbage, Status: status, cause: fmt.Errorf("remotestore: a %T panicked", r)}
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
	switch status = response.StatusCode; {
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

// refusals are the errors that say something about a key, by what a service calls them. ErrMalformed is none of them: it
// is for what is refused without a look-up, and no failure budget counts it.
var refusals = map[string]error{
	"malformed": authkey.ErrUnknown, "unknown": authkey.ErrUnknown, "revoked": authkey.ErrRevoked,
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
		if identity == nil || identity.Org == "" || identity.Project == "" || identity.Key == "" ||
			identity.Kind != authkey.KindSecret && identity.Kind != authkey.KindPublishable {
			return nil, &Error{Class: Garbage, Status: status, cause: errors.New("remotestore: the identity lacks an org, a project, a key, or a kind that is secret or publishable")}
		}
		return identity, nil
	}
	if errors.Is(err, authkey.ErrMalformed) && !errors.Is(err, authkey.ErrUnavailable) {
		return nil, authkey.ErrUnknown
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
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err == nil && kind == "application/jwt" && status == http.StatusOK {
		return c.tokens.identity(strings.TrimSpace(string(body)), c.now())
	}
	var answer object
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		err = errors.New("remotestore: the Content-Type is neither JSON nor, of a token, application/jwt")
	} else {
		answer, err = readObject(body)
	}
	switch {
	case status != http.StatusOK && err != nil: // anybody on the way may have said it
		return nil, failed(Status, fmt.Errorf("remotestore: want a JSON object with it, or a WithDecoder that does without: %w", err))
	case status != http.StatusOK:
		return nil, refusalOf(status, answer)
	case err != nil:
		return nil, failed(Garbage, err)
	}
	return c.identityOf(answer)
}

// identityOf returns whom a good answer names, by itself or by its token.
func (c *config) identityOf(answer object) (*authkey.Identity, error) {
	if err := answer.Exact(append([]string{"token"}, members...)...); err != nil {
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
func refusalOf(status int, answer object) error {
	if code, err := answer.text("code", maxText); err == nil && refusals[code] != nil && status >= http.StatusBadRequest {
		return refusals[code]
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
