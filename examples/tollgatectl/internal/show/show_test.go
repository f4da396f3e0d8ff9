package show_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

var now = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func ExampleTable() {
	items := []show.Item{{"id": "k1", "expires_at": "2026-11-30T08:00:00Z"}, {"id": "k2\x1b[2J"}}
	columns := []show.Column{{Title: "ID", Field: "id"}, {Title: "EXPIRES", Field: "expires_at", Empty: "never"}}
	fmt.Printf("%s", show.Table(now, columns, items))
	// Output:
	// ID         EXPIRES
	// k1         2026-11-30T08:00:00Z (in 9d)
	// k2\x1b[2J  never
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      "",
		"plain é 世 🙂":           "plain é 世 🙂",
		"a\tb\nc\rd":            `a\tb\nc\rd`,
		"\x1b]0;title\x07":      `\x1b]0;title\a`,
		"\u009b31m\u0085":       `\u009b31m\u0085`,
		"\u202egnp.exe\u2066":   `\u202egnp.exe\u2066`,
		"zero\u200bwidth\ufeff": `zero\u200bwidth\ufeff`,
		"line\u2028sep":         `line\u2028sep`,
		"nbsp\u00a0":            `nbsp\u00a0`,
		"tag\U000e0041":         `tag\U000e0041`,
		"bad\xff\xc3":           `bad\xff\xc3`,
		"\ufffd":                "\ufffd",
		`back\x1bslash`:         `back\\x1bslash`,
		"it's":                  "it's",
		"del\x7f\x00":           `del\x7f\x00`,
	} {
		if got := show.Text(text); got != want {
			t.Errorf("Text(%+q) = %s, want %s", text, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b[31m\xff", `\x1b`)
	f.Add("'", "\u2028")
	f.Fuzz(func(t *testing.T, a, b string) {
		written := show.Text(a)
		for _, r := range written {
			if !unicode.IsPrint(r) {
				t.Errorf("Text(%+q) = %+q", a, written)
			}
		}
		if a != b && written == show.Text(b) {
			t.Errorf("%+q and %+q are both written %s", a, b, written)
		}
		document, err := json.Marshal(map[string]string{a: b})
		if err != nil {
			t.Fatal(err)
		}
		var before, after any
		safe := show.JSON(document)
		if json.Unmarshal(document, &before) != nil || json.Unmarshal(safe, &after) != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%s is written as %s", document, safe)
		}
		for _, r := range string(safe) {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("JSON writes %+q", safe)
			}
		}
	})
}

func TestJSON(t *testing.T) {
	t.Parallel()
	document := "{\"a\u202e\":[1.50,1e400,\"\u009b\x7f\U000e0041\\u001b🙂\"]}"
	want := "{\n  \"a\\u202e\": [\n    1.50,\n    1e400,\n    \"\\u009b\\u007f\\udb40\\udc41\\u001b🙂\"\n  ]\n}\n"
	if got := string(show.JSON([]byte(document))); got != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"never":                     "never",
		"2026-11-21T08:00:00.9Z":    "2026-11-21T08:00:00Z (now)",
		"2026-11-21T10:00:30+02:00": "2026-11-21T08:00:30Z (in 30s)",
		"2026-11-21T07:59:01Z":      "2026-11-21T07:59:01Z (59s ago)",
		"2026-11-21T07:58:00Z":      "2026-11-21T07:58:00Z (2m ago)",
		"2026-11-21T06:00:00Z":      "2026-11-21T06:00:00Z (2h ago)",
		"2026-11-23T07:00:00Z":      "2026-11-23T07:00:00Z (in 47h)",
		"2026-12-21T08:00:00Z":      "2026-12-21T08:00:00Z (in 30d)",
		"2036-11-21T08:00:00Z":      "2036-11-21T08:00:00Z (in 10y)",
		"9999-12-31T23:59:59Z":      "9999-12-31T23:59:59Z (in 292y)",
		"0001-01-01T00:00:00Z":      "0001-01-01T00:00:00Z (292y ago)",
		"2026-11-21":                "2026-11-21",
		"x\x1b":                     `x\x1b`,
	} {
		if got := show.When(text, now); got != want {
			t.Errorf("When(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestItem(t *testing.T) {
	t.Parallel()
	item, err := show.Decode([]byte(`{"a":{"b":12345678901234567890},"list":[{"id":"x"},3],"text":"t"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := item.At("a.b"); got != json.Number("12345678901234567890") {
		t.Errorf("a.b = %v", got)
	}
	if item.At("a.c") != nil || item.At("text.c") != nil || item.At("") != nil {
		t.Error("a field that is not there is something")
	}
	if item.String("text") != "t" || item.String("a") != "" || len(item.Items("list")) != 1 || item.Items("text") != nil {
		t.Errorf("fields of %v", item)
	}
	for _, document := range []string{"", "null", "[]", "1", "{"} {
		if _, err := show.Decode([]byte(document)); err == nil {
			t.Errorf("%q is an object", document)
		}
	}
}

// A row stays a row, whatever is in it.
func TestTableOfHostileTexts(t *testing.T) {
	t.Parallel()
	items := []show.Item{{"a": "x\ty\nz", "b": map[string]any{"k\n": "v\r"}, "c": []any{"1\v", nil, true, json.Number("2")}}}
	lines := strings.Split(string(show.Table(now, show.Columns(items), items)), "\n")
	if len(lines) != 3 || strings.Join(strings.Fields(lines[1]), " ") != `x\ty\nz k\n=v\r 1\v,,true,2` {
		t.Errorf("wrote %q", lines)
	}
}
