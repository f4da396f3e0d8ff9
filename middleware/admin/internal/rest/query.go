package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Param is a query parameter that an operation takes.
type Param struct {
	Name, Doc string
	// Schema is its JSON Schema, for the description alone. What it says is for the action to check.
	Schema map[string]any
}

// TextParam returns a parameter that may be any text.
func TextParam(name, doc string) Param {
	return Param{name, doc, map[string]any{"type": "string", "maxLength": maxValue}}
}

// TimeParam returns a parameter that is a time.
func TimeParam(name, doc string) Param {
	return Param{name, doc, map[string]any{"type": "string", "format": "date-time"}}
}

// EnumParam returns a parameter that is one of some words.
func EnumParam[T ~string](name, doc string, words ...T) Param {
	return Param{name, doc, map[string]any{"type": "string", "enum": words}}
}

// Limit returns the parameter for the length of a page.
func Limit(usual, most int) Param {
	return Param{"limit", "How many items a page has at most.", map[string]any{"type": "integer", "minimum": 1, "maximum": most, "default": usual}}
}

// Cursor is the parameter for the next page.
var Cursor = Param{"cursor", "The next of the page before, for the same list.", map[string]any{"type": "string", "minLength": 1, "maxLength": maxCursor}}

// Query is the parameters of a request, none of them twice.
type Query map[string]string

// Query reads the parameters, of which no others than those of the operation may be there.
func (c *Call) Query() (Query, error) {
	values, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, BadQuery("The query is not well formed.")
	}
	q := Query{}
	for name, given := range values {
		if !slices.ContainsFunc(c.operation.Query, func(p Param) bool { return p.Name == name }) {
			return nil, BadQuery("There is a query parameter that is not known here.")
		}
		most := maxValue
		if name == Cursor.Name {
			most = maxCursor
		}
		if len(given) != 1 || len(given[0]) > most || !utf8.ValidString(given[0]) {
			return nil, BadQuery("The query parameter " + name + " must be there once, in UTF-8, of at most " + strconv.Itoa(most) + " bytes.")
		}
		q[name] = given[0]
	}
	return q, nil
}

// Given returns a parameter and whether it is there, be it empty.
func (q Query) Given(name string) (string, bool) {
	value, ok := q[name]
	return value, ok
}

// Limit returns the parameter limit.
func (q Query) Limit(usual, most int) (int, error) {
	text, ok := q["limit"]
	if !ok {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, BadQuery("The query parameter limit must be 1 to " + strconv.Itoa(most) + ".")
	}
	return n, nil
}

// Time returns a parameter that is a time, or another where it is absent.
func (q Query) Time(name string, absent time.Time) (time.Time, error) {
	text, ok := q[name]
	if !ok {
		return absent, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, BadQuery("The query parameter " + name + " must be a time as RFC 3339 has it, such as 2026-01-31T15:00:00Z.")
	}
	return t.UTC(), nil
}

// Key returns the parameter key, the id of a key; "" where there is none.
func (q Query) Key() (string, error) {
	key, ok := q.Given("key")
	if ok && key == "" || len(key) > MaxPath {
		return "", BadQuery("The query parameter key must be the id of a key.")
	}
	return key, nil
}

// BadQuery is what is wrong with the parameters.
func BadQuery(detail string) *Error { return NewProblem(http.StatusBadRequest, CodeQuery, detail) }
