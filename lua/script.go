package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrReply says that a script's answer did not have the shape that its contract names: another program
// wrote to our keys, or the server is not what it claims to be. The call may have changed what it was
// meant to change.
var ErrReply = errors.New("lua: unexpected reply")

// Conn runs the scripts on a Redis client. It adds no connection of its own, and no state unless it is Guarded: the client
// stays the caller's to configure and to close. Safe for concurrent use.
type Conn struct {
	rdb    redis.UniversalClient
	guards *guards // nil: every server is asked
}

// NewConn returns a Conn for a standalone, Sentinel or Cluster client, or for anything that behaves
// like one. It does not dial. The error says that the client is nil.
func NewConn(rdb redis.UniversalClient) (*Conn, error) {
	if isNil(rdb) {
		return nil, errors.New("lua: the Redis client is nil; pass what redis.NewClient or redis.NewUniversalClient returned")
	}
	return &Conn{rdb: rdb}, nil
}

func isNil(rdb redis.UniversalClient) bool {
	switch c := rdb.(type) {
	case nil:
		return true
	case *redis.Client:
		return c == nil
	case *redis.ClusterClient:
		return c == nil
	case *redis.Ring:
		return c == nil
	}
	return false
}

// Client returns the client that the Conn was made with, for plain reads.
func (c *Conn) Client() redis.UniversalClient { return c.rdb }

// script is the text of a script and its digest, by which Redis caches it.
type script struct {
	source string
	sha    string
	call   []any // the words that begin a call by digest
}

func newScript(source string) script {
	sha := redis.NewScript(source).Hash()
	return script{source: source, sha: sha, call: []any{"evalsha", sha}}
}

// once is a command that a client may send only once. go-redis repeats commands after lost replies, in
// a cluster even with MaxRetries -1; for a script that charges, a second run would be a second charge.
type once struct{ *redis.Cmd }

// NoRetry tells go-redis (9.19 and later) never to send the command again by itself.
func (once) NoRetry() bool { return true }

// run executes a script by its digest. Redis answers NOSCRIPT when it has forgotten the script, which
// proves that nothing ran; only then is the call repeated, once, with the text.
//
// It returns as soon as ctx ends, whatever the client is still waiting for: go-redis obeys a deadline
// only with ContextTimeoutEnabled, and a cancellation never while it reads. What was sent may then still
// be carried out, so an error other than NOSCRIPT means "perhaps".
func (c *Conn) run(ctx context.Context, s script, keys []string, args []any) (any, error) {
	return bounded(ctx, func() (any, error) {
		reply, err := c.eval(ctx, "evalsha", s.sha, keys, args)
		if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			reply, err = c.eval(ctx, "eval", s.source, keys, args)
		}
		if err != nil {
			err = s.denied(err)
		}
		return reply, err
	})
}

func (c *Conn) eval(ctx context.Context, name, payload string, keys []string, args []any) (any, error) {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, name, payload, len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	cmd := once{redis.NewCmd(ctx, append(words, args...)...)}
	if err := c.rdb.Process(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Result()
}

// bounded calls f and returns what it returns, or the context's error as soon as ctx ends; f is then
// left to finish by itself.
func bounded[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("lua: no answer from Redis in time: %w", ctx.Err())
	}
}

// integers decodes a reply that must be a flat array of integers.
func integers(reply any) ([]int64, error) {
	items, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: %T where an array was due", ErrReply, reply)
	}
	numbers := make([]int64, len(items))
	for i, item := range items {
		if numbers[i], ok = item.(int64); !ok {
			return nil, fmt.Errorf("%w: element %d is %T, not an integer", ErrReply, i, item)
		}
	}
	return numbers, nil
}

// Class is the kind of a Redis failure, for metrics and for deciding what to do about it.
type Class string

// The classes of failure.
const (
	ClassNone        Class = ""            // no error
	ClassUnavailable Class = "unavailable" // not reached, or it cannot serve now
	ClassTimeout     Class = "timeout"     // no answer in time
	ClassCanceled    Class = "canceled"    // the caller went away
	ClassOverloaded  Class = "overloaded"  // too many clients, out of memory, or busy
	ClassConfig      Class = "config"      // access refused, or data that is not ours under our keys
)

// prefixes names the replies of Redis that do not mean "unavailable".
var prefixes = map[string]Class{
	"NOAUTH": ClassConfig, "WRONGPASS": ClassConfig, "NOPERM": ClassConfig, "WRONGTYPE": ClassConfig,
	"CROSSSLOT": ClassConfig, "ERR": ClassConfig, "NOSCRIPT": ClassConfig,
	"BUSY": ClassOverloaded, "OOM": ClassOverloaded,
}

// Classify names the class of an error that a call to Redis returned. It decides by type and by Redis's
// own error codes.
func Classify(err error) Class {
	if err == nil {
		return ClassNone
	}
	if errors.Is(err, context.Canceled) {
		return ClassCanceled
	}
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return ClassTimeout
	}
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || redis.IsMaxClientsError(err) {
		return ClassOverloaded
	}
	if errors.Is(err, ErrReply) {
		return ClassConfig
	}
	var reply redis.Error
	if errors.As(err, &reply) {
		code, _, _ := strings.Cut(reply.Error(), " ")
		if class, ok := prefixes[code]; ok {
			return class
		}
	}
	return ClassUnavailable
}
