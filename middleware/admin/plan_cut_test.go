package admin_test

import (
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// TestDeleteAgainMends repeats a deletion that did not reach a bucket, under each condition.
func TestDeleteAgainMends(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	h := newHandler(t, admin.WithPlans(newPlans(t, rdb)))
	for _, match := range []string{"", "*", `"5"`, `"5","6"`} {
		name := planName(t, rdb)
		path := "/v1/plans/" + name
		serve(t, h, request("PUT", path, `{"rules":[{"limit":1}]}`)).want(t, 201, "")
		old := rdb.HGet(t.Context(), lua.PlansKey("41"), name).Val()
		serve(t, h, request("DELETE", path, "")).want(t, 204, "")
		if err := rdb.HSet(t.Context(), lua.PlansKey("41"), name, old).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
		serve(t, h, request("DELETE", path, "", "If-Match", match)).want(t, 404, "not_found")
		if text := rdb.HGet(t.Context(), lua.PlansKey("41"), name).Val(); !strings.Contains(text, `"deleted"`) {
			t.Errorf("If-Match %s: bucket 41 has %q, want a mark", match, text)
		}
	}
}
