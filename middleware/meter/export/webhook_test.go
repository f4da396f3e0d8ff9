package export

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

var secret = []byte("a secret that is long enough")

// service is an HTTP server that takes events as a receiver, and answers as a test wants.
type service struct {
	receiver
	answers []int // statuses, in turn; 0 closes the connection after the events are taken; then 204
	t       *testing.T
	mu      sync.Mutex
}

func serve(t *testing.T, answers ...int) (*service, string) {
	t.Helper()
	s := &service{answers: answers, t: t}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return s, server.URL + "/usage?tenant=t1"
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Errorf("read: %v", err)
	}
	id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	code := hmac.New(sha256.New, secret)
	code.Write([]byte(id + "." + at + "." + string(body)))
	if want := "v1," + base64.StdEncoding.EncodeToString(code.Sum(nil)); r.Header.Get("webhook-signature") != want || id == "" {
		s.t.Errorf("the signature of %q is %q, want %q", id, r.Header.Get("webhook-signature"), want)
	}
	if sent, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Hour {
		s.t.Errorf("the timestamp is %q", at)
	}
	if r.Method != http.MethodPost || r.URL.String() != "/usage?tenant=t1" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/cloudevents-batch+json") {
		s.t.Errorf("%s %s of %q", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	answer := http.StatusNoContent
	if len(s.answers) > 0 {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	if answer == 0 || answer < 300 {
		s.accept(body)
	}
	if answer == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Retry-After", "120")
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(answer)
}

func (s *service) accept(body []byte) {
	var events []struct {
		SpecVersion, ID, Source, Type string
		Data                          Data
	}
	if err := json.Unmarshal(body, &events); err != nil {
		s.t.Errorf("the body is no batch: %v", err)
	}
	for _, e := range events {
		if e.SpecVersion != "1.0" || e.Type != Type || e.Source == "" || e.ID == "" {
			s.t.Errorf("%+v lacks a required attribute", e)
		}
		_ = s.Send(s.t.Context(), []Event{{ID: e.ID, Source: e.Source, Data: e.Data}})
	}
}

func hook(t *testing.T, url string, opts ...WebhookOption) Sink {
	t.Helper()
	sink, err := Webhook(url, append([]WebhookOption{WithSecret(secret)}, opts...)...)
	if err != nil {
		t.Fatalf("Webhook: %v", err)
	}
	return sink
}

func TestWebhookCountsOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStage(t, rdb)
		got, url := serve(t, 500, 0, 204, 307, 0, 503)
		s.add(t, 0, projects(9))
		e := s.exporter(t, hook(t, url), WithBatch(4))
		failed := 0
		for e.Stats().Events < 9 {
			if err := e.Once(t.Context()); err != nil {
				if failed++; !errors.Is(err, ErrNotSent) || strings.Contains(err.Error(), "tenant") {
					t.Errorf("Once = %v; want ErrNotSent, without the URL", err)
				}
			}
		}
		// A transport may repeat by itself what was cut on a connection that it had used before.
		if failed < 3 || failed > 5 || len(got.answers) != 0 {
			t.Errorf("%d passes failed, want 3 to 5", failed)
		}
		got.want(t, projects(9))
	})
}

func TestWebhookAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer int
		after  time.Duration
		text   string
	}{
		{200, 0, ""},
		{202, 0, ""},
		{302, 0, "status 302, a redirect"},
		{308, 0, "status 308, a redirect"},
		{400, 0, "status 400"},
		{413, 0, "WithBatch"},
		{429, 2 * time.Minute, "status 429"},
		{500, 0, "status 500"},
		{503, 2 * time.Minute, "status 503"},
	} {
		t.Run(strconv.Itoa(tt.answer), func(t *testing.T) {
			t.Parallel()
			_, url := serve(t, tt.answer)
			err := hook(t, url).Send(t.Context(), []Event{event("acme", 0, 1)})
			if tt.text == "" {
				if err != nil {
					t.Errorf("Send = %v; want nil", err)
				}
				return
			}
			status, ok := errors.AsType[*statusError](err)
			if !ok || !strings.Contains(err.Error(), tt.text) || status.RetryAfter() != tt.after {
				t.Errorf("Send = %v; want %q and to wait %v", err, tt.text, tt.after)
			}
		})
	}
}

func TestWebhookTakesItsTime(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(func() {
		close(stop)
		server.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := hook(t, server.URL).Send(ctx, []Event{event("acme", 0, 1)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Send = %v; want context.DeadlineExceeded", err)
	}
}

func TestWebhookReadsLittle(t *testing.T) {
	t.Parallel()
	wrote := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := 0
		for n < 256<<20 {
			m, err := w.Write(make([]byte, 64<<10))
			if n += m; err != nil {
				break
			}
		}
		wrote <- n
	}))
	t.Cleanup(server.Close)
	if err := hook(t, server.URL).Send(t.Context(), []Event{event("acme", 0, 1)}); err != nil {
		t.Errorf("Send = %v; the status is 200", err)
	}
	if n := <-wrote; n >= 256<<20 {
		t.Errorf("an answer of %d bytes was read", n)
	}
}

type broken struct{ err error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

func TestWebhookRepeatsNoAnswer(t *testing.T) {
	t.Parallel()
	err := hook(t, "https://billing.example.com/?token=t0k3n", WithTransport(broken{errors.New("malformed: t0k3n")})).Send(t.Context(), []Event{event("acme", 0, 1)})
	if err == nil || strings.Contains(err.Error(), "t0k3n") {
		t.Errorf("Send = %v; want an error that repeats nothing", err)
	}
}

func TestWebhookInvalid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, url string
		opts      []WebhookOption
		text      string
	}{
		{"no scheme", "billing.example.com", nil, "absolute"},
		{"another scheme", "ftp://billing.example.com", nil, "absolute"},
		{"no host", "https:///usage", nil, "absolute"},
		{"no URL", "https://[", nil, "absolute"},
		{"in clear", "http://billing.example.com", nil, "in clear"},
		{"a name like this machine's", "http://localhost.example.com", nil, "in clear"},
		{"a password", "https://u:s3cr3t@billing.example.com", nil, "password"},
		{"a fragment", "https://billing.example.com/#s3cr3t", nil, "fragment"},
		{"a short secret", "https://billing.example.com", []WebhookOption{WithSecret([]byte("s3cr3t"))}, "24 to 64"},
		{"no transport", "https://billing.example.com", []WebhookOption{WithTransport(nil)}, "WithTransport(nil)"},
		{"a nil option", "https://billing.example.com", []WebhookOption{nil}, "number 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sink, err := Webhook(tt.url, tt.opts...)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "s3cr3t") || sink != nil {
				t.Errorf("Webhook = %v, %v; want ErrInvalid with %q", sink, err, tt.text)
			}
		})
	}
	for _, url := range []string{"http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost", "https://billing.example.com/usage?tenant=t1"} {
		if _, err := Webhook(url); err != nil {
			t.Errorf("Webhook(%q): %v", url, err)
		}
	}
}

// TestWebhookIDTellsSourcesApart holds that two services with one receiver have no message in common.
func TestWebhookIDTellsSourcesApart(t *testing.T) {
	ids, keys := map[string]bool{}, map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ids[r.Header.Get("Webhook-Id")], keys[r.Header.Get("Idempotency-Key")] = true, true
	}))
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	t.Cleanup(server.Close)
	for _, source := range []string{"https://a.example.com", "https://b.example.com", "https://a.example.com"} {
		e := event("acme", 0, 57)
		e.Source = source
		if err := hook(t, server.URL).Send(t.Context(), []Event{e}); err != nil {
			t.Fatalf("Send: %v", err)
		}
	}
	if len(ids) != 2 || len(keys) != 2 {
		t.Errorf("two services have the ids %v and the keys %v, want two of each", ids, keys)
	}
}
