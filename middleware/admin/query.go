package admin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxCursor   = 4 << 10 // bytes
	maxPage     = 200     // items
	defaultPage = 50
)

// query is the parameters of a request, none of them twice.
type query map[string]string

// query reads the parameters, of which no others than the allowed ones may be there.
func (c *call) query(allowed ...string) (query, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, badQuery("The query is not well formed.")
	}
	q := query{}
	for name, given := range values {
		if !slices.Contains(allowed, name) {
			return nil, badQuery("There is a query parameter that is not known here.")
		}
		most := maxEndpoint
		if name == "cursor" {
			most = maxCursor
		}
		if len(given) != 1 || len(given[0]) > most || !utf8.ValidString(given[0]) {
			return nil, badQuery("The query parameter " + name + " must be there once, in UTF-8, of at most " + strconv.Itoa(most) + " bytes.")
		}
		q[name] = given[0]
	}
	return q, nil
}

// given returns a parameter and whether it is there, be it empty.
func (q query) given(name string) (string, bool) {
	value, ok := q[name]
	return value, ok
}

// page returns the parameter limit.
func (q query) page(usual, most int) (int, error) {
	text, ok := q["limit"]
	if !ok {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, badQuery("The query parameter limit must be 1 to " + strconv.Itoa(most) + ".")
	}
	return n, nil
}

// time returns a parameter that is a time, or another where it is absent.
func (q query) time(name string, absent time.Time) (time.Time, error) {
	text, ok := q[name]
	if !ok {
		return absent, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, badQuery("The query parameter " + name + " must be a time as RFC 3339 has it, such as 2026-01-31T15:00:00Z.")
	}
	return t.UTC(), nil
}

// cursor reads the parameter cursor, what cursorOf made, into a position. given is false without one.
func (q query) cursor(position any) (given bool, err error) {
	text, ok := q["cursor"]
	if !ok {
		return false, nil
	}
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || json.Unmarshal(plain, position) != nil {
		return false, badCursor()
	}
	if again, err := json.Marshal(position); err != nil || string(again) != string(plain) {
		return false, badCursor()
	}
	return true, nil
}

func badCursor() *problem {
	return badQuery("The query parameter cursor must be the next of the page before, for the same list.")
}

// cursorOf returns a cursor: where a page ended, by what the items are ordered by. So it holds when other
// items come and go.
func cursorOf(position any) string {
	return base64.RawURLEncoding.EncodeToString(marshal(position))
}

// page is a list, or a part of it.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// cut returns the first n items as a page. Of the last of them it makes the cursor, if there are more.
func cut[T any](items []T, n int, position func(last *T) any) page[T] {
	if len(items) <= n {
		return page[T]{Items: append([]T{}, items...)}
	}
	return page[T]{Items: items[:n], Next: cursorOf(position(&items[n-1]))}
}

// never is the text for a time that does not come.
const never = "never"

func timeOrNever(t time.Time) string {
	if t.IsZero() {
		return never
	}
	return t.Format(time.RFC3339Nano)
}

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err == nil && t.IsZero() {
		return t, errors.New("the zero time stands for never")
	}
	return t, err
}

func parseTimeOrNever(text string) (time.Time, error) {
	if text == never {
		return time.Time{}, nil
	}
	return parseTime(text)
}

// durationText is Duration.String without the zeros at the end: "1m", not "1m0s".
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// parseWindow takes no zero, which would keep the policy's window, and which nobody writes to mean that.
func parseWindow(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && d == 0 {
		return 0, errors.New("zero")
	}
	return d, err
}

// oneOf returns a parser that takes some texts and no other.
func oneOf[T ~string](texts ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		if !slices.Contains(texts, T(text)) {
			return "", errors.New("none of them")
		}
		return T(text), nil
	}
}

func timeOrAbsent(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
