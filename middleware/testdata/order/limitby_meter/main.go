package main

import (
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func main() {
	// Usage of nobody.
	_ = middleware.LimitBy(middleware.ClientNetwork(), nil, ratelimit.PerMinute(60)).Meter(nil, "stores", "search")
}
