package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// embedded returns a client of a Redis in this process. A service passes the client that it has.
func embedded() (rdb *redis.Client, stop func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	rdb = redis.NewClient(&redis.Options{Addr: server.Addr()})
	return rdb, func() {
		if err := rdb.Close(); err != nil {
			log.Print(err)
		}
		server.Close()
	}
}

func ExampleNew() {
	rdb, stop := embedded()
	defer stop()
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		decision, err := limiter.Admit(context.Background(), ratelimit.Request{
			Org: "acme", Project: "shop", Endpoint: "GET /v1/search",
			Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(2).Fixed(), Cost: 1}},
		})
		if err != nil {
			log.Fatal(err) // Redis did not answer: nobody knows
		}
		fmt.Println(decision.Allowed, decision.Results[0].Remaining, decision.RetryAfter().Round(time.Hour))
	}
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 1h0m0s
}

func ExampleNewOverrides() {
	rdb, stop := embedded()
	defer stop()
	ctx := context.Background()
	overrides, err := ratelimit.NewOverrides(rdb)
	if err != nil {
		log.Fatal(err)
	}
	limit := int64(500)
	stored, created, err := overrides.Set(ctx, ratelimit.Override{
		Org: "acme", Project: "shop", Limit: &limit, Reason: "a large customer",
	}, ratelimit.IfAbsent)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(created)

	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	decision, err := limiter.Admit(ctx, ratelimit.Request{
		Org: "acme", Project: "shop", Endpoint: "GET /v1/search",
		Charges: []ratelimit.Charge{{Policy: ratelimit.PerMinute(100), Cost: 1}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(decision.Results[0].Limit, decision.Results[0].Source == "override:"+stored.ID)
	// Output:
	// true
	// 500 true
}

func ExampleNewPlans() {
	rdb, stop := embedded()
	defer stop()
	ctx := context.Background()
	plans, err := ratelimit.NewPlans(rdb)
	if err != nil {
		log.Fatal(err)
	}
	limit := int64(500)
	gold := ratelimit.Plan{Name: "gold", Rules: []ratelimit.PlanRule{{Limit: &limit}}}
	if _, _, err := plans.Set(ctx, gold, ratelimit.Always); err != nil {
		log.Fatal(err)
	}

	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	for _, plan := range []string{"gold", "not a plan"} {
		decision, err := limiter.Admit(ctx, ratelimit.Request{
			Org: "acme", Project: "shop", Plan: plan, Endpoint: "GET /v1/search",
			Charges: []ratelimit.Charge{{Policy: ratelimit.PerMinute(100), Cost: 1}},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(decision.Results[0].Limit, decision.Results[0].Source)
	}
	// Output:
	// 500 plan:gold
	// 100 policy
}

func ExamplePer() {
	fmt.Println(ratelimit.Per(10, 5*time.Second))
	fmt.Println(ratelimit.PerMinute(1000).Named("elements").Fixed().By(ratelimit.ByKey))
	fmt.Println(ratelimit.Per(-1, 0).Validate())
	// Output:
	// "requests" 10 per 5s (sliding window, by project)
	// "elements" 1000 per 1m0s (fixed window, by key)
	// ratelimit: invalid policy "requests": Limit -1 must be 0 to 999999999999999
	// ratelimit: invalid policy "requests": Window 0s must be 1ms to 9600h0m0s, in whole microseconds
}

func ExamplePolicy_Ahead() {
	rdb, stop := embedded()
	defer stop()
	ctx := context.Background()
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	request := ratelimit.Request{
		Org: "acme", Project: "shop", Endpoint: "GET /v1/search",
		Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(100_000).Fixed().Ahead(100), Cost: 1}},
	}
	for range 1000 { // most of them cost Redis nothing
		if _, err := limiter.Admit(ctx, request); err != nil {
			log.Fatal(err)
		}
	}
	// Close gives back what was taken ahead and is left, so that others have it.
	if err := limiter.Close(ctx); err != nil {
		log.Fatal(err)
	}
	other, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	request.Peek = true
	decision, err := other.Admit(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(decision.Results[0].Used, decision.Results[0].Remaining)
	// Output: 1000 99000
}

func ExampleWithRefusals() {
	rdb, stop := embedded()
	defer stop()
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second), ratelimit.WithRefusals(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	for range 5 {
		decision, err := limiter.Admit(context.Background(), ratelimit.Request{
			Org: "acme", Project: "shop", Endpoint: "GET /v1/search",
			Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(2).Fixed(), Cost: 1}},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(decision.Allowed, limiter.Stats().Refused)
	}
	// Output:
	// true 0
	// true 0
	// false 0
	// false 1
	// false 2
}

func ExampleLimiter_Prepare() {
	rdb, stop := embedded()
	defer stop()
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	search, err := limiter.Prepare(ratelimit.Request{
		Org: "acme", Project: "shop", Endpoint: "GET /v1/search",
		Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(10).Fixed(), Cost: 1}},
	})
	if err != nil {
		log.Fatal(err)
	}
	var decision ratelimit.Decision // used again and again
	for _, call := range []ratelimit.Call{{}, {Costs: []int64{5}}, {Costs: []int64{5}}} {
		if err := search.Admit(context.Background(), call, &decision); err != nil {
			log.Fatal(err)
		}
		fmt.Println(decision.Allowed, decision.Results[0].Cost, decision.Results[0].Remaining)
	}
	// Output:
	// true 1 9
	// true 5 4
	// false 5 4
}

func ExampleLimiter_Close() {
	rdb, stop := embedded()
	defer stop()
	limiter, err := ratelimit.New(rdb)
	if err != nil {
		log.Fatal(err)
	}
	// When the HTTP server has shut down, and before the client is closed:
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println(limiter.Close(ctx))
	_, err = limiter.Admit(ctx, ratelimit.Request{Org: "acme", Project: "shop", Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(10), Cost: 1}}})
	fmt.Println(errors.Is(err, ratelimit.ErrUnavailable))
	// Output:
	// <nil>
	// true
}
