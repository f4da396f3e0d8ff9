package main

import (
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func main() {
	// Counting what was not limited yet.
	_ = middleware.Authenticate(nil).Meter(nil, "stores", "search").RateLimit(nil, ratelimit.PerMinute(100))
}
