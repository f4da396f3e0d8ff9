package cache_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/internal/cache"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// at returns a clock that stands still so long after the start.
func at(d time.Duration) cache.Since {
	return func(t time.Time) time.Duration { return start.Add(d).Sub(t) }
}

func sum(i int) *cache.Sum { return new(cache.SumOf(fmt.Sprint("secret ", i))) }

func put(c *cache.Cache[string], i int, value string) {
	c.Put(sum(i), value, start, at(0), nil)
}

// wants checks what is held under the sums of 0 and up; "" is nothing.
func wants(t *testing.T, c *cache.Cache[string], want ...string) {
	t.Helper()
	for i, value := range want {
		if got, _, ok := c.Get(sum(i), at(0)); got != value || ok != (value != "") {
			t.Errorf("%d: got %q, %t, want %q", i, got, ok, value)
		}
	}
}

func TestSumOf(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprintf("%x", cache.SumOf("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("of abc: %s", got)
	}
	if got := fmt.Sprintf("%x", cache.SumOf("")); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("of nothing: %s", got)
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	c := cache.New[string](8, 5*time.Second)
	put(c, 0, "a")
	for _, row := range []struct {
		age time.Duration
		ok  bool
	}{{0, true}, {5*time.Second - 1, true}, {5 * time.Second, false}, {time.Hour, false}, {-time.Minute, true}} {
		value, age, ok := c.Get(sum(0), at(row.age))
		if ok != row.ok || ok && (value != "a" || age != row.age) {
			t.Errorf("after %v: %q, %v, %t", row.age, value, age, ok)
		}
	}
	if !c.Holds(sum(0)) || c.Holds(sum(1)) || c.Len() != 1 {
		t.Error("what ended is not held, or something else is")
	}
	c.Put(sum(0), "b", start.Add(time.Hour), at(time.Hour), nil)
	if value, _, ok := c.Get(sum(0), at(time.Hour)); value != "b" || !ok || c.Len() != 1 {
		t.Errorf("put anew: %q, %t, %d held", value, ok, c.Len())
	}
}

func TestPutKeepsTheBetter(t *testing.T) {
	t.Parallel()
	c := cache.New[string](8, 5*time.Second)
	longer := func(held, fresh string) bool { return len(held) > len(fresh) }
	for _, step := range []struct {
		value string
		age   time.Duration
		want  string
	}{{"aa", 0, "aa"}, {"b", 1, "aa"}, {"cc", 2, "cc"}, {"d", 5 * time.Second, "cc"}, {"e", 5*time.Second + 2, "e"}} {
		if got := c.Put(sum(0), step.value, start.Add(step.age), at(step.age), longer); got != step.want {
			t.Errorf("after %v: Put(%q) = %q, want %q", step.age, step.value, got, step.want)
		}
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	c := cache.New[string](1, time.Second)
	c.Drop(sum(0))
	put(c, 0, "a")
	c.Drop(sum(1))
	wants(t, c, "a")
	c.Drop(sum(0))
	wants(t, c, "")
	if c.Len() != 0 {
		t.Errorf("%d are held", c.Len())
	}
}

// TestEveryOneIsFound fills caches of several sizes: no list loses one of its own.
func TestEveryOneIsFound(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 2, 3, 7, 64, 1000} {
		c, want := cache.New[string](most, time.Second), make([]string, most+1)
		for i := range most {
			put(c, i, "first")
		}
		for i := range most {
			if want[i] = fmt.Sprint(i); i%3 == 2 {
				want[i] = ""
				c.Drop(sum(i))
			} else {
				put(c, i, want[i])
			}
		}
		wants(t, c, want...)
		if got := c.Len(); got != most-most/3 {
			t.Errorf("of %d: %d are held", most, got)
		}
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 2, 5, 64} {
		c := cache.New[string](most, time.Second)
		for i := range 20 * most {
			put(c, i, "a")
			if got := c.Len(); got != min(i+1, most) {
				t.Fatalf("of %d: %d are held after %d", most, got, i+1)
			}
			if !c.Holds(sum(i)) {
				t.Fatalf("of %d: the last is not held", most)
			}
		}
	}
}

func TestWhoGoes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(c *cache.Cache[string])
		want []string
	}{
		{"the one that nobody asked for", func(c *cache.Cache[string]) { c.Get(sum(0), at(0)) }, []string{"0", "", "2"}},
		{"the oldest of several", func(*cache.Cache[string]) {}, []string{"", "1", "2"}},
		{"the oldest that was asked for", func(c *cache.Cache[string]) { c.Get(sum(0), at(0)); c.Get(sum(1), at(0)) }, []string{"", "1", "2"}},
		{"one that ended before others", func(c *cache.Cache[string]) {
			c.Drop(sum(0))
			c.Put(sum(0), "0", start.Add(-time.Minute), at(-time.Minute), nil)
			c.Get(sum(0), at(-time.Minute))
		}, []string{"", "1", "2"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := cache.New[string](2, time.Minute)
			c.Put(sum(0), "0", start.Add(-2), at(0), nil)
			c.Put(sum(1), "1", start.Add(-1), at(0), nil)
			row.do(c)
			put(c, 2, "2")
			wants(t, c, row.want...)
		})
	}
}

// TestNobodyMissesWhatIsThere replaces one value again and again, while its neighbours come and go.
func TestNobodyMissesWhatIsThere(t *testing.T) {
	t.Parallel()
	c := cache.New[string](4, time.Minute)
	put(c, 0, "a")
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				if _, _, ok := c.Get(sum(0), at(0)); !ok {
					t.Error("it is there, and was not found")
					return
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			for i := range 5000 {
				put(c, 1+w, "b")
				put(c, 0, fmt.Sprint(i))
				c.Drop(sum(1 + w))
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	if c.Len() != 1 {
		t.Errorf("%d are held, want 1", c.Len())
	}
}

func TestHitDoesNotAllocate(t *testing.T) {
	c := cache.New[string](8, time.Minute)
	put(c, 0, "a")
	secret, now := "secret 0", at(0)
	if n := testing.AllocsPerRun(100, func() {
		sum := cache.SumOf(secret)
		if _, _, ok := c.Get(&sum, now); !ok {
			t.Error("it is not found")
		}
	}); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}
