package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// TestLargestPlan has as many rules as there may be, each as long as it may be.
func TestLargestPlan(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	h, path := newHandler(t, admin.WithPlans(newPlans(t, rdb))), "/v1/plans/"+planName(t, rdb)
	rules := make([]string, 100)
	for i := range rules {
		rules[i] = fmt.Sprintf(`{"endpoint":"GET /%0507d","policy":"%064d","limit":999999999999999,"window":"9599h59m59.999999s","burst":999999999999999,"change":"proportional"}`, i, i)
	}
	serve(t, h, request("PUT", path, `{"rules":[`+strings.Join(rules, ",")+`]}`)).want(t, 201, "")
	serve(t, h, request("PUT", path, `{"rules":[`+strings.Repeat(" ", 128<<10)+`]}`)).want(t, 400, "invalid_body")
}
