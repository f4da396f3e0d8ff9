package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// body has one field of each kind.
type body struct {
	name   string
	limit  *int64
	window time.Duration
	scopes []string
	rules  []*body
}

func (b *body) fields() []Field {
	return []Field{
		Text("name", &b.name), Integer("limit", &b.limit),
		Parsed("window", "a duration", &b.window, time.ParseDuration), Texts("scopes", &b.scopes),
		Objects("rules", func(i int) []Field {
			if i != len(b.rules) {
				panic("out of turn")
			}
			b.rules = append(b.rules, &body{})
			return b.rules[i].fields()
		}),
	}
}

func decode(document string) (body, []Fault, error) {
	var b body
	faults, err := Decode([]byte(document), b.fields()...)
	return b, faults, err
}

func TestObjects(t *testing.T) {
	t.Parallel()
	b, faults, err := decode(`{"rules":[{"name":"a","rules":[{"name":"b"}]},{},{"limit":3}]}`)
	if err != nil || len(faults) > 0 || len(b.rules) != 3 {
		t.Fatalf("Decode = %+v, %v, %v", b, faults, err)
	}
	if b.rules[0].name != "a" || len(b.rules[0].rules) != 1 || b.rules[0].rules[0].name != "b" || *b.rules[2].limit != 3 {
		t.Errorf("Decode read %+v", b.rules)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	b, faults, err := decode("\t{\"name\":\"a\\u00e9\\n\", \"limit\":-0, \"window\":\"1m\", \"scopes\":[\"x\",\"\"]} \n")
	if err != nil || len(faults) > 0 {
		t.Fatalf("Decode = %v, %v", faults, err)
	}
	if b.name != "aé\n" || b.limit == nil || *b.limit != 0 || b.window != time.Minute || !slices.Equal(b.scopes, []string{"x", ""}) {
		t.Errorf("Decode read %+v", b)
	}
	if b, faults, err = decode("{}"); err != nil || len(faults) > 0 || b.limit != nil || b.scopes != nil {
		t.Errorf("Decode({}) = %+v, %v, %v; want nothing set", b, faults, err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const long = "a0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" +
		"01234567890123456789012345678901234567890123456789"
	for _, row := range []struct{ name, document, want string }{
		{"unknown", `{"lmit":1}`, "/lmit unknown_field"},
		{"unknown, to be escaped", `{"a/b~c":1}`, "/a~1b~0c unknown_field"},
		{"unknown, empty name", `{"":1}`, "/ unknown_field"},
		{"unknown and too long to repeat", `{"` + long + `":1}`, " unknown_field"},
		{"other case", `{"Limit":1}`, "/Limit unknown_field"},
		{"other case beside the right one", `{"limit":1,"LIMIT":2}`, "/LIMIT unknown_field"},
		{"duplicate", `{"limit":1,"limit":2}`, "/limit duplicate_field"},
		{"duplicate by an escape", `{"limit":1,"\u006cimit":2}`, "/limit duplicate_field"},
		{"duplicate of an unknown", `{"a":1,"a":1}`, "/a unknown_field, /a duplicate_field"},
		{"duplicate within an unknown", `{"a":{"b":1,"b":1}}`, "/a/b duplicate_field"},
		{"null", `{"limit":null}`, "/limit null"},
		{"null text", `{"name":null}`, "/name null"},
		{"null array", `{"scopes":null}`, "/scopes null"},
		{"null in an array", `{"scopes":["a",null]}`, "/scopes/1 null"},
		{"number for text", `{"name":1}`, "/name wrong_type"},
		{"bool for text", `{"name":true}`, "/name wrong_type"},
		{"text for number", `{"limit":"1"}`, "/limit wrong_type"},
		{"object for number", `{"limit":{"a":[]}}`, "/limit wrong_type"},
		{"fraction", `{"limit":1.0}`, "/limit wrong_type"},
		{"exponent", `{"limit":1E2}`, "/limit wrong_type"},
		{"beyond 64 bits", `{"limit":9223372036854775808}`, "/limit invalid_value"},
		{"far below", `{"limit":-99999999999999999999999999}`, "/limit invalid_value"},
		{"text for array", `{"scopes":"a"}`, "/scopes wrong_type"},
		{"array in array", `{"scopes":[["a"]]}`, "/scopes/0 wrong_type"},
		{"object for array", `{"rules":{}}`, "/rules wrong_type"},
		{"null for array", `{"rules":null}`, "/rules null"},
		{"no objects", `{"rules":[1,null,[],"{}"]}`, "/rules/0 wrong_type, /rules/1 wrong_type, /rules/2 wrong_type, /rules/3 wrong_type"},
		{"within objects", `{"rules":[{},{"limit":"1","x":1},{"rules":[{"name":null}]}]}`, "/rules/1/limit wrong_type, /rules/1/x unknown_field, /rules/2/rules/0/name null"},
		{"duplicate within objects", `{"rules":[{"limit":1,"limit":2}]}`, "/rules/0/limit duplicate_field"},
		{"unparsable", `{"window":"soon"}`, "/window invalid_value"},
		{"number for parsed", `{"window":60}`, "/window wrong_type"},
		{"several", `{"limit":null,"x":1,"window":""}`, "/limit null, /x unknown_field, /window invalid_value"},
		{"array", `[]`, " wrong_type"},
		{"null alone", `null`, " wrong_type"},
		{"text alone", `"{}"`, " wrong_type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, faults, err := decode(row.document)
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Pointer+" "+f.Code)
				if f.Message == "" {
					t.Errorf("fault %+v has no message", f)
				}
			}
			if g := strings.Join(got, ", "); g != row.want {
				t.Errorf("faults %q, want %q", g, row.want)
			}
		})
	}
}

func TestSyntax(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, document string
		offset         int64
	}{
		{"empty", ``, 0},
		{"blank", "  \n", 3},
		{"cut", `{"name":"a`, 10},
		{"cut after the name", `{"name"`, 7},
		{"trailing object", `{"limit":1}{"limit":2}`, 11},
		{"trailing brace", `{} }`, 3},
		{"trailing text after a fault", `{"x":1} y`, 8},
		{"trailing comma", `{"limit":1,}`, 10},
		{"single quotes", `{'limit':1}`, 1},
		{"comment", `{/**/}`, 1},
		{"leading zero", `{"limit":01}`, 10},
		{"NaN", `{"limit":NaN}`, 9},
		{"byte order mark", "\ufeff{}", 0},
		{"invalid UTF-8", "{\"name\":\"a\xff\"}", 10},
		{"invalid UTF-8 in a name", "{\"\xc3\":1}", 2},
		{"half a surrogate pair", `{"name":"\ud800"}`, 9},
		{"control character", "{\"name\":\"\x00\"}", 9},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, faults, err := decode(row.document)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || faults != nil {
				t.Fatalf("Decode = %v, %v; want a *SyntaxError", faults, err)
			}
			if syntax.Offset != row.offset {
				t.Errorf("offset %d, want %d", syntax.Offset, row.offset)
			}
		})
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	nulls := `{"scopes":[` + strings.Repeat("null,", 1000) + `null]`
	for _, document := range []string{nulls + `}`, nulls + `,"scopes":[]}`} {
		_, faults, err := decode(document)
		if err != nil || len(faults) != MaxFaults {
			t.Errorf("%d faults, %v; want %d", len(faults), err, MaxFaults)
		}
	}
	_, faults, _ := decode(nulls + `,"scopes":[]}`)
	if last := faults[len(faults)-1]; last.Code != CodeDuplicate {
		t.Errorf("the last fault is %+v, want the duplicate", last)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name":"a","limit":1,"window":"1m","scopes":["a"]}`, `{"limit":1}{"limit":2}`, `{"limit":null}`,
		`{"limit":1,"limit":2}`, `{"Limit":1}`, `{"a":{"b":[1,{"c":null}]}}`, `[`, "\xff", `{"name":"\ud800"}`, `{"scopes":[null,1,"x"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		b, faults, err := decode(string(document))
		var syntax *SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > int64(len(document))) {
			t.Fatalf("Decode(%q): %v", document, err)
		}
		if err != nil || len(faults) > 0 {
			return
		}
		// Whatever is accepted means the same to encoding/json, which accepts more.
		var same struct {
			Name   string   `json:"name"`
			Limit  *int64   `json:"limit"`
			Window string   `json:"window"`
			Scopes []string `json:"scopes"`
		}
		if err := json.Unmarshal(document, &same); err != nil {
			t.Fatalf("Decode accepts %q, encoding/json says %v", document, err)
		}
		window, _ := time.ParseDuration(same.Window)
		if same.Name != b.name || window != b.window || !slices.Equal(same.Scopes, b.scopes) || fmt.Sprint(deref(same.Limit)) != fmt.Sprint(deref(b.limit)) {
			t.Errorf("Decode reads %q as %+v, encoding/json as %+v", document, b, same)
		}
	})
}

func deref(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}
