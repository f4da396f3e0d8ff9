package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/lua/audit"
)

//go:embed revocation.lua
var revocationSource string

var revocationScript = newScript(auditSource + revocationSource)

// MaxRevocations is the most that an org may have at a time.
const MaxRevocations = 100_000

// What can stand in the way of a revocation, or of its end.
var (
	ErrRevocationNotFound = errors.New("lua: nothing is revoked under this name")
	ErrRevocationTooMany  = errors.New("lua: the org has too many revocations")
	ErrRevocationEnded    = errors.New("lua: the revocation would have ended before now")
	ErrRevocationTooFar   = errors.New("lua: the revocation is of a time more than a day ahead, or would end in more than 402 days")
)

// Revocation is what is revoked under a name. Times are Redis times in microseconds.
type Revocation struct {
	Name   Name
	Before int64  // tokens made before it are refused; MaxTime: all, as always of a NameToken
	Until  int64  // when it ends
	At     int64  // when it was last written
	Record string // the caller's
	// Damaged says that it cannot be read; then it has a Name alone, and refuses all tokens until it is lifted.
	Damaged bool
}

// Revoke writes a revocation, and appends the line to the org's audit trail; where the name is revoked already, the
// later Before and the later Until stay. It returns those that then stand. The zero Before is now; the zero Until
// is keep, in microseconds, after now or after Before. At is not looked at. Errors: ErrRevocationTooMany,
// ErrRevocationEnded, ErrRevocationTooFar; any other means that it may have been written. One command.
func (c *Conn) Revoke(ctx context.Context, org string, r Revocation, keep int64, line audit.Line) (Revocation, error) {
	if r.Name.Kind == NameToken {
		r.Before = MaxTime
	}
	n, err := c.changeRevoked(ctx, org, line, "revoke", r.Name.Field(), r.Before, r.Until, keep, MaxRevocations, r.Record)
	if err != nil {
		return Revocation{}, err
	}
	r.At, r.Before, r.Until = n[1], n[2], n[3]
	return r, nil
}

// LiftRevocation ends what is revoked under a name, also where it is damaged, and appends the line to the org's audit
// trail. Errors: ErrRevocationNotFound; any other means that it may have ended. One command.
func (c *Conn) LiftRevocation(ctx context.Context, org string, name Name, line audit.Line) error {
	_, err := c.changeRevoked(ctx, org, line, "lift", name.Field())
	return err
}

// changeRevoked returns the four numbers of a change.
func (c *Conn) changeRevoked(ctx context.Context, org string, line audit.Line, args ...any) ([]int64, error) {
	keys := []string{RevokedKey(org), RevokedUntilKey(org), AuditKey(org)}
	reply, err := c.run(ctx, revocationScript, keys, append(args, lineArgs(line)...))
	if err != nil {
		return nil, err
	}
	n, err := integers(reply)
	if err != nil {
		return nil, err
	}
	if len(n) != 4 {
		return nil, fmt.Errorf("%w: revocation answered %v", ErrReply, n)
	}
	switch n[0] {
	case 1:
		return n, nil
	case 0:
		return nil, ErrRevocationNotFound
	case -1:
		return nil, ErrRevocationTooMany
	case -2:
		return nil, ErrRevocationEnded
	case -3:
		return nil, ErrRevocationTooFar
	}
	return nil, fmt.Errorf("%w: revocation answered %v", ErrReply, n)
}

// Revocations returns up to limit of what is revoked of an org and has not ended, by when it ends. after is "" or what
// was returned as next, which is "" at the end; ErrCursor where it is neither. What is written meanwhile may be missing,
// or be there twice; all else is there once. One command, on the primary.
func (c *Conn) Revocations(ctx context.Context, org, after string, limit int) (all []Revocation, next string, err error) {
	until, field, found := strings.Cut(after, ":")
	if _, err := strconv.ParseUint(until, 10, 53); found && err != nil || !found && after != "" || found && field == "" {
		return nil, "", ErrCursor
	}
	reply, err := c.run(ctx, revocationScript, []string{RevokedKey(org), RevokedUntilKey(org)}, []any{"list", limit, field, until})
	if err != nil {
		return nil, "", err
	}
	items, ok := reply.([]any)
	if !ok || len(items) < 3 || len(items)%2 == 0 {
		return nil, "", fmt.Errorf("%w: a list of revocations is %T", ErrReply, reply)
	}
	if last, _ := items[1].(string); last != "" {
		next = fmt.Sprint(items[2]) + ":" + last
	}
	texts, err := textsOf(items[3:])
	if err != nil {
		return nil, "", err
	}
	for i := 0; i < len(texts); i += 2 {
		if name, ok := nameOf(texts[i]); ok { // what is no name refuses nobody
			all = append(all, revocationOf(name, texts[i+1]))
		}
	}
	return all, next, nil
}

// revocationOf decodes an entry as revocation.lua writes it.
func revocationOf(name Name, entry string) Revocation {
	parts := strings.SplitN(entry, " ", 4)
	if len(parts) != 4 {
		return Revocation{Name: name, Damaged: true}
	}
	before, noBefore := strconv.ParseUint(parts[0], 10, 53)
	until, noUntil := strconv.ParseUint(parts[1], 10, 53)
	at, noAt := strconv.ParseUint(parts[2], 10, 53)
	if noBefore != nil || noUntil != nil || errors.Is(noAt, strconv.ErrSyntax) || min(before, until) == 0 {
		return Revocation{Name: name, Damaged: true}
	}
	return Revocation{Name: name, Before: int64(before), Until: int64(until), At: int64(at), Record: parts[3]}
}
