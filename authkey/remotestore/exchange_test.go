package remotestore_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

func TestQuestionAndIdentity(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	a := newAuthenticator(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- fmt.Sprintf("%s %s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Accept"), body)
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), "secret-nobody") {
				t.Errorf("the field %s has the key", name)
			}
		}
		answers(http.StatusOK, "application/json; charset=utf-8", `{
			"org":"acme","project":"shop","key":"k1","credential":"c7","name":"first","plan":"gold","owner":"Ann","kind":"publishable",
			"scopes":["search","write"],"products":["maps"],"networks":["192.0.2.7/24","2001:db8::/32"],"origins":["*.example.com"],
			"expires_at":"2031-01-01T00:00:00Z","of the future":{"a":[1]},"nothing":null}`)(w, r)
	}, remotestore.WithClock(new(clock).now))
	got, err := authenticate(t, a)
	if err != nil {
		t.Fatal(err)
	}
	want := &authkey.Identity{
		Org: "acme", Project: "shop", Key: "k1", Credential: "c7", Name: "first", Plan: "gold", Owner: "Ann", Kind: authkey.KindPublishable,
		Scopes: []string{"search", "write"}, Products: []string{"maps"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Origins:  []string{"*.example.com"}, Method: "remote", ExpiresAt: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC),
		Notes: new(authkey.Notes),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("identity\n%+v, want\n%+v", got, want)
	}
	if question, want := <-asked, `POST /validate application/json application/json, application/jwt {"key":"`+secret+`"}`; question != want {
		t.Errorf("question\n%s, want\n%s", question, want)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const js = "application/json"
	with := func(member string) string { return strings.TrimSuffix(good, "}") + "," + member + "}" }
	for name, row := range map[string]struct {
		status     int
		kind, body string
		refused    error
		class      remotestore.Class
	}{
		"good":                       {status: 200, kind: js, body: good},
		"a problem+json suffix":      {status: 200, kind: "application/vnd.acme+json", body: good},
		"null is absent":             {status: 200, kind: js, body: with(`"scopes":null,"plan":null,"expires_at":null,"token":null`)},
		"401":                        {status: 401, kind: js, body: `{"detail":"Unable to locate credentials."}`, refused: authkey.ErrUnknown},
		"402":                        {status: 402, kind: js, body: "{}", refused: authkey.ErrSuspended},
		"403":                        {status: 403, kind: js, body: "{}", refused: authkey.ErrDisabled},
		"404":                        {status: 404, kind: js, body: "{}", refused: authkey.ErrUnknown},
		"410":                        {status: 410, kind: js, body: "{}", refused: authkey.ErrRevoked},
		"403 revoked":                {status: 403, kind: js, body: `{"code":"revoked"}`, refused: authkey.ErrRevoked},
		"400 malformed":              {status: 400, kind: js, body: `{"code":"malformed"}`, refused: authkey.ErrUnknown},
		"403 expired":                {status: 403, kind: "application/problem+json", body: `{"code":"expired"}`, refused: authkey.ErrExpired},
		"403 early":                  {status: 403, kind: js, body: `{"code":"not_yet_valid"}`, refused: authkey.ErrNotYetValid},
		"403 suspended":              {status: 403, kind: js, body: `{"code":"suspended"}`, refused: authkey.ErrSuspended},
		"403 unknown":                {status: 403, kind: js, body: `{"code":"unknown"}`, refused: authkey.ErrUnknown},
		"401 of a code not known":    {status: 401, kind: js, body: `{"code":"boredom"}`, refused: authkey.ErrUnknown},
		"401 without a body":         {status: 401, class: remotestore.Status},
		"401 of a proxy":             {status: 401, kind: "text/html", body: "<html>" + secret, class: remotestore.Status},
		"401 and half an object":     {status: 401, kind: js, body: `{"code":`, class: remotestore.Status},
		"402 and null":               {status: 402, kind: js, body: "null", class: remotestore.Status},
		"403 and a list":             {status: 403, kind: js, body: "[{}]", class: remotestore.Status},
		"403 in plain text":          {status: 403, kind: "text/plain", body: `{"code":"revoked"}`, class: remotestore.Status},
		"404 of an ingress":          {status: 404, kind: "text/plain", body: "default backend - 404", class: remotestore.Status},
		"404 as a JWT":               {status: 404, kind: "application/jwt", body: "a.b.c", class: remotestore.Status},
		"404 and a text":             {status: 404, kind: js, body: `"` + secret + `"`, class: remotestore.Status},
		"410 without a body":         {status: 410, kind: js, class: remotestore.Status},
		"201":                        {status: 201, kind: js, body: good, class: remotestore.Status},
		"204":                        {status: 204, class: remotestore.Status},
		"206":                        {status: 206, kind: js, body: good, class: remotestore.Status},
		"301":                        {status: 301, kind: js, body: good, class: remotestore.Status},
		"400":                        {status: 400, class: remotestore.Status},
		"405":                        {status: 405, class: remotestore.Status},
		"408 with a code":            {status: 408, body: `{"code":"revoked"}`, class: remotestore.Status},
		"418":                        {status: 418, body: secret, class: remotestore.Status},
		"429 with a code":            {status: 429, body: `{"code":"revoked"}`, class: remotestore.Status},
		"500 with a code":            {status: 500, body: `{"code":"revoked"}`, class: remotestore.Status},
		"502":                        {status: 502, class: remotestore.Status},
		"503":                        {status: 503, body: secret, class: remotestore.Status},
		"a code with 200":            {status: 200, kind: js, body: `{"code":"revoked"}`, class: remotestore.Garbage},
		"no content type":            {status: 200, kind: " ", body: good, class: remotestore.Garbage},
		"html":                       {status: 200, kind: "text/html", body: "<html>" + secret, class: remotestore.Garbage},
		"empty":                      {status: 200, kind: js, class: remotestore.Garbage},
		"no JSON":                    {status: 200, kind: js, body: secret, class: remotestore.Garbage},
		"half of it":                 {status: 200, kind: js, body: good[:30], class: remotestore.Garbage},
		"two of it":                  {status: 200, kind: js, body: good + good, class: remotestore.Garbage},
		"a list":                     {status: 200, kind: js, body: "[" + good + "]", class: remotestore.Garbage},
		"null":                       {status: 200, kind: js, body: "null", class: remotestore.Garbage},
		"a member twice":             {status: 200, kind: js, body: with(`"org":"evil"`), class: remotestore.Garbage},
		"no UTF-8":                   {status: 200, kind: js, body: with("\"name\":\"\xff\""), class: remotestore.Garbage},
		"no org":                     {status: 200, kind: js, body: `{"project":"shop","key":"k1","kind":"secret"}`, class: remotestore.Garbage},
		"org in another case":        {status: 200, kind: js, body: `{"Org":"acme","project":"shop","key":"k1","kind":"secret"}`, class: remotestore.Garbage},
		"ORG beside org":             {status: 200, kind: js, body: with(`"ORG":"evil"`), class: remotestore.Garbage},
		"a scope that folds":         {status: 200, kind: js, body: with(`"\u017fcopes":["write"]`), class: remotestore.Garbage},
		"TOKEN":                      {status: 200, kind: js, body: with(`"TOKEN":"a.b.c"`), class: remotestore.Garbage},
		"no key":                     {status: 200, kind: js, body: `{"org":"acme","project":"shop","kind":"secret"}`, class: remotestore.Garbage},
		"no kind":                    {status: 200, kind: js, body: `{"org":"acme","project":"shop","key":"k1"}`, class: remotestore.Garbage},
		"an admin":                   {status: 200, kind: js, body: `{"org":"acme","project":"shop","key":"k1","kind":"admin"}`, class: remotestore.Garbage},
		"an org of another type":     {status: 200, kind: js, body: `{"org":7,"project":"shop","key":"k1","kind":"secret"}`, class: remotestore.Garbage},
		"a long org":                 {status: 200, kind: js, body: `{"org":"` + strings.Repeat("a", 129) + `","project":"shop","key":"k1","kind":"secret"}`, class: remotestore.Garbage},
		"control characters":         {status: 200, kind: js, body: with(`"name":"a\nb"`), class: remotestore.Garbage},
		"scopes as a text":           {status: 200, kind: js, body: with(`"scopes":"write"`), class: remotestore.Garbage},
		"scopes of numbers":          {status: 200, kind: js, body: with(`"scopes":["a",1]`), class: remotestore.Garbage},
		"an empty scope":             {status: 200, kind: js, body: with(`"scopes":[""]`), class: remotestore.Garbage},
		"too many scopes":            {status: 200, kind: js, body: with(`"scopes":[` + strings.Repeat(`"a",`, 64) + `"a"]`), class: remotestore.Garbage},
		"no network":                 {status: 200, kind: js, body: with(`"networks":["` + secret + `"]`), class: remotestore.Garbage},
		"IPv4 within IPv6":           {status: 200, kind: js, body: with(`"networks":["::ffff:192.0.2.0/120"]`), class: remotestore.Garbage},
		"no origin":                  {status: 200, kind: js, body: with(`"origins":["` + secret + `/"]`), class: remotestore.Garbage},
		"no time":                    {status: 200, kind: js, body: with(`"expires_at":"tomorrow"`), class: remotestore.Garbage},
		"a token, unexpected":        {status: 200, kind: js, body: `{"token":"a.b.c"}`, class: remotestore.BadToken},
		"a JWT, unexpected":          {status: 200, kind: "application/jwt", body: "a.b.c", class: remotestore.BadToken},
		"too long":                   {status: 200, kind: js, body: with(`"name":"` + strings.Repeat("a", 64<<10) + `"`), class: remotestore.Size},
		"a refusal that is too long": {status: 401, kind: js, body: strings.Repeat("a", 64<<10+1), class: remotestore.Size},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := answers(row.status, row.kind, row.body)
			a := newAuthenticator(t, handler)
			identity, err := authenticate(t, a)
			switch {
			case row.class != "":
				isClass(t, name, err, row.class, row.status)
			case row.refused != nil:
				is(t, name, err, row.refused)
				if errors.Is(err, authkey.ErrUnavailable) {
					t.Errorf("the error %v is an outage, too", err)
				}
			case err != nil || identity.Org != "acme" || identity.Project != "shop" || identity.Key != "k1" || identity.Kind != authkey.KindSecret || identity.Epoch != 0 || identity.Credential != "k1":
				t.Errorf("identity %+v, error %v", identity, err)
			}
		})
	}
}

// A redirect would take the key to wherever it says.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := newAuthenticatorOf(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the key went to %s", r.URL)
		answers(http.StatusOK, "application/json", good)(w, r)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{elsewhere, "/other", "http://" + secret + "/%zz"} {
			a := newAuthenticator(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/validate" {
					t.Errorf("%d was followed to %s", status, r.URL.Path)
				}
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			})
			_, err := authenticate(t, a)
			isClass(t, fmt.Sprint(status), err, remotestore.Status, status)
		}
	}
}

// newAuthenticatorOf returns the address of a service.
func newAuthenticatorOf(t *testing.T, handler http.HandlerFunc) string {
	url, _ := service(t, handler)
	return url
}

func TestBrokenExchanges(t *testing.T) {
	t.Parallel()
	short := remotestore.WithTimeout(30 * time.Millisecond)
	flush := func(w http.ResponseWriter) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}
	gone := func(r *http.Request) { // waits for the client to go away, which is seen once its question is read
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	hijack := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		class   remotestore.Class
		status  int
		opts    []remotestore.Option
	}{
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { gone(r) }, remotestore.Timeout, 0, []remotestore.Option{short}},
		"a body that never ends": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, good[:10])
			flush(w)
			gone(r)
		}, remotestore.Timeout, 0, []remotestore.Option{short}},
		"an endless body": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}, remotestore.Size, 200, nil},
		"a gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 4 {
				_, _ = z.Write(make([]byte, 64<<10))
			}
			_ = z.Close()
		}, remotestore.Size, 200, nil},
		"a connection cut at once":       {hijack(""), remotestore.Unreachable, 0, nil},
		"a connection cut later":         {hijack("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n" + good), remotestore.Unreachable, 0, nil},
		"no HTTP, but the key":           {hijack(secret + "\r\n\r\n"), remotestore.Unreachable, 0, nil},
		"a status that is the key":       {hijack("HTTP/1.1 " + secret + " x\r\n\r\n"), remotestore.Unreachable, 0, nil},
		"a header that is the key":       {hijack("HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n"), remotestore.Unreachable, 0, nil},
		"a length that is the key":       {hijack("HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n"), remotestore.Unreachable, 0, nil},
		"a request that is not one":      {answers(200, "application/json", good), remotestore.Unreachable, 0, []remotestore.Option{remotestore.WithRequest(func(context.Context, authkey.Presented) (*http.Request, error) { return nil, errors.New(secret) })}},
		"a request function that panics": {answers(200, "application/json", good), remotestore.Garbage, 0, []remotestore.Option{remotestore.WithRequest(func(context.Context, authkey.Presented) (*http.Request, error) { panic(secret) })}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthenticator(t, row.handler, row.opts...)
			_, err := authenticate(t, a)
			isClass(t, name, err, row.class, row.status)
			if got, want := a.Stats(), (authkey.Stats{Misses: 1, StoreErrors: 1}); row.class != remotestore.Timeout && got != want {
				t.Errorf("stats %+v, want %+v: nothing is kept of an outage", got, want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := remotestore.New(url, remotestore.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	_, err = authenticate(t, a)
	isClass(t, "no listener", err, remotestore.Unreachable, 0)
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Errorf("error %v, want one that tells of the network", err)
	}
}
