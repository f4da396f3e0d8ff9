package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

const (
	// maxBody and maxHeader bound an answer, in bytes. What is longer is an error, never cut.
	maxBody   = 256 << 10
	maxHeader = 32 << 10
	// minLife and maxLife bound how long a set is fresh, whatever its issuer says.
	minLife = time.Minute
	maxLife = 24 * time.Hour
)

// errNoAnswer: nobody answered, or not in time.
var errNoAnswer = errors.New("no answer")

// statusError is an answer that is no document.
type statusError struct{ code int }

func (e *statusError) Error() string {
	if e.code >= http.StatusMultipleChoices && e.code < http.StatusBadRequest {
		return fmt.Sprintf("status %d: a redirect, and none is followed", e.code)
	}
	return fmt.Sprintf("status %d", e.code)
}

// get fetches a document; anew asks caches on the way for what is behind them. Its errors name the URL without its
// query, and repeat nothing of the answer.
func (c *config) get(ctx context.Context, client *http.Client, address string, anew bool) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, header, err := c.exchange(ctx, client, address, anew)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", nameOf(address), err)
	}
	return body, header, nil
}

func (c *config) exchange(ctx context.Context, client *http.Client, address string, anew bool) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, errors.New("no request can be made of the URL")
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	request.Header.Set("User-Agent", c.userAgent)
	if anew {
		request.Header.Set("Cache-Control", "no-cache")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, broken(ctx, err)
	}
	defer response.Body.Close()
	size := 0
	for name, values := range response.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	switch {
	case size > maxHeader: // of a RoundTripper that has no bound of its own
		return nil, nil, fmt.Errorf("the header has more than %d bytes", maxHeader)
	case response.StatusCode != http.StatusOK:
		return nil, nil, &statusError{response.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(timed{ctx, response.Body}, maxBody+1))
	if err == nil {
		err = ctx.Err() // an end that comes with that of the time may be no whole answer
	}
	switch {
	case err != nil:
		return nil, nil, broken(ctx, err)
	case len(body) > maxBody:
		return nil, nil, fmt.Errorf("the body has more than %d bytes", maxBody)
	}
	return body, response.Header, nil
}

// timed is a body that ends with a context, also where it comes in drops from a RoundTripper that heeds none.
type timed struct {
	ctx  context.Context
	body io.Reader
}

func (t timed) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	return t.body.Read(p)
}

// broken tells why there is no answer, as far as it may be told.
func broken(ctx context.Context, err error) error {
	cause, timeout := outbound.Cause(ctx, err)
	if refused, ok := errors.AsType[*refusedError](err); ok && !timeout {
		cause = refused
	}
	return fmt.Errorf("%w: %w", errNoAnswer, cause)
}

// lifeOf returns how long an answer is fresh: its smallest max-age less its age (RFC 9111, sections 4.2 and 5.2.2),
// at once where it must not be stored, or life where it does not say; within bounds.
func lifeOf(header http.Header, life time.Duration) time.Duration {
	said := time.Duration(-1)
	for _, field := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			seconds := "0"
			switch strings.ToLower(name) {
			case "max-age":
				seconds = strings.Trim(value, `"`)
			case "no-store", "no-cache":
			default:
				continue
			}
			if age, ok := secondsOf(seconds); ok && (said < 0 || age < said) {
				said = age
			}
		}
	}
	if said < 0 {
		return life
	}
	if age, ok := secondsOf(header.Get("Age")); ok {
		said -= age
	}
	return max(minLife, said)
}

// secondsOf reads delta-seconds; more than maxLife is that.
func secondsOf(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(n, uint64(maxLife/time.Second))) * time.Second, true
}
