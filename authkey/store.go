package authkey

import "context"

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
	//   - It raises the org's epoch before it returns, so a key that was just found unknown is found.
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

	// List returns records of an org, ordered by project and id, and a cursor for the rest, which is
	// "" at the end.
	//
	//   - project "" means all projects of the org. limit is 1 to MaxPage.
	//   - cursor is "" at first, then what the last call returned, with the same org and project.
	//     Anything else is ErrInvalid.
	//   - A record that is there from the first page to the last is listed once.
	//   - Epoch is zero in what is listed.
	List(ctx context.Context, org, project, cursor string, limit int) (records []Record, next string, err error)
}
