package redistest

import (
	"encoding"
	"fmt"
	"reflect"

	"github.com/redis/go-redis/v9"
)

// Call returns what a command that runs a script is made of, for a hook that puts another script in its place: the
// script's digest or text, its keys and its arguments, without the pointers that spare a caller their copies.
func Call(cmd redis.Cmder) (script string, keys []string, args []any) {
	words := make([]any, len(cmd.Args()))
	for i, word := range cmd.Args() {
		words[i] = plain(word)
	}
	script, _ = words[1].(string)
	n, _ := words[2].(int)
	for _, key := range words[3 : 3+n] {
		keys = append(keys, fmt.Sprint(key))
	}
	return script, keys, words[3+n:]
}

func plain(word any) any {
	if m, ok := word.(encoding.BinaryMarshaler); ok {
		b, _ := m.MarshalBinary()
		return b
	}
	if v := reflect.ValueOf(word); v.Kind() == reflect.Pointer && !v.IsNil() {
		return v.Elem().Interface()
	}
	return word
}

// SetReply makes a reply, as another command had it, the one of a command that runs a script.
func SetReply(cmd redis.Cmder, reply any) {
	switch cmd := cmd.(type) {
	case interface{ SetVal(reply any) }:
		cmd.SetVal(reply)
	case interface{ SetVal(reply []int64) }:
		items, _ := reply.([]any)
		numbers := make([]int64, len(items))
		for i := range items {
			numbers[i], _ = items[i].(int64)
		}
		cmd.SetVal(numbers)
	}
}
