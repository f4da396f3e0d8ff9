package contest

import (
	"context"
	"testing"
	"time"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	got, err := calls("# Commandstats\r\ncmdstat_incrby:calls=7,usec=1,rejected_calls=0\r\ncmdstat_evalsha:calls=5,usec=3\r\n" +
		"cmdstat_client|setinfo:calls=40,usec=9\r\ncmdstat_hello:calls=20,usec=9\r\ncmdstat_info:calls=3,usec=1\r\n")
	if err != nil || got != 12 {
		t.Errorf("calls = %v, %v; want those of INCRBY and EVALSHA alone, 12", got, err)
	}
	if _, err := calls("cmdstat_get:calls=many,usec=1\r\n"); err == nil {
		t.Error("calls takes a word for a number")
	}
}

// Keys are spread evenly, and wrong answers counted.
func TestDrive(t *testing.T) {
	t.Parallel()
	const keys = 10
	seen := make([]int, keys)
	checks := []Check{func(_ context.Context, key int) (bool, error) { seen[key]++; return key != 3, nil }}
	l := drive(checks, Setting{Keys: keys, Limits: Allowing}, 20*time.Millisecond)
	if l.calls < 1000 || l.failed != int64(seen[3]) || l.first == nil {
		t.Errorf("%d calls, %d failed: %v; want the %d of key 3", l.calls, l.failed, l.first, seen[3])
	}
	for key, n := range seen {
		if share := float64(n) / float64(l.calls); share < 0.05 || share > 0.2 {
			t.Errorf("key %d had %.3f of the calls, want a tenth", key, share)
		}
	}
}
