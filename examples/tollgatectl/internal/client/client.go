// Package client speaks HTTP to an admin route and is careful about it: the token goes to the one server that was
// named and to none that it points to, in the clear only where that was asked for, and no answer is read beyond a
// bound. It knows no resource of the route; whoever calls it names paths and bodies. Not for the data plane, where
// a request must not cost a look at each answer.
//
//	c, err := client.New("https://api.example.com/admin", token)
//	if err != nil { ... }
//	answer, err := c.Do(ctx, client.Request{Method: "GET", Path: []string{"v1", "plans", "gold"}})
//	if problem, ok := errors.AsType[*client.Error](err); ok {
//		fmt.Println(problem.Code) // what the server says is wrong
//	}
//	fmt.Printf("%s", answer.Body)
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// What an error of this package is, besides a [*Error].
var (
	// ErrInvalid: something that was given cannot be used. Nothing was sent.
	ErrInvalid = errors.New("client: invalid")
	// ErrUnavailable: no answer came, in time or at all. A change may have happened.
	ErrUnavailable = errors.New("client: unavailable")
	// ErrAnswer: what came is no answer of an admin route.
	ErrAnswer = errors.New("client: not an answer of an admin route")
)

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 32 << 20 // bytes; a page of 200 keys, each as long as a key can be, is three quarters of it
	maxToken       = 1024     // bytes, as the route has it
)

// Client asks one server. Make it with New. Safe for concurrent use; it keeps idle connections, which end with
// the process or by Close.
type Client struct {
	base    string // without a slash at the end
	token   string
	timeout time.Duration
	plain   bool
	http    http.Client
}

// New returns a client of the admin route whose paths begin at server, such as "https://api.example.com/admin". A
// server that is not https must be of the loopback interface, unless WithPlainHTTP. An empty token sends none. It
// does no I/O. Errors are ErrInvalid, joined, and hold no token.
func New(server, token string, opts ...Option) (*Client, error) {
	c := &Client{token: token, timeout: defaultTimeout}
	var faults []error
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		o.apply(c)
	}
	if c.timeout <= 0 {
		faults = append(faults, fmt.Errorf("%w option: WithTimeout(%s) must be positive", ErrInvalid, c.timeout))
	}
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		faults = append(faults, fmt.Errorf("%w token: it must be at most %d visible ASCII characters", ErrInvalid, maxToken))
	}
	base, err := baseOf(server, c.plain)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	c.base = base
	c.http = http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(), //nolint:errcheck // package http declares what it is
		// A redirect would take the token to wherever the answer says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Option changes a default of New.
type Option interface{ apply(*Client) }

type optionFunc func(*Client)

func (f optionFunc) apply(c *Client) { f(c) }

// WithTimeout bounds each request, from the first byte sent to the last one read. The default is 10 seconds.
func WithTimeout(d time.Duration) Option { return optionFunc(func(c *Client) { c.timeout = d }) }

// WithPlainHTTP lets the token go over http to other machines, where whoever is in between can read it.
func WithPlainHTTP() Option { return optionFunc(func(c *Client) { c.plain = true }) }

func baseOf(server string, plain bool) (string, error) {
	fault := func(why string) error { return fmt.Errorf("%w server %.100q: %s", ErrInvalid, server, why) }
	u, err := url.Parse(server)
	switch {
	case err != nil: // its text repeats the URL, which may hold a password
		return "", fmt.Errorf("%w server: it is not a URL", ErrInvalid)
	case u.User != nil:
		return "", fmt.Errorf("%w server: a URL with a user name is not taken", ErrInvalid)
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return "", fault(`want a URL such as "https://api.example.com/admin"`)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fault("a query and a fragment have no place in it")
	case u.Scheme == "http" && !plain && !loopback(u.Hostname()):
		return "", fault("http shows the token to everybody on the way; use https")
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request is what Do sends. Path is the segments after the server's URL, not escaped; none may be empty. Body is
// sent as JSON unless it is nil.
type Request struct {
	Method string
	Path   []string
	Query  url.Values
	Header http.Header
	Body   any
}

// Answer is one of the 2xx. Body is a JSON document, or empty.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request once. Error: *Error for what the server refuses, ErrUnavailable, ErrAnswer, ErrInvalid, and
// that of the context once it has ended.
func (c *Client) Do(ctx context.Context, r Request) (*Answer, error) {
	request, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.http.Do(request.WithContext(bounded))
	if err != nil {
		return nil, c.unreached(ctx, r.Method, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.unreached(ctx, r.Method, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%w: it is longer than %d bytes; ask for smaller pages", ErrAnswer, maxAnswer)
	case response.StatusCode < 200 || response.StatusCode > 299:
		return nil, refusal(response, body)
	case len(body) > 0 && (!isJSON(response.Header, "application/json") || !json.Valid(body)):
		return nil, fmt.Errorf("%w: %s with something else than JSON; is the server's URL right?", ErrAnswer, response.Status)
	}
	return &Answer{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	target := c.base
	for _, segment := range r.Path {
		if segment == "" {
			return nil, fmt.Errorf("%w path: a part of it is empty", ErrInvalid)
		}
		segment = url.PathEscape(segment)
		if strings.Trim(segment, ".") == "" { // a proxy would walk up
			segment = strings.ReplaceAll(segment, ".", "%2E")
		}
		target += "/" + segment
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	var body io.Reader
	if r.Body != nil {
		text, err := json.Marshal(r.Body)
		if err != nil {
			return nil, fmt.Errorf("%w body: %w", ErrInvalid, err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%w request: %w", ErrInvalid, err)
	}
	if r.Header != nil {
		request.Header = r.Header.Clone()
	}
	request.Header.Set("Accept", "application/json, application/problem+json")
	request.Header.Set("User-Agent", "tollgatectl")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// unreached tells why there is no answer. What a connection was refused to has seen nothing; all else may have.
func (c *Client) unreached(ctx context.Context, method string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the URL may hold names that are nobody's business in a log
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", c.timeout)
	}
	operation, ok := errors.AsType[*net.OpError](err)
	if method == http.MethodGet || ok && operation.Op == "dial" {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w; the change may have happened: read before you repeat it", ErrUnavailable, err)
}

func isJSON(header http.Header, want string) bool {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && media == want
}
