package lua_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// planName returns the name of a plan that no other test has, and that is gone when the test has ended.
func planName(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	name := "plan-" + rand.Text()
	t.Cleanup(func() {
		for b := range bucket.All() {
			if err := rdb.HDel(context.WithoutCancel(t.Context()), lua.PlansKey(b), name).Err(); err != nil {
				t.Errorf("HDEL: %v", err)
			}
		}
	})
	return name
}

func planOf(t *testing.T, conn *lua.Conn, bucket, name string) (lua.Epoch, string) {
	t.Helper()
	epoch, text, err := conn.Plan(t.Context(), bucket, name)
	if err != nil {
		t.Fatalf("Plan: %v", err)
	}
	return epoch, text
}

// TestPlanIsInEveryBucket writes and deletes a plan, and looks at each copy and its epoch. Other tests may raise
// an epoch meanwhile, and do not lower it.
func TestPlanIsInEveryBucket(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, name := connOf(t, rdb), planName(t, rdb)
		last := map[string]int64{}
		check := func(when string, want ...string) {
			t.Helper()
			for b := range bucket.All() {
				epoch, text := planOf(t, conn, b, name)
				if epoch.Limits <= last[b] {
					t.Errorf("%s, bucket %s: stamp %d after %d, want it to rise", when, b, epoch.Limits, last[b])
				}
				last[b] = epoch.Limits
				for _, part := range want {
					if !strings.Contains(text, part) {
						t.Errorf("%s, bucket %s: %s, want it to hold %s", when, b, text, part)
					}
				}
				if when == "absent" && text != "" {
					t.Errorf("%s, bucket %s: %s", when, b, text)
				}
			}
		}
		check("absent")
		change, err := conn.SetPlan(t.Context(), name, lua.NoRevision, `{"rules":[{"limit":"999999999999999"}]}`, audit.Line{})
		if err != nil || !change.Created || change.Revision == 0 || change.CreatedAt != change.Now {
			t.Fatalf("SetPlan = %+v, %v", change, err)
		}
		stamps := []string{fmt.Sprintf(`"revision":"%d"`, change.Revision), fmt.Sprintf(`"created":"%d"`, change.CreatedAt)}
		check("set", append(stamps, `"rules":[{"limit":"999999999999999"}]`)...)
		if all, err := conn.Plans(t.Context()); err != nil || !strings.Contains(all[name], stamps[0]) {
			t.Errorf("Plans = %q, %v", all[name], err)
		}
		if _, err := conn.SetPlan(t.Context(), name, lua.Expected(change.Revision-1), "{}", audit.Line{}); !errors.Is(err, lua.ErrOverrideRevision) {
			t.Errorf("SetPlan of another revision: %v", err)
		}
		if err := conn.DeletePlan(t.Context(), name, lua.Expected(change.Revision-1), audit.Line{}); !errors.Is(err, lua.ErrOverrideRevision) {
			t.Errorf("DeletePlan of another revision: %v", err)
		}
		if err := conn.DeletePlan(t.Context(), name, lua.Expected(change.Revision), audit.Line{}); err != nil {
			t.Errorf("DeletePlan: %v", err)
		}
		check("deleted", `"deleted":"1"`, `"until":"`)
		if err := conn.DeletePlan(t.Context(), name, lua.AnyRevision, audit.Line{}); !errors.Is(err, lua.ErrOverrideNotFound) {
			t.Errorf("DeletePlan again: %v, want ErrOverrideNotFound", err)
		}
		if err := conn.DeletePlan(t.Context(), planName(t, rdb), lua.AnyRevision, audit.Line{}); !errors.Is(err, lua.ErrOverrideNotFound) {
			t.Errorf("DeletePlan of none: %v, want ErrOverrideNotFound", err)
		}
	})
}

// TestCopyTakesWhatIsNewer holds for plans, marks and damage alike.
func TestCopyTakesWhatIsNewer(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn := connOf(t, rdb)
		for stored, taken := range map[string]bool{
			``: true, `{"revision":"4"}`: true, `{"revision":"5"}`: false, `{"revision":"6"}`: false,
			`{"revision":"4","deleted":"1"}`: true, `{"revision":"6","deleted":"1"}`: false,
			`{`: true, `null`: true, `{"revision":null}`: true, `{"revision":"x"}`: true, `{"revision":"1e300"}`: true, `{"revision":"nan"}`: true, `{"revision":{}}`: true,
		} {
			name := planName(t, rdb)
			for _, b := range []string{"00", "17"} {
				if err := rdb.HSet(t.Context(), lua.PlansKey(b), name, stored).Err(); stored != "" && err != nil {
					t.Fatalf("HSET: %v", err)
				}
			}
			if err := conn.CopyPlan(t.Context(), name, `{"rules":[]}`, 5, 3); err != nil {
				t.Errorf("%s: CopyPlan: %v", stored, err)
			}
			_, text := planOf(t, conn, "17", name)
			if got := strings.Contains(text, `"revision":"5"`) && strings.Contains(text, `"created":"3"`); got != taken {
				t.Errorf("%s: %s, want it taken: %t", stored, text, taken)
			}
			if _, text := planOf(t, conn, "00", name); text != stored {
				t.Errorf("%s: %s where it is decided", stored, text)
			}
		}
	})
}

// TestMarksMakeRoom fills a server of its own with marks, of which the older half has served.
func TestMarksMakeRoom(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { rdb.Close() })
	conn := connOf(t, rdb)
	for i := range lua.MaxPlans {
		until := time.Now().Add(time.Hour - time.Duration(i%2)*2*time.Hour).UnixMicro()
		for _, b := range []string{"00", "17"} {
			if err := rdb.HSet(t.Context(), lua.PlansKey(b), i, fmt.Sprintf(`{"deleted":"1","until":"%d","revision":"1"}`, until)).Err(); err != nil {
				t.Fatalf("HSET: %v", err)
			}
		}
	}
	if _, err := conn.SetPlan(t.Context(), "gold", lua.AnyRevision, "{}", audit.Line{}); err != nil {
		t.Fatalf("SetPlan: %v", err)
	}
	for _, b := range []string{"00", "17"} {
		if n, err := rdb.HLen(t.Context(), lua.PlansKey(b)).Result(); err != nil || n != lua.MaxPlans/2+1 {
			t.Errorf("bucket %s: %d plans and marks (%v), want %d", b, n, err, lua.MaxPlans/2+1)
		}
	}
}

// TestDeleteOfALostPlan has the bucket that decides lose a plan, or hold an older mark of it, which the others have.
func TestDeleteOfALostPlan(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn := connOf(t, rdb)
		for _, left := range []string{"", `{"deleted":"1","until":"4102444800000000","revision":"5"}`} {
			for _, expected := range []lua.Expected{lua.AnyRevision, lua.NoRevision, 5} {
				name := planName(t, rdb)
				if _, err := conn.SetPlan(t.Context(), name, lua.AnyRevision, `{"rules":[]}`, audit.Line{}); err != nil {
					t.Fatalf("SetPlan: %v", err)
				}
				err := rdb.HDel(t.Context(), lua.PlansKey(lua.AuthorityBucket), name).Err()
				if left != "" {
					err = rdb.HSet(t.Context(), lua.PlansKey(lua.AuthorityBucket), name, left).Err()
				}
				if err != nil {
					t.Fatalf("lose it: %v", err)
				}
				if err := conn.DeletePlan(t.Context(), name, expected, audit.Line{}); !errors.Is(err, lua.ErrOverrideNotFound) {
					t.Errorf("DeletePlan: %v, want ErrOverrideNotFound", err)
				}
				for b := range bucket.All() {
					if _, text := planOf(t, conn, b, name); !strings.Contains(text, `"deleted"`) {
						t.Errorf("expected %d, left %q: bucket %s has %q, want a mark", expected, left, b, text)
					}
				}
			}
		}
	})
}
