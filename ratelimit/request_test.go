package ratelimit_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestRequestInvalid asks for nonsense. It is told in one line that names the field and its bound, before
// anything is sent: nobody listens at this address.
func TestRequestInvalid(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	limiter, err := ratelimit.New(rdb)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	p := ratelimit.PerHour(5).Named("p")
	many := func(r *ratelimit.Request) {
		for i := range 64 {
			r.Charges = append(r.Charges, ratelimit.Charge{Policy: p.Named(fmt.Sprint("p", i))})
		}
	}
	long := strings.Repeat("x", 129)
	for what, tt := range map[string]struct {
		change func(*ratelimit.Request)
		says   string
	}{
		"cost below zero":     {func(r *ratelimit.Request) { r.Charges[0].Cost = -1 }, `Cost -1 of policy "p" must be 0 to 999999999999999`},
		"least cost":          {func(r *ratelimit.Request) { r.Charges[0].Cost = math.MinInt64 }, "must be 0 to 999999999999999"},
		"cost too large":      {func(r *ratelimit.Request) { r.Charges[0].Cost = ratelimit.MaxLimit + 1 }, "Cost 1000000000000000 of policy"},
		"no charge":           {func(r *ratelimit.Request) { r.Charges = nil }, "0 Charges, must be 1 to 64"},
		"too many charges":    {many, "65 Charges, must be 1 to 64"},
		"two of one name":     {func(r *ratelimit.Request) { r.Charges = append(r.Charges, r.Charges[0]) }, `two policies are named "p"`},
		"no value":            {func(r *ratelimit.Request) { r.Charges[0].Policy = p.By("network") }, `policy "p" is partitioned by network, and there is no value for it`},
		"no project":          {func(r *ratelimit.Request) { r.Project = "" }, `policy "p" is partitioned by project, and there is no value for it`},
		"no key":              {func(r *ratelimit.Request) { r.Key, r.Charges[0].Policy = "", p.By(ratelimit.ByKey) }, "partitioned by key"},
		"long value":          {func(r *ratelimit.Request) { r.Charges[0].Value = strings.Repeat("v", 257) }, "Value and Endpoint must be at most 256 and 512 bytes"},
		"long endpoint":       {func(r *ratelimit.Request) { r.Endpoint = strings.Repeat("e", 513) }, "Value and Endpoint must be at most 256 and 512 bytes"},
		"long org":            {func(r *ratelimit.Request) { r.Org = long }, "must be at most 128 bytes"},
		"long project":        {func(r *ratelimit.Request) { r.Project = long }, "must be at most 128 bytes"},
		"long key":            {func(r *ratelimit.Request) { r.Key = long }, "must be at most 128 bytes"},
		"long hold":           {func(r *ratelimit.Request) { r.Hold = long }, "Hold must be at most 128 bytes"},
		"project without org": {func(r *ratelimit.Request) { r.Org, r.Key, r.Charges[0].Value = "", "", "v" }, "Org is empty, but Project, Key"},
		"epoch without org": {func(r *ratelimit.Request) { r.Org, r.Project, r.Key, r.Epoch, r.Charges[0].Value = "", "", "", 1, "v" },
			"Org is empty, but there is an Epoch or a Token"},
		"token without org": {func(r *ratelimit.Request) {
			r.Org, r.Project, r.Key, r.Token, r.Charges[0].Value = "", "", "", &ratelimit.Token{}, "v"
		}, "Org is empty, but there is an Epoch or a Token"},
		"long issuer":  {func(r *ratelimit.Request) { r.Token = &ratelimit.Token{Issuer: strings.Repeat("i", 513)} }, "Issuer must be at most 512 bytes"},
		"long id":      {func(r *ratelimit.Request) { r.Token = &ratelimit.Token{ID: strings.Repeat("i", 257)} }, "at most 256 each"},
		"long subject": {func(r *ratelimit.Request) { r.Token = &ratelimit.Token{Subject: strings.Repeat("i", 257)} }, "at most 256 each"},
		"long session": {func(r *ratelimit.Request) { r.Token = &ratelimit.Token{Session: strings.Repeat("i", 257)} }, "at most 256 each"},
		"long client":  {func(r *ratelimit.Request) { r.Token = &ratelimit.Token{Client: strings.Repeat("i", 257)} }, "at most 256 each"},
		"places at once": {func(r *ratelimit.Request) {
			r.Charges[0] = ratelimit.Charge{Policy: ratelimit.Concurrent(3).Named("p"), AtOnce: true}
		}, `policy "p" only holds; it takes nothing AtOnce`},
		"a bad policy": {func(r *ratelimit.Request) { r.Charges[0].Policy.Limit = -1 }, `policy "p": Limit -1 must be 0 to`},
	} {
		r := ratelimit.Request{Org: "acme", Project: "shop", Key: "k", Endpoint: endpoint, Charges: []ratelimit.Charge{{Policy: p, Cost: 1}}}
		tt.change(&r)
		for _, peek := range []bool{false, true} {
			r.Peek = peek
			d, err := limiter.Admit(t.Context(), r)
			if !errors.Is(err, ratelimit.ErrInvalid) || d.Allowed || d.Results != nil {
				t.Errorf("%s: Admit = %+v, %v; want ErrInvalid", what, d, err)
				continue
			}
			if text := err.Error(); !strings.Contains(text, tt.says) || strings.Contains(text, "\n") {
				t.Errorf("%s: %q, want one line that says %q", what, text, tt.says)
			}
		}
	}
}
