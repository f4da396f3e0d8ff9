package lua

import (
	"context"
	"fmt"
	"strconv"
)

// UsageMark returns the number of the last batch of a process that was decided for an org; 0 if Redis knows of none, or
// not any more. One round trip. ErrReply where what is stored was not written by AddUsage.
func (c *Conn) UsageMark(ctx context.Context, org, process string) (int64, error) {
	key := UsageMarkKey(org, process)
	values, err := c.read(ctx, readHash(key))
	if err != nil {
		return 0, err
	}
	mark, err := hashOf(values[1])
	if err != nil || mark["batch"] == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(mark["batch"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: field batch of %.200q is no number", ErrReply, key)
	}
	return n, nil
}
