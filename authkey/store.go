package authkey

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// MaxPage is the largest page that Store.List gives.
const MaxPage = 200

// Store keeps records. Implementations are safe for concurrent use, keep within the context's deadline
// and pass authkey/storetest. For all methods:
//
//   - A failure to reach or to understand the storage wraps ErrUnavailable, and the context's error
//     where that was the cause. It is never ErrUnknown.
//   - What a method returns is a copy: changing it changes nothing in the store.
//   - A change is visible to every later Find, anywhere, once the method has returned nil.
//   - A value out of bounds is ErrInvalid, and changes nothing.
type Store interface {
	// Find returns the record with a public id.
	//
	//   - ErrUnknown when there is none.
	//   - Record.Epoch is read before the record, so it is never newer than what is returned; zero
	//     when the store has no epochs.
	//   - Disabled, expired and revoked records are found like any other.
	Find(ctx context.Context, id string) (Record, error)

	// FindDigest returns the record of a foreign key. As Find, and:
	//
	//   - Only records with Foreign set are found; others are ErrUnknown.
	FindDigest(ctx context.Context, digest Digest) (Record, error)

	// Create adds a record and returns it as stored.
	//
	//   - ErrExists when the id is taken, or, for a foreign record, the digest.
	//   - The store sets CreatedAt by its own clock and Revision to 1, and ignores what was given for
	//     them, for RevokedAt and for Epoch.
	//   - ErrUnavailable may mean that the record was written: use a new id to try again.
	Create(ctx context.Context, record Record) (Record, error)

	// SetState changes the state and reason of one record of an org, and returns it as it is now.
	//
	//   - ErrUnknown when the org has no such record, also when another org has.
	//   - Revoked is for good: any other state is then ErrRevoked.
	//   - A record that is in that state already is returned as it is: same reason, times and revision.
	//   - Else Revision rises by one, RevokedAt is set with StateRevoked, and the org's epoch is
	//     raised in the same step.
	SetState(ctx context.Context, org, id string, state State, reason string) (Record, error)

	// List returns records of an org, and a cursor for the rest, which is "" at the end.
	//
	//   - All records of a project come together, ordered by id; the order of projects is the store's.
	//   - project "" means all projects of the org. limit is 1 to MaxPage.
	//   - cursor is "" at first, then what the last call returned, with the same org and project.
	//     What no call returns is ErrInvalid.
	//   - A record that is there from the first page to the last is listed once.
	//   - Epoch is zero in what is listed.
	List(ctx context.Context, org, project, cursor string, limit int) (records []Record, next string, err error)
}

// MemoryStore is a Store in memory: for tests, for demonstrations, and for the few keys of a service that
// reads them from its configuration. Records are lost with the process and unknown to others; they carry
// no epoch. The zero MemoryStore is empty and ready to use. Safe for concurrent use; do not copy it.
type MemoryStore struct {
	mu      sync.RWMutex
	records map[string]Record
	foreign map[sum]string // digest to id
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{} }

// Find implements Store. Cost: one map look-up and a copy.
func (m *MemoryStore) Find(ctx context.Context, id string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, unavailable(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	record, ok := m.records[id]
	if !ok {
		return Record{}, ErrUnknown
	}
	return record.clone(), nil
}

// FindDigest implements Store. Cost: two map look-ups and a copy.
func (m *MemoryStore) FindDigest(ctx context.Context, digest Digest) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, unavailable(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	record, ok := m.records[m.foreign[digest.Sum()]]
	if !ok {
		return Record{}, ErrUnknown
	}
	return record.clone(), nil
}

// Create implements Store.
func (m *MemoryStore) Create(ctx context.Context, record Record) (Record, error) {
	if err := record.Validate(); err != nil {
		return Record{}, err
	}
	if err := ctx.Err(); err != nil {
		return Record{}, unavailable(err)
	}
	record = record.clone()
	record.CreatedAt, record.RevokedAt = now(), time.Time{}
	record.Revision, record.Epoch = 1, 0

	m.mu.Lock()
	defer m.mu.Unlock()
	_, taken := m.records[record.ID]
	_, known := m.foreign[record.Digest.Sum()]
	if taken || record.Foreign && known {
		return Record{}, ErrExists
	}
	if m.records == nil {
		m.records, m.foreign = map[string]Record{}, map[sum]string{}
	}
	m.records[record.ID] = record
	if record.Foreign {
		m.foreign[record.Digest.Sum()] = record.ID
	}
	return record.clone(), nil
}

// SetState implements Store.
func (m *MemoryStore) SetState(ctx context.Context, org, id string, state State, reason string) (Record, error) {
	if err := state.Validate(reason); err != nil {
		return Record{}, err
	}
	if err := ctx.Err(); err != nil {
		return Record{}, unavailable(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	record, ok := m.records[id]
	switch {
	case !ok || record.Org != org:
		return Record{}, ErrUnknown
	case record.State == state:
		return record.clone(), nil
	case record.State == StateRevoked:
		return Record{}, ErrRevoked
	}
	record.State, record.Reason = state, reason
	record.Revision++
	if state == StateRevoked {
		record.RevokedAt = now()
	}
	m.records[id] = record
	return record.clone(), nil
}

// List implements Store. Cost: it sorts all records of the org, for each page.
func (m *MemoryStore) List(ctx context.Context, org, project, cursor string, limit int) ([]Record, string, error) {
	after, err := decodeCursor(cursor, project, limit)
	if err != nil {
		return nil, "", err
	}
	if err := ctx.Err(); err != nil {
		return nil, "", unavailable(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var page []Record
	for _, record := range m.records {
		if record.Org == org && (project == "" || record.Project == project) && place(record) > after {
			page = append(page, record.clone())
		}
	}
	slices.SortFunc(page, func(a, b Record) int { return cmp.Compare(place(a), place(b)) })
	if len(page) <= limit {
		return page, "", nil
	}
	page = page[:limit]
	return page, base64.RawURLEncoding.EncodeToString([]byte(place(page[limit-1]))), nil
}

// place orders records by project and id. No project holds a NUL, since control characters are refused.
func place(r Record) string { return r.Project + "\x00" + r.ID }

func decodeCursor(cursor, project string, limit int) (after string, err error) {
	if limit < 1 || limit > MaxPage {
		return "", fmt.Errorf("%w: limit %d: want 1 to %d", ErrInvalid, limit, MaxPage)
	}
	if cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	in, id, _ := strings.Cut(string(text), "\x00")
	if err != nil || !validID(id) || project != "" && in != project {
		return "", fmt.Errorf("%w: cursor: want what List returned for this org and project", ErrInvalid)
	}
	return string(text), nil
}

// now is the store's clock, without what other stores could not keep.
func now() time.Time { return stored(time.Now()) }

// unavailable wraps what kept a store from answering; the context's errors stay visible.
func unavailable(cause error) error {
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}
