package authkey

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryStore is a Store in memory: for tests, for demonstrations, and for the few keys of a service that
// reads them from its configuration. Records are lost with the process and unknown to others; they carry
// no epoch. The zero MemoryStore is empty and ready to use. Safe for concurrent use; do not copy it.
type MemoryStore struct {
	mu          sync.RWMutex
	records     map[string]Record // by the id of the key
	credentials map[string]string // the id of the key that a credential is of
	foreign     map[sum]string    // the same, for the digest of a foreign one
	projects    map[[2]string]Project
}

var (
	_ Store    = (*MemoryStore)(nil)
	_ UseStore = (*MemoryStore)(nil)
	_ Rehasher = (*MemoryStore)(nil)
)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{} }

// Find implements Store. Cost: three map look-ups and a copy.
func (m *MemoryStore) Find(ctx context.Context, credential string) (Record, error) {
	return m.find(ctx, func() string { return m.credentials[credential] })
}

// FindDigest implements Store. Cost: as Find.
func (m *MemoryStore) FindDigest(ctx context.Context, digest Digest) (Record, error) {
	record, err := m.find(ctx, func() string { return m.foreign[digest.Sum()] })
	if err == nil && record.credentialOf(digest) == nil {
		return Record{}, ErrUnknown // it was replaced
	}
	return record, err
}

func (m *MemoryStore) find(ctx context.Context, id func() string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, unavailable(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	record, ok := m.records[id()]
	if !ok {
		return Record{}, ErrUnknown
	}
	return m.whole(&record), nil
}

// whole returns a copy of a record with its project. The caller holds mu.
func (m *MemoryStore) whole(record *Record) Record {
	c := record.clone()
	c.Within = m.projects[[2]string{c.Org, c.Project}]
	return c
}

// Create implements Store.
func (m *MemoryStore) Create(ctx context.Context, record Record) (Record, error) {
	record = record.clone()
	record.Revision, record.Epoch = 1, 0
	return m.put(ctx, record, func(_ *Record, taken bool) error {
		if taken {
			return ErrExists
		}
		return nil
	})
}

// Change implements Store. There is no audit trail: the action goes nowhere.
func (m *MemoryStore) Change(ctx context.Context, record Record, _ string) (Record, error) {
	revision := record.Revision
	record = record.clone()
	record.Revision, record.Epoch = revision+1, 0
	return m.put(ctx, record, func(old *Record, taken bool) error {
		switch {
		case !taken || old.Org != record.Org || old.Project != record.Project:
			return ErrUnknown
		case old.State == StateRevoked && record.State != StateRevoked:
			return ErrRevoked
		case old.Revision != revision:
			return ErrConflict
		}
		return nil
	})
}

// Rehash implements Rehasher.
func (m *MemoryStore) Rehash(ctx context.Context, record Record) (Record, error) {
	return m.Change(ctx, record, "credential.rehash")
}

// put stores a record that may be, considering what is there.
func (m *MemoryStore) put(ctx context.Context, record Record, may func(old *Record, taken bool) error) (Record, error) {
	if err := record.Validate(); err != nil {
		return Record{}, err
	}
	if err := ctx.Err(); err != nil {
		return Record{}, unavailable(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, taken := m.records[record.ID]
	if err := may(&old, taken); err != nil {
		return Record{}, err
	}
	for i := range record.Credentials {
		c := &record.Credentials[i]
		c.LastUsedAt = time.Time{}
		if before := old.Credential(c.ID); before != nil {
			c.LastUsedAt = before.LastUsedAt
		}
		owner, known := m.credentials[c.ID]
		bound, claimed := m.foreign[c.Digest.Sum()]
		if known && owner != record.ID || c.Foreign && claimed && bound != record.ID {
			return Record{}, ErrExists
		}
	}
	if m.records == nil {
		m.records, m.credentials, m.foreign = map[string]Record{}, map[string]string{}, map[sum]string{}
	}
	m.records[record.ID] = record
	for i := range record.Credentials {
		c := &record.Credentials[i]
		m.credentials[c.ID] = record.ID
		if c.Foreign {
			m.foreign[c.Digest.Sum()] = record.ID
		}
	}
	return m.whole(&record), nil
}

// NoteUses implements UseStore.
func (m *MemoryStore) NoteUses(ctx context.Context, uses []Use) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, use := range uses {
		record := m.records[use.Key]
		record.Credentials = slices.Clone(record.Credentials)
		if c := record.Credential(use.Credential); c != nil && use.At.After(c.LastUsedAt) {
			c.LastUsedAt = stored(use.At)
			m.records[use.Key] = record
		}
	}
	return nil
}

// List implements Store. Cost: it sorts all records of the org, for each page.
func (m *MemoryStore) List(ctx context.Context, org, project, cursor string, limit int) ([]Record, string, error) {
	after, err := decodeCursor(cursor, limit)
	in, id, ok := strings.Cut(after, "\x00")
	if err == nil && after != "" && (!ok || !validID(id) || project != "" && in != project) {
		err = badCursor()
	}
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
		if record.Org == org && (project == "" || record.Project == project) && place(&record) > after {
			page = append(page, m.whole(&record))
		}
	}
	slices.SortFunc(page, func(a, b Record) int { return cmp.Compare(place(&a), place(&b)) })
	if len(page) <= limit {
		return page, "", nil
	}
	page = page[:limit]
	return page, encodeCursor(place(&page[limit-1])), nil
}

// Project implements Store.
func (m *MemoryStore) Project(ctx context.Context, org, name string) (Project, error) {
	if err := ctx.Err(); err != nil {
		return Project{}, unavailable(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	project, ok := m.projects[[2]string{org, name}]
	if !ok {
		return Project{}, ErrUnknown
	}
	return project, nil
}

// SetProject implements Store.
func (m *MemoryStore) SetProject(ctx context.Context, project Project) (Project, error) {
	if err := project.Validate(); err != nil {
		return Project{}, err
	}
	if err := ctx.Err(); err != nil {
		return Project{}, unavailable(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	name := [2]string{project.Org, project.Name}
	if m.projects[name].Revision != project.Revision {
		return Project{}, ErrConflict
	}
	project.Revision++
	if m.projects == nil {
		m.projects = map[[2]string]Project{}
	}
	m.projects[name] = project
	return project, nil
}

// Projects implements Store. Cost: it looks at all records and projects, for each page.
func (m *MemoryStore) Projects(ctx context.Context, org, cursor string, limit int) ([]Project, string, error) {
	after, err := decodeCursor(cursor, limit)
	if err != nil {
		return nil, "", err
	}
	if err := ctx.Err(); err != nil {
		return nil, "", unavailable(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := map[string]Project{}
	for _, record := range m.records {
		if record.Org == org {
			all[record.Project] = Project{Org: org, Name: record.Project, State: StateActive}
		}
	}
	for _, project := range m.projects {
		if project.Org == org {
			all[project.Name] = project
		}
	}
	var page []Project
	for _, project := range all {
		if project.Name > after {
			page = append(page, project)
		}
	}
	slices.SortFunc(page, func(a, b Project) int { return cmp.Compare(a.Name, b.Name) })
	if len(page) <= limit {
		return page, "", nil
	}
	return page[:limit], encodeCursor(page[limit-1].Name), nil
}

// place orders records by project and id. No project holds a NUL, since control characters are refused.
func place(r *Record) string { return r.Project + "\x00" + r.ID }

func encodeCursor(place string) string { return base64.RawURLEncoding.EncodeToString([]byte(place)) }

func decodeCursor(cursor string, limit int) (after string, err error) {
	if limit < 1 || limit > MaxPage {
		return "", fmt.Errorf("%w: limit %d: want 1 to %d", ErrInvalid, limit, MaxPage)
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return "", badCursor()
	}
	return string(text), nil
}

func badCursor() error {
	return fmt.Errorf("%w: cursor: want what the last call returned for this org and project", ErrInvalid)
}
