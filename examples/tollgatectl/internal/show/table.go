package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Item is a decoded JSON object. Numbers are as they were written.
type Item map[string]any

// Decode reads an object.
func Decode(document []byte) (Item, error) {
	var item Item
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	if err := decoder.Decode(&item); err != nil || item == nil {
		return nil, errors.New("show: the answer is no JSON object")
	}
	return item, nil
}

// At returns a field, and with dots in its name one of a field that is an object; nil where there is none.
func (item Item) At(field string) any {
	var v any = map[string]any(item)
	for name := range strings.SplitSeq(field, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

// String returns a field that is a text, not escaped; "" if it is none.
func (item Item) String(field string) string {
	text, ok := item.At(field).(string)
	if !ok {
		return ""
	}
	return text
}

// Items returns a field that is a list of objects; what else is in it is left out.
func (item Item) Items(field string) []Item {
	list, ok := item.At(field).([]any)
	if !ok {
		return nil
	}
	var items []Item
	for _, v := range list {
		if object, ok := v.(map[string]any); ok {
			items = append(items, object)
		}
	}
	return items
}

// Column is one of a table: its title, the field as Item.At has it, and what stands for one that is empty; "-" where
// that is not said.
type Column struct{ Title, Field, Empty string }

// Table returns a row for each item under the titles.
func Table(now time.Time, columns []Column, items []Item) []byte {
	rows := make([][]string, 1+len(items))
	for _, c := range columns {
		rows[0] = append(rows[0], c.Title)
		for i, item := range items {
			rows[1+i] = append(rows[1+i], orEmpty(value(item.At(c.Field), now), c.Empty))
		}
	}
	return Align(rows)
}

// Align returns rows whose cells stand one under the other. The cells must hold neither tabs nor new lines.
func Align(rows [][]string) []byte {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = io.WriteString(t, strings.Join(row, "\t")+"\n") // a buffer takes everything
	}
	_ = t.Flush()
	return b.Bytes()
}

func orEmpty(text, empty string) string {
	switch {
	case text != "":
		return text
	case empty != "":
		return empty
	}
	return "-"
}

// Fields returns an item one field a line: those that are named first, then all others by name. Lists of objects
// come last, as tables.
func Fields(now time.Time, item Item, first ...string) []byte {
	names := slices.DeleteFunc(slices.Clone(first), func(name string) bool { _, ok := item[name]; return !ok })
	for _, name := range slices.Sorted(maps.Keys(item)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var rows [][]string
	var tables []byte
	for _, name := range names {
		items := item.Items(name)
		if len(items) == 0 {
			rows = append(rows, []string{Text(name), orEmpty(value(item[name], now), "")})
			continue
		}
		tables = append(tables, "\n"+Text(name)+"\n"...)
		tables = append(tables, Table(now, Columns(items), items)...)
	}
	return append(Align(rows), tables...)
}

// Columns returns a column for each field that any of the items has; the id is the first.
func Columns(items []Item) []Column {
	all := map[string]bool{}
	for _, item := range items {
		for name := range item {
			all[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(all))
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case a == "id" && b != "id":
			return -1
		case b == "id" && a != "id":
			return 1
		}
		return 0
	})
	columns := make([]Column, len(names))
	for i, name := range names {
		columns[i] = Column{Title: strings.ToUpper(Text(name)), Field: name}
	}
	return columns
}
