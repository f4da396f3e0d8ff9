package mount_test

import (
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/adapters/internal/mount"
	"github.com/tollgate-go/tollgate/middleware"
)

func TestTemplate(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ path, want string }{
		{"", ""},
		{"/", "/"},
		{"/items", "/items"},
		{"/items/", "/items/"},
		{"/items/:id", "/items/{id}"},
		{"/items/:id/", "/items/{id}/"},
		{"/:org/items/:item_id/rows", "/{org}/items/{item_id}/rows"},
		{"/files/*path", "/files/{...}"},
		{"/files/*", "/files/{...}"},
		{"/static*", "/static{...}"},
		{"/:org/files/*path", "/{org}/files/{...}"},
		{"/*", "/{...}"},
		{"/user_:name", "/user_{name}"},
		{`/items\:undelete`, "/items:undelete"},
		{`/items/:id/rows\:undelete/:row`, "/items/{id}/rows:undelete/{row}"},
		{`\:`, ":"},
		{"/:", "/{}"},
	} {
		if got := mount.Template(row.path); got != row.want {
			t.Errorf("Template(%q) = %q, want %q", row.path, got, row.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	unmade, unlimited := middleware.Authenticate(nil), middleware.LimitBy(middleware.Everyone(), nil)
	for name, row := range map[string]struct {
		stage middleware.Stage
		want  string
	}{
		"no stage":           {nil, "anykit: Middleware(nil): make a stage with middleware.Authenticate or middleware.LimitBy"},
		"nil of a type":      {(*middleware.Limited)(nil), "anykit: Middleware(nil): make a stage with middleware.Authenticate or middleware.LimitBy"},
		"no authenticator":   {unmade, unmade.Err().Error()},
		"neither limit":      {unlimited, unlimited.Err().Error()},
		"a chain keeps them": {unmade.RequireProduct("maps"), unmade.Err().Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if err, _ := recover().(error); err == nil || err.Error() != row.want {
					t.Errorf("panic with %v, want %v", err, row.want)
				}
			}()
			mount.Check("anykit", row.stage)
		})
	}
}

func TestNames(t *testing.T) {
	names := new(mount.Names)
	if got, ok := names.Get("GET", "/items/:id"); ok {
		t.Errorf("Get of a new Names = %q, want none", got)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { names.Add("GET", "/items/:"+string(rune('a'+i))) })
	}
	all.Wait()
	for i := range 8 {
		name := string(rune('a' + i))
		if got, ok := names.Get("GET", "/items/:"+name); !ok || got != "GET /items/{"+name+"}" {
			t.Errorf("Get(%q) = %q, %v", name, got, ok)
		}
	}
	if _, ok := names.Get("POST", "/items/:a"); ok {
		t.Error("a method is part of a route")
	}
	if n := testing.AllocsPerRun(100, func() { names.Get("GET", "/items/:a") }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
}
