package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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
// instant. ErrCredentialNotFound when there is none. Two round trips: the first learns the org, which
// never changes; the second sets the org's epoch if it is missing.
func (c *Conn) Credential(ctx context.Context, id string) (Fields, int64, error) {
	key, ok := CredentialKey(id)
	if !ok {
		return nil, 0, ErrCredentialNotFound
	}
	values, err := c.read(ctx, readHash(key))
	if err != nil {
		return nil, 0, err
	}
	record, err := hashOf(values[1])
	if err != nil {
		return nil, 0, err
	}
	org, ok := record["org"]
	if !ok {
		return nil, 0, ErrCredentialNotFound
	}
	if bucket.Of(org) != id[:bucket.Len] {
		return nil, 0, fmt.Errorf("%w: credential %.20q lies in the bucket of another org", ErrReply, id)
	}
	if values, err = c.read(ctx, readEpoch(EpochKey(org)), readHash(key)); err != nil {
		return nil, 0, err
	}
	epoch, err := epochOf(values)
	if err != nil {
		return nil, 0, err
	}
	if record, err = hashOf(values[2]); err != nil {
		return nil, 0, err
	}
	if len(record) == 0 {
		return nil, 0, ErrCredentialNotFound
	}
	return record, epoch.Keys, nil
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
// trips.
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
	values, err := c.read(ctx, readIndex(KeyIndexKey(org), low, high, limit+1))
	if err != nil {
		return CredentialPage{}, err
	}
	places, err := textsOf(values[1])
	if err != nil || len(places) == 0 {
		return CredentialPage{}, err
	}
	var page CredentialPage
	if len(places) > limit {
		places = places[:limit]
		page.Next = places[limit-1]
	}
	readings := make([]reading, len(places))
	for i, place := range places {
		id := place[strings.IndexByte(place, ':')+1:]
		key, _ := credentialOf(org, id)
		page.IDs, readings[i] = append(page.IDs, id), readHash(key)
	}
	if values, err = c.read(ctx, readings...); err != nil {
		return CredentialPage{}, err
	}
	for _, value := range values[1:] {
		record, err := hashOf(value)
		if err != nil {
			return CredentialPage{}, err
		}
		page.Records = append(page.Records, record)
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

// CreateCredential writes a new credential of a project. It leaves the org's `keys` stamp, since no cache
// can hold what was not there. It returns what is stored then. ErrCredentialExists when the id is taken or
// belongs to another bucket's org; any other error means that it may have been written.
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
// credential itself may be missing. One round trip.
func (c *Conn) DigestID(ctx context.Context, digest string) (string, error) {
	values, err := c.read(ctx, readString(DigestKey(digest)))
	if err != nil {
		return "", err
	}
	switch id := values[1].(type) {
	case nil:
		return "", ErrCredentialNotFound
	case string:
		return id, nil
	}
	return "", fmt.Errorf("%w: a digest stands for %T", ErrReply, values[1])
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

func (c *Conn) changeCredential(ctx context.Context, keys []string, args []any) (Fields, error) {
	reply, err := c.run(ctx, credentialScript, keys, args)
	if err != nil {
		return nil, err
	}
	parts, ok := reply.([]any)
	if !ok || len(parts) != 3 {
		return nil, fmt.Errorf("%w: credential answered %T", ErrReply, reply)
	}
	code, ok := parts[0].(int64)
	if !ok {
		return nil, fmt.Errorf("%w: credential answered the code %T", ErrReply, parts[0])
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
	return hashOf(parts[2])
}

// credentialOf names the record of a credential that belongs to an org, which its id has to agree with.
func credentialOf(org, id string) (key string, ok bool) {
	key, ok = CredentialKey(id)
	return key, ok && id[:bucket.Len] == bucket.Of(org)
}
