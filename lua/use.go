package lua

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

//go:embed use.lua
var useSource string

var useScript = newScript(useSource)

// Use is when a credential of a key was last used, microseconds since 1970.
type Use struct {
	Key, Credential string
	At              int64
}

// maxUses bounds how many uses one command notes.
const maxUses = 100

// NoteUses writes when credentials were last used; an earlier time than what is there, and a key that is not there,
// change nothing. One command for each hundred of a bucket. What failed may have been written in part; repeating it
// is harmless.
func (c *Conn) NoteUses(ctx context.Context, uses []Use) error {
	buckets := map[string][]Use{}
	for _, u := range uses {
		if _, ok := RecordKey(u.Key); !ok {
			return fmt.Errorf("%w: use of key %.20q", ErrKeyNotFound, u.Key)
		}
		b := u.Key[:bucket.Len]
		buckets[b] = append(buckets[b], u)
	}
	for _, uses := range buckets {
		for len(uses) > 0 {
			n := min(len(uses), maxUses)
			if err := c.noteUses(ctx, uses[:n]); err != nil {
				return err
			}
			uses = uses[n:]
		}
	}
	return nil
}

// noteUses does it for uses of one bucket.
func (c *Conn) noteUses(ctx context.Context, uses []Use) error {
	keys, args := make([]string, len(uses)), make([]any, 0, 2*len(uses))
	for i, u := range uses {
		keys[i], _ = RecordKey(u.Key)
		args = append(args, u.Credential, u.At)
	}
	reply, err := c.run(ctx, useScript, keys, args)
	if err != nil {
		return err
	}
	if _, ok := reply.(int64); !ok {
		return fmt.Errorf("%w: use answered %T", ErrReply, reply)
	}
	return nil
}
