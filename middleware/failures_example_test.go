package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func ExampleWithFailureBudget() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()

	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Second))
	if err != nil {
		panic(err)
	}
	verifier, err := authkey.New(authkey.NewMemoryStore(), authkey.WithForeignKeys())
	if err != nil {
		panic(err)
	}
	auth := middleware.Authenticate(verifier,
		middleware.WithFailureBudget(limiter, ratelimit.PerHour(2), middleware.ClientNetwork()))
	handler := httpkit.Middleware(auth)(http.NotFoundHandler())

	for i := range 4 {
		r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
		r.Header.Set("X-API-Key", fmt.Sprintf("a-guess-of-somebody-%d", i))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 401
	// 401
	// 429
	// 429
}
