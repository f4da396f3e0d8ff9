package authkey

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// MaxPage is the largest page that Store.List and Store.Projects give.
const MaxPage = 200

// Store keeps records of keys. Implementations are safe for concurrent use, keep within the context's deadline
// and pass authkey/storetest. For all methods:
//
//   - A failure to reach or to understand the storage wraps ErrUnavailable, and the context's error
//     where that was the cause. It is never ErrUnknown.
//   - What a method returns is a copy: changing it changes nothing in the store.
//   - A change is visible to every later Find, anywhere, once the method has returned nil.
//   - A value out of bounds is ErrInvalid, and changes nothing.
type Store interface {
	// Find returns the record of the key that a credential is of, by its public id; any that the key ever had.
	//
	//   - ErrUnknown when there is none.
	//   - Record.Epoch is read before the record, so it is never newer than what is returned; zero
	//     when the store has no epochs.
	//   - Record.Within is of the same moment as the record.
	//   - Disabled, expired and revoked records are found like any other.
	Find(ctx context.Context, credential string) (Record, error)

	// FindDigest returns the record of a foreign key. As Find, and:
	//
	//   - Only records that have a credential with Foreign and this digest are found; others are ErrUnknown.
	FindDigest(ctx context.Context, digest Digest) (Record, error)

	// Create adds the record of a key and returns it as stored.
	//
	//   - ErrExists when the id of the key or of a credential is taken, or the digest of a foreign one.
	//   - The store sets Revision to 1, and ignores what was given for it, for Within, for Epoch and for
	//     Credential.LastUsedAt.
	//   - ErrUnavailable may mean that the record was written: use a new id to try again.
	Create(ctx context.Context, record Record) (Record, error)

	// Change replaces the record of a key, if Revision still is what it is in the store, and returns it as it is
	// now. action says what is done, for the audit trail of a store that keeps one.
	//
	//   - ErrUnknown when the project of the org has no such key, also when another has.
	//   - Revoked is for good: where the record is, another state is ErrRevoked, whatever the Revision.
	//   - ErrConflict when Revision is another.
	//   - ErrExists when a credential that is new has the id, or the foreign digest, of another.
	//   - Revision rises by one, and the org's epoch is raised in the same step. Within, Epoch and LastUsedAt are
	//     ignored.
	Change(ctx context.Context, record Record, action string) (Record, error)

	// List returns records of an org, and a cursor for the rest, which is "" at the end.
	//
	//   - All records of a project come together, ordered by id; the order of projects is the store's.
	//   - project "" means all projects of the org. limit is 1 to MaxPage.
	//   - cursor is "" at first, then what the last call returned, with the same org and project.
	//     What no call returns is ErrInvalid.
	//   - A record that is there from the first page to the last is listed once.
	//   - Epoch is zero in what is listed.
	List(ctx context.Context, org, project, cursor string, limit int) (records []Record, next string, err error)

	// Project returns what a project is set to.
	//
	//   - ErrUnknown when nothing is set for it, whether or not it has keys.
	Project(ctx context.Context, org, name string) (Project, error)

	// SetProject replaces what a project is set to, if Revision still is what it is in the store (0: nothing is
	// set), and returns it as it is now.
	//
	//   - ErrConflict when Revision is another.
	//   - Revision rises by one, and the org's epoch is raised in the same step.
	SetProject(ctx context.Context, project Project) (Project, error)

	// Projects returns the projects of an org that have or had keys or are set to something, and a cursor for the
	// rest, as List does. Those that nothing is set for have Revision 0 and StateActive.
	Projects(ctx context.Context, org, cursor string, limit int) (projects []Project, next string, err error)
}

// UseStore is a Store that can note when credentials were last used. Such notes are no changes: they raise no revision
// and no epoch.
type UseStore interface {
	// NoteUses moves LastUsedAt of credentials forward; an earlier time than what is there, and a key that is not
	// there, change nothing. Repeating it is harmless.
	NoteUses(ctx context.Context, uses []Use) error
}

// Use is when a credential of a key was used.
type Use struct {
	Key, Credential string
	At              time.Time
}

// unavailable wraps what kept a store from answering; the context's errors stay visible.
func unavailable(cause error) error {
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}
