package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
)

// maxPages bounds what List follows: a server that always has one more page is at fault.
const maxPages = 10_000

// List is the items of some pages. Next is the cursor of what comes after them, "" at the end. Rest is what the
// last page says besides.
type List struct {
	Items []json.RawMessage
	Next  string
	Rest  map[string]json.RawMessage
}

// Bound is how much of a list is read. Items is the most, 0 for all of them; Page is the most that the server
// gives at once; Cursor is where to begin, "" for the start.
type Bound struct {
	Items, Page int
	Cursor      string
}

// List follows the pages of a list, which a GET of the request answers with. Errors: those of Do, and ErrAnswer for
// pages that are none or do not end.
func (c *Client) List(ctx context.Context, r Request, bound Bound) (*List, error) {
	list := &List{Next: bound.Cursor}
	for n := 0; n == 0 || list.Next != ""; n++ {
		page := bound.Page
		if bound.Items > 0 {
			page = min(page, bound.Items-len(list.Items))
		}
		if page <= 0 {
			return list, nil
		}
		if n == maxPages {
			return nil, fmt.Errorf("%w: the list has more than %d pages", ErrAnswer, n)
		}
		r.Query = maps.Clone(r.Query)
		if r.Query == nil {
			r.Query = url.Values{}
		}
		r.Query.Set("limit", strconv.Itoa(page))
		if list.Next != "" {
			r.Query.Set("cursor", list.Next)
		}
		answer, err := c.Do(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := list.Add(answer.Body); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Add appends a page, and moves Next to what comes after it. Error: ErrAnswer.
func (l *List) Add(body []byte) error {
	rest := map[string]json.RawMessage{}
	var items []json.RawMessage
	var next string
	err := json.Unmarshal(body, &rest)
	if err == nil {
		err = json.Unmarshal(rest["items"], &items)
	}
	if err == nil && rest["next"] != nil {
		err = json.Unmarshal(rest["next"], &next)
	}
	if err != nil {
		return fmt.Errorf("%w: no page of a list", ErrAnswer)
	}
	if next != "" && next == l.Next {
		return fmt.Errorf("%w: a page is followed by itself", ErrAnswer)
	}
	delete(rest, "items")
	delete(rest, "next")
	l.Items, l.Next, l.Rest = append(l.Items, items...), next, rest
	return nil
}

// Document is the list as one page.
func (l *List) Document() []byte {
	document := map[string]any{"items": append([]json.RawMessage{}, l.Items...)}
	for name, value := range l.Rest {
		document[name] = value
	}
	if l.Next != "" {
		document["next"] = l.Next
	}
	text, err := json.Marshal(document)
	if err != nil {
		panic("client: " + err.Error()) // all of it was JSON before
	}
	return text
}
