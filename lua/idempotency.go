package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"
)

//go:embed idempotency.lua
var idempotencySource string

var idempotencyScript = newScript(idempotencySource)

// ErrClaimLost says that a claim ended before its request did, and that somebody else has it by now.
var ErrClaimLost = errors.New("lua: the claim is another's by now")

// ClaimState says what a claim came to.
type ClaimState int

// The states of a claim.
const (
	ClaimTaken    ClaimState = iota + 1 // by this call
	ClaimUnderWay                       // by another, for a while yet
	ClaimFinished                       // by another, which was finished
	ClaimMismatch                       // by another with another body
)

// Claimed tells what is remembered of a request.
type Claimed struct {
	State           ClaimState
	Wait            time.Duration // with ClaimUnderWay: until the claim ends by itself
	Key, Credential string        // with ClaimFinished: what came of it
}

// Claim remembers that a request is under way, for so long, unless one with the same words is known. owner is a
// word that no other claim has. Any error means that the claim may have been made.
func (c *Conn) Claim(ctx context.Context, org, request, body, owner string, most time.Duration) (Claimed, error) {
	code, reply, err := c.remember(ctx, org, request, "claim", body, owner, most.Milliseconds())
	if err != nil {
		return Claimed{}, err
	}
	if code < int64(ClaimTaken) || code > int64(ClaimMismatch) {
		return Claimed{}, fmt.Errorf("%w: a claim has the state %d", ErrReply, code)
	}
	reply.State = ClaimState(code)
	return reply, nil
}

// FinishClaim remembers for so long what came of a claimed request. Errors: ErrClaimLost; any other means that it
// may have been done.
func (c *Conn) FinishClaim(ctx context.Context, org, request, body, owner, key, credential string, most time.Duration) error {
	return c.endClaim(ctx, org, request, "finish", body, owner, most.Milliseconds(), key, credential)
}

// ReleaseClaim forgets a claimed request, of which nothing came. Errors as of FinishClaim.
func (c *Conn) ReleaseClaim(ctx context.Context, org, request, owner string) error {
	return c.endClaim(ctx, org, request, "release", owner)
}

func (c *Conn) endClaim(ctx context.Context, org, request string, args ...any) error {
	code, _, err := c.remember(ctx, org, request, args...)
	if err == nil && code != 1 {
		err = ErrClaimLost
	}
	return err
}

func (c *Conn) remember(ctx context.Context, org, request string, args ...any) (int64, Claimed, error) {
	reply, err := c.run(ctx, idempotencyScript, []string{IdempotencyKey(org, request)}, args)
	if err != nil {
		return 0, Claimed{}, err
	}
	items, ok := reply.([]any)
	if !ok || len(items) != 4 {
		return 0, Claimed{}, fmt.Errorf("%w: idempotency answered %T", ErrReply, reply)
	}
	numbers, err := integers(items[:2])
	if err != nil {
		return 0, Claimed{}, err
	}
	key, isText := items[2].(string)
	credential, isTextToo := items[3].(string)
	if !isText || !isTextToo {
		return 0, Claimed{}, fmt.Errorf("%w: idempotency answered %T and %T where texts were due", ErrReply, items[2], items[3])
	}
	return numbers[0], Claimed{Wait: time.Duration(numbers[1]) * time.Millisecond, Key: key, Credential: credential}, nil
}
