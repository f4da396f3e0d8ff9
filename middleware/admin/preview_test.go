package admin_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// stored returns all that Redis holds for an org, byte for byte, and when each key ends.
func stored(t *testing.T, rdb redis.UniversalClient, org string) map[string]string {
	t.Helper()
	all, mu := map[string]string{}, sync.Mutex{}
	scan := func(ctx context.Context, c *redis.Client) error {
		keys := c.Scan(ctx, 0, "tg1:{*}:"+org+":*", 1000).Iterator()
		for keys.Next(ctx) {
			dump, err := c.Dump(ctx, keys.Val()).Result()
			if err != nil {
				return err
			}
			mu.Lock()
			all[keys.Val()] = dump + c.PExpireTime(ctx, keys.Val()).String()
			mu.Unlock()
		}
		return keys.Err()
	}
	var err error
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(t.Context(), scan)
	case *redis.Client:
		err = scan(t.Context(), c)
	}
	if err != nil || len(all) < 2 {
		t.Fatalf("read %d keys: %v", len(all), err)
	}
	return all
}

// forecasts tells what a dry run shows: for each policy, before and after.
func forecasts(t *testing.T, a *answer) (lines []string) {
	t.Helper()
	for _, item := range a.items(t) {
		line := fmt.Sprint(item["policy"])
		for _, when := range []string{"before", "after"} {
			f := item[when].(map[string]any)
			source, _, _ := strings.Cut(f["source"].(string), ":")
			line += fmt.Sprintf(" | %s %v of %v passes %v", source, f["used"], f["limit"], f["passes"])
			if f["access"] != nil {
				line += fmt.Sprint(" ", f["access"])
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	org := func(t *testing.T, s *service, first, second ratelimit.Policy) string {
		t.Helper()
		name := redistest.Org(t)
		s.admitted(t, name, search, 10, policy)
		s.admitted(t, name, "POST /v1/two", 4, first)
		s.admitted(t, name, "POST /v1/two", 2, second)
		serve(t, s.admin, request("PUT", "/v1/orgs/"+name+"/overrides", `{"project":"p","policy":"second","limit":4}`)).want(t, 201, "")
		return name
	}
	first, second := ratelimit.PerHour(5).Fixed().Named("first").By(ratelimit.ByKey), ratelimit.PerHour(8).Fixed().Named("second").Monitored()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newKeyless(t, rdb, admin.WithRoute("POST /v1/two", first, second), admin.WithRoute("GET /healthz"))
		name := org(t, s, first, second)
		before := stored(t, rdb, name)
		const (
			full     = "requests | policy 10 of 10 passes false"
			perKey   = "first | policy 4 of 5 passes true"
			monitors = "second | override 2 of 4 passes true"
			same1    = " | policy 10 of 10 passes false"
			same2    = " | policy 4 of 5 passes true"
			same3    = " | override 2 of 4 passes true"
		)
		for _, row := range []struct {
			name, query, body, state string
			want                     []string
		}{
			{"a raise for a project", "?key=k", `{"project":"p","endpoint":"` + search + `","limit":20}`, "active",
				[]string{full + " | override 10 of 20 passes true", perKey + same2, monitors + same3}},
			{"of the org, which a more specific one outdoes", "?project=p&key=k", `{"limit":3,"reason":"x"}`, "active",
				[]string{full + " | override 10 of 3 passes false", perKey + " | override 4 of 3 passes false", monitors + same3}},
			{"a change of what is used", "?key=k", `{"project":"p","limit":20,"change":"reset"}`, "active",
				[]string{full + " | override 0 of 20 passes true", perKey + " | override 0 of 20 passes true", monitors + same3}},
			{"in place of one", "?key=k&project=p", `{"project":"p","policy":"second","limit":1}`, "active",
				[]string{full + same1, perKey + same2, monitors + " | override 2 of 1 passes true"}},
			{"without a key", "", `{"project":"p","policy":"first","limit":1}`, "active",
				[]string{full + same1, "first | policy <nil> of 5 passes <nil> | override <nil> of 1 passes <nil>", monitors + same3}},
			{"unlimited", "", `{"project":"p","policy":"first","access":"unlimited"}`, "active",
				[]string{full + same1, "first | policy <nil> of 5 passes <nil> | override <nil> of 5 passes true unlimited", monitors + same3}},
			{"blocked", "?key=k", `{"project":"p","access":"blocked"}`, "active",
				[]string{full + " | override 10 of 0 passes false blocked", perKey + " | override 4 of 0 passes false blocked", monitors + same3}},
			{"for later", "?key=k", `{"project":"p","endpoint":"` + search + `","limit":20,"starts_at":"2199-01-01T00:00:00Z","expires_at":"2199-01-02T00:00:00Z"}`, "pending",
				[]string{full + " | override 10 of 20 passes true", perKey + same2, monitors + same3}},
			{"another project", "?key=k2", `{"project":"q","limit":1}`, "active",
				[]string{"requests | policy 0 of 10 passes true | override 0 of 1 passes true", "first | policy 0 of 5 passes true | override 0 of 1 passes true", "second | policy 0 of 8 passes true | override 0 of 1 passes true"}},
		} {
			a := serve(t, s.admin, request("POST", "/v1/orgs/"+name+"/overrides/dry-run"+row.query, row.body)).want(t, 200, "")
			if got := forecasts(t, a); !reflect.DeepEqual(got, row.want) || a.object["state"] != row.state {
				t.Errorf("%s (%v):\n%s\nwant (%s)\n%s", row.name, a.object["state"], strings.Join(got, "\n"), row.state, strings.Join(row.want, "\n"))
			}
		}
		if after := stored(t, rdb, name); !reflect.DeepEqual(after, before) {
			t.Errorf("the dry runs wrote: there is %q, there was %q", after, before)
		}
	})
}

func TestDryRunRefuses(t *testing.T) {
	t.Parallel()
	var changes []admin.Change
	s := newKeyless(t, redistest.Standalone(t), admin.WithAudit(func(c admin.Change) { changes = append(changes, c) }))
	base := "/v1/orgs/" + redistest.Org(t) + "/overrides"
	for _, row := range []struct {
		name, query, body string
		status            int
		code, pointer     string
	}{
		{"no project", "", `{"limit":1}`, 400, "invalid_query", ""},
		{"empty project", "?project=", `{"limit":1}`, 400, "invalid_query", ""},
		{"long project", "?project=" + strings.Repeat("p", 129), `{"limit":1}`, 400, "invalid_query", ""},
		{"another project", "?project=q", `{"project":"p","limit":1}`, 400, "invalid_query", ""},
		{"empty key", "?project=p&key=", `{"limit":1}`, 400, "invalid_query", ""},
		{"unknown parameter", "?project=p&endpoint=x", `{"limit":1}`, 400, "invalid_query", ""},
		{"no body", "?project=p", "", 415, "unsupported_media", ""},
		{"unknown field", "?project=p", `{"limit":1,"id":"x"}`, 422, "invalid_fields", "/id"},
		{"null", "?project=p", `{"limit":null}`, 422, "invalid_fields", "/limit"},
		{"out of bounds", "", `{"project":"p","limit":-1}`, 422, "invalid_fields", "/limit"},
		{"nothing", "?project=p", `{}`, 422, "invalid_fields", ""},
		{"ended", "", `{"project":"p","limit":1,"expires_at":"2020-01-01T00:00:00Z"}`, 422, "invalid_fields", "/expires_at"},
	} {
		a := serve(t, s.admin, request("POST", base+"/dry-run"+row.query, row.body)).want(t, row.status, row.code)
		if pointers := strings.Join(pointersOf(t, a), " "); pointers != row.pointer {
			t.Errorf("%s: pointers %q, want %q: %s", row.name, pointers, row.pointer, a.text)
		}
	}
	serve(t, s.admin, request("HEAD", base+"/dry-run", "")).want(t, 405, "")
	serve(t, s.admin, request("POST", base+"/dry-run?project=p", `{"limit":1}`)).want(t, 200, "")
	if items := serve(t, s.admin, request("GET", base, "")).items(t); len(items)+len(changes) != 0 {
		t.Errorf("dry runs left %v and reported %v", items, changes)
	}
}

// TestDryRunTellsHowLong has a project that is out of units, with an override and without.
func TestDryRunTellsHowLong(t *testing.T) {
	t.Parallel()
	s, org := newKeyless(t, redistest.Standalone(t)), redistest.Org(t)
	s.admitted(t, org, search, 10, policy)
	item := serve(t, s.admin, request("POST", "/v1/orgs/"+org+"/overrides/dry-run", `{"project":"p","limit":0}`)).want(t, 200, "").items(t)[0]
	before, after := item["before"].(map[string]any), item["after"].(map[string]any)
	wait, err := time.ParseDuration(fmt.Sprint(before["retry_after"]))
	if err != nil || wait <= 0 || wait > time.Minute || after["retry_after"] != "never" {
		t.Errorf("retry after %v before, %v after; want up to a minute, and never", before["retry_after"], after["retry_after"])
	}
}
