package lua_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// TestCandidatesChangeNothing decides each check twice in one call, at one time: alone, and on counts of its
// own with candidates around it. Answers and what is stored are the same to the last bit.
func TestCandidatesChangeNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		conn, org := connOf(t, rdb), redistest.Org(t)
		cases, refused, admitted := 0, 0, 0
		rapid.Check(t, func(rt *rapid.T) {
			cases++
			live := drawCharges(rt, "live", 1, 3, lua.Enforced, lua.Enforced, lua.Monitored)
			candidates := drawCharges(rt, "candidate", 1, 2, lua.Candidate)
			for step := range rapid.IntRange(1, 10).Draw(rt, "steps") {
				mode := rapid.SampledFrom([]lua.Mode{lua.Take, lua.Take, lua.Take, lua.Peek, lua.Settle, lua.Refund, lua.Reset}).Draw(rt, "mode")
				check := lua.Check{Mode: mode, ID: fmt.Sprint("id", rapid.IntRange(0, step).Draw(rt, "id"))}
				alone, beside := check, check
				alone.Charges = keyed(org, fmt.Sprint(cases, "/alone"), live)
				for i := range alone.Charges {
					alone.Charges[i].Units = rapid.Int64Range(0, 3).Draw(rt, "units")
				}
				first := rapid.Bool().Draw(rt, "candidates first")
				beside.Charges = besides(keyed(org, fmt.Sprint(cases, "/beside"), live), keyed(org, fmt.Sprint(cases, "/beside"), candidates), first)
				at := 0
				if first {
					at = len(candidates)
				}
				for i := range live {
					beside.Charges[at+i].Units = alone.Charges[i].Units
				}
				answers := admit(t, conn, alone, beside)
				want, got := answers[0], answers[1]
				if got.Status != want.Status || !slices.Equal(got.States[at:at+len(live)], want.States) {
					rt.Fatalf("%s beside %+v\n got %v %+v\nwant %v %+v", mode, candidates, got.Status, got.States[at:at+len(live)], want.Status, want.States)
				}
				switch {
				case got.Status == lua.Refused:
					refused++
				case mode == lua.Take:
					admitted++
				}
				sameStored(rt, rdb, alone.Charges, beside.Charges[at:at+len(live)])
			}
		})
		if refused == 0 || admitted == 0 {
			t.Errorf("%d refused and %d admitted: the cases do not show both", refused, admitted)
		}
	})
}

// drawCharges draws policies whose state no time changes while the test runs, and some with a short one.
func drawCharges(t *rapid.T, name string, least, most int, roles ...lua.Role) []lua.Charge {
	charges := make([]lua.Charge, rapid.IntRange(least, most).Draw(t, name+"s"))
	for i := range charges {
		c := lua.Charge{
			Key: fmt.Sprint(name, i), Algorithm: rapid.SampledFrom([]lua.Algorithm{lua.Fixed, lua.Sliding, lua.Calendar, lua.GCRA, lua.Concurrency}).Draw(t, "algorithm"),
			Limit: rapid.Int64Range(0, 5).Draw(t, "limit"), Window: rapid.SampledFrom([]time.Duration{2 * time.Millisecond, time.Hour}).Draw(t, "window").Microseconds(),
			Units: rapid.Int64Range(0, 3).Draw(t, "candidate units"), Role: rapid.SampledFrom(roles).Draw(t, "role"), Change: lua.NoChange,
		}
		if c.Algorithm == lua.GCRA {
			c.Burst = rapid.Int64Range(1, 4).Draw(t, "burst")
		}
		if c.Algorithm == lua.Concurrency || rapid.Bool().Draw(t, "holds") {
			c.Holds, c.Lease, c.Held = true, time.Hour.Microseconds(), rapid.Int64Range(1, 3).Draw(t, "held")
		}
		charges[i] = c
	}
	return charges
}

// keyed returns the charges with keys of a count of their own.
func keyed(org, project string, charges []lua.Charge) []lua.Charge {
	charges = slices.Clone(charges)
	for i := range charges {
		c := &charges[i]
		c.Key = lua.LimitKey(org, "project", project, "GET /", c.Key, c.Algorithm)
	}
	return charges
}

func besides(live, candidates []lua.Charge, first bool) []lua.Charge {
	if first {
		return append(candidates, live...)
	}
	return append(live, candidates...)
}

// sameStored compares what Redis holds of the charges, bit for bit.
func sameStored(t *rapid.T, rdb redis.UniversalClient, a, b []lua.Charge) {
	for i := range a {
		for _, suffix := range []string{"", ":holds"} {
			want, errWant := rdb.Dump(t.Context(), a[i].Key+suffix).Result()
			got, errGot := rdb.Dump(t.Context(), b[i].Key+suffix).Result()
			if brief := a[i].Window < time.Second.Microseconds(); brief { // it may be gone by now, or between the two
				continue
			}
			if got != want || (errGot == nil) != (errWant == nil) {
				t.Fatalf("%s of %s is stored as %q (%v), want %q (%v)", strings.TrimPrefix(suffix, ":"), a[i].Key, got, errGot, want, errWant)
			}
		}
	}
}
