package main

import (
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func main() {
	// A limit on a project before anybody is authenticated.
	_ = middleware.RateLimit(nil, ratelimit.PerMinute(100))
}
