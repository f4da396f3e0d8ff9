package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/seal"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func ExampleWithSealer() {
	rdb, stop := embedded()
	defer stop()
	secret := bytes.Repeat([]byte("?"), 32) // in truth 32 random bytes, from where secrets are kept
	sealer, err := seal.New(seal.NewKey("2026-11", secret))
	if err != nil {
		log.Fatal(err)
	}
	overrides, overridesErr := ratelimit.NewOverrides(rdb, ratelimit.WithSealer(sealer))
	limiter, limiterErr := ratelimit.New(rdb, ratelimit.WithSealer(sealer), ratelimit.WithTimeout(time.Second))
	if err := errors.Join(overridesErr, limiterErr); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	set, _, err := overrides.Set(ctx, ratelimit.Override{Org: "acme", Limit: new(int64(5))}, ratelimit.Always)
	if err != nil {
		log.Fatal(err)
	}
	// Somebody who can write to Redis raises the limit.
	if err := rdb.HSet(ctx, lua.OverridesKey("acme"), set.ID, `{"limit":"1000000"}`).Err(); err != nil {
		log.Fatal(err)
	}
	_, err = limiter.Admit(ctx, ratelimit.Request{
		Org: "acme", Project: "shop", Endpoint: "GET /v1/search",
		Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(2), Cost: 1}},
	})
	fmt.Println(errors.Is(err, ratelimit.ErrUnavailable), errors.Is(err, seal.ErrBroken))

	// Output:
	// true true
}
