package redistest_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// verdict is a test that writes down how it would have ended.
type verdict struct {
	testing.TB
	skipped, failed string
	cleanups        []func()
}

func (v *verdict) Helper()                   {}
func (v *verdict) Cleanup(f func())          { v.cleanups = append(v.cleanups, f) }
func (v *verdict) Errorf(f string, a ...any) { v.failed = fmt.Sprintf(f, a...) }

func (v *verdict) Skipf(f string, a ...any) {
	v.skipped = fmt.Sprintf(f, a...)
	runtime.Goexit()
}

func (v *verdict) Fatalf(f string, a ...any) {
	v.failed = fmt.Sprintf(f, a...)
	runtime.Goexit()
}

// judge runs f to its end as testing would, clean-up and all.
func judge(t *testing.T, f func(testing.TB)) *verdict {
	t.Helper()
	v := &verdict{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(v.cleanups) {
				f()
			}
		}()
		f(v)
	}()
	<-done
	return v
}

func TestEach(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		key := redistest.Org(t)
		if err := rdb.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		if n, err := rdb.Del(t.Context(), key).Result(); err != nil || n != 1 {
			t.Errorf("DEL = %d, %v; want 1", n, err)
		}
		_, cluster := rdb.(*redis.ClusterClient)
		if want := strings.HasSuffix(t.Name(), "/cluster"); cluster != want {
			t.Errorf("client is %T, want one of a cluster: %t", rdb, want)
		}
	})
}

func TestClusterHasThreeMasters(t *testing.T) {
	t.Parallel()
	slots, err := redistest.Cluster(t).ClusterSlots(t.Context()).Result()
	if err != nil {
		t.Fatalf("CLUSTER SLOTS: %v", err)
	}
	masters := map[string]bool{}
	for _, s := range slots {
		masters[s.Nodes[0].ID] = true
	}
	if got, addrs := len(masters), redistest.ClusterAddrs(t); got != 3 || len(addrs) != 3 {
		t.Errorf("%d masters, addresses %v; want 3 of each", got, addrs)
	}
}

func TestMissing(t *testing.T) {
	standalone := func(tb testing.TB) { redistest.Standalone(tb) }
	embedded := func(tb testing.TB) { redistest.Standalone(tb, redistest.OrEmbedded()) }
	cluster := func(tb testing.TB) { redistest.Cluster(tb) }
	for _, tt := range []struct {
		name, addr, require string
		ask                 func(testing.TB)
		skipped, failed     string
	}{
		{"standalone is skipped", "", "", standalone, redistest.EnvStandalone, ""},
		{"blank is missing", " , ", "", standalone, redistest.EnvStandalone, ""},
		{"cluster is skipped", "", "", cluster, redistest.EnvCluster, ""},
		{"embedded serves", "", "", embedded, "", ""},
		{"required standalone fails", "", "1", standalone, "", redistest.EnvStandalone + " is not set"},
		{"required cluster fails", "", "1", cluster, "", redistest.EnvCluster + " is not set"},
		{"required is not embedded", "", "1", embedded, "", redistest.EnvStandalone + " is not set"},
		{"no server there fails", "127.0.0.1:1", "", embedded, "", "no Redis at [127.0.0.1:1]"},
		{"no cluster there fails", "127.0.0.1:1", "", cluster, "", "no Redis at [127.0.0.1:1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(redistest.EnvStandalone, tt.addr)
			t.Setenv(redistest.EnvCluster, tt.addr)
			t.Setenv(redistest.EnvRequire, tt.require)
			got := judge(t, tt.ask)
			for _, text := range []struct{ name, got, want string }{
				{"skipped", got.skipped, tt.skipped}, {"failed", got.failed, tt.failed},
			} {
				if !strings.Contains(text.got, text.want) || (text.want == "") != (text.got == "") {
					t.Errorf("%s = %q, want it to hold %q", text.name, text.got, text.want)
				}
				if text.got != "" && !strings.Contains(text.got, ".ci/with-redis go test ./...") {
					t.Errorf("%s = %q, which does not say how to mend it", text.name, text.got)
				}
			}
		})
	}
}

func TestEmbeddedIsPrivateAndCloses(t *testing.T) {
	t.Setenv(redistest.EnvStandalone, "")
	t.Setenv(redistest.EnvRequire, "")
	var left redis.UniversalClient
	got := judge(t, func(tb testing.TB) {
		a := redistest.Standalone(tb, redistest.OrEmbedded())
		b := redistest.Standalone(tb, redistest.OrEmbedded())
		if err := a.Set(tb.Context(), "k", "v", 0).Err(); err != nil {
			tb.Errorf("SET: %v", err)
		}
		if n, err := b.Exists(tb.Context(), "k").Result(); err != nil || n != 0 {
			tb.Errorf("EXISTS on the other server = %d, %v; want 0", n, err)
		}
		left = a
	})
	if got.failed != "" || got.skipped != "" {
		t.Fatalf("ended with %q%q, want success", got.failed, got.skipped)
	}
	if err := left.Ping(t.Context()).Err(); err == nil {
		t.Error("the client answers after its test, want it closed")
	}
}

func TestOrgIsNew(t *testing.T) {
	t.Parallel()
	if a, b := redistest.Org(t), redistest.Org(t); a == b || !strings.HasPrefix(a, "org-") {
		t.Errorf("Org = %q, then %q; want two names", a, b)
	}
}
