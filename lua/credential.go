package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

//go:embed credential.lua
var credentialSource string

var credentialScript = newScript(credentialSource)

// What can stand in the way of reading or changing a credential.
var (
	ErrCredentialNotFound = errors.New("lua: no such credential")
	ErrCredentialExists   = errors.New("lua: the credential is there already")
	ErrCredentialRevoked  = errors.New("lua: the credential is revoked")
	ErrDigestClaimed      = errors.New("lua: the digest is being bound by another call")
	ErrCursor             = errors.New("lua: the cursor is not of this list")
)

// ClaimTime is how long a digest stays claimed for a credential that is being written.
const ClaimTime = 10 * time.Second

// Fields is a stored credential: the hash in Redis, as it is. The script writes `revision`, `created`
// and `revoked` (microseconds), and reads `org` and `state`; the rest is the caller's.
type Fields map[string]string

// Credential returns the credential with an id, and the `keys` stamp of its org, which is of the same
// instant. ErrCredentialNotFound when there is none. Two round trips, both to the primary: the first
// learns the org, which never changes; the second sets the org's epoch if it is missing.
func (c *Conn) Credential(ctx context.Context, id string) (Fields, int64, error) {
	key, ok := CredentialKey(id)
	if !ok {
		return nil, 0, ErrCredentialNotFound
	}
	var first *redis.StringCmd
	err := c.onPrimary(ctx, func(p redis.Pipeliner) { first = p.HGet(ctx, key, "org") })
	if errors.Is(err, redis.Nil) {
		return nil, 0, ErrCredentialNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	org := first.Val()
	if bucket.Of(org) != id[:bucket.Len] {
		return nil, 0, fmt.Errorf("%w: credential %.20q lies in the bucket of another org", ErrReply, id)
	}
	var stamps *redis.Cmd
	var record *redis.MapStringStringCmd
	err = c.onPrimary(ctx, func(p redis.Pipeliner) {
		// The text and not the digest: a NOSCRIPT here could only be answered by doing all again.
		stamps = p.Eval(ctx, epochSource, []string{EpochKey(org)})
		record = p.HGetAll(ctx, key)
	})
	if err != nil {
		return nil, 0, err
	}
	epoch, err := integers(stamps.Val())
	if err != nil || len(epoch) != 3 || epoch[1] <= 0 {
		return nil, 0, fmt.Errorf("%w: epoch %v", ErrReply, stamps.Val())
	}
	if len(record.Val()) == 0 {
		return nil, 0, ErrCredentialNotFound
	}
	return record.Val(), epoch[1], nil
}

// CredentialPage is a part of an org's credentials. IDs and Records go together; a record that another
// program removed is empty.
type CredentialPage struct {
	IDs     []string
	Records []Fields
	Next    string // where the next page begins; "" at the end
}

// Credentials returns up to limit credentials of an org in the order of their index, of one project or,
// with "", of all. after is "" or a page's Next; ErrCursor where it is none of that project's. Two round
// trips, to the primary.
func (c *Conn) Credentials(ctx context.Context, org, project, after string, limit int) (CredentialPage, error) {
	low, high, prefix := "-", "+", ""
	if project != "" {
		prefix = Escape(project) + ":"
		low, high = "["+prefix, "("+Escape(project)+";" // ';' follows ':'
	}
	if after != "" {
		if !strings.HasPrefix(after, prefix) || !isPlace(after) {
			return CredentialPage{}, ErrCursor
		}
		low = "(" + after
	}
	var index *redis.StringSliceCmd
	err := c.onPrimary(ctx, func(p redis.Pipeliner) {
		by := &redis.ZRangeBy{Min: low, Max: high, Count: int64(limit) + 1}
		index = p.ZRangeByLex(ctx, KeyIndexKey(org), by)
	})
	if err != nil || len(index.Val()) == 0 {
		return CredentialPage{}, err
	}
	var page CredentialPage
	places := index.Val()
	if len(places) > limit {
		places = places[:limit]
		page.Next = places[limit-1]
	}
	records := make([]*redis.MapStringStringCmd, len(places))
	err = c.onPrimary(ctx, func(p redis.Pipeliner) {
		for i, place := range places {
			id := place[strings.IndexByte(place, ':')+1:]
			key, _ := credentialOf(org, id)
			page.IDs = append(page.IDs, id)
			records[i] = p.HGetAll(ctx, key)
		}
	})
	if err != nil {
		return CredentialPage{}, err
	}
	for _, record := range records {
		page.Records = append(page.Records, record.Val())
	}
	return page, nil
}

// isPlace reports whether s is a member of an org's index: an escaped project, ':' and an id.
func isPlace(s string) bool {
	project, id, _ := strings.Cut(s, ":")
	_, whole := Unescape(project)
	_, named := CredentialKey(id)
	return project != "" && whole && named
}

// CreateCredential writes a new credential of a project and raises the org's `keys` stamp. It returns
// what is stored then. ErrCredentialExists when the id is taken or belongs to another bucket's org; any
// other error means that it may have been written.
func (c *Conn) CreateCredential(ctx context.Context, org, project, id string, fields Fields) (Fields, error) {
	key, ok := credentialOf(org, id)
	if !ok {
		return nil, ErrCredentialExists
	}
	args := []any{"create", Escape(project) + ":" + id, "org", org, "project", project}
	for name, value := range fields {
		args = append(args, name, value)
	}
	return c.changeCredential(ctx, []string{EpochKey(org), key, KeyIndexKey(org)}, args)
}

// SetCredentialState changes state and reason of a credential of an org and raises the org's `keys`
// stamp, or changes nothing where the state is that already. It returns what is stored then. Errors:
// ErrCredentialNotFound, ErrCredentialRevoked; any other means that the change may have happened.
func (c *Conn) SetCredentialState(ctx context.Context, org, id, state, reason string) (Fields, error) {
	key, ok := credentialOf(org, id)
	if !ok {
		return nil, ErrCredentialNotFound
	}
	return c.changeCredential(ctx, []string{EpochKey(org), key}, []any{"state", org, state, reason})
}

// ClaimDigest binds the digest of a foreign key to a credential that is about to be written, for
// ClaimTime; ConfirmDigest makes that last. Errors: ErrCredentialExists when it is bound to another,
// ErrDigestClaimed when it is claimed for another. Repeating it is harmless.
func (c *Conn) ClaimDigest(ctx context.Context, digest, id string) error {
	_, err := c.changeCredential(ctx, []string{DigestKey(digest)}, []any{"claim", id, ClaimTime.Milliseconds()})
	return err
}

// ConfirmDigest makes a claim last. ErrCredentialNotFound when it has ended. Repeating it is harmless.
func (c *Conn) ConfirmDigest(ctx context.Context, digest, id string) error {
	_, err := c.changeCredential(ctx, []string{DigestKey(digest)}, []any{"confirm", id})
	return err
}

// DigestID returns the id that a digest is bound to; ErrCredentialNotFound when there is none. The
// credential itself may be missing. One round trip, to the primary.
func (c *Conn) DigestID(ctx context.Context, digest string) (string, error) {
	var id *redis.StringCmd
	err := c.onPrimary(ctx, func(p redis.Pipeliner) { id = p.Get(ctx, DigestKey(digest)) })
	if errors.Is(err, redis.Nil) {
		return "", ErrCredentialNotFound
	}
	if err != nil {
		return "", err
	}
	return id.Val(), nil
}

// Int returns a field that holds a count or microseconds; 0 when it is missing or empty.
func (f Fields) Int(name string) (int64, error) {
	text := f[name]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n >= 1<<53 {
		return 0, fmt.Errorf("%w: field %s is not a count below 2^53", ErrReply, name)
	}
	return n, nil
}

// onPrimary sends commands of one slot in one round trip as a transaction: it is atomic, and goes to the
// primary also where the client is set to read from replicas, which may lag.
func (c *Conn) onPrimary(ctx context.Context, queue func(redis.Pipeliner)) error {
	pipe := c.rdb.TxPipeline()
	queue(pipe)
	_, err := bounded(ctx, func() ([]redis.Cmder, error) { return pipe.Exec(ctx) })
	return err
}

func (c *Conn) changeCredential(ctx context.Context, keys []string, args []any) (Fields, error) {
	reply, err := c.run(ctx, credentialScript, keys, args)
	if err != nil {
		return nil, err
	}
	parts, ok := reply.([]any)
	if !ok || len(parts) != 3 {
		return nil, fmt.Errorf("%w: credential answered %T", ErrReply, reply)
	}
	code, isCode := parts[0].(int64)
	flat, isFlat := parts[2].([]any)
	if !isCode || !isFlat || len(flat)%2 != 0 {
		return nil, fmt.Errorf("%w: credential answered {%T, %T, %T}", ErrReply, parts[0], parts[1], parts[2])
	}
	switch code {
	case 0, 1:
	case -1:
		return nil, ErrCredentialNotFound
	case -2:
		return nil, ErrCredentialExists
	case -3:
		return nil, ErrCredentialRevoked
	case -4:
		return nil, ErrDigestClaimed
	default:
		return nil, fmt.Errorf("%w: credential answered code %d", ErrReply, code)
	}
	fields := make(Fields, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		name, isName := flat[i].(string)
		value, isValue := flat[i+1].(string)
		if !isName || !isValue {
			return nil, fmt.Errorf("%w: credential: field %d is not text", ErrReply, i/2)
		}
		fields[name] = value
	}
	return fields, nil
}

// credentialOf names the record of a credential that belongs to an org, which its id has to agree with.
func credentialOf(org, id string) (key string, ok bool) {
	key, ok = CredentialKey(id)
	return key, ok && id[:bucket.Len] == bucket.Of(org)
}
