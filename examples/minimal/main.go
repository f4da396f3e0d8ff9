// Command minimal is the program of the README: a key, a limit, a count.
package main

import (
	"errors"
	"log"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func main() {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	verifier, err1 := authkey.New(redisstore.New(rdb)) // who is calling?
	limiter, err2 := ratelimit.New(rdb)                // may they call now?
	usage, err3 := meter.New(rdb)                      // what do we count?
	if err := errors.Join(err1, err2, err3); err != nil {
		log.Fatal(err)
	}
	auth := middleware.Authenticate(verifier)
	search := auth.RateLimit(limiter, ratelimit.PerMinute(100)).Meter(usage, "stores", "search")

	mux := http.NewServeMux()
	mux.Handle("GET /v1/search", httpkit.Middleware(search)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := middleware.FromContext(r.Context())
		w.Write([]byte("hello " + caller.Identity().Project + "\n"))
	})))
	server := http.Server{Addr: "127.0.0.1:8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
