package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
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

var (
	errObject = errors.New("jose: want one JSON object of valid UTF-8, no name twice, up to 16 levels deep")
	decoders  = sync.Pool{New: func() any { return new(jsontext.Decoder) }}
)

// ReadObject reads a document that is one object (RFC 8259), and nothing after it: of valid UTF-8, with no name
// twice in any object, up to 16 levels deep. Its errors repeat nothing of the document, which must not be changed
// afterwards. Cost: two allocations and one for each name.
func ReadObject(document []byte) (Object, error) {
	if deep(document) {
		return nil, errObject
	}
	d := decoders.Get().(*jsontext.Decoder) //nolint:errcheck // the pool holds nothing else
	defer decoders.Put(d)
	d.Reset(bytes.NewBuffer(document))
	defer d.Reset(bytes.NewBuffer(nil)) // what waits in the pool holds on to nothing
	if d.PeekKind() != '{' {
		return nil, errObject
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, errObject
	}
	object := make(Object, 12)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, errObject
		}
		text := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, errObject
		}
		end := int(d.InputOffset())
		object[text] = json.RawMessage(document[end-len(value) : end : end])
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, errObject
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errObject
	}
	return object, nil
}

// deep reports whether brackets are nested too deep, without a stack of its own.
func deep(document []byte) bool {
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
		}
	}
	return false
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
	texts, ok := TextsOf(value, most)
	if !ok {
		return nil, fmt.Errorf("jose: member %q: want a list of up to %d strings of 1 to %d bytes, without control characters", name, maxItems, most)
	}
	return texts, nil
}

// Unquote returns the text of a JSON string; ok is false for anything else.
func Unquote(value json.RawMessage) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 { // nothing to unescape
		return string(inner), true
	}
	plain, err := jsontext.AppendUnquote(nil, value)
	return string(plain), err == nil
}

// Items returns the elements of a JSON array; ok is false for anything else, and for more than 256 of them.
func Items(value json.RawMessage) (items []json.RawMessage, ok bool) {
	if len(value) == 0 || value[0] != '[' {
		return nil, false
	}
	return items, json.Unmarshal(value, &items) == nil && len(items) <= maxItems
}

// TextsOf returns the elements of a JSON array of strings of 1 to most bytes, without control characters; ok is
// false for anything else.
func TextsOf(value json.RawMessage, most int) (texts []string, ok bool) {
	items, ok := Items(value)
	if !ok {
		return nil, false
	}
	texts = make([]string, len(items))
	for i, item := range items {
		text, ok := Unquote(item)
		if !ok || text == "" || len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
			return nil, false
		}
		texts[i] = text
	}
	return texts, true
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
	fault := fmt.Errorf("jose: member %q: want seconds since 1970, up to the year 9999", name)
	if len(value) == 0 || len(value) > maxNumber || (value[0] < '0' || value[0] > '9') {
		return time.Time{}, false, fault
	}
	n, err := strconv.ParseFloat(string(value), 64)
	if err != nil || n < 0 || n > maxSeconds {
		return time.Time{}, false, fault
	}
	whole := int64(n)
	return time.Unix(whole, int64((n-float64(whole))*1e9)), true, nil
}
