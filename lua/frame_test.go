package lua_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// framing are policies that can have frames, of three units each.
var framing = []lua.Charge{
	{Algorithm: lua.Fixed, Limit: 3, Window: 10_000_000}, {Algorithm: lua.Sliding, Limit: 3, Window: 10_000_000},
	{Algorithm: lua.Calendar, Limit: 3, Window: 10_000_000}, {Algorithm: lua.GCRA, Limit: 10, Burst: 3, Window: 10_000_000},
}

// named gives a policy of an org units and keys, which hold nothing when the test ends.
func named(t *testing.T, rdb redis.UniversalClient, org string, c lua.Charge, units int64) lua.Charge {
	t.Helper()
	c.Key = lua.LimitKey(org, "project", strings.ToLower(rand.Text()), "GET /", "requests", c.Algorithm)
	c.Units, c.Role, c.Change = units, lua.Enforced, lua.NoChange
	t.Cleanup(func() {
		for _, key := range countKeys(c) {
			if err := rdb.Del(context.WithoutCancel(t.Context()), key).Err(); err != nil {
				t.Errorf("DEL: %v", err)
			}
		}
	})
	return c
}

// countKeys returns the keys of states and of counts.
func countKeys(charges ...lua.Charge) (keys []string) {
	for _, c := range charges {
		keys = append(keys, c.Key, lua.CountKey(c.Key))
	}
	return keys
}

// told asks a check of charges with frames, and has them show those that they are told.
func told(t *testing.T, conn *lua.Conn, charges ...*lua.Charge) lua.Answer {
	t.Helper()
	check := lua.Check{}
	for _, c := range charges {
		if c.Frame == nil {
			c.Frame = new(lua.Frame)
		}
		check.Charges = append(check.Charges, *c)
	}
	a := admit(t, conn, check)[0]
	for i, s := range a.States {
		charges[i].Frame = &lua.Frame{Generation: s.Frame.Generation, Before: s.Frame.Before}
	}
	return a
}

// TestFramedRefusalsLeaveAllAsItWas: a refused check leaves states and counts as they were, bit for bit, in whichever way
// it is decided: by its own policy, by one behind it, by a bucket that is empty.
func TestFramedRefusalsLeaveAllAsItWas(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		for _, kind := range framing {
			for _, by := range []string{"frames", "one frame", "no frame"} {
				t.Run(fmt.Sprintf("%s by %s", kind.Algorithm, by), func(t *testing.T) {
					f.T, f.now = t, 0
					org := redistest.Org(t)
					first, full := named(t, f.rdb, org, kind, 2), named(t, f.rdb, org, framing[1], 3)
					told(t, f.conn, &first)
					told(t, f.conn, &full)
					full.Units = 1
					switch by {
					case "no frame":
						first.Frame = nil
						fallthrough
					case "one frame":
						full.Frame = nil
					}
					keys := countKeys(first, full)
					refused := func(name string, charges ...lua.Charge) {
						t.Helper()
						before := dumps(t, f.rdb, keys)
						if a := admit(t, f.conn, lua.Check{Charges: charges})[0]; a.Status != lua.Refused || a.Fits != 0 {
							t.Errorf("%s: %+v, want it refused", name, a)
						}
						if after := dumps(t, f.rdb, keys); after != before {
							t.Errorf("%s: %s became %s", name, before, after)
						}
					}
					small := first
					small.Units = 1
					refused("by itself", first)
					refused("by the second", small, full)
					refused("by the first", full, small)
					refused("by both", first, full)
					f.now = 2_900_000 // two units have leaked from a bucket
					if kind.Algorithm == lua.GCRA {
						first.Units, small.Units = 4, 3
						refused("more than an empty bucket holds", first)
						refused("an empty bucket, and by the second", small, full)
						small.Units = 0
						if a := admit(t, f.conn, lua.Check{Charges: []lua.Charge{small}})[0]; a.Status != lua.Allowed {
							t.Errorf("of nothing: %+v", a)
						}
						refused("after nothing was asked", first)
					}
				})
			}
		}
	})
}

// TestFramedCheckOfNothing: no units, shown with a frame that has ended, are no reason to fail a batch.
func TestFramedCheckOfNothing(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		for _, kind := range framing {
			c := named(t, f.rdb, redistest.Org(t), kind, 1)
			told(t, f.conn, &c)
			frame := c.Frame
			f.now += 9_000_000
			c.Frame, c.Window = nil, 2*c.Window // which ends the frame, and begins another
			told(t, f.conn, &c)
			c.Frame, c.Units, c.Window = frame, 0, kind.Window
			if a := admit(t, f.conn, lua.Check{Charges: []lua.Charge{c}})[0]; a.Status != lua.Allowed {
				t.Errorf("%s: %+v, want it allowed", c.Algorithm, a)
			}
		}
	})
}

// TestOneWithoutFrameCountsWithTheOthers: a bucket that ran empty is begun anew by one who shows no frame; others, who
// still show theirs, are counted with that.
func TestOneWithoutFrameCountsWithTheOthers(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		c := named(t, f.rdb, redistest.Org(t), lua.Charge{Algorithm: lua.GCRA, Limit: 1000, Burst: 3, Window: 1_000_000}, 1)
		told(t, f.conn, &c)
		f.now = 500_000
		other := c
		other.Frame, other.Units = nil, 3
		if a := admit(t, f.conn, lua.Check{Charges: []lua.Charge{other}})[0]; a.Status != lua.Allowed {
			t.Fatalf("an empty bucket: %+v", a)
		}
		if a := admit(t, f.conn, lua.Check{Charges: []lua.Charge{c}})[0]; a.Status != lua.Refused {
			t.Errorf("a full bucket, asked with a frame of before: %+v, want it refused", a)
		}
	})
}

// TestFrameOfAnotherLimit: a limit that was changed acts on the next check, although that shows the frame it was told
// before. So does one that closes.
func TestFrameOfAnotherLimit(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		for _, kind := range framing {
			c := named(t, f.rdb, redistest.Org(t), kind, 2)
			told(t, f.conn, &c)
			closed := c
			closed.Limit, closed.Units = 0, 1
			for closed.Units = range int64(2) {
				if a := admit(t, f.conn, lua.Check{Charges: []lua.Charge{closed}})[0]; a.Status != lua.Refused {
					t.Errorf("%s, closed: %+v, want it refused", c.Algorithm, a)
				}
			}
			c.Limit, c.Burst, c.Change, c.Units = 2*c.Limit, 2*c.Burst, lua.Proportional, 2
			if a := admit(t, f.conn, lua.Check{Charges: []lua.Charge{c}})[0]; a.Status != lua.Allowed || a.States[0].Was != 6 {
				t.Errorf("%s, doubled: %+v, want it allowed, under the new limit", c.Algorithm, a)
			}
			if a := admit(t, f.conn, lua.Check{Charges: []lua.Charge{c}})[0]; a.Status != lua.Refused {
				t.Errorf("%s, doubled: %+v, want four of six used, and two more refused", c.Algorithm, a)
			}
		}
	})
}

// TestFramesSurviveDamage does all kinds of harm to a state and its count: nobody is locked out, nobody beside is
// bothered, and the next check that shows no frame has mended when both end.
func TestFramesSurviveDamage(t *testing.T) {
	t.Parallel()
	harms := map[string]func(rdb redis.UniversalClient, key string) []error{
		"list": func(rdb redis.UniversalClient, key string) []error {
			return []error{rdb.Del(context.Background(), key).Err(), rdb.LPush(context.Background(), key, "x").Err()}
		},
		"no TTL": func(rdb redis.UniversalClient, key string) []error {
			return []error{rdb.Persist(context.Background(), key).Err()}
		},
		"gone": func(rdb redis.UniversalClient, key string) []error {
			return []error{rdb.Del(context.Background(), key).Err()}
		},
	}
	for _, text := range []string{"", "x", "-5", "0", "7", "1.5", "1e300", "9223372036854775807", "-9223372036854775808", "4294967297", "9007199254740991"} {
		harms["is "+text] = func(rdb redis.UniversalClient, key string) []error {
			return []error{rdb.Set(context.Background(), key, text, 0).Err()}
		}
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		conn := connOf(t, rdb)
		for _, kind := range framing {
			for name, harm := range harms {
				for which, suffix := range map[string]string{"state": "", "count": ":n"} {
					kind.Limit, kind.Burst, kind.Window = 1000, min(kind.Burst, 1)*1000, 100_000_000
					org := redistest.Org(t)
					c, beside := named(t, rdb, org, kind, 1), named(t, rdb, org, kind, 1)
					told(t, conn, &c)
					told(t, conn, &beside)
					if err := errors.Join(harm(rdb, c.Key+suffix)...); err != nil {
						t.Fatalf("%s of the %s: %v", name, which, err)
					}
					for i, charges := range [][]lua.Charge{{c, beside}, {c}, {beside}} {
						checks := []lua.Check{{Charges: []lua.Charge{beside}}, {Charges: charges}, {Charges: []lua.Charge{beside}}}
						for j, a := range admit(t, conn, checks...) {
							if a.Status != lua.Allowed {
								t.Errorf("%s, %s is %s: check %d of batch %d: %+v", c.Algorithm, which, name, j, i, a)
							}
						}
					}
					c.Frame = nil
					told(t, conn, &c)
					for _, key := range countKeys(c, beside) {
						left := rdb.PTTL(t.Context(), key).Val()
						if most := 200 * time.Second; left <= 0 || left > most {
							t.Errorf("%s, %s is %s: %s ends in %v, want more than none and at most %v", c.Algorithm, which, name, key, left, most)
						}
					}
					if a := told(t, conn, &c); a.Status != lua.Allowed || a.States[0].Frame.Generation == 0 {
						t.Errorf("%s, %s is %s: %+v, want it allowed, with a frame", c.Algorithm, which, name, a)
					}
				}
			}
		}
	})
}

// TestFramesOfAnEmbeddedServer: what examples run on decides plain checks as well, with frames and without.
func TestFramesOfAnEmbeddedServer(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), ReadTimeout: time.Minute}) // its Lua is slow
	t.Cleanup(func() { _ = rdb.Close() })
	conn := connOf(t, rdb)
	for _, kind := range framing {
		kind.Window *= 100
		c, plain := named(t, rdb, "org", kind, 1), named(t, rdb, "org", kind, 1)
		for i := range 5 {
			want := lua.Allowed
			if i >= 3 {
				want = lua.Refused
			}
			if a := told(t, conn, &c); a.Status != want || i > 0 && i < 3 && a.States[0].Frame.Generation == 0 {
				t.Errorf("%s with a frame, %d: %+v, want status %d", c.Algorithm, i, a, want)
			}
			if a := admit(t, conn, lua.Check{Charges: []lua.Charge{plain}})[0]; a.Status != want {
				t.Errorf("%s without, %d: %+v, want status %d", c.Algorithm, i, a, want)
			}
		}
	}
}
