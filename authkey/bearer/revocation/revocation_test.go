package revocation_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// TestEachKind: what is revoked is refused at once, on two replicas, until it is lifted; and nothing else is.
func TestEachKind(t *testing.T) {
	t.Parallel()
	values := map[revocation.Kind]string{
		revocation.KindToken: "t:1", revocation.KindSubject: "mia", revocation.KindSession: "s 1", revocation.KindClient: "app",
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for kind, value := range values {
			a, b, org := newStore(t, rdb), newStore(t, rdb), redistest.Org(t)
			check := func(what string, want error) {
				t.Helper()
				for _, s := range []*revocation.Store{a, b} {
					fails(t, string(kind)+" "+what, s.Check(t.Context(), org, token()), want)
				}
			}
			check("before", nil)
			change(t, a, org, kind, value, time.Time{}, "")
			check("revoked", authkey.ErrRevoked)
			fails(t, "another org", b.Check(t.Context(), redistest.Org(t), token()), nil)
			others := map[string]func(*authkey.Token){
				"another issuer": func(t *authkey.Token) { t.Issuer = "https://id.example/a" },
				"no such name":   func(t *authkey.Token) { t.ID, t.Subject, t.Session, t.Client = "x", "x", "x", "x" },
				"no name":        func(t *authkey.Token) { t.ID, t.Subject, t.Session, t.Client = "", "", "", "" },
				// Each value as the name of every other kind.
				"other kinds": func(t *authkey.Token) {
					t.ID, t.Subject, t.Session, t.Client = value, value, value, value
					map[revocation.Kind]func(){
						revocation.KindToken: func() { t.ID = "" }, revocation.KindSubject: func() { t.Subject = "" },
						revocation.KindSession: func() { t.Session = "" }, revocation.KindClient: func() { t.Client = "" },
					}[kind]()
				},
			}
			for name, rename := range others {
				other := token()
				rename(other)
				fails(t, string(kind)+": "+name, b.Check(t.Context(), org, other), nil)
			}
			if err := b.Lift(t.Context(), org, kind, issuer, value); err != nil {
				t.Errorf("Lift: %v", err)
			}
			check("lifted", nil)
			fails(t, "Lift again", a.Lift(t.Context(), org, kind, issuer, value), authkey.ErrUnknown)
		}
	}, redistest.OrEmbedded())
}

// TestIssuedAt compares when a token was made with the moment before which tokens are refused.
func TestIssuedAt(t *testing.T) {
	t.Parallel()
	whole := time.Now().Add(-time.Minute).Truncate(time.Second)
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tt := range []struct {
			name           string
			before, issued time.Time
			want           error
		}{
			{"a second before", whole, whole.Add(-time.Second), authkey.ErrRevoked},
			{"within the second before", whole, whole.Add(-1), authkey.ErrRevoked},
			{"at the moment", whole, whole, nil},
			{"after it", whole, whole.Add(1), nil},
			{"in its second, which may be before", whole.Add(time.Microsecond), whole, authkey.ErrRevoked},
			{"in its second, after it", whole.Add(time.Microsecond), whole.Add(time.Millisecond), authkey.ErrRevoked},
			{"in the next second", whole.Add(time.Microsecond), whole.Add(time.Second), nil},
			{"nobody said when", whole, time.Time{}, authkey.ErrRevoked},
			{"before 1970", whole, time.Unix(-5, 0), authkey.ErrRevoked},
			{"in 1970", whole, time.Unix(0, 0), authkey.ErrRevoked},
			{"in 2300", whole, time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), authkey.ErrRevoked},
		} {
			s, org := newStore(t, rdb), redistest.Org(t)
			change(t, s, org, revocation.KindSubject, "mia", tt.before, "")
			made := token()
			made.IssuedAt = tt.issued
			fails(t, tt.name, s.Check(t.Context(), org, made), tt.want)
			// A revocation of the token itself looks at nothing of the kind.
			made.Subject = "noah"
			fails(t, tt.name+", of nobody revoked", s.Check(t.Context(), org, made), nil)
			change(t, s, org, revocation.KindToken, "t:1", time.Time{}, "")
			fails(t, tt.name+", revoked", s.Check(t.Context(), org, made), authkey.ErrRevoked)
		}
	}, redistest.OrEmbedded())
}

// TestRevokedWhileChecking revokes while two replicas check: what began after the call had returned is refused.
func TestRevokedWhileChecking(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, b, org := newStore(t, rdb), newStore(t, rdb), redistest.Org(t)
		var acknowledged atomic.Bool
		var passed atomic.Int64
		var group sync.WaitGroup
		enough := make(chan struct{})
		for _, s := range []*revocation.Store{a, b, a, b} {
			group.Go(func() {
				for refusals := 0; refusals < 20; {
					after := acknowledged.Load()
					err := s.Check(t.Context(), org, token())
					switch {
					case err != nil && !errors.Is(err, authkey.ErrRevoked):
						t.Errorf("Check: %v", err)
						return
					case after && err == nil:
						t.Error("passed after the acknowledgement")
						return
					case after:
						refusals++
					case err == nil && passed.Add(1) == 50:
						close(enough)
					}
				}
			})
		}
		<-enough
		change(t, a, org, revocation.KindSession, "s 1", time.Time{}, "")
		acknowledged.Store(true)
		group.Wait()
	})
}

// TestDamage: what cannot be read refuses, a list tells of it, and Lift mends it.
func TestDamage(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, org := newStore(t, rdb), redistest.Org(t)
		young := token()
		young.IssuedAt = time.Now().Add(time.Minute)
		change(t, s, org, revocation.KindSubject, "mia", time.Time{}, "why")
		fails(t, "one that was made later", s.Check(t.Context(), org, young), nil)
		field := lua.Name{Kind: lua.NameSubject, Issuer: issuer, Value: "mia"}.Field()
		harm := func(entry string) {
			if err := rdb.HSet(t.Context(), lua.RevokedKey(org), field, entry).Err(); err != nil {
				t.Fatalf("HSET: %v", err)
			}
		}
		harm("5 x 5 {}")
		fails(t, "damaged", s.Check(t.Context(), org, young), authkey.ErrRevoked)
		want := revocation.Revocation{Kind: revocation.KindSubject, Issuer: issuer, Value: "mia", Damaged: true}
		if all, _, err := s.List(t.Context(), org, "", 5); err != nil || len(all) != 1 || all[0] != want {
			t.Errorf("listed: %+v, %v; want %+v", all, err, want)
		}
		// To revoke it again cannot tell what there was, and so refuses all.
		if r := change(t, s, org, revocation.KindSubject, "mia", time.Time{}, "why"); !r.Before.IsZero() || r.Damaged || r.Until.IsZero() {
			t.Errorf("revoked again: %+v, want all refused", r)
		}
		fails(t, "revoked again", s.Check(t.Context(), org, young), authkey.ErrRevoked)
		harm("5 x 5 {}")
		fails(t, "Lift", s.Lift(t.Context(), org, revocation.KindSubject, issuer, "mia"), nil)
		fails(t, "lifted", s.Check(t.Context(), org, young), nil)
		// A record is for people alone.
		change(t, s, org, revocation.KindSubject, "mia", time.Time{}, "why")
		entry, err := rdb.HGet(t.Context(), lua.RevokedKey(org), field).Result()
		if err != nil {
			t.Fatalf("HGET: %v", err)
		}
		harm(entry[:strings.Index(entry, "{")] + "{no record")
		if all, _, err := s.List(t.Context(), org, "", 5); err != nil || len(all) != 1 || all[0].Damaged || all[0].Reason != "" || all[0].Before.IsZero() {
			t.Errorf("listed without a record: %+v, %v", all, err)
		}
		if err := rdb.Set(t.Context(), lua.RevokedKey(org), "no hash", time.Minute).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		fails(t, "no hash", s.Check(t.Context(), org, young), authkey.ErrRevoked)
		_, err = s.RevokeClient(t.Context(), org, issuer, "app", time.Time{}, "")
		fails(t, "RevokeClient where there is no hash", err, authkey.ErrUnavailable)
	}, redistest.OrEmbedded())
}

// silent is a server that takes everything and answers nothing.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

// TestUnavailable: without Redis nobody can tell, and each call ends by itself, although the client would wait for
// ever.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{"nobody listens": "127.0.0.1:1", "nobody answers": silent(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1, DialerRetries: 1})
			t.Cleanup(func() { rdb.Close() })
			s := newStore(t, rdb, revocation.WithTimeout(20*time.Millisecond))
			err := s.Check(t.Context(), "acme", token())
			fails(t, "Check", err, authkey.ErrUnavailable)
			if errors.Is(err, authkey.ErrRevoked) || name == "nobody answers" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Check: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for what, call := range map[string]func() error{
				"Check": func() error { return s.Check(ctx, "acme", token()) },
				"Lift":  func() error { return s.Lift(ctx, "acme", revocation.KindClient, issuer, "app") },
				"List": func() error {
					_, _, err := s.List(ctx, "acme", "", 5)
					return err
				},
				"RevokeSubject": func() error {
					_, err := s.RevokeSubject(ctx, "acme", issuer, "mia", time.Time{}, "")
					return err
				},
			} {
				err := call()
				fails(t, what+" of a caller who is gone", err, authkey.ErrUnavailable)
				fails(t, what+" of a caller who is gone", err, context.Canceled)
			}
			_, err = s.Revoke(t.Context(), "acme", issuer, "t", time.Time{}, "")
			fails(t, "Revoke", err, authkey.ErrUnavailable)
		})
	}
}

// TestBearer has a verifier of tokens use it, with and without the check left to the caller.
func TestBearer(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		login := authtest.NewIssuer(t)
		keys, err := bearer.NewKeySet(bearer.Key{ID: login.Key().ID, Public: login.Key().Public()})
		if err != nil {
			t.Fatalf("NewKeySet: %v", err)
		}
		s, org := newStore(t, rdb, revocation.WithLifetime(time.Hour)), redistest.Org(t)
		tokens, err := bearer.New([]bearer.Issuer{{
			URL: login.URL(), Audiences: []string{authtest.Audience}, Keys: keys, Org: org, MaxLifetime: time.Hour,
		}}, bearer.WithRevocations(s), bearer.WithTimeout(patience))
		if err != nil {
			t.Fatalf("New: %v", err)
		}
		presented := authkey.NewPresented(login.Mint(authtest.Claims{"iat": time.Now().Add(-time.Minute)}))
		identity, err := tokens.Authenticate(t.Context(), presented)
		if err != nil {
			t.Fatalf("Authenticate: %v", err)
		}
		if _, err := s.RevokeSubject(t.Context(), org, login.URL(), identity.Token.Subject, time.Time{}, ""); err != nil {
			t.Fatalf("RevokeSubject: %v", err)
		}
		_, err = tokens.Authenticate(t.Context(), presented)
		fails(t, "Authenticate", err, authkey.ErrRevoked)
		deferred, err := tokens.Authenticate(t.Context(), presented.In(&authkey.Presentation{DeferRevocation: true}))
		if err != nil || deferred.Token.Pending != authkey.RevocationPending {
			t.Fatalf("Authenticate, left to the caller: %+v, %v", deferred, err)
		}
		fails(t, "Check", s.Check(t.Context(), org, deferred.Token), authkey.ErrRevoked)
	}, redistest.OrEmbedded())
}
