package breaker_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua/breaker"
)

func TestLog(t *testing.T) {
	t.Parallel()
	if breaker.Log(nil, "keys") != nil {
		t.Error("no logger, and yet somebody is told")
	}
	var out strings.Builder
	tell := breaker.Log(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})), "keys")
	tell("redis:6379", true)
	tell("redis:6379", false)
	want := `level=WARN msg="tollgate: Redis does not answer, and is left alone but for probes" part=keys server=redis:6379
level=INFO msg="tollgate: Redis answers again" part=keys server=redis:6379
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
