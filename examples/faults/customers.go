package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// customers call a service over HTTP.
type customers struct {
	client http.Client
	url    string
	key    string

	mu           sync.Mutex
	acknowledged []time.Time // when each answer came
	ambiguous    []time.Time
	others       map[int]int64 // by status
}

func (c *customers) call(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, http.NoBody)
	if err != nil {
		return
	}
	r.Header.Set("X-Api-Key", c.key)
	answer, err := c.client.Do(r)
	if err == nil {
		_ = answer.Body.Close() // it is empty
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.ambiguous = append(c.ambiguous, time.Now())
	case answer.StatusCode == http.StatusOK:
		c.acknowledged = append(c.acknowledged, time.Now())
	default:
		c.others[answer.StatusCode]++
	}
}

func (c *customers) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acknowledged)
}
