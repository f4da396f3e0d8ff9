// Package storetest tests implementations of authkey.Store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) authkey.Store { return mystore.New(db) })
//	}
//
// It uses org names that nobody else has, so the storage may be shared and need not be empty.
package storetest

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Run checks that a store keeps the contract of authkey.Store: one subtest for each promise. open is
// called once for each; it returns a store that is ready, and all of them may share their storage. A
// store whose records carry an epoch must raise it with each change; one that has none returns 0.
func Run(t *testing.T, open func(t *testing.T) authkey.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(suite, *testing.T)
	}{
		{"Find", suite.find},
		{"FindUnknown", suite.findUnknown},
		{"FindDigest", suite.findDigest},
		{"CreateSetsItsOwnFields", suite.createSets},
		{"CreateRefusesATakenID", suite.createTaken},
		{"CreateRefusesATakenDigest", suite.createTakenDigest},
		{"CreateRefusesBadRecords", suite.createInvalid},
		{"CreateOnceAmongMany", suite.createRace},
		{"Change", suite.change},
		{"ChangeOfAnotherRevisionIsAConflict", suite.changeConflict},
		{"ChangeOnceAmongMany", suite.changeRace},
		{"RevokedIsForGood", suite.revoked},
		{"ChangeKeepsToTheProject", suite.changeElsewhere},
		{"ChangeRefusesBadValues", suite.changeInvalid},
		{"ChangeAddsCredentials", suite.changeCredentials},
		{"ChangesRaiseTheEpoch", suite.epochs},
		{"RehashRaisesNoEpoch", suite.rehash},
		{"Project", suite.project},
		{"ProjectsArePaged", suite.projects},
		{"UsesMoveForward", suite.uses},
		{"ReturnsCopies", suite.copies},
		{"List", suite.list},
		{"ListPages", suite.listPages},
		{"ListRefusesBadArguments", suite.listInvalid},
		{"EndedContextIsUnavailable", suite.contexts},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(suite{Store: open(t), org: "storetest-" + rand.Text()}, t)
		})
	}
}

// suite is a store and an org of its own.
type suite struct {
	authkey.Store
	org string
}

// record returns a valid record that says something in each field.
func (s suite) record(t *testing.T, project string) authkey.Record {
	t.Helper()
	format, err := authkey.NewFormat("tg", "test")
	if err != nil {
		t.Fatal(err)
	}
	key, id := format.Mint(s.org)
	_, older := format.Mint(s.org)
	now := time.Now().UTC().Truncate(time.Microsecond)
	return authkey.Record{
		ID: older, Org: s.org, Project: project, Name: "störe: {a}\" %", Owner: "mia", Plan: "gold",
		Kind: authkey.KindPublishable, Scopes: []string{"read", authkey.ScopeWrite}, Products: []string{"maps"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Origins:  []string{"https://*.example.com"}, Meta: map[string]string{"ticket": "ä \"1\""},
		State: authkey.StateActive, NotBefore: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour), CreatedAt: now,
		Reason: "made by a test",
		Credentials: []authkey.Credential{
			{ID: id, Digest: digestOf(key.Reveal()), PepperVersion: "v1", CreatedAt: now},
			{
				ID: older, Digest: digestOf(older), CreatedAt: now.Add(-time.Minute), SupersededAt: now,
				ExpiresAt: now.Add(time.Minute), Reason: "rotated",
			},
		},
	}
}

func digestOf(text string) authkey.Digest { return authkey.NewDigest(sha256.Sum256([]byte(text))) }

func (s suite) create(t *testing.T, record authkey.Record) authkey.Record {
	t.Helper()
	stored, err := s.Create(t.Context(), record)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return stored
}

func (s suite) mustFind(t *testing.T, id string) authkey.Record {
	t.Helper()
	found, err := s.Find(t.Context(), id)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	return found
}

// same compares all but the epoch, which belongs to a read.
func same(t *testing.T, what string, got, want authkey.Record) {
	t.Helper()
	got.Epoch, want.Epoch = 0, 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}
