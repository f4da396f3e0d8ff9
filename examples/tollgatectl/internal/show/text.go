// Package show writes what a server says for people: tables, and the fields of one thing. The texts are the
// server's, and some of them were chosen by its clients, so nothing reaches a terminal but what can be seen: a key
// named "\x1b]0;..." must not set a title, hide a row or turn a line around. Not for machines, which read JSON.
//
//	columns := []show.Column{{Title: "ID", Field: "id"}, {Title: "EXPIRES", Field: "expires_at"}}
//	os.Stdout.Write(show.Table(now, columns, items))
//	// ID     EXPIRES
//	// 3fk..  2026-12-01T00:00:00Z (in 9d)
package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Text returns a text in which everything that is not printed as itself is escaped as in Go: controls, invisible
// and direction-changing characters, bytes that are no UTF-8; and the backslash, so that none can be taken for another.
func Text(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// JSON returns a document for a pipe or a terminal: indented, ending with a new line, and with every character
// that Text would escape written as \u; so it is the same document. It must be valid.
func JSON(document []byte) []byte {
	var indented, b bytes.Buffer
	if err := json.Indent(&indented, document, "", "  "); err != nil {
		return append(bytes.ToValidUTF8(document, nil), '\n')
	}
	for _, r := range indented.String() {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16Of(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func utf16Of(r rune) (high, low rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}

// value writes a decoded value into one line. A text that is a time says how far it is.
func value(v any, now time.Time) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return When(v, now)
	case json.Number:
		return Text(v.String())
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = value(v[i], now)
		}
		return strings.Join(parts, ",")
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, Text(name)+"="+value(v[name], now))
		}
		return strings.Join(parts, " ")
	}
	return Text(fmt.Sprint(v))
}

// When writes a time of RFC 3339 to the second, and how far from now it is. Any other text is as Text has it.
func When(text string, now time.Time) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Text(text)
	}
	written, d := t.UTC().Format(time.RFC3339), t.Sub(now)
	switch {
	case d > -time.Second && d < time.Second:
		return written + " (now)"
	case d < 0:
		return written + " (" + distance(d.Abs()) + " ago)"
	}
	return written + " (in " + distance(d) + ")"
}

func distance(d time.Duration) string {
	const day = 24 * time.Hour
	for _, unit := range []struct {
		up   time.Duration
		in   time.Duration
		name string
	}{{2 * time.Minute, time.Second, "s"}, {2 * time.Hour, time.Minute, "m"}, {2 * day, time.Hour, "h"}, {1000 * day, day, "d"}} {
		if d < unit.up {
			return strconv.FormatInt(int64(d/unit.in), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(d/(365*day)), 10) + "y"
}
