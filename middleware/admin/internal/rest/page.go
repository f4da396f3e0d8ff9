package rest

import (
	"encoding/base64"
	"encoding/json"
)

// The lengths of a page, in items.
const (
	MaxPage     = 200
	DefaultPage = 50

	maxCursor = 4 << 10 // bytes
)

// Page is a list, or a part of it.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one."`
}

// Cursor reads the parameter cursor, what Cut made, into a position. given is false without one.
func (q Query) Cursor(position any) (given bool, err error) {
	text, ok := q[Cursor.Name]
	if !ok {
		return false, nil
	}
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || json.Unmarshal(plain, position) != nil {
		return false, BadCursor()
	}
	if again, err := json.Marshal(position); err != nil || string(again) != string(plain) {
		return false, BadCursor()
	}
	return true, nil
}

// BadCursor is what is wrong with a cursor.
func BadCursor() *Error {
	return BadQuery("The query parameter cursor must be the next of the page before, for the same list.")
}

// CursorOf returns a cursor: where a page ended, by what the items are ordered by. So it holds when other
// items come and go.
func CursorOf(position any) string {
	return base64.RawURLEncoding.EncodeToString(marshal(position))
}

// Cut returns the first n items as a page. Of the last of them it makes the cursor, if there are more.
func Cut[T any](items []T, n int, position func(last *T) any) Page[T] {
	if len(items) <= n {
		return Page[T]{Items: append([]T{}, items...)}
	}
	return Page[T]{Items: items[:n], Next: CursorOf(position(&items[n-1]))}
}

// Map returns the page of what its items are shown as.
func Map[T, U any](part Page[T], show func(*T) U) Page[U] {
	shown := Page[U]{Items: make([]U, len(part.Items)), Next: part.Next}
	for i := range part.Items {
		shown.Items[i] = show(&part.Items[i])
	}
	return shown
}
