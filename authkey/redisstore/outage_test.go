package redisstore_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// journal is what a logger wrote.
type journal struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(p)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.lines.String(), text)
}

// TestGraceWhileRedisHangs has 200 callers on a pool of 10 ask for keys that are verified anew each time, while the server
// is stopped: all of them pass, and the log has one line.
func TestGraceWhileRedisHangs(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t), PoolSize: 10})
	t.Cleanup(func() { rdb.Close() })
	log := new(journal)
	store := redisstore.New(rdb, redisstore.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	verifier, err := authkey.New(store, authkey.WithCache(100, time.Nanosecond), authkey.WithGrace(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]authkey.Presented, 20)
	for i := range keys {
		if _, keys[i], err = issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"}); err != nil {
			t.Fatal(err)
		}
		for { // a slow machine may need longer than a look-up has
			if _, err := verifier.Authenticate(t.Context(), keys[i]); err == nil {
				break
			}
		}
	}
	_, never, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := rdb.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(info, "process_id:")
	pid, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	for verifier.Stats().OpenBreakers > 0 { // from a slow start
		_, _ = verifier.Authenticate(t.Context(), keys[0])
	}
	opened, closed := log.count("is left alone"), log.count("answers again")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for n := range 200 {
		callers.Go(func() {
			for i := range keys {
				if _, err := verifier.Authenticate(t.Context(), keys[(n+i)%len(keys)]); err != nil {
					t.Errorf("a key that was verified: %v", err)
					return
				}
			}
		})
	}
	callers.Wait()
	stats := verifier.Stats()
	if stats.Graces == 0 || stats.OpenBreakers != 1 {
		t.Errorf("%+v", stats)
	}
	if got := log.count("is left alone") - opened; got != 1 || log.count("answers again") != closed {
		t.Errorf("the log has %d lines more, want 1", got)
	}
	if _, err := verifier.Authenticate(t.Context(), never); !errors.Is(err, authkey.ErrUnavailable) {
		t.Errorf("a key that was not verified: %v", err)
	}

	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); verifier.Stats().OpenBreakers > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the server is back, and still left alone")
		}
		_, _ = verifier.Authenticate(t.Context(), keys[0])
	}
	if got := log.count("answers again") - closed; got != 1 {
		t.Errorf("the log says %d times that it is back, want once", got)
	}
}
