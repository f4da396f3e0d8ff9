package ratelimit

import (
	"testing"

	"github.com/tollgate-go/tollgate/lua"
)

// TestTokenAllocations: a request without a token allocates what it did before there were tokens, one with a token one
// value more.
func TestTokenAllocations(t *testing.T) {
	r := Request{Org: "acme", Project: "shop", Endpoint: "GET /", Charges: []Charge{{Policy: PerMinute(100), Cost: 1}}}
	from := sources{overrides: &overrideSet{stamp: 7}}
	for _, tt := range []struct {
		token *Token
		want  float64
	}{{nil, 5}, {&Token{Issuer: "i", ID: "t", Subject: "s"}, 6}} {
		r.Token = tt.token
		got := testing.AllocsPerRun(1000, func() {
			check := lua.Check{Mode: lua.Take}
			if err := r.validate(); err != nil {
				t.Error(err)
			}
			r.fill(&check, from, 5)
		})
		if got != tt.want {
			t.Errorf("%v allocations with the token %v, want %v", got, tt.token, tt.want)
		}
	}
}
