package ratelimit_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestPolicyInvalid builds policies out of nonsense. Each has one fault, told in one line that names the policy,
// the field and its bound.
func TestPolicyInvalid(t *testing.T) {
	t.Parallel()
	const (
		name   = "Name must be 1 to 64 of A-Z a-z 0-9 . _ -"
		window = "must be 1ms to 9600h0m0s, in whole microseconds"
		lease  = "must be 1ms to 24h0m0s, in whole microseconds"
		limit  = "must be 0 to 999999999999999"
		burst  = "must be 1 to 999999999999999, and leak within 9600h0m0s"
		period = "Period must be Daily, or Monthly from day 1 to 31"
		zone   = "Period must be in a time zone less than 24h from UTC, not "
	)
	hour, month := ratelimit.PerHour(5), ratelimit.Monthly(1, nil)
	with := func(p ratelimit.Policy, change func(*ratelimit.Policy)) ratelimit.Policy {
		change(&p)
		return p
	}
	for what, tt := range map[string]struct {
		policy ratelimit.Policy
		says   string
	}{
		"name with a space":        {hour.Named("a b"), name},
		"name of 65":               {hour.Named(strings.Repeat("n", 65)), name},
		"name in another script":   {hour.Named("größe"), name},
		"name with a zero byte":    {hour.Named("a\x00"), name},
		"name with a line":         {hour.Named("a\nb"), name},
		"name that separates keys": {hour.Named("a:b"), name},
		"unit with a quote":        {hour.Of(`a"b`), `Unit "a\"b" must be 1 to 64 of A-Z a-z 0-9 . _ -`},
		"unit of 65":               {hour.Of(strings.Repeat("u", 65)), "must be 1 to 64 of A-Z a-z 0-9 . _ -"},
		"partition with a tag":     {hour.By("{p}"), `Partition "{p}" must be 1 to 64 of A-Z a-z 0-9 . _ -`},
		"partition of 65":          {hour.By(ratelimit.Partition(strings.Repeat("p", 65))), "must be 1 to 64 of"},
		"algorithm 6":              {with(hour, func(p *ratelimit.Policy) { p.Algorithm = 6 }), "Algorithm 6 is not known"},
		"algorithm 255":            {with(hour, func(p *ratelimit.Policy) { p.Algorithm = 255 }), "Algorithm 255 is not known"},
		"limit below zero":         {ratelimit.PerHour(-1), "Limit -1 " + limit},
		"limit too large":          {ratelimit.PerHour(ratelimit.MaxLimit + 1), "Limit 1000000000000000 " + limit},
		"places below zero":        {ratelimit.Concurrent(-1), "Limit -1 " + limit},
		"quota below zero":         {ratelimit.Quota(-1, month), "Limit -1 " + limit},
		"no window":                {ratelimit.Per(5, 0), "Window 0s " + window},
		"window below zero":        {ratelimit.Per(5, -time.Second), "Window -1s " + window},
		"window too short":         {ratelimit.Per(5, time.Millisecond-1), "Window 999.999µs " + window},
		"window too long":          {ratelimit.Per(5, 400*24*time.Hour+time.Microsecond).Fixed(), "Window 9600h0m0.000001s " + window},
		"window of nanoseconds":    {ratelimit.Per(5, time.Second+1).Aligned(), "Window 1.000000001s " + window},
		"window of a bucket":       {ratelimit.Per(5, 0).Bucket(5), "Window 0s " + window},
		"window of a quota":        {with(ratelimit.Quota(5, month), func(p *ratelimit.Policy) { p.Window = time.Hour }), "Window 1h0m0s must be 0 for a calendar window"},
		"window of places":         {with(ratelimit.Concurrent(5), func(p *ratelimit.Policy) { p.Window = time.Hour }), "Window 1h0m0s must be 0 for a concurrency"},
		"lease below zero":         {hour.Reserved(-time.Second), "Lease -1s " + lease},
		"lease too short":          {hour.Reserved(time.Microsecond), "Lease 1µs " + lease},
		"lease too long":           {hour.Reserved(24*time.Hour + time.Microsecond), "Lease 24h0m0.000001s " + lease},
		"lease of nanoseconds":     {hour.Reserved(time.Second + 1), "Lease 1.000000001s " + lease},
		"places without a lease":   {with(ratelimit.Concurrent(5), func(p *ratelimit.Policy) { p.Lease = 0 }), "Lease 0s " + lease},
		"burst of nothing":         {hour.Bucket(0), "Burst 0 " + burst},
		"burst below zero":         {hour.Bucket(-1), "Burst -1 " + burst},
		"burst too large":          {ratelimit.PerHour(0).Bucket(ratelimit.MaxLimit + 1), "Burst 1000000000000000 " + burst},
		"burst that leaks slowly":  {ratelimit.PerHour(1).Bucket(400*24 + 1), "Burst 9601 " + burst},
		"burst of a window":        {with(hour, func(p *ratelimit.Policy) { p.Burst = 1 }), "Burst 1 must be 0 for a sliding window"},
		"burst of places":          {with(ratelimit.Concurrent(5), func(p *ratelimit.Policy) { p.Burst = 1 }), "Burst 1 must be 0 for a concurrency"},
		"limit of a bucket":        {ratelimit.PerHour(lua.MaxWindow + 1).Bucket(1), "Limit 34560000000001 of a GCRA must be at most 34560000000000"},
		"ahead below zero":         {hour.Ahead(-1), "Prefetch -1 must be 0 to 1000000000"},
		"ahead too far":            {hour.Fixed().Ahead(1_000_000_001), "Prefetch 1000000001 must be 0 to 1000000000"},
		"bucket ahead":             {hour.Bucket(5).Ahead(1), "Prefetch 1 must be 0 for a GCRA, which has no window"},
		"places ahead":             {ratelimit.Concurrent(5).Ahead(1), "Prefetch 1 must be 0 for a concurrency, which has no window"},
		"reserved ahead":           {hour.Reserved(time.Second).Ahead(1), "Prefetch 1 must be 0 for a policy with a Lease or a Candidate"},
		"candidate ahead":          {hour.InPlaceOf("live").Ahead(1), "Prefetch 1 must be 0 for a policy with a Lease or a Candidate"},
		"no period":                {ratelimit.Quota(5, ratelimit.Period{}), period + ", not from 0"},
		"month from day 0":         {ratelimit.Quota(5, ratelimit.Monthly(0, nil)), period + ", not from 0"},
		"month from day 32":        {ratelimit.Quota(5, ratelimit.Monthly(32, time.UTC)), period + ", not from 32"},
		"month from day -5":        {ratelimit.Quota(5, ratelimit.Monthly(-5, nil)), period},
		"month from day -1":        {ratelimit.Quota(5, ratelimit.Monthly(-1, nil)), period},
		"period of a window":       {with(hour, func(p *ratelimit.Policy) { p.Period = month }), "Period month from day 1 (UTC) must be empty for a sliding window"},
		"period of places":         {with(ratelimit.Concurrent(5), func(p *ratelimit.Policy) { p.Period = month }), "must be empty for a concurrency"},
		"zone of milliseconds":     {ratelimit.Quota(5, ratelimit.Daily(time.FixedZone("ms", 3_600_000))), zone + "3600000 seconds"},
		"zone a day ahead":         {ratelimit.Quota(5, ratelimit.Monthly(1, time.FixedZone("", 86_400))), zone + "86400 seconds"},
		"zone a day behind":        {ratelimit.Quota(5, ratelimit.Daily(time.FixedZone("", -86_400))), zone + "-86400 seconds"},
	} {
		err := tt.policy.Validate()
		if !errors.Is(err, ratelimit.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, tt.says) || !strings.Contains(text, "policy ") || strings.Contains(text, "\n") {
			t.Errorf("%s: %q, want one line that says %q", what, text, tt.says)
		}
	}
}

// TestPolicyAtItsBounds builds policies of the least and the most that there is, and of what is left out.
func TestPolicyAtItsBounds(t *testing.T) {
	t.Parallel()
	const longest = 400 * 24 * time.Hour
	for what, p := range map[string]ratelimit.Policy{
		"nothing but a window":   {Window: time.Second},
		"least":                  ratelimit.Per(0, time.Millisecond),
		"most":                   ratelimit.Per(ratelimit.MaxLimit, longest).Named(strings.Repeat("n", 64)).Of(strings.Repeat("u", 64)).By(ratelimit.Partition(strings.Repeat("p", 64))),
		"every character":        ratelimit.PerSecond(1).Named("azAZ09._-"),
		"shortest lease":         ratelimit.PerSecond(1).Reserved(time.Millisecond),
		"longest lease":          ratelimit.Concurrent(ratelimit.MaxLimit).Reserved(lua.MaxLease * time.Microsecond),
		"smallest bucket":        ratelimit.Per(1, longest).Bucket(1),
		"largest bucket":         ratelimit.Per(lua.MaxWindow, longest).Bucket(lua.MaxWindow),
		"bucket that is closed":  ratelimit.PerSecond(0).Bucket(ratelimit.MaxLimit),
		"slowest bucket":         ratelimit.PerHour(1).Bucket(400 * 24),
		"day of no zone":         ratelimit.Quota(1, ratelimit.Daily(nil)),
		"day of an unnamed zone": ratelimit.Quota(1, ratelimit.Daily(new(time.Location))),
		"month from the last":    ratelimit.Quota(1, ratelimit.Monthly(31, time.Local)),
		"most ahead":             ratelimit.PerHour(1).Ahead(1_000_000_000),
		"month ahead":            ratelimit.Quota(1, ratelimit.Monthly(1, nil)).Ahead(1),
		"furthest zones":         ratelimit.Quota(1, ratelimit.Daily(time.FixedZone("", 86_399))),
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v, want a policy", what, err)
		}
	}
	// A zone that was never loaded is UTC.
	at := time.Date(2026, 3, 5, 23, 30, 0, 0, time.UTC)
	for _, location := range []*time.Location{nil, new(time.Location)} {
		start, end := ratelimit.Daily(location).Around(at)
		if want := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC); !start.Equal(want) || !end.Equal(want.AddDate(0, 0, 1)) {
			t.Errorf("a day of %v is %v to %v, want one of UTC", location, start, end)
		}
	}
}

// TestPolicyTellsAllFaults at once.
func TestPolicyTellsAllFaults(t *testing.T) {
	t.Parallel()
	err := ratelimit.Policy{
		Name: "a b", Algorithm: ratelimit.Concurrency, Limit: -1, Window: 1, Burst: 1, Period: ratelimit.Daily(nil), Partition: "{}", Unit: "a b",
	}.Validate()
	for _, field := range []string{"Name", "Limit", "Window", "Lease", "Burst", "Period", "Partition", "Unit"} {
		if err == nil || !strings.Contains(err.Error(), field+" ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
