package jose_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// nested is an object that is so many levels deep.
func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

func TestReadObject(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"empty":                      `{}`,
		"white space":                " \t\r\n{ \"a\" : 1 } \n",
		"all kinds":                  `{"a":"x","b":-1.5e3,"c":true,"d":null,"e":[1,"2",{}],"f":{"g":{}}}`,
		"a pair of surrogates":       `{"a":"\ud83d\ude00"}`,
		"one name in two objects":    `{"a":{"a":1},"b":{"a":1}}`,
		"names in another case":      `{"a":1,"A":2}`,
		"an empty name":              `{"":1}`,
		"16 levels":                  nested(16),
		"brackets in a string":       `{"a":"` + strings.Repeat(`[{\"`, 100) + `"}`,
		"brackets beside each other": `{"a":[` + strings.Repeat("[],", 100) + `{}]}`,
		"a number of 64 bytes":       `{"a":` + strings.Repeat("7", 64) + `}`,
		"the greatest number":        `{"a":-1.7976931348623157e308}`,
		"a number next to nothing":   `{"a":1e-999}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object, err := jose.ReadObject([]byte(document))
			var want map[string]json.RawMessage
			if json.Unmarshal([]byte(document), &want) != nil || err != nil || len(object) != len(want) {
				t.Errorf("%d members, want %d; %v", len(object), len(want), err)
			}
		})
	}
}

func TestReadObjectRefuses(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"nothing": "", "white space": " ", "null": "null", "a list": "[]", "a string": `"{}"`, "a number": "7", "true": "true",
		"an end that is missing": `{"a":1`, "another end": `{"a":1]`, "a comma at the end": `{"a":1,}`, "no comma": `{"a":1 "b":2}`,
		"no name": `{1:2}`, "no value": `{"a":}`, "no colon": `{"a" 1}`, "a name without quotes": `{a:1}`, "single quotes": `{'a':1}`, "a comment": `{/**/}`,
		"two objects": `{}{}`, "text after it": `{"a":1}x`, "NUL after it": "{}\x00", "a byte order mark": "\ufeff{}",
		"a name twice": `{"a":1,"b":2,"a":1}`, "a name twice, escaped": `{"a":1,"\u0061":1}`, "an empty name twice": `{"":1,"":1}`,
		"a name twice in an object": `{"cnf":{"jkt":1,"jkt":2}}`, "a name twice in a list": `{"a":[{"b":1,"b":1}]}`,
		"bad UTF-8": "{\"a\":\"\xff\"}", "bad UTF-8 in a name": "{\"\xc0\x80\":1}", "half a character": "{\"a\":\"\xe2\x82\"}",
		"half a pair": `{"a":"\ud800"}`, "the other half": `{"\udc00":1}`, "a line break in a string": "{\"a\":\"\n\"}", "an escape": `{"a":"\x"}`,
		"a leading zero": `{"a":01}`, "a plus": `{"a":+1}`, "a dot": `{"a":1.}`, "NaN": `{"a":NaN}`, "infinity": `{"a":-Infinity}`, "hexadecimal": `{"a":0x1}`,
		"17 levels": nested(17), "17 levels of lists": `{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, "9000 levels": nested(9000),
		"9000 levels that do not end": strings.Repeat(`{"a":`, 9000), "a number of 65 bytes": `{"a":` + strings.Repeat("7", 65) + `}`,
		"a number too great": `{"a":[1e309]}`, "a number far too small": `{"a":{"b":-1E+999}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object, err := jose.ReadObject([]byte(document))
			if err == nil || object != nil {
				t.Errorf("read as %v", object)
			}
			if err := jose.Members([]byte(document), func(_, _ json.RawMessage) {}); err == nil {
				t.Error("Members: no error")
			}
		})
	}
}

// Readers share decoders, which must not hand on what they read.
func TestReadObjectConcurrently(t *testing.T) {
	t.Parallel()
	documents := []string{`{"a":"x","b":[1,2]}`, `{"c":{"d":{}}}`, `{"e":`, nested(17), `{"f":1,"f":2}`, `{"` + strings.Repeat("g", 4000) + `":0}`}
	good := []bool{true, true, false, false, false, true}
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for i := range 200 {
				k := (n + i) % len(documents)
				object, err := jose.ReadObject([]byte(documents[k]))
				if (err == nil) != good[k] {
					t.Errorf("%.20q: %v", documents[k], err)
				}
				for name, value := range object {
					if !strings.Contains(documents[k], `"`+name+`":`+string(value)) {
						t.Errorf("%.20q has %.20q: %s", documents[k], name, value)
					}
				}
			}
		})
	}
	wait.Wait()
}

func TestExact(t *testing.T) {
	t.Parallel()
	known := []string{"alg", "kid", "sub", "x5t#S256"}
	for _, tt := range []struct {
		name string
		ok   bool
	}{
		{"alg", true}, {"other", true}, {"x5t#S256", true}, {"algs", true}, {"al", true}, {"", true}, {"ålg", true},
		{"ALG", false}, {"aLg", false}, {"\u017Fub", false}, {"\u212Aid", false}, {"x5t#s256", false}, {"X5T#\u017F256", false},
	} {
		if err := (jose.Object{tt.name: nil, "more": nil}).Exact(known...); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.name, err)
		}
	}
	if err := (jose.Object{"sub": nil, "\u017Fub": nil}).Exact(known...); err == nil {
		t.Error("both pass together")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value, want string
		ok          bool
	}{
		{`"x"`, "x", true}, {`""`, "", true}, {`"12345678"`, "12345678", true}, {`"123456789"`, "", false}, {`"äöüß"`, "äöüß", true}, {`"äöüßä"`, "", false},
		{`"\u0041\/\""`, `A/"`, true}, {`"\u00e4\u00e4\u00e4\u00e4"`, "ääää", true}, {`"\u00e4\u00e4\u00e4\u00e4\u00e4"`, "", false}, {`"a b"`, "a b", true},
		{`"\n"`, "", false}, {`"a\u0000"`, "", false}, {`"\u007f"`, "", false}, {`"\u0085"`, "", false}, {`null`, "", false}, {`1`, "", false}, {`["x"]`, "", false}, {`{}`, "", false}, {``, "", false}, {`"`, "", false},
	} {
		got, err := jose.Object{"a": json.RawMessage(tt.value)}.Text("a", 8)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: %q, %v", tt.value, got, err)
		}
	}
	if got, err := (jose.Object{"A": json.RawMessage(`"x"`)}).Text("a", 8); got != "" || err != nil {
		t.Errorf("one that is absent: %q, %v", got, err)
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	many := `["x"` + strings.Repeat(`,"x"`, 255)
	for _, tt := range []struct {
		value string
		want  []string
		ok    bool
	}{
		{`[]`, []string{}, true}, {`[ "a" , "b" ]`, []string{"a", "b"}, true}, {`["a","a"]`, []string{"a", "a"}, true}, {`["\u0061,","b\\"]`, []string{"a,", `b\`}, true},
		{`["12345678"]`, []string{"12345678"}, true}, {`["a","123456789"]`, nil, false}, {`["a",""]`, nil, false}, {`["a",1]`, nil, false}, {`["a",["b"]]`, nil, false},
		{`["a",null]`, nil, false}, {`["\t"]`, nil, false}, {`"a"`, nil, false}, {`null`, nil, false}, {`{"a":"b"}`, nil, false}, {`["a"`, nil, false}, {`["a"]["b"]`, nil, false}, {``, nil, false},
		{many + `]`, slices.Repeat([]string{"x"}, 256), true}, {many + `,"x"]`, nil, false},
	} {
		got, err := jose.Object{"a": json.RawMessage(tt.value)}.Texts("a", 8)
		if !slices.Equal(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("%.40s: %q, %v", tt.value, got, err)
		}
	}
	if got, err := (jose.Object{}).Texts("a", 8); got != nil || err != nil {
		t.Errorf("one that is absent: %q, %v", got, err)
	}
}

func TestItems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value string
		want  int
		ok    bool
	}{
		{`[]`, 0, true}, {`[1,"a",{"b":[]},null]`, 4, true}, {`[[]]`, 1, true}, {`[` + strings.Repeat("1,", 255) + `1]`, 256, true},
		{`[` + strings.Repeat("1,", 256) + `1]`, 0, false}, {`{}`, 0, false}, {`null`, 0, false}, {``, 0, false}, {`[1`, 0, false}, {`[1,]`, 0, false}, {`[1]2`, 0, false},
	} {
		items, ok := jose.Items(json.RawMessage(tt.value))
		if ok != tt.ok || ok && len(items) != tt.want {
			t.Errorf("%.40s: %q, %v", tt.value, items, ok)
		}
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value string
		want  time.Time
		ok    bool
	}{
		{"0", time.Unix(0, 0), true}, {"1", time.Unix(1, 0), true}, {"1900000000", time.Unix(1900000000, 0), true}, {"1.9e9", time.Unix(1900000000, 0), true},
		{"1900000000.5", time.Unix(1900000000, 5e8), true}, {"0.25", time.Unix(0, 25e7), true}, {"190000000E1", time.Unix(1900000000, 0), true}, {"1e-9", time.Unix(0, 1), true},
		{"1e-400", time.Unix(0, 0), true}, {"0e999", time.Unix(0, 0), true}, {"253402300799", time.Unix(253402300799, 0), true}, {"2.53402300799e11", time.Unix(253402300799, 0), true},
		{"1" + strings.Repeat("0", 9) + "." + strings.Repeat("0", 53), time.Unix(1e9, 0), true}, // 64 bytes
		{"1" + strings.Repeat("0", 9) + "." + strings.Repeat("0", 54), time.Time{}, false},
		{"253402300799.5", time.Time{}, false}, {"253402300800", time.Time{}, false}, {"9.2e18", time.Time{}, false}, {"9223372036854775807", time.Time{}, false}, {"9223372036854775808", time.Time{}, false},
		{"18446744073709551616", time.Time{}, false}, {"1e300", time.Time{}, false}, {"1e999", time.Time{}, false}, {"-1", time.Time{}, false}, {"-0", time.Time{}, false}, {"-0.5", time.Time{}, false},
		{"-1e300", time.Time{}, false}, {"NaN", time.Time{}, false}, {"Inf", time.Time{}, false}, {"infinity", time.Time{}, false}, {`"1"`, time.Time{}, false}, {"true", time.Time{}, false},
		{"null", time.Time{}, false}, {"[1]", time.Time{}, false}, {"{}", time.Time{}, false}, {"", time.Time{}, false}, {"+1", time.Time{}, false}, {"0x1p30", time.Time{}, false}, {"1_0", time.Time{}, false}, {" 1", time.Time{}, false},
	} {
		at, ok, err := jose.Object{"exp": json.RawMessage(tt.value)}.Seconds("exp")
		if ok != tt.ok || (err == nil) != tt.ok || !at.Equal(tt.want) {
			t.Errorf("%s: %v, %v, %v", tt.value, at, ok, err)
		}
	}
	if at, ok, err := (jose.Object{}).Seconds("exp"); ok || err != nil || !at.IsZero() {
		t.Errorf("one that is absent: %v, %v, %v", at, ok, err)
	}
}
