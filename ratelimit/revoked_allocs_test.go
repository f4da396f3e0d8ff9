package ratelimit

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// TestTokenAllocations: to put a request into the script's terms allocates nothing, and with a token one value.
func TestTokenAllocations(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { rdb.Close() })
	l, err := New(rdb)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	p, err := l.Prepare(Request{Org: "acme", Project: "shop", Endpoint: "GET /", Charges: []Charge{{Policy: PerMinute(100), Cost: 1}}})
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	from := sources{overrides: &overrideSet{stamp: 7}}
	for _, tt := range []struct {
		token *Token
		want  float64
	}{{nil, 0}, {&Token{Issuer: "i", ID: "t", Subject: "s"}, 1}} {
		c, ask := newCall(p), question{check: lua.Check{Mode: lua.Take}, Call: Call{Token: tt.token}}
		got := testing.AllocsPerRun(1000, func() { c.fill(&ask, p.work(from, 5, true), 5) })
		if got != tt.want {
			t.Errorf("%v allocations with the token %v, want %v", got, tt.token, tt.want)
		}
	}
}
