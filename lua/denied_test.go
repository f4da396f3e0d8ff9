package lua

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// Who lacks a permission is told which, as a fault of the configuration and in the words of the server.
func TestDenied(t *testing.T) {
	t.Parallel()
	addr := redistest.Start(t)
	admin := closeAtEnd(t, redis.NewClient(&redis.Options{Addr: addr}))
	for name, tt := range map[string]struct {
		rules []any
		want  string
	}{
		"a command":                  {[]any{"~*", "+@all", "-hset"}, "+hset"},
		"a command of the batch":     {[]any{"~*", "+@all", "-time"}, "+time"},
		"keys":                       {[]any{"~another:*", "+@all"}, "~tg1:*"},
		"a command that is no other": {[]any{"~*", "+@all", "-evalsha"}, "'evalsha'"},
	} {
		user := strings.ReplaceAll(name, " ", "-")
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", user, "on", ">secret"}, tt.rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
		rdb := closeAtEnd(t, redis.NewClient(&redis.Options{Addr: addr, Username: user, Password: "secret", DisableIdentity: true}))
		conn, err := NewConn(rdb)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Epoch(t.Context(), redistest.Org(t))
		if err == nil || !strings.Contains(err.Error(), tt.want) || Classify(err) != ClassConfig {
			t.Errorf("%s: Epoch: %v, of class %q; want %q, of class %q", name, err, Classify(err), tt.want, ClassConfig)
		}
	}
}

func TestDeniedNamesTheCommandsOfTheLine(t *testing.T) {
	t.Parallel()
	s := newScript("local a = 1\nreturn redis.call('HDEL', a) + redis.call('ZREM', a)\nreturn read('GET')\n")
	const refused = "ERR The user executing the script can't run this command or subcommand script: 00, on @user_script:"
	for said, want := range map[string]string{
		refused + "2.": "+hdel +zrem;", refused + "1.": "+<command>;", refused + "3.": "+<command>;", refused + "99.": "+<command>;",
		refused + "0.": "+<command>;", refused + "99999999999999999999.": "+<command>;", refused: "+<command>;",
		"ERR another": "ERR another",
	} {
		cause := errors.New(said)
		if err := s.denied(cause); !errors.Is(err, cause) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", said, err, want)
		}
	}
}
