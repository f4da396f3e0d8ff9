// Package lua is what Tollgate holds in Redis: the names of its keys, the scripts that change them, and
// one typed Go function for each script. Nothing else in the project writes to Redis.
//
//	conn, err := lua.NewConn(rdb)
//	answers, err := conn.Admit(ctx, []lua.Check{{
//		EpochKey: lua.EpochKey("acme"), Keys: keysStamp, Limits: limitsStamp,
//		Charges: []lua.Charge{{
//			Key:       lua.LimitKey("acme", "project", "shop", "GET /v1/search", "requests", lua.Sliding),
//			Algorithm: lua.Sliding, Limit: 100, Window: time.Minute.Microseconds(), Cost: 1, Enforced: true,
//		}},
//	}})
//
// Use packages ratelimit, authkey/redisstore and middleware/meter instead, unless you build a limiter of
// your own: this package checks that a call is well formed, not that it makes sense.
//
// Each script is a .lua file that opens with its contract. All of them read Redis TIME once and use no
// other clock, declare every key that they touch, look at everything before they write anything (Redis
// isolates a script but does not undo it), and keep to commands of Redis 6.2, Valkey and miniredis.
package lua
