// Package redistest hands tests the Redis that they run against: one
// standalone server and one cluster, named by the environment.
//
//	TOLLGATE_TEST_REDIS          host:port of a standalone server
//	TOLLGATE_TEST_CLUSTER        host:port of the masters, separated by commas
//	TOLLGATE_TEST_REQUIRE_REDIS  1: a missing address fails the test
//
// Without an address a test is skipped, and the text of the skip says how to
// run it: `.ci/with-redis go test ./...` starts both and sets all three. A test
// that an embedded server can judge as well says so with [OrEmbedded] and then
// runs everywhere. Lua scripts are not such a case: a script is judged by a
// real Redis, on both kinds.
//
//	func TestAdmit(t *testing.T) {
//		t.Parallel()
//		redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
//			org := redistest.Org(t)
//			got, err := lua.Admit(t.Context(), rdb, checkOf(org))
//			// ...
//		})
//	}
//
// All tests share the servers and may run at the same time. So a test names
// its data after [Org] and never flushes a server or changes its settings; one
// that must do such things has [Start] give it a server of its own. Not for use
// outside tests.
package redistest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// The environment variables that the package reads.
const (
	// EnvStandalone holds host:port of a standalone server.
	EnvStandalone = "TOLLGATE_TEST_REDIS"
	// EnvCluster holds host:port of a cluster's masters, separated by commas.
	EnvCluster = "TOLLGATE_TEST_CLUSTER"
	// EnvRequire set to 1 turns every skip and every embedded server into a
	// failure, so that a run meant to have Redis cannot pass without it.
	EnvRequire = "TOLLGATE_TEST_REQUIRE_REDIS"
)

const howToRun = "run `.ci/with-redis go test ./...`, which starts a standalone Redis and a cluster " +
	"(and installs redis-server if it is missing), or set "

// reachTimeout bounds the first ping; it is long because a busy machine is no
// reason to fail.
const reachTimeout = 10 * time.Second

// Option changes what a test accepts as its Redis.
type Option interface{ apply(*config) }

type config struct{ orEmbedded bool }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// OrEmbedded says that an embedded server (miniredis) can serve where no
// address is given for the standalone server. Each call that falls back on it
// starts an empty server of its own, which ends with the test. Its TTLs stand
// still, and it is never a cluster.
func OrEmbedded() Option { return optionFunc(func(c *config) { c.orEmbedded = true }) }

// Each runs test twice, as the subtests "standalone" and "cluster", each with
// a client of its own. A subtest whose server is not given is skipped, or
// served as [Standalone] says. The subtests run one after the other unless
// test calls t.Parallel.
func Each(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient), opts ...Option) {
	t.Helper()
	t.Run("standalone", func(t *testing.T) { test(t, Standalone(t, opts...)) })
	t.Run("cluster", func(t *testing.T) { test(t, Cluster(t)) })
}

// Standalone returns a new client of the standalone server, closed when the
// test ends. Two calls give two clients of one server, as two replicas of a
// service have, unless [OrEmbedded] applied. It skips the test when no server
// is given, and fails it when the server does not answer.
func Standalone(tb testing.TB, opts ...Option) redis.UniversalClient {
	tb.Helper()
	var c config
	for _, o := range opts {
		o.apply(&c)
	}
	if c.orEmbedded && os.Getenv(EnvStandalone) == "" && !required() {
		return connect(tb, []string{miniredis.RunT(tb).Addr()}, false)
	}
	return connect(tb, []string{StandaloneAddr(tb)}, false)
}

// Cluster returns a new client of the cluster, closed when the test ends. It
// skips and fails the test as [Standalone] does; there is no embedded cluster.
func Cluster(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	return connect(tb, ClusterAddrs(tb), true)
}

// StandaloneAddr returns host:port of the standalone server, for tests that
// need a client with options of their own, a proxy before the server, or
// another process. It skips the test when there is none.
func StandaloneAddr(tb testing.TB) string {
	tb.Helper()
	return addrs(tb, EnvStandalone)[0]
}

// ClusterAddrs returns host:port of each of the cluster's masters, for the
// tests that [StandaloneAddr] is for. It skips the test when there is none.
func ClusterAddrs(tb testing.TB) []string {
	tb.Helper()
	return addrs(tb, EnvCluster)
}

// Org returns the name of an org that no other test has: about 130 random
// bits, so that tests share servers, and runs of tests too, without meeting.
func Org(tb testing.TB) string {
	tb.Helper()
	return "org-" + strings.ToLower(rand.Text())
}

func required() bool { return os.Getenv(EnvRequire) == "1" }

// addrs reads the addresses in a variable, at least one, or ends the test.
func addrs(tb testing.TB, env string) []string {
	tb.Helper()
	var list []string
	for addr := range strings.SplitSeq(os.Getenv(env), ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			list = append(list, addr)
		}
	}
	switch {
	case len(list) > 0:
	case required():
		tb.Fatalf("redistest: %s=1, but %s is not set: %s%s", EnvRequire, env, howToRun, env)
	default:
		tb.Skipf("redistest: needs a real Redis: %s%s", howToRun, env)
	}
	return list
}

// connect returns a client that has reached its server once. A server that was
// named but does not answer is a failure, never a skip.
func connect(tb testing.TB, addrs []string, cluster bool) redis.UniversalClient {
	tb.Helper()
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, IsClusterMode: cluster})
	tb.Cleanup(func() {
		if err := rdb.Close(); err != nil {
			tb.Errorf("redistest: close the client of %v: %v", addrs, err)
		}
	})
	ctx, cancel := context.WithTimeout(tb.Context(), reachTimeout)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err != nil {
		tb.Fatalf("redistest: no Redis at %v: %v: %s%s and %s", addrs, err, howToRun, EnvStandalone, EnvCluster)
	}
	return rdb
}
