package main

import (
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func main() {
	var stage middleware.Stage = middleware.Authenticate(nil).
		RequireScope("search").
		RateLimit(nil, ratelimit.PerMinute(100)).
		Meter(nil, "stores", "search")
	_ = stage
}
