package lua

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed read.lua
var readSource string

var readScript = newScript(readSource)

//go:embed stamp.lua
var stampSource string // a part of each script that raises a stamp

// Epoch is what an org's caches are checked against.
type Epoch struct {
	Now    int64 // Redis time, microseconds since 1970
	Keys   int64 // when a key of the org last changed
	Limits int64 // when a limit of the org last changed
}

// Epoch reads the stamps of an org and sets the missing ones to the present. Read it with what it stands
// for, or before. One command; it writes only for an org that has no epoch.
func (c *Conn) Epoch(ctx context.Context, org string) (Epoch, error) {
	values, err := c.read(ctx, readEpoch(EpochKey(org)))
	if err != nil {
		return Epoch{}, err
	}
	return epochOf(values)
}

// reading is one key of a read, and how.
type reading struct {
	key string
	how []any
}

func readString(key string) reading { return reading{key, []any{"string"}} }
func readHash(key string) reading   { return reading{key, []any{"hash"}} }
func readEpoch(key string) reading  { return reading{key, []any{"epoch"}} }

func readField(key, name string) reading { return reading{key, []any{"field", name}} }

func readIndex(key, low, high string, count int) reading {
	return reading{key, []any{"index", low, high, count}}
}

// read returns Redis time, and the values of keys of one slot at that moment, from the primary. One
// command.
func (c *Conn) read(ctx context.Context, readings ...reading) ([]any, error) {
	keys, args := make([]string, len(readings)), make([]any, 0, len(readings))
	for i, r := range readings {
		keys[i], args = r.key, append(args, r.how...)
	}
	reply, err := guard(ctx, c, keys[0], func() (any, error) { return c.run(ctx, readScript, keys, args) })
	if err != nil {
		return nil, err
	}
	values, ok := reply.([]any)
	if !ok || len(values) != len(readings)+1 {
		return nil, fmt.Errorf("%w: read answered %T", ErrReply, reply)
	}
	return values, nil
}

// epochOf decodes a reply whose first reading was an epoch.
func epochOf(values []any) (Epoch, error) {
	now, ok := values[0].(int64)
	stamps, err := integers(values[1])
	if err != nil {
		return Epoch{}, err
	}
	if !ok || len(stamps) != 2 || min(now, stamps[0], stamps[1]) <= 0 {
		return Epoch{}, fmt.Errorf("%w: epoch %v of %v", ErrReply, values[1], values[0])
	}
	return Epoch{Now: now, Keys: stamps[0], Limits: stamps[1]}, nil
}

// textsOf decodes an array of texts.
func textsOf(value any) ([]string, error) {
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: %T where an array was due", ErrReply, value)
	}
	texts := make([]string, len(items))
	for i, item := range items {
		if texts[i], ok = item.(string); !ok {
			return nil, fmt.Errorf("%w: element %d is %T, not a text", ErrReply, i, item)
		}
	}
	return texts, nil
}

// hashOf decodes a hash.
func hashOf(value any) (map[string]string, error) {
	flat, err := textsOf(value)
	if err != nil {
		return nil, err
	}
	if len(flat)%2 != 0 {
		return nil, fmt.Errorf("%w: a hash of %d texts", ErrReply, len(flat))
	}
	hash := make(map[string]string, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		hash[flat[i]] = flat[i+1]
	}
	return hash, nil
}
