package middleware_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// The user that lua/tollgate.acl makes can do all that the library asks of Redis, and nothing that it does not.
func TestACLIsEnoughAndMinimal(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"standalone": nil, "cluster": {"--cluster-enabled", "yes"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startWithACL(t, args...)
			if denied, failed := s.run(t, "tollgate"); failed != nil || len(denied) > 0 {
				t.Fatalf("lua/tollgate.acl lacks %v: %v", denied, failed)
			}
			for _, command := range s.commands {
				if s.cluster != slices.Contains(clusterOnly, command) {
					continue
				}
				t.Run("without "+command, func(t *testing.T) {
					if command == "eval" { // which is for scripts that the server has not seen, or has forgotten
						s.admin.ScriptFlush(t.Context())
					} else {
						t.Parallel()
					}
					s.without(t, command)
				})
			}
		})
	}
}

// slower are those without which only the speed suffers: the counts of frames, and what a client of a cluster asks for
// before each command until it is told.
var slower = []string{"command", "incrby"}

// clusterOnly are what a client needs of a cluster alone.
var clusterOnly = []string{"cluster|slots", "command"}

// The commands of lua/tollgate.acl are those that the scripts name, and those that Go sends.
func TestACLNamesTheCommandsOfTheScripts(t *testing.T) {
	t.Parallel()
	want := append([]string{"evalsha", "eval", "info", "set"}, clusterOnly...)
	files, err := filepath.Glob("../lua/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	call := regexp.MustCompile(`(?:call|read)\('([A-Z]+)'`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range call.FindAllStringSubmatch(string(text), -1) {
			want = append(want, strings.ToLower(found[1]))
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	_, got := readACL(t)
	for _, command := range want {
		if !slices.Contains(got, command) {
			t.Errorf("a script or Go runs %s, and lua/tollgate.acl lacks +%s", command, command)
		}
	}
	for _, command := range got {
		if !slices.Contains(want, command) {
			t.Errorf("lua/tollgate.acl has +%s, and nothing runs it", command)
		}
	}
	if !slices.IsSorted(got) {
		t.Errorf("the commands of lua/tollgate.acl are not in order: %v", got)
	}
}

// secured is a server that only lets in who is in lua/tollgate.acl, and a test that looks on.
type secured struct {
	addr, secret string
	cluster      bool
	rules        []string // of the user, without commands
	commands     []string
	admin        *redis.Client
}

// readACL returns lua/tollgate.acl: the rules of the user, and the commands.
func readACL(t *testing.T) (rules, commands []string) {
	t.Helper()
	text, err := os.ReadFile("../lua/tollgate.acl")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	if strings.Count(string(text), "\n") != 1 || len(fields) < 3 || fields[0] != "user" || fields[1] != "tollgate" {
		t.Fatalf("lua/tollgate.acl is not one line that begins with user tollgate: %q", text)
	}
	for _, field := range fields[2:] {
		if command, ok := strings.CutPrefix(field, "+"); ok {
			commands = append(commands, command)
		} else {
			rules = append(rules, field)
		}
	}
	return rules, commands
}

func startWithACL(t *testing.T, args ...string) *secured {
	t.Helper()
	s := &secured{secret: rand.Text()}
	s.rules, s.commands = readACL(t)
	text, err := os.ReadFile("../lua/tollgate.acl")
	if err != nil {
		t.Fatal(err)
	}
	mine := strings.Replace(string(text), ">change-me", ">"+s.secret, 1)
	for i, rule := range s.rules {
		s.rules[i] = strings.Replace(rule, ">change-me", ">"+s.secret, 1)
	}
	file := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(file, []byte("user default on >"+s.secret+" ~* &* +@all\n"+mine), 0o600); err != nil {
		t.Fatal(err)
	}
	s.addr = redistest.Start(t, append([]string{"--aclfile", file, "--acllog-max-len", "1024"}, args...)...)
	s.admin = redis.NewClient(&redis.Options{Addr: s.addr, Password: s.secret})
	t.Cleanup(func() { s.admin.Close() })
	if len(args) > 0 {
		s.cluster = true
		if err := s.admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
			t.Fatal(err)
		}
		until(t, "the cluster is ready", func() bool {
			info, err := s.admin.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok")
		})
	}
	return s
}

// run does everything as a user, and returns what the server denied, and what failed.
func (s *secured) run(t *testing.T, user string) (denied []string, failed error) {
	t.Helper()
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{s.addr}, IsClusterMode: s.cluster, Username: user, Password: s.secret,
		DisableIdentity: true, ContextTimeoutEnabled: true, MaxRetries: -1,
	})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	failed = exercise(ctx, t, rdb, s.admin)
	entries, err := s.admin.ACLLog(t.Context(), 1024).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Username == user {
			denied = append(denied, fmt.Sprintf("+%s", entry.Object))
		}
	}
	slices.Sort(denied)
	return slices.Compact(denied), failed
}

// without fails the test if all works, or seems to, for a user who lacks a command.
func (s *secured) without(t *testing.T, command string) {
	t.Helper()
	user := "without-" + strings.ReplaceAll(command, "|", "-")
	words := []any{"ACL", "SETUSER", user}
	for _, rule := range s.rules {
		words = append(words, rule)
	}
	for _, c := range s.commands {
		if c != command {
			words = append(words, "+"+c)
		}
	}
	if err := s.admin.Do(t.Context(), words...).Err(); err != nil {
		t.Fatal(err)
	}
	denied, failed := s.run(t, user)
	if failed == nil && !slices.Contains(slower, command) || !slices.Equal(denied, []string{"+" + command}) {
		t.Errorf("without +%s: denied %v, error %v; want it denied, and an error", command, denied, failed)
	}
	if failed != nil && !strings.Contains(failed.Error(), "+"+command) && !strings.Contains(failed.Error(), "'"+command+"'") {
		t.Errorf("without +%s: %v; want an error that names it", command, failed)
	}
	if errors.Is(failed, errWrong) {
		t.Errorf("without +%s: %v; want errors that are told, and no wrong decision", command, failed)
	}
}
