package revocation_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
)

func ExampleNew() {
	server, err := miniredis.Run() // a Redis in this process, for the example
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()

	const org, issuer = "acme", "https://login.example.com/"
	revocations, err := revocation.New(rdb, revocation.WithLifetime(12*time.Hour), revocation.WithTimeout(time.Minute))
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	token := &authkey.Token{Issuer: issuer, ID: "t-1", Subject: "user-17", IssuedAt: time.Now().Add(-time.Hour)}
	fmt.Println(revocations.Check(ctx, org, token))

	r, err := revocations.RevokeSubject(ctx, org, issuer, "user-17", time.Time{}, "left the company")
	fmt.Println(r.Until.Sub(r.Before) >= 12*time.Hour, err)
	fmt.Println(revocations.Check(ctx, org, token))

	all, _, err := revocations.List(ctx, org, "", 10)
	fmt.Println(len(all), all[0].Kind, all[0].Value, all[0].Reason, err)

	fmt.Println(revocations.Lift(ctx, org, revocation.KindSubject, issuer, "user-17"))
	fmt.Println(revocations.Check(ctx, org, token))
	// Output:
	// <nil>
	// true <nil>
	// authkey: revoked credential: token
	// 1 subject user-17 left the company <nil>
	// <nil>
	// <nil>
}
