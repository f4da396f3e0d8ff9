package redistest_test

import (
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestStart(t *testing.T) {
	t.Parallel()
	var addr string
	ended := judge(t, func(tb testing.TB) {
		addr = redistest.Start(tb, "--maxmemory", "3mb", "--maxmemory-policy", "volatile-ttl")
		other := redistest.Start(tb)
		if addr == other {
			tb.Errorf("two servers at %s", addr)
		}
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		defer rdb.Close()
		got, err := rdb.ConfigGet(tb.Context(), "maxmemory*").Result()
		if err != nil || got["maxmemory"] != "3145728" || got["maxmemory-policy"] != "volatile-ttl" {
			tb.Errorf("CONFIG GET = %v, %v; want the settings of the arguments", got, err)
		}
		if n, err := rdb.DBSize(tb.Context()).Result(); err != nil || n != 0 {
			tb.Errorf("DBSIZE = %d, %v; want an empty server", n, err)
		}
	})
	if ended.skipped != "" {
		t.Skip(ended.skipped)
	}
	if ended.failed != "" {
		t.Fatal(ended.failed)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr); err == nil {
		conn.Close()
		t.Errorf("a server listens on %s after its test has ended", addr)
	}
}

func TestStartSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	got := judge(t, func(tb testing.TB) { redistest.Start(tb, "--maxmemory-policy", "never-heard-of") })
	if got.skipped != "" {
		t.Skip(got.skipped)
	}
	if !strings.Contains(got.failed, "never-heard-of") || !strings.Contains(got.failed, "FATAL CONFIG FILE ERROR") {
		t.Errorf("failed with %q, want the words of the server", got.failed)
	}
}

func TestStartWithoutServer(t *testing.T) {
	for _, tt := range []struct{ name, require, skipped, failed string }{
		{"is skipped", "", "needs a redis-server in the PATH", ""},
		{"required fails", "1", "", "no redis-server in the PATH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", t.TempDir())
			t.Setenv(redistest.EnvRequire, tt.require)
			got := judge(t, func(tb testing.TB) { redistest.Start(tb) })
			if !strings.Contains(got.skipped, tt.skipped) || !strings.Contains(got.failed, tt.failed) ||
				(tt.skipped == "") != (got.skipped == "") || (tt.failed == "") != (got.failed == "") {
				t.Errorf("skipped %q, failed %q; want %q, %q", got.skipped, got.failed, tt.skipped, tt.failed)
			}
			if said := got.skipped + got.failed; !strings.Contains(said, ".ci/with-redis go test ./...") {
				t.Errorf("%q does not say how to mend it", said)
			}
		})
	}
}
