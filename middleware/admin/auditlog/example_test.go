package auditlog_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func ExampleNew() {
	server, err := miniredis.Run() // in place of a Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	overrides, err := ratelimit.NewOverrides(rdb)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := audit.NewContext(context.Background(), audit.Actor{Name: "ops:mia"})
	if _, _, err := overrides.Set(ctx, ratelimit.Override{Org: "acme", Project: "shop", Limit: new(int64(500))}, ratelimit.Always); err != nil {
		fmt.Println(err)
		return
	}

	log, err := auditlog.New(rdb)
	if err != nil {
		fmt.Println(err)
		return
	}
	entries, _, err := log.Entries(ctx, "acme", auditlog.Query{Order: auditlog.NewestFirst})
	for _, e := range entries {
		fmt.Println(e.Seq, e.Actor, e.Action, e.Project, err)
	}
	report, err := log.Verify(ctx, "acme", nil)
	fmt.Println("ok:", report.OK, "entries:", report.Entries, err)

	// Output:
	// 1 ops:mia override.set shop <nil>
	// ok: true entries: 1 <nil>
}
