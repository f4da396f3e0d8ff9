package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of what is read, in bytes, levels and items.
const (
	maxDepth  = 16
	maxItems  = 256
	maxNumber = 64
)

// Object is a JSON object whose names are all different and exactly those that were written. Its values are parts
// of the document that it was read from.
type Object map[string]json.RawMessage

var errObject = errors.New("jose: want one JSON object of valid UTF-8 and up to 256 members, no name twice, up to 16 levels deep, and numbers that a double holds")

// Members calls a function of each member of a document that is one object, as ReadObject has it; each name is a JSON
// string. Where the document is none, it reports an error, maybe after some calls. No allocation.
func Members(document []byte, each func(name, value json.RawMessage)) error {
	if outOfBounds(document) {
		return errObject
	}
	r, n := read(document), 0
	defer r.done()
	if !r.within('{', '}', func() bool {
		n++
		name, ok := r.next(document)
		if !ok {
			return false
		}
		value, ok := r.next(document)
		if ok = ok && n <= maxItems; ok {
			each(name, value)
		}
		return ok
	}) {
		return errObject
	}
	return nil
}

// texts keeps texts side by side, in one allocation where there is room for them.
type texts struct{ strings.Builder }

// keep returns the text of a JSON string; ok is false for anything else.
func (t *texts) keep(value json.RawMessage) (text string, ok bool) {
	inner, ok := plain(value)
	if !ok {
		return Unquote(value)
	}
	from := t.Len()
	t.Write(inner)
	return t.String()[from:], true
}

// An object has room for a name in every usual bytes of its document, but for no more than maxRoom, before it is read.
const usual, maxRoom = 40, 64

// ReadObject reads a document that is one object (RFC 8259), and nothing after it: of valid UTF-8, with no name
// twice in any object, up to 256 members, 16 levels deep, with numbers of up to 64 bytes that a double holds, since some
// readers refuse others (RFC 8259, section 6). Its errors repeat nothing of the document, which must not be changed
// afterwards.
// Cost: the map, and one allocation for its names if they are short.
func ReadObject(document []byte) (Object, error) {
	object := make(Object, min(len(document)/usual, maxRoom))
	var names texts
	names.Grow(min(len(document), 256))
	err := Members(document, func(name, value json.RawMessage) {
		if text, ok := names.keep(name); ok { // as always, for it was read
			object[text] = value
		}
	})
	if err != nil {
		return nil, err
	}
	return object, nil
}

// outOfBounds reports whether brackets are nested too deep, without a stack of its own, or a number is too long or too
// great.
func outOfBounds(document []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(document); i++ {
		switch c := document[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		case c >= '0' && c <= '9':
			digits, ok := number(document[i:])
			if !ok {
				return true
			}
			i += digits - 1
		}
	}
	return false
}

// number returns the length of what may be a number, and whether a double holds it.
func number(text []byte) (length int, ok bool) {
	for length < len(text) && bytes.IndexByte([]byte("0123456789+-.eE"), text[length]) >= 0 {
		length++
	}
	if length > maxNumber {
		return length, false
	}
	if bytes.ContainsAny(text[:length], "eE") {
		_, err := strconv.ParseFloat(string(text[:length]), 64)
		return length, err == nil
	}
	return length, true
}

// Exact refuses names that differ from one of these in case alone, by the folding of Unicode: some readers take one
// for the other.
func (o Object) Exact(names ...string) error {
	for name := range o {
		for _, known := range names {
			if name != known && strings.EqualFold(name, known) {
				return fmt.Errorf("jose: %q is written in another case", known)
			}
		}
	}
	return nil
}

// Text returns a member that is a string of up to most bytes, without control characters; "" where it is absent.
func (o Object) Text(name string, most int) (string, error) {
	value, ok := o[name]
	if !ok {
		return "", nil
	}
	text, ok := Unquote(value)
	if !ok || len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("jose: member %q: want a string of up to %d bytes, without control characters", name, most)
	}
	return text, nil
}

// Texts returns a member that is a list of up to 256 strings of 1 to most bytes, without control characters; none
// where it is absent.
func (o Object) Texts(name string, most int) ([]string, error) {
	value, ok := o[name]
	if !ok {
		return nil, nil
	}
	list, ok := TextsOf(value, most)
	if !ok {
		return nil, fmt.Errorf("jose: member %q: want a list of up to %d strings of 1 to %d bytes, without control characters", name, maxItems, most)
	}
	return list, nil
}

// Unquote returns the text of a JSON string; ok is false for anything else.
func Unquote(value json.RawMessage) (text string, ok bool) {
	if inner, ok := plain(value); ok {
		return string(inner), true
	}
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	unquoted, err := jsontext.AppendUnquote(nil, value)
	return string(unquoted), err == nil
}

// plain returns what is between the quotes of a JSON string; ok is false for anything else, and where something there
// is to be unescaped.
func plain(value json.RawMessage) (inner []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	inner = value[1 : len(value)-1]
	return inner, bytes.IndexByte(inner, '\\') < 0
}

// Items returns the elements of a JSON array; ok is false for anything else, and for more than 256 of them.
func Items(value json.RawMessage) (items []json.RawMessage, ok bool) {
	ok = elements(value, func(item json.RawMessage) bool {
		items = append(items, item)
		return true
	})
	return items, ok
}

// elements calls a function of each element of a JSON array, until it returns false, and reports whether the value is
// one with up to 256 of them.
func elements(value json.RawMessage, each func(item json.RawMessage) bool) bool {
	if len(value) == 0 || value[0] != '[' {
		return false
	}
	r := read(value)
	defer r.done()
	n := 0
	return r.within('[', ']', func() bool {
		n++
		item, ok := r.next(value)
		return ok && n <= maxItems && each(item)
	})
}

// TextsOf returns the elements of a JSON array of strings of 1 to most bytes, without control characters; ok is
// false for anything else.
func TextsOf(value json.RawMessage, most int) (list []string, ok bool) {
	if len(value) == 0 || value[0] != '[' {
		return nil, false
	}
	list = make([]string, 0, min(bytes.Count(value, []byte{','})+1, maxItems))
	var room texts
	room.Grow(len(value))
	ok = elements(value, func(item json.RawMessage) bool {
		text, ok := room.keep(item)
		list = append(list, text)
		return ok && text != "" && len(text) <= most && !strings.ContainsFunc(text, unicode.IsControl)
	})
	if !ok {
		return nil, false
	}
	return list, true
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// Seconds returns a member that is a NumericDate (RFC 7519, section 2) of 1970 to 9999; ok is false where it is
// absent.
func (o Object) Seconds(name string) (at time.Time, ok bool, err error) {
	value, ok := o[name]
	if !ok {
		return time.Time{}, false, nil
	}
	if length, ok := number(value); ok && length == len(value) && length > 0 && value[0] >= '0' && value[0] <= '9' {
		n, err := strconv.ParseFloat(string(value), 64)
		if err == nil && n <= maxSeconds {
			whole := int64(n)
			return time.Unix(whole, int64((n-float64(whole))*1e9)), true, nil
		}
	}
	return time.Time{}, false, fmt.Errorf("jose: member %q: want seconds since 1970, up to the year 9999", name)
}
