package introspect_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/introspect"
)

// serve returns an Introspector that asks a server on this machine.
func serve(t *testing.T, handler http.HandlerFunc, opts ...introspect.Option) *introspect.Introspector {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	opts = append([]introspect.Option{
		introspect.WithLoopback(), introspect.WithTimeout(calm), introspect.WithTransport(&http.Transport{DisableKeepAlives: true}),
	}, opts...)
	i, err := introspect.New(server.URL+"/introspect?tenant=a", opts...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestQuestion(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	i := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			if name != "User-Agent" && name != "Accept-Encoding" && name != "Content-Length" && name != "Connection" {
				fields = append(fields, name+"="+strings.Join(r.Header[name], "|"))
			}
		}
		asked <- r.Method + " " + r.RequestURI + "\n" + strings.Join(fields, "\n") + "\n" + string(body)
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		fmt.Fprint(w, `{"active":true,"sub":"ann","aud":["a"],"exp":4102444800}`)
	}, introspect.WithSecretBasic("shop: 1", password+"%"))
	claims, err := ask(t, i)
	if err != nil || string(claims["sub"]) != `"ann"` || string(claims["aud"]) != `["a"]` || len(claims) != 3 || claims["active"] != nil {
		t.Errorf("claims %s, %v", claims, err)
	}
	basic := base64.StdEncoding.EncodeToString([]byte("shop%3A+1:" + password + "%25"))
	want := "POST /introspect?tenant=a\nAccept=application/json\nAuthorization=Basic " + basic +
		"\nContent-Type=application/x-www-form-urlencoded\n" +
		"token=an-opaque.secret-token_of~68%2Bcharacters%2F%3D%3D&token_type_hint=access_token"
	if got := <-asked; got != want {
		t.Errorf("asked\n%s, want\n%s", got, want)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const js, active = "application/json", `{"active":true,"sub":"ann","exp":4102444800}`
	for name, row := range map[string]struct {
		status     int
		kind, body string
		want       error
		says       string
	}{
		"active":                {200, js, active, nil, ""},
		"another JSON":          {200, "application/vnd.acme+json", active, nil, ""},
		"nothing but active":    {200, js, `{"active":true}`, nil, ""},
		"not active":            {200, js, `{"active":false}`, authkey.ErrUnknown, "not active"},
		"not active, with more": {200, js, `{"active":false,"exp":"x","sub":"ann"}`, authkey.ErrUnknown, "not active"},
		`#67 active is "true"`:  {200, js, `{"active":"true","sub":"ann"}`, authkey.ErrUnknown, "not active"},
		"#67 active is 1":       {200, js, `{"active":1,"sub":"ann"}`, authkey.ErrUnknown, "not active"},
		"#67 active is null":    {200, js, `{"active":null}`, authkey.ErrUnknown, "not active"},
		"#67 active is [true]":  {200, js, `{"active":[true]}`, authkey.ErrUnknown, "not active"},
		"no active":             {200, js, `{"sub":"ann"}`, authkey.ErrUnavailable, `"active"`},
		"Active":                {200, js, `{"Active":true}`, authkey.ErrUnavailable, "another case"},
		"ACTIVE beside active":  {200, js, `{"active":false,"ACTIVE":true}`, authkey.ErrUnavailable, "another case"},
		"EXP beside exp":        {200, js, `{"active":true,"exp":4102444800,"EXP":1}`, authkey.ErrUnavailable, "another case"},
		"active twice":          {200, js, `{"active":false,"active":true}`, authkey.ErrUnavailable, "no name twice"},
		"a name twice, deep":    {200, js, `{"active":true,"cnf":{"jkt":"a","jkt":"b"}}`, authkey.ErrUnavailable, "no name twice"},
		"exp is text":           {200, js, `{"active":true,"exp":"4102444800"}`, authkey.ErrUnavailable, "seconds"},
		"exp is null":           {200, js, `{"active":true,"exp":null}`, authkey.ErrUnavailable, "seconds"},
		"exp is out of bounds":  {200, js, `{"active":true,"exp":1e300}`, authkey.ErrUnavailable, "seconds"},
		"exp is negative":       {200, js, `{"active":true,"exp":-1}`, authkey.ErrUnavailable, "seconds"},
		"half of it":            {200, js, active[:20], authkey.ErrUnavailable, "JSON"},
		"two of it":             {200, js, active + active, authkey.ErrUnavailable, "JSON"},
		"a list":                {200, js, "[" + active + "]", authkey.ErrUnavailable, "JSON"},
		"true":                  {200, js, "true", authkey.ErrUnavailable, "JSON"},
		"nothing":               {200, js, "", authkey.ErrUnavailable, "JSON"},
		"deep":                  {200, js, `{"active":true,"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, authkey.ErrUnavailable, "JSON"},
		"no UTF-8":              {200, js, "{\"active\":true,\"sub\":\"\xff\"}", authkey.ErrUnavailable, "UTF-8"},
		"html":                  {200, "text/html", active, authkey.ErrUnavailable, "Content-Type"},
		"no Content-Type":       {200, "", active, authkey.ErrUnavailable, "Content-Type"},
		"a signed answer":       {200, "application/token-introspection+jwt", "a.b.c", authkey.ErrUnavailable, "Content-Type"},
		"the longest":           {200, js, active[:len(active)-1] + strings.Repeat(" ", 64<<10-len(active)) + "}", nil, ""},
		"one byte more":         {200, js, active[:len(active)-1] + strings.Repeat(" ", 64<<10-len(active)+1) + "}", authkey.ErrUnavailable, "more than 65536 bytes"},
		"the token again":       {200, js, `"` + token + `"`, authkey.ErrUnavailable, "JSON"},
		"201":                   {201, js, active, authkey.ErrUnavailable, "status 201"},
		"204":                   {204, "", "", authkey.ErrUnavailable, "status 204"},
		"302":                   {302, js, active, authkey.ErrUnavailable, "status 302"},
		"400":                   {400, js, `{"error":"` + token + `"}`, authkey.ErrUnavailable, "status 400"},
		"401 is about us":       {401, js, `{"active":false}`, authkey.ErrUnavailable, "our own client credentials, not the caller's token (status 401)"},
		"403 is about us":       {403, js, `{"active":false}`, authkey.ErrUnavailable, "our own client credentials, not the caller's token (status 403)"},
		"404":                   {404, js, `{"active":false}`, authkey.ErrUnavailable, "status 404"},
		"429":                   {429, js, `{"active":false}`, authkey.ErrUnavailable, "asked less (status 429)"},
		"500":                   {500, js, active, authkey.ErrUnavailable, "status 500"},
		"503":                   {503, "text/plain", token, authkey.ErrUnavailable, "status 503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{row.kind}
				if row.kind == "" {
					w.Header()["Content-Type"] = nil
				}
				w.WriteHeader(row.status)
				fmt.Fprint(w, row.body)
			})
			_, err := ask(t, i)
			is(t, name, err, row.want)
			if err != nil && !strings.Contains(err.Error(), row.says) {
				t.Errorf("error %v, want one that says %q", err, row.says)
			}
		})
	}
}

// A redirect would take the token, and our secret, to wherever it says.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the token went to %s", r.URL)
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{elsewhere.URL, "/other"} {
			i := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/introspect" {
					t.Errorf("%d was followed to %s", status, r.URL.Path)
				}
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			}, introspect.WithSecretPost("shop", password))
			_, err := ask(t, i)
			is(t, fmt.Sprint(status), err, authkey.ErrUnavailable)
		}
	}
}

func TestNobodyIsAskedAboutOddTokens(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	for name, text := range map[string]string{
		"nothing": "", "equals alone": "==", "equals within": "a=b", "a space": "a secret", "a line break": "secret\n", "NUL": "secret\x00",
		"a quote": `"secret"`, "a percent sign": "secret%20", "a letter that is none here": "sécret", "no UTF-8": "secret\xff",
		"8 KiB and a byte": strings.Repeat("a", 8<<10+1), "8 KiB and equals": strings.Repeat("a", 8<<10) + "=",
	} {
		claims, err := i.Introspect(t.Context(), text)
		if claims != nil {
			t.Errorf("%s: claims %s", name, claims)
		}
		is(t, name, err, authkey.ErrMalformed)
		quiet(t, err)
	}
	if s.calls() != 0 {
		t.Errorf("the endpoint was asked %d times, about %q", s.calls(), s.asked)
	}
	for name, text := range map[string]string{"8 KiB": strings.Repeat("a", 8<<10), "one letter": "a", "all signs": "azAZ09-._~+/="} {
		if _, err := i.Introspect(t.Context(), text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzAnswer holds that no answer makes a token good of which another reader of JSON says that it is not active.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{"active":true}`, `{"active":true,"exp":4102444800,"a":{"b":[1]}}`, `{"active":"true"}`, `{"active":false,"active":true}`, `[{"active":true}]`, "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s, i := newServer(t)
		s.says(body)
		claims, err := ask(t, i)
		if err != nil {
			if !errors.Is(err, authkey.ErrUnknown) && !errors.Is(err, authkey.ErrUnavailable) {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		var other map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &other); err != nil || string(other["active"]) != "true" || len(other) != len(claims)+1 {
			t.Errorf("%q: claims %s, and encoding/json says %s, %v", body, claims, other, err)
		}
	})
}
