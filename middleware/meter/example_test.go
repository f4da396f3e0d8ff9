package meter_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
)

func ExampleNew() {
	server := miniredis.NewMiniRedis() // stands for a Redis of yours
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	usage, err := meter.New(rdb)
	if err != nil {
		fmt.Println(err)
		return
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 3 { // a stage with a Meter does this for each request that it admits
		usage.Record(middleware.Usage{
			Org: "acme", Project: "shop", Product: "stores", Kind: "search", Units: 1, At: noon,
		})
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := usage.Close(ctx); err != nil {
		fmt.Println(err)
	}

	reader, err := meter.NewReader(rdb)
	if err != nil {
		fmt.Println(err)
		return
	}
	items, err := reader.Usage(ctx, meter.Query{
		Org: "acme", From: noon.AddDate(0, 0, -7), To: noon.AddDate(0, 0, 1), Step: meter.Day,
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, item := range items {
		fmt.Println(item.Period.Format(time.DateOnly), item.Project, item.Product, item.Kind, item.Units)
	}
	// Output:
	// 2026-03-01 shop stores search 3
}
