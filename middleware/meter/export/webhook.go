package export

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// WebhookOption changes a default of Webhook.
type WebhookOption interface{ apply(*webhook) error }

type webhookOption func(*webhook) error

func (f webhookOption) apply(w *webhook) error { return f(w) }

// WithSecret signs each request with HMAC-SHA256 as Standard Webhooks 1.0 has it: the field webhook-signature is "v1,"
// and the base64 of the code of "<webhook-id>.<webhook-timestamp>.<body>". The secret is the key itself, of 24 to 64
// bytes; receivers' libraries want it in base64, behind "whsec_".
func WithSecret(secret []byte) WebhookOption {
	return webhookOption(func(w *webhook) error {
		w.secret = slices.Clone(secret)
		if len(secret) < 24 || len(secret) > 64 {
			return fmt.Errorf("%w option: WithSecret: the secret has %d bytes, must have 24 to 64", ErrInvalid, len(secret))
		}
		return nil
	})
}

// WithTransport sends requests through t, which decides on TLS, proxies and connections, and may add fields such as
// Authorization. It is that of an http.Client, which itself is not used: redirects are not followed, and cookies not
// kept. Default http.DefaultTransport.
func WithTransport(t http.RoundTripper) WebhookOption {
	return webhookOption(func(w *webhook) error {
		w.transport = t
		if t == nil {
			return fmt.Errorf("%w option: WithTransport(nil)", ErrInvalid)
		}
		return nil
	})
}

// maxAnswer bounds what is read of an answer, so that its connection can be used again.
const maxAnswer = 64 << 10

type webhook struct {
	address   string
	transport http.RoundTripper
	secret    []byte
}

// Webhook returns a Sink that posts events to a URL, in the batched content mode of CloudEvents' HTTP binding
// (application/cloudevents-batch+json). The URL must be https, or http on this machine. Any 2xx accepts the events; every
// other answer, a redirect too, which is not followed, or none within the deadline does not. The Retry-After of a 429 or
// 503 is obeyed. The body of an answer is not looked at.
//
// Each request has a webhook-id, which stands for the sources and ids of its events, and a webhook-timestamp, when it is sent. Errors
// repeat neither the URL nor an answer. Safe for concurrent use. The error joins all that is wrong with the arguments.
func Webhook(address string, opts ...WebhookOption) (Sink, error) {
	w := &webhook{address: address, transport: http.DefaultTransport}
	faults := []error{checkURL(address)}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(w))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return w, nil
}

// checkURL refuses an address that would send usage in clear, or that holds a password. It repeats none.
func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%w URL: want an absolute one with https, as https://billing.example.com/usage", ErrInvalid)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%w URL: want none with a user name, a password or a fragment; a transport may add credentials", ErrInvalid)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("%w URL: http would send usage in clear to %s; want https", ErrInvalid, u.Host)
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Send posts events.
func (w *webhook) Send(ctx context.Context, events []Event) error {
	body, err := json.Marshal(events)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.address, bytes.NewReader(body))
	if err != nil { // the URL was parsed before
		return fmt.Errorf("%w URL", ErrInvalid)
	}
	w.sign(request.Header, events, body)
	// The transport itself follows no redirect, which would take usage elsewhere.
	response, err := w.transport.RoundTrip(request)
	if err != nil {
		return cause(ctx, err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // the status is what counts
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		return nil
	}
	return &statusError{response.StatusCode, retryAfter(response)}
}

// sign sets the fields of a request.
func (w *webhook) sign(header http.Header, events []Event, body []byte) {
	ids := sha256.New()
	for i := range events {
		ids.Write([]byte(events[i].Source + "\n" + events[i].ID + "\n")) // neither has a line break
	}
	id, now := hex.EncodeToString(ids.Sum(nil)[:16]), strconv.FormatInt(time.Now().Unix(), 10)
	header.Set("Content-Type", "application/cloudevents-batch+json; charset=utf-8")
	header.Set("User-Agent", "tollgate")
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", now)
	// A transport may send the request again on a new connection, where the receiver had closed the old one.
	header["Idempotency-Key"] = []string{id}
	if w.secret != nil {
		code := hmac.New(sha256.New, w.secret)
		code.Write([]byte(id + "." + now + "."))
		code.Write(body)
		header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(code.Sum(nil)))
	}
}

// statusError is an answer that accepts nothing.
type statusError struct {
	code  int
	after time.Duration
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the receiver answered with status %d", e.code)
	switch {
	case e.code >= 300 && e.code < 400:
		text += ", a redirect, and none is followed"
	case e.code == http.StatusRequestEntityTooLarge:
		text += ": WithBatch sends fewer events at a time"
	}
	return text
}

// RetryAfter tells how long the receiver wants to be left alone.
func (e *statusError) RetryAfter() time.Duration { return e.after }

// retryAfter reads the field of RFC 9110, section 10.2.3: seconds or a date.
func retryAfter(response *http.Response) time.Duration {
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	text := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// cause returns why there is no answer, as far as it may be told: no error that could hold a piece of an answer.
func cause(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok {
		return dial
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return untrusted
	}
	return errors.New("the receiver did not answer as HTTP has it, or closed the connection")
}
