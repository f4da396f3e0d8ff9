// Command bench measures tollgate beside other limiters, routers and tokens.
package main

import (
	_ "github.com/redis/go-redis/v9"
	_ "github.com/tollgate-go/tollgate/ratelimit"
)

func main() {}
