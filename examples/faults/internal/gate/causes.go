package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tollgate-go/tollgate/middleware"
)

// causes are why steps failed, for whoever looks for what went wrong in a row.
type causes struct {
	mu    sync.Mutex
	count map[string]int
}

// most is how many different causes are kept.
const most = 50

// Observe writes down why a step failed.
func (c *causes) Observe(e middleware.Event) {
	if e.Err == nil {
		return
	}
	text := string(e.Step) + ": " + e.Err.Error()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[string]int{}
	}
	if _, known := c.count[text]; known || len(c.count) < most {
		c.count[text]++
	}
}

// take returns the most frequent, and forgets all.
func (c *causes) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.SortedFunc(maps.Keys(c.count), func(a, b string) int { return c.count[b] - c.count[a] })
	var b strings.Builder
	for _, text := range all[:min(len(all), 5)] {
		fmt.Fprintf(&b, "\n  %d times %s", c.count[text], text)
	}
	c.count = nil
	return b.String()
}
