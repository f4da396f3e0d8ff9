package leak_test

import (
	"crypto/elliptic"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

func TestBodies(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	h := newHandler(t, newIssuer(t, authkey.NewMemoryStore()), github.keys(t))
	one := `{"token":"x","type":"a"}`
	for _, c := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"none", "", http.StatusBadRequest, "invalid_body"},
		{"no JSON", "[", http.StatusBadRequest, "invalid_body"},
		{"no array", one, http.StatusBadRequest, "invalid_body"},
		{"null", "null", http.StatusBadRequest, "invalid_body"},
		{"array of texts", `["x"]`, http.StatusBadRequest, "invalid_body"},
		{"array of null", `[null]`, http.StatusBadRequest, "invalid_body"},
		{"nested array", `[[` + one + `]]`, http.StatusBadRequest, "invalid_body"},
		{"two documents", `[] []`, http.StatusBadRequest, "invalid_body"},
		{"something after it", `[]x`, http.StatusBadRequest, "invalid_body"},
		{"a comma too much", `[` + one + `,]`, http.StatusBadRequest, "invalid_body"},
		{"a comma too few", `[` + one + one + `]`, http.StatusBadRequest, "invalid_body"},
		{"not UTF-8", "[{\"token\":\"\xff\",\"type\":\"a\"}]", http.StatusBadRequest, "invalid_body"},
		{"no token", `[{"type":"a"}]`, http.StatusBadRequest, "invalid_body"},
		{"token null", `[{"token":null,"type":"a"}]`, http.StatusBadRequest, "invalid_body"},
		{"token empty", `[{"token":"","type":"a"}]`, http.StatusBadRequest, "invalid_body"},
		{"token a number", `[{"token":7,"type":"a"}]`, http.StatusBadRequest, "invalid_body"},
		{"no type", `[{"token":"x"}]`, http.StatusBadRequest, "invalid_body"},
		{"token twice", `[{"token":"x","token":"y","type":"a"}]`, http.StatusBadRequest, "invalid_body"},
		{"token in another case", `[{"Token":"x","type":"a"}]`, http.StatusBadRequest, "invalid_body"},
		{"second is wrong", `[` + one + `,{}]`, http.StatusBadRequest, "invalid_body"},
		{"empty", "[]", http.StatusOK, ""},
		{"space around", " \n[" + one + "]\r\n\t ", http.StatusOK, ""},
		{"members to come", `[{"token":"x","type":"a","repository":{"id":1}}]`, http.StatusOK, ""},
		{"url null", `[{"token":"x","type":"a","url":null}]`, http.StatusOK, ""},
		{"as many as may be", "[" + strings.Repeat(one+",", 499) + one + "]", http.StatusOK, ""},
		{"one too many", "[" + strings.Repeat(one+",", 500) + one + "]", http.StatusRequestEntityTooLarge, "too_many_tokens"},
		{"as long as may be", "[]" + strings.Repeat(" ", 1<<20-2), http.StatusOK, ""},
		{"a byte too long", "[]" + strings.Repeat(" ", 1<<20-1), http.StatusRequestEntityTooLarge, "body_too_large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, h, github.request(t, c.body)).want(t, c.status, c.code)
			if c.name == "empty" && a.text != "[]" {
				t.Errorf("answer %s", a.text)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	h := newHandler(t, newIssuer(t, authkey.NewMemoryStore()), github.keys(t))
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, "X"} {
		r := github.request(t, "[]")
		r.Method = method
		a := serve(t, h, r)
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: %d, Allow %q", method, a.status, a.header.Get("Allow"))
		}
	}
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, http.ErrBodyReadAfterClose
}

func TestStrangersAreNotReadFrom(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	h := newHandler(t, newIssuer(t, authkey.NewMemoryStore()), github.keys(t))
	r := httptest.NewRequest(http.MethodPost, "/", unread{t})
	serve(t, h, r).want(t, http.StatusUnauthorized, "invalid_signature")
	r.Header.Set(fieldIdentifier, "another")
	r.Header.Set(fieldSignature, github.sign(t, "[]"))
	serve(t, h, r).want(t, http.StatusUnauthorized, "invalid_signature")
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{"[]", `[{"token":"x","type":"a","url":"u","source":"s"}]`, `[{"token":"x","type":"a","url":null}] `, `[{},{}]`, "[[[[", `[{"token":"\ud800"}]`} {
		f.Add(seed)
	}
	github := newSigner(f, elliptic.P256())
	h := newHandler(f, newIssuer(f, authkey.NewMemoryStore()), github.keys(f))
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, github.request(t, body))
		var want []leak.Match
		standard := json.Unmarshal([]byte(body), &want)
		switch w.Code {
		case http.StatusOK: // then the standard library reads as many
			var feedback []leak.Feedback
			if err := json.Unmarshal(w.Body.Bytes(), &feedback); err != nil || standard != nil || len(feedback) != len(want) {
				t.Errorf("%q: answer %s (%v), standard %d (%v)", body, w.Body, err, len(want), standard)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("%q: answer %d %s", body, w.Code, w.Body)
		}
	})
}
