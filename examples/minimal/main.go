// Command minimal is the program of the README: a key, a limit, a count.
package main

import (
	"context"
	"errors"
	"fmt"
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
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true, DialerRetries: 1})
	store := redisstore.New(rdb)
	format, err1 := authkey.NewFormat("acme", "live")                // keys look like acme_live_...
	verifier, err2 := authkey.New(store, authkey.WithFormat(format)) // who is calling?
	limiter, err3 := ratelimit.New(rdb)                              // may they call now?
	usage, err4 := meter.New(rdb)                                    // what do we count?
	issuer, err5 := authkey.NewIssuer(store, format)                 // makes keys
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		log.Fatal(err)
	}
	_, key, err := issuer.Issue(context.Background(), authkey.NewKey{Org: "acme", Project: "shop"}) // once for a customer, not at each start
	log.Println("a key to try, shown this once:", key.Reveal(), err)

	auth := middleware.Authenticate(verifier)
	search := auth.RateLimit(limiter, ratelimit.PerMinute(100)).Meter(usage, "stores", "search")

	mux := http.NewServeMux()
	mux.Handle("GET /v1/search", httpkit.Middleware(search)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := middleware.FromContext(r.Context())
		fmt.Fprintln(w, "hello", caller.Identity().Project)
	})))
	server := http.Server{Addr: "127.0.0.1:8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
