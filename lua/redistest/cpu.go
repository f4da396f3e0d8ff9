package redistest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// CPU returns the processor time that a server has used since it started.
func CPU(tb testing.TB, rdb redis.UniversalClient) time.Duration {
	tb.Helper()
	text, err := rdb.Info(tb.Context(), "cpu").Result()
	if err != nil {
		tb.Fatalf("redistest: INFO: %v", err)
	}
	var sum float64
	for line := range strings.Lines(text) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if field == "used_cpu_user" || field == "used_cpu_sys" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				tb.Fatalf("redistest: %q: %v", line, err)
			}
			sum += seconds
		}
	}
	return time.Duration(sum * float64(time.Second))
}
