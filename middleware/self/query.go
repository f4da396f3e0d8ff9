package self

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tollgate-go/tollgate/middleware"
)

// list is the body of an answer with items.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// query is the parameters of a request, none of them twice.
type query map[string]string

const maxValue = 512 // bytes, as many as an endpoint has

func queryOf(r *http.Request, allowed []string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badQuery("The query is not well formed.")
	}
	q := query{}
	for name, given := range values {
		if !slices.Contains(allowed, name) {
			return nil, badQuery("There is a query parameter that is not known here.")
		}
		if len(given) != 1 || len(given[0]) > maxValue || !utf8.ValidString(given[0]) {
			return nil, badQuery("The query parameter " + name + " must be there once, in UTF-8, of at most " + strconv.Itoa(maxValue) + " bytes.")
		}
		q[name] = given[0]
	}
	return q, nil
}

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

func badQuery(message string) error {
	return &middleware.Error{Status: http.StatusBadRequest, Code: codeQuery, Message: message}
}
