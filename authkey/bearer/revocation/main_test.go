package revocation_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer = "https://id.example/a:b"
	// patience is for busy machines: no test here is about time.
	patience = 30 * time.Second
	// kept is how much longer than its tokens a revocation is kept.
	kept = 10 * time.Minute
)

func newStore(t *testing.T, rdb redis.UniversalClient, opts ...revocation.Option) *revocation.Store {
	t.Helper()
	s, err := revocation.New(rdb, append([]revocation.Option{revocation.WithTimeout(patience)}, opts...)...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return s
}

func connOf(t *testing.T, rdb redis.UniversalClient) *lua.Conn {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	return conn
}

// token returns one that was made a minute ago.
func token() *authkey.Token {
	return &authkey.Token{
		Issuer: issuer, ID: "t:1", Subject: "mia", Session: "s 1", Client: "app", IssuedAt: time.Now().Add(-time.Minute),
	}
}

func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// change revokes something by its kind.
func change(t *testing.T, s *revocation.Store, org string, kind revocation.Kind, value string, at time.Time, reason string) revocation.Revocation {
	t.Helper()
	revoke := map[revocation.Kind]func() (revocation.Revocation, error){
		revocation.KindToken: func() (revocation.Revocation, error) { return s.Revoke(t.Context(), org, issuer, value, at, reason) },
		revocation.KindSubject: func() (revocation.Revocation, error) {
			return s.RevokeSubject(t.Context(), org, issuer, value, at, reason)
		},
		revocation.KindSession: func() (revocation.Revocation, error) {
			return s.RevokeSession(t.Context(), org, issuer, value, at, reason)
		},
		revocation.KindClient: func() (revocation.Revocation, error) {
			return s.RevokeClient(t.Context(), org, issuer, value, at, reason)
		},
	}[kind]
	r, err := revoke()
	if err != nil {
		t.Fatalf("revoke %s %q: %v", kind, value, err)
	}
	return r
}
