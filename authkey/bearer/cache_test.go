package bearer_test

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// cached is a cache of some tokens.
func cached(t testing.TB) bearer.Option {
	t.Helper()
	return bearer.WithCache(100, time.Minute)
}
