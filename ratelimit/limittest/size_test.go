package limittest_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// keyBytes is how long the names of measured keys are made, whatever they were: those of real orgs,
// projects and endpoints are a matter of the service.
const keyBytes = 50

// TestBytesPerKey measures what Redis needs for what is stored, and with -v prints it. The bounds are
// generous: they are to notice a format that grew, not a byte of it.
//
// MEMORY USAGE tells the key, the value and their entry in the table of keys. Not in it: the entry that a
// key with a TTL has in a second table, some 32 bytes, and 16 for each key in a cluster.
func TestBytesPerKey(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t, "--rdbcompression", "no")})
	t.Cleanup(func() { rdb.Close() })
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-34s%8s%8s%10s%9s\n", "", "key", "value", "in Redis", "at most")
	for _, tt := range []struct {
		name     string
		policy   ratelimit.Policy
		cost     int64
		requests int
		suffix   string
		most     int64
	}{
		{"sliding window", ratelimit.PerMinute(100), 1, 10, "", 200},
		{"its count, while it is busy", ratelimit.PerMinute(100), 1, 10, ":n", 200},
		{"fixed window", ratelimit.PerMinute(100).Fixed(), 1, 10, "", 200},
		{"aligned window", ratelimit.PerMinute(100).Aligned(), 1, 10, "", 200},
		{"calendar window", ratelimit.Quota(1_000_000, ratelimit.Monthly(1, time.UTC)), 1000, 10, "", 200},
		{"GCRA", ratelimit.PerMinute(100).Bucket(20), 1, 10, "", 200},
		{"sliding window, largest numbers", ratelimit.Per(ratelimit.MaxLimit, 400*24*time.Hour), ratelimit.MaxLimit / 10, 10, "", 300},
		{"concurrency, 1 request", ratelimit.Concurrent(1000), 1, 1, "", 250},
		{"concurrency, 10 requests", ratelimit.Concurrent(1000), 1, 10, "", 900},
		{"concurrency, 100 requests", ratelimit.Concurrent(1000), 1, 100, "", 9000},
		{"tokens held by 1 request", ratelimit.PerMinute(100_000).Reserved(time.Minute), 1000, 1, ":holds", 250},
	} {
		org := redistest.Org(t)
		for range tt.requests {
			d, err := limiter.Admit(t.Context(), ratelimit.Request{
				Org: org, Project: "shop", Endpoint: "GET /v1/search", Charges: []ratelimit.Charge{{Policy: tt.policy, Cost: tt.cost}},
			})
			if err != nil || !d.Allowed {
				t.Fatalf("%s: Admit = %+v, %v", tt.name, d, err)
			}
		}
		key := only(t, rdb, org, func(part string) bool {
			return strings.HasPrefix(part, "limit:") && (tt.suffix == "" && !strings.HasSuffix(part, ":n") || tt.suffix != "" && strings.HasSuffix(part, tt.suffix))
		})
		measure(t, &table, rdb, tt.name, key, tt.most)
	}
	org := redistest.Org(t)
	setOverride(t, rdb, org)
	measure(t, &table, rdb, "one override", only(t, rdb, org, func(part string) bool { return part == "overrides" }), 600)
	measure(t, &table, rdb, "epoch of an org", only(t, rdb, org, func(part string) bool { return part == "epoch" }), 200)
	t.Logf("bytes\n%s", &table)
}

func setOverride(t *testing.T, rdb redis.UniversalClient, org string) {
	t.Helper()
	overrides, err := ratelimit.NewOverrides(rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("NewOverrides: %v", err)
	}
	if _, _, err := overrides.Set(t.Context(), ratelimit.Override{
		Org: org, Project: "shop", Endpoint: "GET /v1/search", Policy: "requests",
		Limit: new(int64(500)), Window: time.Minute, Reason: "launch of the spring collection",
	}, ratelimit.Always); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

// only returns the one key of an org whose last part is wanted.
func only(t *testing.T, rdb redis.UniversalClient, org string, wanted func(part string) bool) string {
	t.Helper()
	var found []string
	keys := rdb.Scan(t.Context(), 0, "tg1:{*}:"+org+":*", 1000).Iterator()
	for keys.Next(t.Context()) {
		if _, part, _ := strings.Cut(keys.Val(), org+":"); wanted(part) {
			found = append(found, keys.Val())
		}
	}
	slices.Sort(found) // SCAN may tell a key twice
	if found = slices.Compact(found); keys.Err() != nil || len(found) != 1 {
		t.Fatalf("SCAN = %v, %v; want one key", found, keys.Err())
	}
	return found[0]
}

// measure writes a line of the table.
func measure(t *testing.T, table *strings.Builder, rdb redis.UniversalClient, name, key string, most int64) {
	t.Helper()
	ctx, renamed := t.Context(), strings.Repeat("k", keyBytes)
	dump, dumpErr := rdb.Dump(ctx, key).Result()
	renameErr := rdb.Rename(ctx, key, renamed).Err()
	got, err := rdb.MemoryUsage(ctx, renamed, 0).Result() // 0: all elements, not a sample
	if err := cmp.Or(dumpErr, renameErr, err); err != nil {
		t.Fatalf("%s: MEMORY USAGE of %s: %v", name, key, err)
	}
	const frame = 12 // of a DUMP: type, length, version and checksum
	fmt.Fprintf(table, "%-34s%8d%8d%10d%9d\n", name, keyBytes, len(dump)-frame, got, most)
	if got > most {
		t.Errorf("%s takes %d bytes, want at most %d", name, got, most)
	}
}
