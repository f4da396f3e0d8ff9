package lua_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// TestManyKeysAreDistinct takes every combination of parts that a careless key would mix up: each has keys of its own, and
// so have what is held of it, and its count.
func TestManyKeysAreDistinct(t *testing.T) {
	t.Parallel()
	nasty := []string{"", "a", ":", ":a", "%3A", "{00}", "}:", "holds", "n"}
	whose := map[string]string{}
	count := 0
	put := func(key, tuple string) {
		count++
		if other, taken := whose[key]; taken {
			t.Errorf("%s and %s are one key, %q", other, tuple, key)
		}
		whose[key] = tuple
	}
	for tuple := range tuples(nasty, 5) {
		org, kind, value, endpoint, policy := tuple[0], tuple[1], tuple[2], tuple[3], tuple[4]
		algorithms := []lua.Algorithm{lua.Sliding}
		if value == endpoint { // of a part of them all algorithms: they are the last part, and not for clients to choose
			algorithms = []lua.Algorithm{lua.Fixed, lua.Sliding, lua.GCRA, lua.Concurrency}
		}
		for _, algorithm := range algorithms {
			key := lua.AnonymousLimitKey(kind, value, endpoint, policy, algorithm)
			switch {
			case org != "":
				key = lua.LimitKey(org, kind, value, endpoint, policy, algorithm)
			case bucket.Name(lua.BucketOf(key)) != bucket.Of(value):
				t.Errorf("%q: not in the bucket of its value", key)
			}
			name := fmt.Sprintf("%q %v", tuple, algorithm)
			put(key, name)
			put(lua.HoldsKey(key), "holds of "+name)
			put(lua.CountKey(key), "count of "+name)
		}
	}
	if count < 150_000 {
		t.Errorf("only %d keys", count)
	}
}

// tuples ranges over all lists of n of some words. The list is used again.
func tuples(words []string, n int) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		places, tuple := make([]int, n), make([]string, n)
		for {
			for i, at := range places {
				tuple[i] = words[at]
			}
			if !yield(tuple) {
				return
			}
			i := 0
			for i < n && places[i] == len(words)-1 {
				places[i], i = 0, i+1
			}
			if i == n {
				return
			}
			places[i]++
		}
	}
}

// TestKeysSpreadOverBuckets counts the hash tags of keys of names as they are made in practice. Chi-square with 63 degrees of
// freedom is over 140 once in ten million times.
func TestKeysSpreadOverBuckets(t *testing.T) {
	t.Parallel()
	const names, most = 64_000, 140.0
	for kind, name := range map[string]func(i int) string{
		"numbers":    func(i int) string { return fmt.Sprint(i) },
		"org-N":      func(i int) string { return fmt.Sprint("org-", i) },
		"padded":     func(i int) string { return fmt.Sprintf("ORG%08d", i) },
		"hex":        func(i int) string { return fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15) },
		"UUIDs":      func(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i)*2654435761, i) },
		"addresses":  func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) },
		"networks":   func(i int) string { return fmt.Sprintf("2001:db8:%x:%x::/64", i>>8, i&255) },
		"mail":       func(i int) string { return fmt.Sprintf("user%d@example.com", i) },
		"long":       func(i int) string { return strings.Repeat("a", 100) + fmt.Sprint(i) },
		"separators": func(i int) string { return fmt.Sprintf("{%d}:%%%d:", i%250, i) },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var seen, anonymous [bucket.Count]int
			for i := range names {
				n := name(i)
				seen[lua.BucketOf(lua.LimitKey(n, "project", "shop", "GET /", "requests", lua.Sliding))]++
				anonymous[lua.BucketOf(lua.AnonymousLimitKey("network", n, "GET /", "requests", lua.Sliding))]++
			}
			if seen != anonymous {
				t.Error("an org and a value of one name lie in different buckets")
			}
			const want = float64(names) / bucket.Count
			var square float64
			for _, n := range seen {
				square += (float64(n) - want) * (float64(n) - want) / want
			}
			if square > most {
				t.Errorf("chi-square %.0f, want at most %.0f: %v", square, most, seen)
			}
		})
	}
}
