package authkey_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// existing returns keys of the old system from a number on, below another.
func existing(from, to int) iter.Seq2[authkey.Existing, error] {
	return func(yield func(authkey.Existing, error) bool) {
		for n := from; n < to; n++ {
			if !yield(existingKey(n), nil) {
				return
			}
		}
	}
}

func existingKey(n int) authkey.Existing {
	return authkey.Existing{
		Presented: authkey.NewPresented(fmt.Sprintf("key-of-the-old-system-%05d", n)),
		Key:       authkey.NewKey{Org: "demo", Project: "shop", Source: fmt.Sprint("api_keys ", n)},
	}
}

func one(e authkey.Existing) iter.Seq2[authkey.Existing, error] {
	return func(yield func(authkey.Existing, error) bool) { yield(e, nil) }
}

func counted(t testing.TB, what string, got map[authkey.ImportStatus]int, want map[authkey.ImportStatus]int) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

type tally = map[authkey.ImportStatus]int

func digestOf(key authkey.Presented) authkey.Digest {
	return authkey.NewDigest(sha256.Sum256([]byte(key.Reveal())))
}

func TestImportAll(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithForeignKeys())
	positions := map[int]authkey.ImportResult{}
	counts, err := g.issuer.ImportAll(t.Context(), existing(0, 200), func(r authkey.ImportResult) { positions[r.Position] = r })
	if err != nil || len(positions) != 200 {
		t.Fatalf("%d reports, %v", len(positions), err)
	}
	counted(t, "first", counts, tally{authkey.ImportDone: 200})
	for n := range 200 {
		r := positions[n+1]
		identity, err := g.Authenticate(t.Context(), existingKey(n).Presented)
		if err != nil || identity.Key != r.ID || r.Source != fmt.Sprint("api_keys ", n) || r.Status != authkey.ImportDone || r.Err != nil {
			t.Fatalf("key %d: %+v, %v; reported %+v", n, identity, err, r)
		}
	}
	before, _, err := g.store.List(t.Context(), "demo", "", "", authkey.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	counts, err = g.issuer.ImportAll(t.Context(), existing(100, 210), nil)
	fails(t, "again", err, nil)
	counted(t, "again", counts, tally{authkey.ImportSkipped: 100, authkey.ImportDone: 10})
	after, _, err := g.store.List(t.Context(), "demo", "", "", authkey.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(len(before), before[0].CreatedAt, before[0].Revision) != fmt.Sprint(len(after), after[0].CreatedAt, after[0].Revision) {
		t.Error("the second run changed what the first made")
	}
	_, err = g.issuer.ImportAll(t.Context(), nil, nil)
	fails(t, "no sequence", err, authkey.ErrInvalid)
}

// One key that cannot be imported keeps no other, and each is told by its own status.
func TestImportAllTellsEach(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithForeignKeys())
	native, _ := mustFormat(t, "acme", "live").Mint("demo")
	with := func(n int, change func(*authkey.Existing)) authkey.Existing {
		e := existingKey(n)
		change(&e)
		return e
	}
	if _, err := g.issuer.ImportAll(t.Context(), existing(0, 4), nil); err != nil {
		t.Fatal(err)
	}
	revoked, _, err := g.issuer.Lookup(t.Context(), existingKey(3).Presented)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.issuer.SetState(t.Context(), "demo", revoked.ID, 0, authkey.StateRevoked, "leaked"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  authkey.Existing
		want authkey.ImportStatus
	}{
		"there already":             {existingKey(0), authkey.ImportSkipped},
		"there, revoked":            {existingKey(3), authkey.ImportSkipped},
		"there, by digest":          {with(0, func(e *authkey.Existing) { e.Digest, e.Presented = digestOf(e.Presented), authkey.Presented{} }), authkey.ImportSkipped},
		"there, from elsewhere":     {with(0, func(e *authkey.Existing) { e.Key.Source = "tokens 0" }), authkey.ImportSkipped},
		"of another project":        {with(0, func(e *authkey.Existing) { e.Key.Project = "blog" }), authkey.ImportConflict},
		"of another org":            {with(0, func(e *authkey.Existing) { e.Key.Org = "other" }), authkey.ImportConflict},
		"another key of its source": {with(4, func(e *authkey.Existing) { e.Key.Source = "api_keys 0" }), authkey.ImportConflict},
		"no source":                 {with(5, func(e *authkey.Existing) { e.Key.Source = "" }), authkey.ImportInvalid},
		"short":                     {with(6, func(e *authkey.Existing) { e.Presented = authkey.NewPresented("short") }), authkey.ImportInvalid},
		"minted":                    {with(7, func(e *authkey.Existing) { e.Presented = native }), authkey.ImportInvalid},
		"neither":                   {with(8, func(e *authkey.Existing) { e.Presented = authkey.Presented{} }), authkey.ImportInvalid},
		"both":                      {with(9, func(e *authkey.Existing) { e.Digest = digestOf(e.Presented) }), authkey.ImportInvalid},
		"no project":                {with(10, func(e *authkey.Existing) { e.Key.Project = "" }), authkey.ImportInvalid},
		"new":                       {with(11, func(*authkey.Existing) {}), authkey.ImportDone},
		"new, by digest":            {with(12, func(e *authkey.Existing) { e.Digest, e.Presented = digestOf(e.Presented), authkey.Presented{} }), authkey.ImportDone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told authkey.ImportResult
			counts, err := g.issuer.ImportAll(t.Context(), one(c.key), func(r authkey.ImportResult) { told = r })
			fails(t, "ImportAll", err, nil)
			counted(t, "ImportAll", counts, tally{c.want: 1})
			good := c.want == authkey.ImportDone || c.want == authkey.ImportSkipped
			if told.Status != c.want || good != (told.Err == nil) || good != (told.ID != "") || told.Position != 1 {
				t.Errorf("reported %+v, want %s", told, c.want)
			}
			if told.Err != nil && c.key.Presented.Reveal() != "" && strings.Contains(told.Err.Error(), c.key.Presented.Reveal()) {
				t.Errorf("the error %q tells the key", told.Err)
			}
		})
	}
}

// What was re-hashed under a pepper since, or imported under one that is not at hand, is there all the same.
func TestImportAllUnderOtherPeppers(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	by := func(versions ...string) *authkey.Issuer {
		return g.importer(t, authkey.WithHasher(peppered(t, versions...)))
	}
	digest := existingKey(0)
	digest.Digest, digest.Presented = digestOf(digest.Presented), authkey.Presented{}
	for _, c := range []struct {
		name   string
		issuer *authkey.Issuer
		key    authkey.Existing
		want   authkey.ImportStatus
	}{
		{"first", by("v1"), existingKey(0), authkey.ImportDone},
		{"the same pepper", by("v1"), existingKey(0), authkey.ImportSkipped},
		{"a newer one too", by("v2", "v1"), existingKey(0), authkey.ImportSkipped},
		{"a newer one only", by("v2"), existingKey(0), authkey.ImportSkipped},
		{"by digest", by("v2", ""), digest, authkey.ImportSkipped},
	} {
		counts, err := c.issuer.ImportAll(t.Context(), one(c.key), nil)
		fails(t, c.name, err, nil)
		counted(t, c.name, counts, tally{c.want: 1})
	}
}

// faulty is a store whose Create fails for some records, as long as it is told to.
type faulty struct {
	authkey.Store
	creates atomic.Int64
	fails   func(n int64) bool
}

func (f *faulty) Create(ctx context.Context, record authkey.Record) (authkey.Record, error) {
	if f.fails(f.creates.Add(1)) {
		return authkey.Record{}, authkey.ErrUnavailable
	}
	return f.Store.Create(ctx, record)
}

func TestImportAllOutlivesOutages(t *testing.T) {
	t.Parallel()
	store := &faulty{Store: authkey.NewMemoryStore()}
	issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"))
	if err != nil {
		t.Fatal(err)
	}
	store.fails = func(n int64) bool { return n == 1 }
	counts, err := issuer.ImportAll(t.Context(), existing(0, 20), nil)
	fails(t, "one call fails", err, nil)
	counted(t, "one call fails", counts, tally{authkey.ImportDone: 20})

	store.fails = func(int64) bool { return true }
	counts, err = issuer.ImportAll(t.Context(), existing(10, 22), nil)
	fails(t, "all calls fail", err, authkey.ErrUnavailable)
	counted(t, "all calls fail", counts, tally{authkey.ImportFailed: 12})

	store.fails = func(int64) bool { return false }
	counts, err = issuer.ImportAll(t.Context(), existing(10, 22), nil)
	fails(t, "again", err, nil)
	counted(t, "again", counts, tally{authkey.ImportSkipped: 10, authkey.ImportDone: 2})
}

func TestImportAllStops(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	ctx, cancel := context.WithCancel(t.Context())
	given := 0
	endless := func(yield func(authkey.Existing, error) bool) {
		for ; ; given++ {
			if given == 50 {
				cancel()
			}
			if !yield(existingKey(given), nil) {
				return
			}
		}
	}
	counts, err := g.issuer.ImportAll(ctx, endless, nil)
	fails(t, "a context that ends", err, context.Canceled)
	if given != 50 || counts[authkey.ImportDone]+counts[authkey.ImportFailed] != 50 {
		t.Errorf("%d keys were read, and came to %v", given, counts)
	}

	disk := errors.New("disk")
	broken := func(yield func(authkey.Existing, error) bool) {
		if yield(authkey.Existing{}, authkey.ErrInvalid) && yield(existingKey(1000), nil) && yield(authkey.Existing{}, disk) {
			t.Error("it reads on")
		}
	}
	counts, err = g.issuer.ImportAll(t.Context(), broken, nil)
	fails(t, "a sequence that breaks", err, disk)
	counted(t, "a sequence that breaks", counts, tally{authkey.ImportInvalid: 1, authkey.ImportDone: 1})

	for name, run := range map[string]func(){
		"a sequence that panics": func() {
			_, _ = g.issuer.ImportAll(t.Context(), func(func(authkey.Existing, error) bool) { panic("mine") }, nil)
		},
		"a report that panics": func() {
			_, _ = g.issuer.ImportAll(t.Context(), existing(2000, 2100), func(authkey.ImportResult) { panic("mine") })
		},
	} {
		func() {
			defer func() {
				if r := recover(); r != "mine" { // and no worker is left, which TestMain sees
					t.Errorf("%s: %v", name, r)
				}
			}()
			run()
		}()
	}
}
