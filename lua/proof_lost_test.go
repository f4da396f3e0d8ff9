package lua

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// TestLostReplyOfProof cuts the connection after Redis has marked a proof and before it can say so. The client may not
// repeat the command: it would be told that the proof was used before, by nobody but itself.
func TestLostReplyOfProof(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		client, proxies := throughProxies(t, rdb, nil)
		conn, key := &Conn{rdb: client}, redistest.Org(t)
		for i := range 30 { // warms the pools of all nodes
			if err := conn.UseProof(t.Context(), key, strconv.Itoa(i), time.Minute); err != nil {
				t.Fatalf("UseProof: %v", err)
			}
		}
		for _, p := range proxies {
			p.set(1, false)
		}
		err := conn.UseProof(t.Context(), key, "lost", time.Minute)
		for _, p := range proxies {
			p.set(0, false)
		}
		if err == nil || errors.Is(err, ErrProofUsed) {
			t.Errorf("UseProof = %v, though its reply was lost", err)
		}
		if class := Classify(err); class != ClassUnavailable {
			t.Errorf("Classify(%v) = %q, want %q", err, class, ClassUnavailable)
		}
		if err := conn.UseProof(t.Context(), key, "lost", time.Minute); !errors.Is(err, ErrProofUsed) {
			t.Errorf("UseProof after it = %v, want %v", err, ErrProofUsed)
		}
	})
}
