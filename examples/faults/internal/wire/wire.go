// Package wire is the way to a Redis that faults are done to: a proxy with the toxics of toxiproxy, in this process.
//
//	link, err := wire.New(server.Addr())
//	if err != nil { ... }
//	defer link.Close()
//	rdb := redis.NewClient(&redis.Options{Addr: link.Addr()})
//	err = link.Poison("latency", wire.Replies, map[string]any{"latency": 400})
//	link.Cure()
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// The directions of a toxic.
const (
	Requests = "upstream"
	Replies  = "downstream"
)

// Link is a proxy before a server. Safe for concurrent use.
type Link struct{ proxy *toxiproxy.Proxy }

// A toxic writes to a logger that nobody can set, of every byte that it holds back.
func init() { zerolog.SetGlobalLevel(zerolog.Disabled) }

// New listens on a free port of 127.0.0.1, and passes on to a server what comes, until Close.
func New(server string) (*Link, error) {
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &Link{proxy: toxiproxy.NewProxy(api, server, "127.0.0.1:0", server)}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("wire: listen for %s: %w", server, err)
	}
	return l, nil
}

// Addr returns where the proxy listens.
func (l *Link) Addr() string { return l.proxy.Listen }

// Poison adds a toxic to one direction of all connections, those that are open among them: its type and its attributes
// are those of toxiproxy.
func (l *Link) Poison(kind, direction string, attributes map[string]any) error {
	text, err := json.Marshal(map[string]any{"type": kind, "stream": direction, "attributes": attributes})
	if err == nil {
		_, err = l.proxy.Toxics.AddToxicJson(bytes.NewReader(text))
	}
	if err != nil {
		return fmt.Errorf("wire: %s %s %v: %w", direction, kind, attributes, err)
	}
	return nil
}

// Cure removes all toxics.
func (l *Link) Cure(ctx context.Context) { l.proxy.Toxics.ResetToxics(ctx) }

// Close cuts all connections and listens no more.
func (l *Link) Close() { l.proxy.Stop() }
