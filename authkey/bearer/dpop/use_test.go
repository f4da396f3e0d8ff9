package dpop_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// patient is for busy machines: hardly a test here is about time.
const patient = 10 * time.Second

var patience = dpop.WithTimeout(patient)

func (w *world) checked(t *testing.T, proof string) bearer.Proof {
	t.Helper()
	got, err := w.check(proof)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestProofWorksOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		w := newWorld(t, rdb, patience)
		proof := w.proof()
		first, second := w.checked(t, proof), w.checked(t, proof) // Check takes nothing
		if err := w.Use(t.Context(), first); err != nil {
			t.Fatalf("first use: %v", err)
		}
		refused(t, "second use", bearer.Proof{}, w.Use(t.Context(), second), "invalid_dpop_proof", "used before")

		replica := newWorld(t, rdb, patience)
		replica.key = w.key
		refused(t, "on a replica", bearer.Proof{}, replica.Use(t.Context(), replica.checked(t, proof)), "invalid_dpop_proof", "used before")

		other := newWorld(t, rdb, patience)
		sameID := other.checked(t, other.proof(set("claims", "jti", first.ID)))
		if err := other.Use(t.Context(), sameID); err != nil {
			t.Errorf("the same jti by another key: %v", err)
		}
		if err := w.Use(t.Context(), w.checked(t, w.proof())); err != nil {
			t.Errorf("another proof: %v", err)
		}
	})
}

// Redis has to remember a proof for longer than any replica takes it: from when it is early to when it is old.
func TestMarkOutlivesTheWindow(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const back, ahead = 10 * time.Second, 5 * time.Second
		w := newWorld(t, rdb, patience, dpop.WithWindow(back, ahead))
		used := w.checked(t, w.proof())
		if err := w.Use(t.Context(), used); err != nil {
			t.Fatal(err)
		}
		ttl := rdb.PTTL(t.Context(), lua.ProofKey(used.Thumbprint, used.ID)).Val()
		if ttl <= back+ahead || ttl > 2*(back+ahead) {
			t.Errorf("the mark lasts %v, want more than %v and up to twice that", ttl, back+ahead)
		}
	})
}

func TestOneUseOfMany(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		w := newWorld(t, rdb, patience)
		proof := w.checked(t, w.proof())
		var passed atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				err := w.Use(t.Context(), proof)
				if err == nil {
					passed.Add(1)
				} else {
					refused(t, "another", bearer.Proof{}, err, "invalid_dpop_proof", "used before")
				}
			})
		}
		all.Wait()
		if passed.Load() != 1 {
			t.Errorf("%d uses passed, want 1", passed.Load())
		}
	})
}

func TestOutageIsNoRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t), patience)
	proof := w.checked(t, w.proof())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, ctx := range map[string]context.Context{"nobody answers": t.Context(), "the caller is gone": ended} {
		err := w.Use(ctx, proof)
		if !errors.Is(err, authkey.ErrUnavailable) {
			t.Errorf("%s: %v, want %v", what, err, authkey.ErrUnavailable)
		}
		if _, ok := errors.AsType[*authkey.ProofError](err); ok {
			t.Errorf("%s: an outage is called a bad proof: %v", what, err)
		}
		if err != nil && (strings.Contains(err.Error(), proof.ID) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: the error tells too much: %v", what, err)
		}
	}
}

// A server that takes a command and never answers costs the time-out, no more.
func TestUseIsBounded(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "silent:1", Dialer: silent})
	t.Cleanup(func() { rdb.Close() })
	w := newWorld(t, rdb, dpop.WithTimeout(time.Millisecond))
	if err := w.Use(t.Context(), w.checked(t, w.proof())); !errors.Is(err, authkey.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want an outage by %v", err, context.DeadlineExceeded)
	}
}

func TestUseOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t))
	for _, proof := range []bearer.Proof{{}, {ID: "j"}, {Thumbprint: "t"}} {
		if err := w.Use(t.Context(), proof); !errors.Is(err, authkey.ErrInvalid) {
			t.Errorf("Use(%+v) = %v, want %v", proof, err, authkey.ErrInvalid)
		}
	}
}
