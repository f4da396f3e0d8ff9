package middleware_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// watch is put before a script: from then on a command may name keys of KEYS alone. Redis itself does not mind others, as
// long as they lie on the same server, so that a script that names one works until slots move.
const watch = `
local named, inner = {}, redis
for _, key in ipairs(KEYS) do named[key] = true end
local function look(name, ...)
  if name == 'TIME' then return end
  local last = (name == 'DEL' or name == 'EXISTS' or name == 'UNLINK' or name == 'MGET') and select('#', ...) or 1
  for i = 1, last do
    local key = select(i, ...)
    if not named[key] then error('a script does not declare ' .. tostring(key) .. ', which it gives to ' .. name) end
  end
end
local redis = {
  call = function(...) look(...) return inner.call(...) end,
  pcall = function(...) look(...) return inner.pcall(...) end,
  error_reply = inner.error_reply, status_reply = inner.status_reply, sha1hex = inner.sha1hex,
}
`

// noScriptError is what Redis answers of a script that it does not know.
type noScriptError struct{}

func (noScriptError) Error() string { return "NOSCRIPT No matching script." }
func (noScriptError) RedisError()   {}

// declared is a hook that has every script watched. It learns them from whoever has to send their text.
type declared struct {
	mu    sync.Mutex
	texts map[string]string // by digest
}

func (d *declared) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d *declared) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		restore, known := d.watch(cmd)
		if !known {
			cmd.SetErr(noScriptError{})
			return noScriptError{}
		}
		defer restore()
		return next(ctx, cmd)
	}
}

func (d *declared) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var first error
		send := make([]redis.Cmder, 0, len(cmds))
		for _, cmd := range cmds {
			restore, known := d.watch(cmd)
			if !known {
				cmd.SetErr(noScriptError{})
				first = noScriptError{}
				continue
			}
			defer restore()
			send = append(send, cmd)
		}
		if len(send) > 0 {
			if err := next(ctx, send); err != nil {
				return err
			}
		}
		return first
	}
}

// watch makes a command that runs a script run the watched one, until it is restored. A digest has to be known.
func (d *declared) watch(cmd redis.Cmder) (restore func(), known bool) {
	words := cmd.Args()
	name, _ := words[0].(string)
	if name != "eval" && name != "evalsha" {
		return func() {}, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	text, digest := words[1].(string), words[1].(string)
	if name == "eval" {
		sum := sha1.Sum([]byte(text))
		d.texts[hex.EncodeToString(sum[:])] = text
	} else if text, known = d.texts[digest]; !known {
		return nil, false
	}
	was := words[1]
	words[0], words[1] = "eval", watch+text
	return func() { words[0], words[1] = name, was }, true
}

// Every script names all the keys that it touches, and on a cluster all of them lie in one slot: whatever the library
// asks of Redis is done by scripts that are watched, for several orgs, and nothing fails.
func TestScriptsDeclareTheirKeys(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"standalone": nil, "cluster": {"--cluster-enabled", "yes"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, cluster := redistest.Start(t, args...), len(args) > 0
			admin := redis.NewClient(&redis.Options{Addr: addr})
			defer admin.Close()
			if cluster {
				if err := admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
					t.Fatal(err)
				}
				until(t, "the cluster is ready", func() bool {
					info, err := admin.ClusterInfo(t.Context()).Result()
					return err == nil && strings.Contains(info, "cluster_state:ok")
				})
			}
			rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{addr}, IsClusterMode: cluster, ContextTimeoutEnabled: true})
			defer rdb.Close()
			seen := &declared{texts: map[string]string{}}
			rdb.AddHook(seen)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 5 { // of as many buckets
				if err := exercise(ctx, t, rdb, admin); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range unseen(t, seen.texts) {
				t.Errorf("nothing ran %s: add what does to exercise", file)
			}
		})
	}
}

// A script that touches a key which it does not declare is found.
func TestUndeclaredKeyIsFound(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer rdb.Close()
	rdb.AddHook(&declared{texts: map[string]string{}})
	for text, fails := range map[string]bool{
		"return redis.call('GET', KEYS[1])":                                  false,
		"return redis.call('GET', KEYS[1] .. 'x')":                           true,
		"local call = redis.pcall return call('SET', ARGV[1], 1)":            true,
		"return redis.call('DEL', KEYS[1], 'other')":                         true,
		"return redis.call('HSET', KEYS[1], 'field', redis.call('TIME')[1])": false,
	} {
		err := rdb.Eval(t.Context(), text, []string{redistest.Org(t)}, "other").Err()
		if found := err != nil && strings.Contains(err.Error(), "does not declare"); found != fails || !fails && err != nil && !errors.Is(err, redis.Nil) {
			t.Errorf("%s: %v, found %t, want %t", text, err, found, fails)
		}
	}
}

// unseen returns the files of package lua that are part of none of the scripts.
func unseen(t *testing.T, texts map[string]string) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../lua/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		ran := false
		for _, text := range texts {
			ran = ran || strings.Contains(text, string(part))
		}
		if !ran {
			names = append(names, file)
		}
	}
	return names
}
