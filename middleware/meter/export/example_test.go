package export_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/meter/export"
)

// Example exports an hour of which a part comes late, and compares.
func Example() {
	ctx := context.Background()
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	hour := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	server.SetTime(hour.Add(time.Hour)) // it is just over
	usage, err1 := meter.New(rdb)
	exporter, err2 := export.New(rdb, export.NDJSON(os.Stdout), export.WithGrace(0))
	if err1 != nil || err2 != nil {
		panic(fmt.Sprint(err1, err2))
	}
	for _, units := range []int64{57, 3} {
		usage.Record(middleware.Usage{Org: "acme", Project: "shop", Product: "stores", Kind: "search", Units: units, At: hour})
		if err := usage.Flush(ctx); err != nil {
			panic(err)
		}
		if err := exporter.Once(ctx); err != nil {
			panic(err)
		}
	}
	_ = usage.Close(ctx)

	report, err := export.Reconcile(ctx, rdb, export.Query{Org: "acme", From: hour, To: hour.Add(time.Hour)})
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Total.Metered, report.Total.Exported, report.Total.Verdict)
	// Output:
	// {"specversion":"1.0","id":"acme:1772366400:shop:stores:search::0-57","source":"tollgate","type":"io.github.tollgate-go.usage.v1","subject":"acme:shop","time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","data":{"org":"acme","project":"shop","product":"stores","kind":"search","source":"","hour":"2026-03-01T12:00:00Z","units":57,"from":0,"to":57}}
	// {"specversion":"1.0","id":"acme:1772366400:shop:stores:search::57-60","source":"tollgate","type":"io.github.tollgate-go.usage.v1","subject":"acme:shop","time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","data":{"org":"acme","project":"shop","product":"stores","kind":"search","source":"","hour":"2026-03-01T12:00:00Z","units":3,"from":57,"to":60}}
	// 60 60 exported
}

// ExampleWebhook shows what a URL must be.
func ExampleWebhook() {
	secret := []byte(strings.Repeat("k", 32))
	_, err := export.Webhook("https://billing.example.com/usage", export.WithSecret(secret))
	fmt.Println(err)
	_, err = export.Webhook("http://billing.example.com/usage")
	fmt.Println(err)
	// Output:
	// <nil>
	// export: invalid URL: http would send usage in clear to billing.example.com; want https
}
