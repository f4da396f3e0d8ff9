package lua

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed epoch.lua
var epochSource string

var epochScript = newScript(epochSource)

// Epoch is what an org's caches are checked against.
type Epoch struct {
	Now    int64 // Redis time, microseconds since 1970
	Keys   int64 // when a key of the org last changed
	Limits int64 // when a limit of the org last changed
}

// Epoch reads the stamps of an org and sets the missing ones to the present. Read it before what it
// stands for. One command; it writes only for an org that has no epoch.
func (c *Conn) Epoch(ctx context.Context, org string) (Epoch, error) {
	reply, err := c.run(ctx, epochScript, []string{EpochKey(org)}, nil)
	if err != nil {
		return Epoch{}, err
	}
	return epochOf(reply)
}

func epochOf(reply any) (Epoch, error) {
	n, err := integers(reply)
	if err != nil {
		return Epoch{}, err
	}
	if len(n) != 3 || n[1] <= 0 || n[2] <= 0 {
		return Epoch{}, fmt.Errorf("%w: epoch %v", ErrReply, n)
	}
	return Epoch{Now: n[0], Keys: n[1], Limits: n[2]}, nil
}
