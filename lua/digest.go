package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"
)

//go:embed digest.lua
var digestSource string

var digestScript = newScript(digestSource)

// ErrDigestClaimed says that another call is binding the digest.
var ErrDigestClaimed = errors.New("lua: the digest is being bound by another call")

// ClaimTime is how long a digest stays claimed for a credential that is being written.
const ClaimTime = 10 * time.Second

// ClaimDigest binds the digest of a foreign key to a credential that is about to be written, for
// ClaimTime; ConfirmDigest makes that last. Errors: ErrKeyExists when it is bound to another,
// ErrDigestClaimed when it is claimed for another. Repeating it is harmless.
func (c *Conn) ClaimDigest(ctx context.Context, digest, id string) error {
	return c.bindDigest(ctx, digest, "claim", id, ClaimTime.Milliseconds())
}

// ConfirmDigest makes a claim last. ErrKeyNotFound when it has ended. Repeating it is harmless.
func (c *Conn) ConfirmDigest(ctx context.Context, digest, id string) error {
	return c.bindDigest(ctx, digest, "confirm", id)
}

// DigestID returns the id of the credential that a digest is bound to; ErrKeyNotFound when there is none. The
// credential itself may be missing. One round trip.
func (c *Conn) DigestID(ctx context.Context, digest string) (string, error) {
	values, err := c.read(ctx, readString(DigestKey(digest)))
	if err != nil {
		return "", err
	}
	switch id := values[1].(type) {
	case nil:
		return "", ErrKeyNotFound
	case string:
		return id, nil
	}
	return "", fmt.Errorf("%w: a digest stands for %T", ErrReply, values[1])
}

func (c *Conn) bindDigest(ctx context.Context, digest string, args ...any) error {
	reply, err := c.run(ctx, digestScript, []string{DigestKey(digest)}, args)
	if err != nil {
		return err
	}
	code, ok := reply.(int64)
	switch {
	case ok && code == 1:
		return nil
	case ok && code == -1:
		return ErrKeyNotFound
	case ok && code == -2:
		return ErrKeyExists
	case ok && code == -4:
		return ErrDigestClaimed
	}
	return fmt.Errorf("%w: digest answered %v", ErrReply, reply)
}
