package clientcred

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Bounds of an answer, in bytes. What is longer is refused, never cut.
const (
	maxAnswer = 256 << 10
	maxToken  = 16 << 10
	maxCode   = 64
)

// exchange asks the endpoint for a token. A transport that panics is an endpoint that did not answer: in a goroutine
// of its own nobody else could recover.
func (s *Source) exchange(ctx context.Context) (access authkey.Presented, life time.Duration, err error) {
	defer func() {
		if r := recover(); r != nil {
			access, life, err = authkey.Presented{}, 0, failed(Unreachable, fmt.Errorf("a %T panicked", r))
		}
	}()
	request, err := s.request(ctx)
	if err != nil {
		return access, 0, failed(Unreachable, errors.New("no request could be made"))
	}
	// The transport itself follows no redirect, which would take the secret elsewhere.
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return access, 0, broken(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return access, 0, broken(ctx, err)
	}
	answer, err := readAnswer(response.Header, body)
	if code := codeOf(answer); response.StatusCode != http.StatusOK || code != "" {
		return access, 0, &Error{Class: Refused, Status: response.StatusCode, Code: code}
	}
	if err == nil {
		access, life, err = s.read(answer)
	}
	if err != nil {
		return access, 0, &Error{Class: Garbage, Status: response.StatusCode, cause: err}
	}
	return access, life, nil
}

// request makes the question (RFC 6749, section 4.4.2).
func (s *Source) request(ctx context.Context) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(s.scopes) > 0 {
		form.Set("scope", strings.Join(s.scopes, " "))
	}
	if s.audience != "" {
		form.Set("audience", s.audience)
	}
	if len(s.resources) > 0 {
		form["resource"] = s.resources
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	if err := s.client.prove(s.address, form, header); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header = header
	return r, nil
}

// readAnswer reads a JSON object. Its errors repeat nothing of it.
func readAnswer(header http.Header, body []byte) (jose.Object, error) {
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("more than %d bytes", maxAnswer)
	}
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type")) // "" where it is none
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, errors.New("the Content-Type is not that of JSON")
	}
	answer, err := jose.ReadObject(body)
	if err != nil {
		return nil, err
	}
	return answer, answer.Exact("access_token", "token_type", "expires_in", "error")
}

// codeOf returns the OAuth error of an answer, if it is one of harmless characters: what else an endpoint says may
// repeat a secret.
func codeOf(answer jose.Object) string {
	code, _ := jose.Unquote(answer["error"])
	if len(code) > maxCode || strings.ContainsFunc(code, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }) {
		return ""
	}
	return code
}

// read returns the token of an answer (RFC 6749, section 5.1).
func (s *Source) read(answer jose.Object) (access authkey.Presented, life time.Duration, err error) {
	text, _ := jose.Unquote(answer["access_token"])
	kind, _ := jose.Unquote(answer["token_type"])
	life, known := lifeOf(answer["expires_in"], s.life)
	switch {
	case !absent(answer["error"]):
		err = errors.New("an error with status 200")
	case !isToken(text):
		err = fmt.Errorf("access_token: want a token68 of 1 to %d bytes", maxToken)
	case !strings.EqualFold(kind, "Bearer"):
		err = errors.New("token_type: want Bearer")
	case !known:
		err = errors.New("expires_in: want a number of seconds, 0 or more")
	default:
		access = authkey.NewPresented(text)
	}
	return access, life, err
}

// lifeOf returns how long a token lives: a number of seconds, or one as a string of digits, which some servers send;
// absent or null is the default. It is cut to 24 hours, and no fraction of a second is kept.
func lifeOf(value json.RawMessage, byDefault time.Duration) (life time.Duration, ok bool) {
	if absent(value) {
		return byDefault, true
	}
	text, quoted := jose.Unquote(value)
	if !quoted {
		text = string(value)
	}
	digits := text != "" && !strings.ContainsFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	seconds, err := strconv.ParseFloat(text, 64)
	if quoted && !digits || err != nil || seconds < 0 {
		return 0, false
	}
	return time.Duration(min(seconds, maxLife.Seconds())) * time.Second, true
}

func absent(value json.RawMessage) bool { return value == nil || string(value) == "null" }

// isToken reports whether a text is a b64token of RFC 6750, section 2.1, so that it can neither end a header field nor
// begin another.
func isToken(text string) bool {
	bare := strings.TrimRight(text, "=")
	return bare != "" && len(text) <= maxToken && !strings.ContainsFunc(bare, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", c)
	})
}
