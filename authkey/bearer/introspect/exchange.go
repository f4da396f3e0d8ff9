package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// maxAnswer bounds the body of an answer, in bytes. What is longer is refused, never cut.
const maxAnswer = 64 << 10

// answer is what the endpoint says of a token.
type answer struct {
	claims map[string]json.RawMessage // nil: it is not active
	end    time.Time                  // exp; zero: it says none
}

// failure says that nobody knows what a token says. Its text holds nothing of an answer, which may repeat the token.
type failure struct {
	text   string
	cause  error
	unwell bool // the endpoint is not well enough to be asked about other tokens
}

// Error tells what failed, and why.
func (f *failure) Error() string {
	text := fmt.Sprintf("%v: introspect: %s", authkey.ErrUnavailable, f.text)
	if f.cause != nil {
		text += ": " + f.cause.Error()
	}
	return text
}

// Unwrap returns authkey.ErrUnavailable and the cause.
func (f *failure) Unwrap() []error {
	if f.cause == nil {
		return []error{authkey.ErrUnavailable}
	}
	return []error{authkey.ErrUnavailable, f.cause}
}

// well tells the breaker whether the endpoint answered, be it with what nobody can read of one token: whoever sends odd
// tokens must not stop the questions about others.
func well(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return !ok || !f.unwell
}

// exchange asks the endpoint once. A function of the caller's own that panics is an endpoint that did not answer: in a
// goroutine of its own nobody else could recover.
func (i *Introspector) exchange(ctx context.Context, token string) (found *answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			found, err = nil, &failure{text: "the exchange failed", cause: fmt.Errorf("a %T panicked", r), unwell: true}
		}
	}()
	request, err := i.request(ctx, token)
	if err != nil {
		return nil, err
	}
	// The transport itself follows no redirect, which would take the token elsewhere.
	response, err := i.transport.RoundTrip(request)
	if err != nil {
		return nil, broken(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refused(response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, broken(ctx, err)
	}
	if found, err = read(response.Header, body); err != nil {
		return nil, &failure{text: "the endpoint's answer cannot be read", cause: err}
	}
	return found, nil
}

// request makes the question (RFC 7662, section 2.1).
func (i *Introspector) request(ctx context.Context, token string) (*http.Request, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	header := http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"},
		// Asking twice changes nothing. This lets a transport ask again on a new connection where the server had closed
		// the old one, and is not sent.
		"Idempotency-Key": {},
	}
	if i.prove != nil {
		if err := i.prove(ctx, form, header); err != nil {
			return nil, &failure{text: "our own client could not be authenticated", cause: err}
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, i.endpoint, strings.NewReader(form.Encode()))
	if err != nil { // the URL was parsed before
		return nil, &failure{text: "no request could be made"}
	}
	r.Header = header
	return r, nil
}

// refused says what a status other than 200 means.
func refused(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return &failure{text: fmt.Sprintf("the endpoint refused our own client credentials, not the caller's token (status %d)", status), unwell: true}
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return &failure{text: fmt.Sprintf("the endpoint wants to be asked less (status %d)", status), unwell: true}
	}
	return &failure{text: fmt.Sprintf("the endpoint answered with status %d", status), unwell: status >= http.StatusInternalServerError}
}

// read reads an answer (RFC 7662, section 2.2). Its errors repeat nothing of it.
func read(header http.Header, body []byte) (*answer, error) {
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	if kind, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, errors.New("its Content-Type is not that of JSON")
	}
	claims, err := jose.ReadObject(body)
	if err != nil {
		return nil, err
	}
	if err := claims.Exact("active", "exp"); err != nil {
		return nil, err
	}
	active, ok := claims["active"]
	if !ok {
		return nil, errors.New(`it lacks the member "active"`)
	}
	if string(active) != "true" {
		return &answer{}, nil
	}
	found := &answer{claims: claims}
	if found.end, _, err = claims.Seconds("exp"); err != nil {
		return nil, err
	}
	delete(claims, "active") // says nothing about whom the token stands for
	return found, nil
}

// broken says what may be told of what a transport said.
func broken(ctx context.Context, err error) error {
	cause, _ := outbound.Cause(ctx, err)
	return &failure{text: "the endpoint did not answer", cause: cause, unwell: true}
}
