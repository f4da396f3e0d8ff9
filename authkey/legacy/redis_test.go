package legacy_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/legacy"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// lengthy is the longest that a store waits, unless a test is about time.
const lengthy = 5 * time.Second

// Replicas that meet the same keys at the same time, in the middle of a change of peppers, make one record of each.
func TestReplicasMakeOneRecord(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		org := redistest.Org(t)
		s := newService()
		s.store = redisstore.New(rdb, redisstore.WithTimeout(lengthy))
		const keys, callers = 8, 4
		presented := make([]authkey.Presented, keys)
		for n := range keys {
			presented[n] = s.old.add(org+string(rune('a'+n)), authkey.NewKey{Org: org, Project: "shop"})
		}
		replicas := []replica{
			s.replica(t, []string{"v1", "v2"}, s.old.scheme(), legacy.WithRate(1000, 1)),
			s.replica(t, []string{"v2", "v1"}, s.old.scheme(), legacy.WithRate(1000, 1)),
			s.replica(t, []string{"v1", "v2"}, s.old.scheme(), legacy.WithRate(1000, 1)),
		}
		var group sync.WaitGroup
		ids := sync.Map{}
		for _, r := range replicas {
			for _, key := range presented {
				for range callers {
					group.Go(func() {
						identity, err := r.Authenticate(context.Background(), key)
						if err != nil {
							t.Errorf("Authenticate: %v", err)
							return
						}
						if id, _ := ids.LoadOrStore(key.Reveal(), identity.Key); id != identity.Key {
							t.Errorf("one key has the ids %v and %s", id, identity.Key)
						}
					})
				}
			}
		}
		group.Wait()
		records, _, err := s.store.List(t.Context(), org, "", "", authkey.MaxPage)
		if err != nil || len(records) != keys {
			t.Errorf("%d records, %v; want %d", len(records), err, keys)
		}
		var upgraded uint64
		for _, r := range replicas {
			upgraded += r.Stats().Schemes["sha256"].Upgraded
		}
		if upgraded != keys {
			t.Errorf("%d upgrades in all, want %d", upgraded, keys)
		}
	})
}

// A revocation that is acknowledged while other replicas upgrade the same key is never undone, whoever comes first.
func TestRevocationAgainstUpgrades(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		org := redistest.Org(t)
		s := newService()
		s.store = redisstore.New(rdb, redisstore.WithTimeout(lengthy))
		for n := range 10 {
			key := s.old.add(org+string(rune('a'+n)), authkey.NewKey{Org: org, Project: "shop"})
			first, second := s.plain(t), s.plain(t)
			late := make(chan error, 1)
			go func() {
				_, err := second.Authenticate(context.Background(), key)
				late <- err
			}()
			identity := first.opens(t, "first", key)
			if _, err := first.issuer.SetState(t.Context(), org, identity.Key, 0, authkey.StateRevoked, "leaked"); err != nil {
				t.Fatal(err)
			}
			if err := <-late; err != nil { // it may have been before the revocation
				fails(t, "second, at the same time", err, authkey.ErrRevoked)
			}
			s.plain(t).refuses(t, "third, afterwards", key, authkey.ErrRevoked)
			_, err := second.Refresh(t.Context(), key, identity)
			fails(t, "second, refreshed", err, authkey.ErrRevoked)
		}
	})
}
