package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		h := newService(t, rdb).admin
		for _, row := range []struct {
			name, field, value string // TAG is the ETag that is there
			there, gone        int    // status of PUT where there is one, where there is none
			deleted            int    // status of DELETE where there is one
		}{
			{"none", "", "", 200, 201, 204},
			{"the tag", "If-Match", `TAG`, 200, 412, 204},
			{"another tag", "If-Match", `"1"`, 412, 412, 412},
			{"any", "If-Match", `*`, 200, 412, 204},
			{"a list with it", "If-Match", `"1", TAG,"x"`, 200, 412, 204},
			{"a list with it and another", "If-Match", `"1" ,"2",, TAG`, 200, 412, 204},
			{"a list without it", "If-Match", `"1","2"`, 412, 412, 412},
			{"a weak tag", "If-Match", `W/TAG`, 412, 412, 412},
			{"not ours", "If-Match", `"abc"`, 412, 412, 412},
			{"what means always inside", "If-Match", `"0"`, 412, 412, 412},
			{"what means absent inside", "If-Match", `"-1"`, 412, 412, 412},
			{"the same number written otherwise", "If-Match", `"0REVISION"`, 412, 412, 412},
			{"an empty tag", "If-Match", `""`, 412, 412, 412},
			{"no quotes", "If-Match", `1`, 400, 400, 400},
			{"half a tag", "If-Match", `"1`, 400, 400, 400},
			{"any in a list", "If-Match", `*, TAG`, 400, 400, 400},
			{"absent", "If-None-Match", `*`, 412, 201, 412},
			{"an empty field", "If-Match", ``, 400, 400, 400},
			{"an empty list", "If-Match", `, ,`, 400, 400, 400},
			{"an empty field of none", "If-None-Match", ``, 400, 400, 400},
			{"none of a tag", "If-None-Match", `TAG`, 400, 400, 400},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				base := "/v1/orgs/" + redistest.Org(t) + "/overrides"
				const body = `{"project":"p","limit":1}`
				ask := func(method, target, body, tag string) *answer {
					r := request(method, target, body)
					if row.field != "" {
						r.Header.Set(row.field, strings.NewReplacer("TAG", tag, "REVISION", strings.Trim(tag, `"`)).Replace(row.value))
					}
					return serve(t, h, r)
				}
				if a := ask("PUT", base, body, `"1700000000000000"`); a.status != row.gone {
					t.Errorf("PUT of a new one: %d %s, want %d", a.status, a.text, row.gone)
				}
				stored := serve(t, h, request("PUT", base, body))
				if a := ask("PUT", base, body, stored.header.Get("ETag")); a.status != row.there {
					t.Errorf("PUT: %d %s, want %d", a.status, a.text, row.there)
				}
				stored = serve(t, h, request("PUT", base, body))
				if a := ask("DELETE", stored.header.Get("Location"), "", stored.header.Get("ETag")); a.status != row.deleted {
					t.Errorf("DELETE: %d %s, want %d", a.status, a.text, row.deleted)
				}
				_, there := serve(t, h, request("GET", stored.header.Get("Location"), "")).object["id"]
				if there == (row.deleted == 204) {
					t.Errorf("it is there: %v, after %d", there, row.deleted)
				}
			})
		}
		both := request("PUT", "/v1/orgs/o/overrides", `{"limit":1}`, "If-Match", "*", "If-None-Match", "*")
		serve(t, h, both).want(t, 400, "invalid_precondition")
		lines := request("PUT", fmt.Sprintf("/v1/orgs/%s/overrides", redistest.Org(t)), `{"limit":1}`, "If-Match", `"1"`)
		lines.Header.Add("If-Match", `"2"`)
		serve(t, h, lines).want(t, 412, "precondition_failed")
		serve(t, h, request("DELETE", fmt.Sprintf("/v1/orgs/%s/overrides/x", redistest.Org(t)), "", "If-Match", `"1","2"`)).want(t, 404, "not_found")
	})
}
