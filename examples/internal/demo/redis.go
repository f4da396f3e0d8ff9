package demo

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// connect returns a client for a URL, or for an embedded Redis where there is none, and the name under
// which to speak of it. A URL that names more addresses, as in redis://host:1?addr=host:2, is a cluster.
func connect(rawURL string) (rdb redis.UniversalClient, name string, closeAll func(), err error) {
	if rawURL == "" {
		return embedded()
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, "", nil, errors.New("-redis: not a URL; write redis://host:port/0") // the URL may hold a password
	}
	if u.Query().Has("addr") {
		o, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, "", nil, fmt.Errorf("-redis: %w", err)
		}
		o.ContextTimeoutEnabled = true
		c := redis.NewClusterClient(o)
		return c, u.Host, func() { _ = c.Close() }, nil
	}
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, "", nil, fmt.Errorf("-redis: %w", err)
	}
	o.ContextTimeoutEnabled = true
	c := redis.NewClient(o)
	return c, u.Host, func() { _ = c.Close() }, nil
}

// embedded runs a Redis in this process. It forgets everything at the end and is for trying things out.
func embedded() (redis.UniversalClient, string, func(), error) {
	server, err := miniredis.Run()
	if err != nil {
		return nil, "", nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	const tick = 50 * time.Millisecond // its keys expire only when told how time passes
	ticker, stop, stopped := time.NewTicker(tick), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-ticker.C:
				server.FastForward(tick)
			case <-stop:
				return
			}
		}
	}()
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	return c, "embedded", func() {
		ticker.Stop()
		close(stop)
		<-stopped
		_ = c.Close()
		server.Close()
	}, nil
}
