package lua

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

//go:embed key.lua
var keySource string

var keyScript = newScript(auditSource + stampSource + keySource)

// What can stand in the way of reading or changing a key or a project.
var (
	ErrKeyNotFound = errors.New("lua: no such key")
	ErrKeyExists   = errors.New("lua: the key is there already")
	ErrKeyRevoked  = errors.New("lua: the key is revoked")
	ErrKeyChanged  = errors.New("lua: it was changed since it was read")
	ErrCursor      = errors.New("lua: the cursor is not of this list")
)

// Key is a key of the API as Redis has it. Record is the caller's, and so is Seal; the rest is what scripts need of
// it, and is said in Record too.
type Key struct {
	ID, Org, Project string
	State            string
	Revision         int64
	Record, Seal     string
}

// KeyReading is a key with what belongs to it, all of one instant.
type KeyReading struct {
	Key
	Used   map[string]int64 // when its credentials were last used, microseconds since 1970
	Within ProjectReading   // what the key's project is set to; the zero value if nothing
	Epoch  int64            // the `keys` stamp of the org
}

// Key returns the key that a credential is of. ErrKeyNotFound when there is none. Two round trips: the first learns
// whose the credential is, which never changes; the second sets the org's epoch if it is missing.
func (c *Conn) Key(ctx context.Context, credential string) (KeyReading, error) {
	pointer, ok := CredentialKey(credential)
	if !ok {
		return KeyReading{}, ErrKeyNotFound
	}
	values, err := c.read(ctx, readString(pointer))
	if err != nil {
		return KeyReading{}, err
	}
	text, ok := values[1].(string)
	if !ok {
		return KeyReading{}, ErrKeyNotFound
	}
	id, org, project, ok := whose(text)
	record, named := RecordKey(id)
	if !ok || !named || id[:bucket.Len] != credential[:bucket.Len] || bucket.Of(org) != credential[:bucket.Len] {
		return KeyReading{}, fmt.Errorf("%w: credential %.20q is not said to be of a key of its bucket", ErrReply, credential)
	}
	values, err = c.read(ctx, readEpoch(EpochKey(org)), readHash(record), readField(ProjectsKey(org), project))
	if err != nil {
		return KeyReading{}, err
	}
	epoch, err := epochOf(values)
	if err != nil {
		return KeyReading{}, err
	}
	reading, err := keyOf(id, values[2], values[3])
	if err == nil && (reading.Org != org || reading.Project != project) {
		err = ErrKeyNotFound // it is gone, or another program wrote it
	}
	reading.Epoch = epoch.Keys
	return reading, err
}

// keyOf decodes a hash of a key and a field of projects.
func keyOf(id string, hash, project any) (KeyReading, error) {
	fields, err := hashOf(hash)
	if err != nil {
		return KeyReading{}, err
	}
	if len(fields) == 0 {
		return KeyReading{}, ErrKeyNotFound
	}
	k := KeyReading{
		Key:  Key{ID: id, Org: fields["org"], Project: fields["project"], State: fields["state"], Record: fields["record"], Seal: fields["seal"]},
		Used: map[string]int64{},
	}
	if k.Revision, err = strconv.ParseInt(fields["revision"], 10, 64); err != nil || k.Revision < 1 {
		return KeyReading{}, fmt.Errorf("%w: key %.20q: revision", ErrReply, id)
	}
	for name, value := range fields {
		if credential, ok := strings.CutPrefix(name, "used:"); ok {
			k.Used[credential], _ = strconv.ParseInt(value, 10, 64) // damaged, it is as if never used
		}
	}
	name, ok := Unescape(k.Project)
	if !ok {
		return KeyReading{}, fmt.Errorf("%w: key %.20q: project", ErrReply, id)
	}
	k.Project = name
	k.Within, err = projectOf(name, project)
	return k, err
}

// pointer is what a credential's string says: of which key, org and project it is.
func (k *Key) pointer() string { return k.ID + ":" + Escape(k.Org) + ":" + Escape(k.Project) }

func whose(pointer string) (id, org, project string, ok bool) {
	parts := strings.Split(pointer, ":")
	if len(parts) != 3 {
		return "", "", "", false
	}
	org, orgOK := Unescape(parts[1])
	project, projectOK := Unescape(parts[2])
	return parts[0], org, project, orgOK && projectOK
}

// PutKey writes a key, whose Revision is the one that it has then, and the audit entry of that. expected is the
// revision that it replaces, 0 for a new key. credentials are the ids that are new with it. raise raises the org's
// `keys` stamp: a new key need not, since no cache can hold what was not there. Errors: ErrKeyNotFound, also
// for a key of another org; ErrKeyExists when the key or a credential is there already, or belongs to another
// bucket's org; ErrKeyRevoked; ErrKeyChanged. Any other error means that it may have been written. One command.
func (c *Conn) PutKey(ctx context.Context, k Key, expected int64, raise bool, credentials []string, line audit.Line) error {
	record, ok := recordOf(k.Org, k.ID)
	if !ok && expected == 0 {
		return ErrKeyExists
	} else if !ok {
		return ErrKeyNotFound
	}
	keys := []string{EpochKey(k.Org), record, KeyIndexKey(k.Org), ProjectIndexKey(k.Org), AuditKey(k.Org)}
	for _, id := range credentials {
		pointer, ok := CredentialKey(id)
		if !ok || id[:bucket.Len] != bucket.Of(k.Org) {
			return ErrKeyExists
		}
		keys = append(keys, pointer)
	}
	project := Escape(k.Project)
	args := append([]any{
		expected, flag(raise), k.Org, project, project + ":" + k.ID, k.State, k.Revision, k.Record, k.Seal, k.pointer(),
	}, lineArgs(line)...)
	return c.put(ctx, keyScript, keys, args)
}

// flag is a bool for a script.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// put runs a script that answers with a code and the time.
func (c *Conn) put(ctx context.Context, s script, keys []string, args []any) error {
	reply, err := c.run(ctx, s, keys, args)
	if err != nil {
		return err
	}
	numbers, err := integers(reply)
	if err != nil || len(numbers) != 2 {
		return fmt.Errorf("%w: a write answered %T", ErrReply, reply)
	}
	switch numbers[0] {
	case 1:
		return nil
	case -1:
		return ErrKeyNotFound
	case -2:
		return ErrKeyExists
	case -3:
		return ErrKeyRevoked
	case -4:
		return ErrKeyChanged
	}
	return fmt.Errorf("%w: a write answered code %d", ErrReply, numbers[0])
}

// KeyPage is a part of an org's keys.
type KeyPage struct {
	Keys []KeyReading // without Epoch
	Next string       // where the next page begins; "" at the end
}

// Keys returns up to limit keys of an org in the order of their index, of one project or, with "", of all. after is
// "" or a page's Next; ErrCursor where it is none of that project's. Two round trips.
func (c *Conn) Keys(ctx context.Context, org, project, after string, limit int) (KeyPage, error) {
	low, high, prefix := "-", "+", ""
	if project != "" {
		prefix = Escape(project) + ":"
		low, high = "["+prefix, "("+Escape(project)+";" // ';' follows ':'
	}
	if after != "" {
		if !strings.HasPrefix(after, prefix) || !isPlace(after) {
			return KeyPage{}, ErrCursor
		}
		low = "(" + after
	}
	places, next, err := c.index(ctx, KeyIndexKey(org), low, high, limit)
	if err != nil || len(places) == 0 {
		return KeyPage{}, err
	}
	readings, keys := make([]reading, 0, 2*len(places)), make([]Key, 0, len(places))
	for _, place := range places {
		escaped, id, _ := strings.Cut(place, ":")
		name, whole := Unescape(escaped)
		if key, ok := recordOf(org, id); ok && whole {
			keys = append(keys, Key{ID: id, Project: name})
			readings = append(readings, readHash(key), readField(ProjectsKey(org), name))
		}
	}
	page := KeyPage{Next: next}
	if len(keys) == 0 {
		return page, nil
	}
	values, err := c.read(ctx, readings...)
	if err != nil {
		return KeyPage{}, err
	}
	for i, named := range keys {
		k, err := keyOf(named.ID, values[1+2*i], values[2+2*i])
		if errors.Is(err, ErrKeyNotFound) || err == nil && (k.Org != org || k.Project != named.Project) {
			continue // another program removed it, or wrote the place
		}
		if err != nil {
			return KeyPage{}, err
		}
		page.Keys = append(page.Keys, k)
	}
	return page, nil
}

// index returns up to limit members of a sorted set, and the last of them where there are more.
func (c *Conn) index(ctx context.Context, key, low, high string, limit int) (members []string, next string, err error) {
	values, err := c.read(ctx, readIndex(key, low, high, limit+1))
	if err != nil {
		return nil, "", err
	}
	members, err = textsOf(values[1])
	if len(members) > limit {
		members = members[:limit]
		next = members[limit-1]
	}
	return members, next, err
}

// isPlace reports whether s is a member of an org's index: an escaped project, ':' and an id.
func isPlace(s string) bool {
	project, id, _ := strings.Cut(s, ":")
	_, whole := Unescape(project)
	_, named := RecordKey(id)
	return project != "" && whole && named
}

// recordOf names the record of a key that belongs to an org, which its id has to agree with.
func recordOf(org, id string) (key string, ok bool) {
	key, ok = RecordKey(id)
	return key, ok && org != "" && id[:bucket.Len] == bucket.Of(org) // nobody's audit trail lies elsewhere
}
