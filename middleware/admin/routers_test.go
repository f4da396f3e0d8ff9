package admin_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"    //nolint:depguard // shows that the handler mounts in gin
	"github.com/labstack/echo/v4" //nolint:depguard // and in echo

	"github.com/tollgate-go/tollgate/middleware/admin"
)

// routers mount a handler under /admin.
var routers = map[string]func(h http.Handler) http.Handler{
	"net/http": func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/admin/", h)
		return mux
	},
	"gin": func(h http.Handler) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		g := gin.New()
		g.Any("/admin/*path", gin.WrapH(h))
		return g
	},
	"echo": func(h http.Handler) http.Handler {
		e := echo.New()
		e.Any("/admin/*", echo.WrapHandler(h))
		return e
	},
}

func TestRouters(t *testing.T) {
	for name, mount := range routers {
		t.Run(name, func(t *testing.T) {
			h := mount(newHandler(t, append(withAll(t), admin.WithPrefix("/admin"))...))
			const path = "/admin/v1/orgs/a%2Fb%25/projects/%2E%2E/keys"
			issued := serve(t, h, request("POST", path, `{}`)).want(t, 201, "")
			location := issued.header.Get("Location")
			if want := path + "/" + issued.object["id"].(string); location != want {
				t.Errorf("Location %q, want %q", location, want)
			}
			serve(t, h, request("GET", location, "")).want(t, 200, "")
			if list := serve(t, h, request("GET", path, "")).items(t); len(list) != 1 || list[0]["project"] != ".." {
				t.Errorf("the list is %v", list)
			}
			serve(t, h, request("DELETE", location, "")).want(t, 204, "")
			serve(t, h, request("GET", "/admin/v1/orgs/a/projects/p/keys/"+issued.object["id"].(string), "")).want(t, 404, "not_found")
			serve(t, h, request("GET", "/admin/nothing", "")).want(t, 404, "not_found")
			serve(t, h, request("PATCH", path, "")).want(t, 405, "method_not_allowed")
			serve(t, h, request("GET", path, "", "Authorization", "")).want(t, 401, "missing_credential")
		})
	}
}

// The recorder of other tests keeps what a server does not send: so HEAD, 204 and a body that is too long
// on a real one.
func TestServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newHandler(t, withAll(t)...))
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	ask := func(method, path, body string) *answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return &answer{status: res.StatusCode, header: res.Header, text: string(text)}
	}
	if a := ask("POST", keys, `{"name":"`+strings.Repeat("a", 144<<10)+`"}`); a.status != 400 || !strings.Contains(a.text, "131072") {
		t.Errorf("a long body: %d %s", a.status, a.text)
	}
	location := ask("POST", keys, "").header.Get("Location")
	read, head := ask("GET", location, ""), ask("HEAD", location, "")
	if read.status != 200 || head.status != 200 || head.text != "" || head.header.Get("Content-Length") != strconv.Itoa(len(read.text)) {
		t.Errorf("GET %d %q, HEAD %d %q with %v", read.status, read.text, head.status, head.text, head.header)
	}
	if a := ask("DELETE", location, ""); a.status != 204 || a.text != "" || a.header.Get("Content-Type") != "" {
		t.Errorf("DELETE: %d %q, %v", a.status, a.text, a.header)
	}
}
