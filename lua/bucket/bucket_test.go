package bucket_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

func TestOfIsValidAndStable(t *testing.T) {
	t.Parallel()
	for i := range 1000 {
		org := fmt.Sprintf("org-%d", i)
		b := bucket.Of(org)
		if !bucket.Valid(b) {
			t.Fatalf("Of(%q) = %q, which is not valid", org, b)
		}
		if again := bucket.Of(org); again != b {
			t.Fatalf("Of(%q) = %q, then %q", org, b, again)
		}
	}
}

func TestOfSpreads(t *testing.T) {
	t.Parallel()
	const orgs = 64_000
	seen := map[string]int{}
	for i := range orgs {
		seen[bucket.Of(fmt.Sprintf("org-%d", i))]++
	}
	if len(seen) != bucket.Count {
		t.Fatalf("%d buckets used, want %d", len(seen), bucket.Count)
	}
	for b, n := range seen {
		if n < orgs/bucket.Count/2 || n > orgs/bucket.Count*2 {
			t.Errorf("bucket %s holds %d of %d orgs", b, n, orgs)
		}
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	all := slices.Collect(bucket.All())
	if len(all) != bucket.Count || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != bucket.Count {
		t.Errorf("All gives %q, want %d different names in order", all, bucket.Count)
	}
	for _, name := range all {
		if !bucket.Valid(name) {
			t.Errorf("All gives %q, which is not valid", name)
		}
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"00": true, "63": true, "64": false, "99": false, "": false, "0": false, "000": false, "a1": false, "-1": false} {
		if got := bucket.Valid(name); got != want {
			t.Errorf("Valid(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestOfDoesNotAllocate(t *testing.T) {
	org := "an-org-with-a-name-longer-than-thirty-two-bytes"
	if n := testing.AllocsPerRun(100, func() { bucket.Of(org) }); n != 0 {
		t.Errorf("Of allocates %v times", n)
	}
}
