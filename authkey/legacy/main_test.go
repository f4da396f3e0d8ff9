package legacy_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/legacy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for busy machines: no test here is about time.
const patience = 30 * time.Second

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// clock is a time that a test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// table is the old table of a service.
type table struct {
	mu    sync.Mutex
	rows  map[string]legacy.Row
	asked atomic.Int64
	// answer, if set, stands between the table and its answer.
	answer func(ctx context.Context, row legacy.Row, err error) (legacy.Row, error)
}

func (o *table) lookup(ctx context.Context, reference string) (legacy.Row, error) {
	o.asked.Add(1)
	o.mu.Lock()
	row, ok := o.rows[reference]
	o.mu.Unlock()
	var err error
	if !ok {
		err = authkey.ErrUnknown
	}
	if o.answer != nil {
		return o.answer(ctx, row, err)
	}
	return row, err
}

// add adds a key as SHA-256 in hex, and returns it.
func (o *table) add(source string, key authkey.NewKey) authkey.Presented {
	text := "shop_" + source + strings.Repeat("x", 16)
	key.Source = source
	hash := hashOf(text)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows == nil {
		o.rows = map[string]legacy.Row{}
	}
	o.rows[hash] = legacy.Row{Hash: legacy.Hash(hash), Key: key}
	return authkey.NewPresented(text)
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (o *table) scheme() *legacy.Scheme {
	return legacy.SHA256("shop_", hex.EncodeToString, o.lookup)
}

// service is one with an old table and a new store.
type service struct {
	clock *clock
	store authkey.Store
	old   *table
}

func newService() *service {
	return &service{&clock{}, authkey.NewMemoryStore(), &table{}}
}

var ofShop = authkey.NewKey{Org: "demo", Project: "shop"}

// replica is one process of it.
type replica struct {
	*legacy.Chain
	issuer *authkey.Issuer
}

func newHasher(t testing.TB, versions ...string) *authkey.Hasher {
	t.Helper()
	peppers := make([]authkey.Pepper, 0, len(versions))
	for _, version := range versions {
		peppers = append(peppers, authkey.NewPepper(version, []byte(strings.Repeat(version, 32))))
	}
	hasher, err := authkey.NewHasher(peppers...)
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}

func (s *service) issuer(t testing.TB, hasher *authkey.Hasher) *authkey.Issuer {
	t.Helper()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(s.store, format, authkey.WithClock(s.clock.now), authkey.WithHasher(hasher))
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

func (s *service) verifier(t testing.TB, hasher *authkey.Hasher) *authkey.Verifier {
	t.Helper()
	verifier, err := authkey.New(s.store, authkey.WithForeignKeys(), authkey.WithHasher(hasher),
		authkey.WithClock(s.clock.now), authkey.WithTimeout(patience), authkey.WithUnknownRate(1_000_000, 1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

// replica returns a process whose peppers have these versions ("v1" for none), with cold caches.
func (s *service) replica(t testing.TB, versions []string, opts ...legacy.Option) replica {
	t.Helper()
	if len(versions) == 0 {
		versions = []string{"v1"}
	}
	hasher := newHasher(t, versions...)
	issuer := s.issuer(t, hasher)
	opts = append([]legacy.Option{legacy.WithClock(s.clock.now), legacy.WithTimeout(patience)}, opts...)
	chain, err := legacy.New(s.verifier(t, hasher), issuer, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return replica{chain, issuer}
}

// plain returns a replica with the old table's scheme.
func (s *service) plain(t testing.TB, opts ...legacy.Option) replica {
	t.Helper()
	return s.replica(t, nil, append([]legacy.Option{s.old.scheme()}, opts...)...)
}

func (r replica) opens(t testing.TB, what string, key authkey.Presented) *authkey.Identity {
	t.Helper()
	identity, err := r.Authenticate(t.Context(), key)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return identity
}

func (r replica) refuses(t testing.TB, what string, key authkey.Presented, want error) {
	t.Helper()
	identity, err := r.Authenticate(t.Context(), key)
	fails(t, what, err, want)
	if identity != nil {
		t.Errorf("%s: an identity comes with the error", what)
	}
}

func fails(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
	if errors.Is(want, authkey.ErrUnavailable) && errors.Is(err, authkey.ErrUnknown) {
		t.Errorf("%s: an outage says that the key is unknown: %v", what, err)
	}
}

func (s *service) asked(t testing.TB, what string, want int64) {
	t.Helper()
	if got := s.old.asked.Load(); got != want {
		t.Errorf("%s: the old table was asked %d times, want %d", what, got, want)
	}
}

func (s *service) records(t testing.TB) []authkey.Record {
	t.Helper()
	records, _, err := s.store.List(t.Context(), "demo", "", "", authkey.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	return records
}
