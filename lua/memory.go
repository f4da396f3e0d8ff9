package lua

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Memory is what a Redis server tells of the bound of its memory, and of what it dropped to stay within.
type Memory struct {
	// Addr is the server as the client dials it: host:port, but "FailoverClient" for the master behind
	// Sentinel, and "" where the client does not say.
	Addr string
	// Version is "redis 7.4.1" or "valkey 8.1.0"; "" where it is not told.
	Version string
	// Policy is the maxmemory-policy: which keys are dropped. "" where it is not told, as by Redis
	// Enterprise.
	Policy string
	// MaxMemory is in bytes. 0: there is no bound, so nothing is dropped whatever the policy. -1: not told.
	MaxMemory int64
	// EvictedKeys counts the keys dropped since the server started. -1: not told.
	EvictedKeys int64
}

// Eviction says whether a server drops keys that nobody deleted. Limits, keys and usage that are dropped
// are gone without an error: quotas begin anew, and keys become unknown.
type Eviction string

// The states of eviction.
const (
	EvictionOff     Eviction = "off"     // the policy is noeviction: writes fail when the memory is full
	EvictionLatent  Eviction = "latent"  // the policy drops keys, as soon as somebody sets maxmemory
	EvictionOn      Eviction = "on"      // the server drops keys when its memory is full
	EvictionUnknown Eviction = "unknown" // the server does not tell its policy
)

// Eviction judges what a server told. A policy that drops keys is taken as on if maxmemory is not told.
func (m Memory) Eviction() Eviction {
	switch {
	case m.Policy == "":
		return EvictionUnknown
	case m.Policy == "noeviction":
		return EvictionOff
	case m.MaxMemory == 0:
		return EvictionLatent
	}
	return EvictionOn
}

// Memory asks every master of the client: the one of a standalone or Sentinel client, all of a Cluster,
// all of a Ring that are up. They are asked at the same time, one INFO each, which every Redis and Valkey
// has; CONFIG is left alone, for managed services forbid it.
//
// It returns those that answered, by address, also with an error; the error joins what is wrong with each
// of the others and names it. It returns as soon as ctx ends.
func (c *Conn) Memory(ctx context.Context) ([]Memory, error) {
	nodes, err := bounded(ctx, func() ([]node, error) { return masters(ctx, c.rdb) })
	if err != nil {
		return nil, fmt.Errorf("lua: which Redis servers there are: %w", err)
	}
	answers, faults := make([]Memory, len(nodes)), make([]error, len(nodes))
	var group sync.WaitGroup
	for i, n := range nodes {
		group.Go(func() { answers[i], faults[i] = n.memory(ctx) })
	}
	group.Wait()
	answered := answers[:0]
	for i, a := range answers {
		if faults[i] == nil {
			answered = append(answered, a)
		}
	}
	slices.SortFunc(answered, func(a, b Memory) int { return cmp.Compare(a.Addr, b.Addr) })
	return answered, errors.Join(faults...)
}

// node is one server.
type node struct {
	addr   string
	client interface {
		Info(ctx context.Context, sections ...string) *redis.StringCmd
	}
}

// masters lists the servers that a client writes to. It goes by what a client can do, not by its type, so
// that one which embeds another is seen through.
func masters(ctx context.Context, rdb redis.UniversalClient) ([]node, error) {
	var mu sync.Mutex
	var nodes []node
	add := func(_ context.Context, client *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node{client.Options().Addr, client})
		return nil
	}
	type each = func(ctx context.Context, client *redis.Client) error
	var err error
	switch client := rdb.(type) {
	case interface {
		ForEachMaster(ctx context.Context, f each) error
	}:
		err = client.ForEachMaster(ctx, add)
	case interface {
		ForEachShard(ctx context.Context, f each) error
	}:
		err = client.ForEachShard(ctx, add)
	case interface{ Options() *redis.Options }:
		return []node{{client.Options().Addr, rdb}}, nil
	default:
		return []node{{"", rdb}}, nil
	}
	if err == nil && len(nodes) == 0 {
		err = errors.New("none is up")
	}
	return nodes, err
}

func (n node) memory(ctx context.Context) (Memory, error) {
	// Without a section, for Redis 6.2 knows no more than one in a call.
	text, err := bounded(ctx, func() (string, error) { return n.client.Info(ctx).Result() })
	if err != nil && redis.HasErrorPrefix(err, "NOPERM") {
		err = fmt.Errorf("%w (allow it: ACL SETUSER <user> +info)", err)
	}
	var m Memory
	if err == nil {
		m, err = parseMemory(text)
	}
	if err != nil {
		return Memory{}, fmt.Errorf("lua: INFO of Redis at %q: %w", n.addr, err)
	}
	m.Addr = n.addr
	return m, nil
}

// parseMemory reads the answer of INFO: lines of field:value, and titles that begin with #. Fields differ
// from server to server, so one that is missing is no error; one that is not what its name says is.
func parseMemory(text string) (Memory, error) {
	m := Memory{MaxMemory: -1, EvictedKeys: -1}
	var redisVersion, valkeyVersion string
	for line := range strings.Lines(text) {
		field, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		var err error
		switch field {
		case "redis_version":
			redisVersion = "redis " + value
		case "valkey_version": // and redis_version is the one that it is compatible with
			valkeyVersion = "valkey " + value
		case "maxmemory_policy":
			m.Policy = value
		case "maxmemory":
			m.MaxMemory, err = natural(field, value)
		case "evicted_keys":
			m.EvictedKeys, err = natural(field, value)
		}
		if err != nil {
			return Memory{}, err
		}
	}
	m.Version = cmp.Or(valkeyVersion, redisVersion)
	return m, nil
}

func natural(field, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %s is %q, not a number of 0 or more", ErrReply, field, value)
	}
	return n, nil
}
