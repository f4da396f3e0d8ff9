package legacy_test

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/legacy"
)

func TestWhatTheRowSays(t *testing.T) {
	t.Parallel()
	s := newService()
	key := authkey.NewKey{
		Org: "demo", Project: "shop", Name: "ci", Owner: "mia", Plan: "gold", Scopes: []string{"read"}, Products: []string{"maps"},
		ExpiresAt: start.Add(time.Hour), Meta: map[string]string{"from": "v1"},
	}
	presented := s.old.add("1", key)
	r := s.plain(t)
	identity := r.opens(t, "first", presented)
	if identity.Name != "ci" || identity.Owner != "mia" || identity.Plan != "gold" || !identity.HasScope("read") || identity.HasScope("write") || !identity.HasProduct("maps") {
		t.Errorf("identity %+v", identity)
	}
	s.clock.advance(time.Hour)
	r.refuses(t, "at its end", presented, authkey.ErrExpired)
	s.asked(t, "at its end", 1)
}

func TestRowsThatAreNotMoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key    authkey.NewKey
		answer error
		want   error
	}{
		"expired":                 {authkey.NewKey{Org: "demo", Project: "shop", ExpiresAt: start}, nil, authkey.ErrExpired},
		"revoked, says the host":  {ofShop, authkey.ErrRevoked, authkey.ErrUnknown},
		"disabled, says the host": {ofShop, authkey.ErrDisabled, authkey.ErrUnknown},
		"an org of no name":       {authkey.NewKey{Project: "shop"}, nil, authkey.ErrUnavailable},
		"a name too long":         {authkey.NewKey{Org: "demo", Project: "shop", Name: strings.Repeat("n", 200)}, nil, authkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService()
			presented := s.old.add("1", c.key)
			s.old.answer = func(_ context.Context, row legacy.Row, err error) (legacy.Row, error) {
				return row, errors.Join(err, c.answer)
			}
			s.plain(t).refuses(t, "first", presented, c.want)
			if n := len(s.records(t)); n != 0 {
				t.Errorf("%d records, want none", n)
			}
		})
	}
}

func TestARowWithoutSource(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("", ofShop)
	r := s.plain(t)
	_, err := r.Authenticate(t.Context(), presented)
	fails(t, "Authenticate", err, authkey.ErrUnavailable)
	if !strings.Contains(err.Error(), "Source") {
		t.Errorf("error %q does not name Source", err)
	}
}

// What the old table says of a key that has moved counts for nothing, and what the new store says counts for all.
func TestTerminalStatesStick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state authkey.State
		want  error
	}{{authkey.StateRevoked, authkey.ErrRevoked}, {authkey.StateDisabled, authkey.ErrDisabled}} {
		for name, versions := range map[string][]string{"the same pepper": {"v1"}, "a new pepper": {"v2", "v1"}, "the old pepper dropped": {"v2"}} {
			t.Run(string(c.state)+", "+name, func(t *testing.T) {
				t.Parallel()
				s := newService()
				presented := s.old.add("1", ofShop)
				first := s.plain(t)
				identity := first.opens(t, "first", presented)
				if _, err := first.issuer.SetState(t.Context(), "demo", identity.Key, 0, c.state, "test"); err != nil {
					t.Fatal(err)
				}
				_, err := first.Refresh(t.Context(), presented, identity)
				fails(t, "Refresh", err, c.want)
				s.asked(t, "so far", 1)

				want := c.want
				if name == "the old pepper dropped" {
					want = authkey.ErrUnknown // nobody can tell any more that it is the key of the record
				}
				second := s.replica(t, versions, s.old.scheme())
				for range 3 {
					second.refuses(t, "a cold replica", presented, want)
					s.clock.advance(time.Minute)
				}
				if n := len(s.records(t)); n != 1 {
					t.Errorf("%d records, want 1", n)
				}
			})
		}
	}
}

// A key is revoked while a look-up of it, begun before it was moved, is still out: the upgrade that follows must not
// bring it back.
func TestRevokedDuringTheLookup(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("1", ofShop)
	other := s.plain(t)
	out, back := make(chan struct{}), make(chan struct{})
	slow := &table{rows: s.old.rows, answer: func(_ context.Context, row legacy.Row, err error) (legacy.Row, error) {
		close(out)
		<-back
		return row, err
	}}
	r := s.replica(t, nil, slow.scheme())
	answer := make(chan error, 1)
	go func() {
		_, err := r.Authenticate(context.Background(), presented)
		answer <- err
	}()
	<-out
	identity := other.opens(t, "the other replica", presented)
	if _, err := other.issuer.SetState(t.Context(), "demo", identity.Key, 0, authkey.StateRevoked, "leaked"); err != nil {
		t.Fatal(err)
	}
	close(back)
	fails(t, "the slow replica", <-answer, authkey.ErrRevoked)
	r.refuses(t, "the slow replica, later", presented, authkey.ErrRevoked)
	if got := r.Stats().Schemes["sha256"]; got != (legacy.Counts{Refused: 1}) {
		t.Errorf("counts %+v", got)
	}
}

// A key whose place in the new store another one has, such as a rotated one, is not moved either.
func TestRotatedAway(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("1", ofShop)
	r := s.plain(t)
	identity := r.opens(t, "first", presented)
	if _, _, err := r.issuer.Rotate(t.Context(), "demo", identity.Key, authkey.Rotation{Reason: "leaked"}); err != nil {
		t.Fatal(err)
	}
	for range authkey.MaxCredentials { // until the record forgets it
		if _, _, err := r.issuer.Rotate(t.Context(), "demo", identity.Key, authkey.Rotation{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.plain(t).Authenticate(t.Context(), presented)
	if !errors.Is(err, authkey.ErrUnknown) && !errors.Is(err, authkey.ErrRevoked) {
		t.Errorf("a key that was rotated away: %v", err)
	}
	if n := len(s.records(t)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("1", ofShop)
	r := s.plain(t)
	identity, err := r.Refresh(t.Context(), presented, nil)
	if err != nil || identity.Project != "shop" {
		t.Fatalf("of a key that has not moved: %+v, %v", identity, err)
	}
	plan := "gold"
	if _, err := r.issuer.Change(t.Context(), "demo", identity.Key, 0, authkey.Changes{Plan: &plan}); err != nil {
		t.Fatal(err)
	}
	if identity, err = r.Refresh(t.Context(), presented, identity); err != nil || identity.Plan != "gold" {
		t.Errorf("of one that has: %+v, %v", identity, err)
	}
	s.asked(t, "in all", 1)
	_, err = r.Refresh(t.Context(), authkey.NewPresented("shop_unknown-unknown"), identity)
	fails(t, "of one that nobody knows", err, authkey.ErrUnknown)
}

// Keys that are minted here, or that no scheme has the form of, are the verifier's alone.
func TestTheVerifiersOwnKeys(t *testing.T) {
	t.Parallel()
	s := newService()
	r := s.replica(t, nil, legacy.SHA256("", hex.EncodeToString, s.old.lookup))
	_, minted, err := r.issuer.Issue(t.Context(), ofShop)
	if err != nil {
		t.Fatal(err)
	}
	r.opens(t, "a minted key", minted)
	stranger, err := authkey.NewFormat("other", "live")
	if err != nil {
		t.Fatal(err)
	}
	unknown, _ := stranger.Mint("demo")
	r.refuses(t, "an unknown minted key", unknown, authkey.ErrUnknown)
	r.refuses(t, "a long key", authkey.NewPresented(strings.Repeat("k", 257)), authkey.ErrMalformed)
	r.refuses(t, "a key with a space", authkey.NewPresented("0123456789 0123456789"), authkey.ErrMalformed)
	r.refuses(t, "no key", authkey.Presented{}, authkey.ErrMalformed)
	s.asked(t, "of keys that are none of its", 0)
}

// Several schemes are tried in their order; one whose table is out of reach does not keep a key from the next, but then
// no key is unknown.
func TestSeveralSchemes(t *testing.T) {
	t.Parallel()
	s := newService()
	broken := &table{answer: func(context.Context, legacy.Row, error) (legacy.Row, error) {
		return legacy.Row{}, errors.New("connection refused")
	}}
	empty := &table{}
	presented := s.old.add("1", ofShop)
	r := s.replica(t, nil, broken.scheme().Named("broken"), empty.scheme().Named("empty"), s.old.scheme())
	r.opens(t, "known to the last", presented)
	r.refuses(t, "known to none", authkey.NewPresented("shop_unknown-unknown"), authkey.ErrUnavailable)
	stats := r.Stats().Schemes
	if stats["broken"].Failed != 2 || stats["empty"].Refused != 2 || stats["sha256"] != (legacy.Counts{Upgraded: 1, Refused: 1}) {
		t.Errorf("counts %+v", stats)
	}
}
