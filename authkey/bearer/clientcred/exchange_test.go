package clientcred_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

const good = `{"access_token":"token-1","token_type":"Bearer","expires_in":3600}`

// calm is a time that a busy machine does not need.
const calm = time.Minute

// plain leaves no connection open.
func plain() *http.Transport { return &http.Transport{DisableKeepAlives: true} }

// serve starts a token endpoint and returns a Source that asks it.
func serve(t *testing.T, client clientcred.Client, handler http.HandlerFunc, opts ...clientcred.Option) *clientcred.Source {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newSourceAt(t, server.URL+"/token?tenant=7", client,
		append([]clientcred.Option{clientcred.WithTransport(plain()), clientcred.WithLoopback(), clientcred.WithTimeout(calm)}, opts...)...)
}

func writes(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestQuestion(t *testing.T) {
	t.Parallel()
	const basic = "Basic " + "c2VhcmNoOnMzY3JldC1vZiUyRnRoZStjbGllbnQlMjUlMkI=" // search:s3cret-of%2Fthe+client%25%2B
	for name, row := range map[string]struct {
		client clientcred.Client
		opts   []clientcred.Option
		field  string
		form   url.Values
	}{
		"a secret in the header": {
			client: clientcred.SecretBasic(clientID, secret), field: basic,
			form: url.Values{"grant_type": {"client_credentials"}},
		},
		"an ID with a colon in the header": {
			client: clientcred.SecretBasic("a:b", "c:d"), field: "Basic YSUzQWI6YyUzQWQ=", // a%3Ab:c%3Ad
			form: url.Values{"grant_type": {"client_credentials"}},
		},
		"a secret in the body": {
			client: clientcred.SecretPost(clientID, secret),
			form:   url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}},
		},
		"all that can be asked for": {
			client: clientcred.SecretBasic(clientID, secret), field: basic,
			opts: []clientcred.Option{
				clientcred.WithScopes("maps.read", "urn:a/b?c=d&e"), clientcred.WithAudience("https://maps.example/ &x"),
				clientcred.WithResources("https://maps.example/a", "urn:maps:b"),
			},
			form: url.Values{
				"grant_type": {"client_credentials"}, "scope": {"maps.read urn:a/b?c=d&e"}, "audience": {"https://maps.example/ &x"},
				"resource": {"https://maps.example/a", "urn:maps:b"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := serve(t, row.client, func(w http.ResponseWriter, r *http.Request) {
				head := fmt.Sprint(r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Accept"))
				if want := "POST/token?tenant=7application/x-www-form-urlencodedapplication/json"; head != want {
					t.Errorf("asked by %s, want %s", head, want)
				}
				if got := r.Header.Get("Authorization"); got != row.field {
					t.Errorf("Authorization %q, want %q", got, row.field)
				}
				if err := r.ParseForm(); err != nil || !reflect.DeepEqual(r.PostForm, row.form) {
					t.Errorf("form %v, error %v, want %v", r.PostForm, err, row.form)
				}
				writes(w, http.StatusOK, "application/json", good)
			}, row.opts...)
			wants(t, source, "token-1")
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const js = "application/json"
	with := func(access, kind, more string) string {
		return fmt.Sprintf(`{"access_token":%s,"token_type":%s%s}`, access, kind, more)
	}
	const bearer = `"Bearer"`
	for name, row := range map[string]struct {
		status      int // 200
		kind, body  string
		token, code string
		class       clientcred.Class
	}{
		"good":                   {kind: js + ";charset=UTF-8", body: good, token: "token-1"},
		"more members":           {kind: js, body: with(`"token-1"`, bearer, `,"scope":"a b","refresh_token":null,"x":{"y":[1]}`), token: "token-1"},
		"bearer in lower case":   {kind: js, body: with(`"token-1"`, `"bearer"`, ""), token: "token-1"},
		"all characters":         {kind: js, body: with(`"azAZ09-._~+/=="`, bearer, ""), token: "azAZ09-._~+/=="},
		"escapes":                {kind: js, body: with(`"\u0074oken-1"`, bearer, ""), token: "token-1"},
		"a JSON suffix":          {kind: "application/vnd.acme+json", body: good, token: "token-1"},
		"half a parameter":       {kind: js + "; charset", body: good, token: "token-1"},
		"two types":              {kind: js + ", text/html", body: good, class: clientcred.Garbage},
		"no error":               {kind: js, body: with(`"token-1"`, bearer, `,"error":null`), token: "token-1"},
		"the longest token":      {kind: js, body: with(`"`+strings.Repeat("a", 16<<10)+`"`, bearer, ""), token: strings.Repeat("a", 16<<10)},
		"a longer token":         {kind: js, body: with(`"`+strings.Repeat("a", 16<<10+1)+`"`, bearer, ""), class: clientcred.Garbage},
		"the longest answer":     {kind: js, body: padded(256 << 10), token: "token-1"},
		"a longer answer":        {kind: js, body: padded(256<<10 + 1), class: clientcred.Garbage},
		"no token":               {kind: js, body: `{"token_type":"Bearer"}`, class: clientcred.Garbage},
		"null for a token":       {kind: js, body: with("null", bearer, ""), class: clientcred.Garbage},
		"a number for a token":   {kind: js, body: with("7", bearer, ""), class: clientcred.Garbage},
		"a list for a token":     {kind: js, body: with(`["token-1"]`, bearer, ""), class: clientcred.Garbage},
		"an empty token":         {kind: js, body: with(`""`, bearer, ""), class: clientcred.Garbage},
		"padding for a token":    {kind: js, body: with(`"=="`, bearer, ""), class: clientcred.Garbage},
		"padding inside":         {kind: js, body: with(`"a=b"`, bearer, ""), class: clientcred.Garbage},
		"a space":                {kind: js, body: with(`"token-1 b"`, bearer, ""), class: clientcred.Garbage},
		"a line break":           {kind: js, body: with(`"token-1\r\nX-A: b"`, bearer, ""), class: clientcred.Garbage},
		"a quote":                {kind: js, body: with(`"token-1\""`, bearer, ""), class: clientcred.Garbage},
		"a comma":                {kind: js, body: with(`"token-1,b"`, bearer, ""), class: clientcred.Garbage},
		"another script":         {kind: js, body: with(`"tökén"`, bearer, ""), class: clientcred.Garbage},
		"no type":                {kind: js, body: `{"access_token":"token-1"}`, class: clientcred.Garbage},
		"DPoP":                   {kind: js, body: with(`"token-1"`, `"DPoP"`, ""), class: clientcred.Garbage},
		"a MAC token":            {kind: js, body: with(`"token-1"`, `"mac"`, ""), class: clientcred.Garbage},
		"a type by a folding":    {kind: js, body: with(`"token-1"`, `"Bearer "`, ""), class: clientcred.Garbage},
		"a type of another kind": {kind: js, body: with(`"token-1"`, `["Bearer"]`, ""), class: clientcred.Garbage},
		"a negative life":        {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":-1`), class: clientcred.Garbage},
		"no time for a life":     {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":"soon"`), class: clientcred.Garbage},
		"an empty life":          {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":""`), class: clientcred.Garbage},
		"a signed string":        {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":"+60"`), class: clientcred.Garbage},
		"a life beyond numbers":  {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":1e999`), class: clientcred.Garbage},
		"such a one as a string": {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":"`+strings.Repeat("9", 400)+`"`), class: clientcred.Garbage},
		"infinity as a string":   {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":"Inf"`), class: clientcred.Garbage},
		"a life of true":         {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":true`), class: clientcred.Garbage},
		"a life in a list":       {kind: js, body: with(`"token-1"`, bearer, `,"expires_in":[60]`), class: clientcred.Garbage},
		"a member twice":         {kind: js, body: with(`"token-1"`, bearer, `,"access_token":"token-2"`), class: clientcred.Garbage},
		"another case":           {kind: js, body: with(`"token-1"`, bearer, `,"ACCESS_TOKEN":"token-2"`), class: clientcred.Garbage},
		"a life that folds":      {kind: js, body: with(`"token-1"`, bearer, `,"expire\u017f_in":60`), class: clientcred.Garbage},
		"two answers":            {kind: js, body: good + good, class: clientcred.Garbage},
		"half an answer":         {kind: js, body: good[:30], class: clientcred.Garbage},
		"a list":                 {kind: js, body: "[" + good + "]", class: clientcred.Garbage},
		"null":                   {kind: js, body: "null", class: clientcred.Garbage},
		"nothing":                {kind: js, class: clientcred.Garbage},
		"a secret":               {kind: js, body: secret, class: clientcred.Garbage},
		"a form":                 {kind: "application/x-www-form-urlencoded", body: "access_token=token-1&token_type=Bearer", class: clientcred.Garbage},
		"JSON as text":           {kind: "text/plain", body: good, class: clientcred.Garbage},
		"JSON as nothing":        {kind: " ", body: good, class: clientcred.Garbage},
		"an error with 200":      {kind: js, body: with(`"token-1"`, bearer, `,"error":"invalid_scope"`), class: clientcred.Refused, code: "invalid_scope"},
		"an odd error with 200":  {kind: js, body: with(`"token-1"`, bearer, `,"error":{}`), class: clientcred.Garbage},
		"201":                    {status: 201, kind: js, body: good, class: clientcred.Refused},
		"an OAuth error": {
			status: 401, kind: js, body: `{"error":"invalid_client","error_description":"no ` + secret + `"}`,
			class: clientcred.Refused, code: "invalid_client",
		},
		"400 invalid_target":         {status: 400, kind: js, body: `{"error":"invalid_target"}`, class: clientcred.Refused, code: "invalid_target"},
		"the longest code":           {status: 400, kind: js, body: `{"error":"` + strings.Repeat("a", 64) + `"}`, class: clientcred.Refused, code: strings.Repeat("a", 64)},
		"a longer code":              {status: 400, kind: js, body: `{"error":"` + strings.Repeat("a", 65) + `"}`, class: clientcred.Refused},
		"a secret as a code":         {status: 400, kind: js, body: `{"error":"` + secret + `"}`, class: clientcred.Refused},
		"a token as a code":          {status: 400, kind: js, body: `{"error":"token-1"}`, class: clientcred.Refused},
		"a code with a line break":   {status: 400, kind: js, body: `{"error":"invalid\nclient"}`, class: clientcred.Refused},
		"a code of another kind":     {status: 400, kind: js, body: `{"error":7}`, class: clientcred.Refused},
		"a code that is there twice": {status: 400, kind: js, body: `{"error":"a","error":"b"}`, class: clientcred.Refused},
		"a page with 400":            {status: 400, kind: "text/html", body: `<b>` + secret, class: clientcred.Refused},
		"429":                        {status: 429, kind: js, body: "{}", class: clientcred.Refused},
		"500 with a token":           {status: 500, kind: js, body: good, class: clientcred.Refused},
		"503 that is too long":       {status: 503, kind: js, body: padded(300 << 10), class: clientcred.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status := max(row.status, 200)
			if row.status != 0 {
				status = row.status
			}
			source := serve(t, clientcred.SecretBasic(clientID, secret), func(w http.ResponseWriter, _ *http.Request) {
				writes(w, status, row.kind, row.body)
			})
			if row.token != "" {
				wants(t, source, row.token)
				return
			}
			fails(t, source, row.class)
			own, ok := errors.AsType[*clientcred.Error](source.Err())
			if !ok || own.Code != row.code || own.Status != status {
				t.Errorf("error %v, want status %d and code %q", source.Err(), status, row.code)
			}
		})
	}
}

// padded is a good answer of so many bytes.
func padded(n int) string {
	return good + strings.Repeat(" ", n-len(good))
}

func TestAnswerIsBoundedAfterItIsUnpacked(t *testing.T) {
	t.Parallel()
	source := serve(t, clientcred.SecretBasic(clientID, secret), func(w http.ResponseWriter, _ *http.Request) {
		var packed bytes.Buffer
		zip := gzip.NewWriter(&packed)
		_, _ = io.WriteString(zip, padded(1<<20))
		zip.Close()
		w.Header().Set("Content-Encoding", "gzip")
		writes(w, http.StatusOK, "application/json", packed.String())
	})
	fails(t, source, clientcred.Garbage)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			source := serve(t, clientcred.SecretPost(clientID, secret), func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) > 1 {
					t.Errorf("%s %s after the redirect", r.Method, r.RequestURI)
				}
				w.Header().Set("Location", "/elsewhere")
				writes(w, status, "application/json", good)
			})
			fails(t, source, clientcred.Refused)
		})
	}
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		writes(w, http.StatusOK, "application/json", good)
		panic(http.ErrAbortHandler)
	}
	t.Run("cut", func(t *testing.T) {
		t.Parallel()
		fails(t, serve(t, clientcred.SecretBasic(clientID, secret), cut), clientcred.Unreachable)
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		source := newSourceAt(t, "http://"+address, clientcred.SecretBasic(clientID, secret), clientcred.WithLoopback(), clientcred.WithTransport(plain()), clientcred.WithTimeout(calm))
		fails(t, source, clientcred.Unreachable)
		if _, ok := errors.AsType[*net.OpError](source.Err()); !ok {
			t.Errorf("error %v does not say why", source.Err())
		}
	})
	t.Run("a certificate that nobody trusts", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		source := newSourceAt(t, server.URL, clientcred.SecretBasic(clientID, secret), clientcred.WithTransport(plain()), clientcred.WithTimeout(calm))
		fails(t, source, clientcred.Unreachable)
		if _, ok := errors.AsType[*tls.CertificateVerificationError](source.Err()); !ok {
			t.Errorf("error %v does not say why", source.Err())
		}
	})
	t.Run("a transport that waits no longer", func(t *testing.T) {
		t.Parallel()
		fails(t, newSource(t, &endpoint{do: func(*http.Request) (int, string, error) {
			return 0, "", fmt.Errorf("%s: %w", secret, os.ErrDeadlineExceeded)
		}}), clientcred.Timeout)
	})
	t.Run("an error that tells the secret", func(t *testing.T) {
		t.Parallel()
		fails(t, newSource(t, &endpoint{do: func(r *http.Request) (int, string, error) {
			return 0, "", &url.Error{Op: "Post", URL: "https://a?" + secret, Err: errors.New(r.Header.Get("Authorization"))}
		}}), clientcred.Unreachable)
	})
}
