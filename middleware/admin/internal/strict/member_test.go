package strict_test

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// members is what the fields of a merge patch are read into.
type members struct {
	plan    string
	dry     bool
	numbers []int
	pairs   map[string]string
	patch   map[string]*string
}

func (m *members) fields() []strict.Field {
	return []strict.Field{
		strict.Nullable(strict.Text("plan", &m.plan), func() { m.plan = "none" }),
		strict.Bool("dry", &m.dry),
		strict.ParsedTexts("numbers", "a number", &m.numbers, strconv.Atoi),
		strict.Pairs("pairs", &m.pairs),
		strict.PairsOrNull("patch", &m.patch),
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`:                        ` false [] <nil>`,
		`{"plan":"gold"}`:           `gold false [] <nil>`,
		`{"plan":null}`:             `none false [] <nil>`,
		`{"dry":true}`:              ` true [] <nil>`,
		`{"numbers":["3","1"]}`:     ` false [3 1] <nil>`,
		`{"pairs":{"a":"1","":""}}`: ` false [] {"":"","a":"1"}`,
		`{"pairs":{}}`:              ` false [] {}`,
	} {
		m := members{}
		faults, err := strict.Decode([]byte(body), m.fields()...)
		shown := "<nil>"
		if m.pairs != nil {
			shown = strings.ReplaceAll(fmt.Sprintf("%q", m.pairs), `map[`, `{`)
			shown = strings.ReplaceAll(strings.ReplaceAll(shown, `]`, `}`), `" "`, `","`)
		}
		if got := fmt.Sprint(m.plan, " ", m.dry, " ", m.numbers, " ", shown); len(faults) > 0 || err != nil || got != want {
			t.Errorf("%s: %s %v %v, want %s", body, got, faults, err, want)
		}
	}
	m := members{}
	if faults, err := strict.Decode([]byte(`{"patch":{"a":null,"b":"","c":"x"}}`), m.fields()...); len(faults) > 0 || err != nil {
		t.Fatal(faults, err)
	}
	if a, there := m.patch["a"]; !there || a != nil || *m.patch["b"] != "" || *m.patch["c"] != "x" || len(m.patch) != 3 {
		t.Errorf("the patch is %v", m.patch)
	}
}

func TestMembersThatAreNone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"plan":1}`:                          "/plan wrong_type",
		`{"dry":"true"}`:                      "/dry wrong_type",
		`{"dry":null}`:                        "/dry null",
		`{"numbers":["1","x",2,null]}`:        "/numbers/1 invalid_value, /numbers/2 wrong_type, /numbers/3 null",
		`{"pairs":{"a":null,"b/c":1,"d":{}}}`: "/pairs/a null, /pairs/b~1c wrong_type, /pairs/d wrong_type",
		`{"pairs":["a"]}`:                     "/pairs wrong_type",
		`{"pairs":null}`:                      "/pairs null",
		`{"pairs":{"a":"1","a":"2"}}`:         "/pairs/a duplicate_field",
		`{"patch":{"a":1}}`:                   "/patch/a wrong_type",
		`{"patch":{"` + strings.Repeat("a", 200) + `":1}}`: "/patch wrong_type",
	} {
		faults, err := strict.Decode([]byte(body), (&members{}).fields()...)
		var got []string
		for _, fault := range faults {
			got = append(got, fault.Pointer+" "+fault.Code)
		}
		if err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%s: %q %v, want %s", body, got, err, want)
		}
	}
	if _, err := strict.Decode([]byte(`{"pairs":{"a":}}`), (&members{}).fields()...); !errors.As(err, new(*strict.SyntaxError)) {
		t.Errorf("half an object: %v", err)
	}
}

// An answer and the work for it stay small, however many members are wrong.
func TestFaultsOfMembersAreBounded(t *testing.T) {
	const members = 10_000
	var document strings.Builder
	document.WriteString(`{"meta":{`)
	for i := range members {
		fmt.Fprintf(&document, `"%d":1,`, i)
	}
	document.WriteString(`"last":1}}`)
	into := map[string]string{}
	var faults []strict.Fault
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	faults, _ = strict.Decode([]byte(document.String()), strict.Pairs("meta", &into))
	runtime.ReadMemStats(&after)
	if len(faults) != strict.MaxFaults {
		t.Errorf("%d faults, want %d", len(faults), strict.MaxFaults)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 100<<20 { // less than a tenth of that, if it is not quadratic
		t.Errorf("%d bytes allocated for %d members", got, members)
	}
}

func TestRequiredFieldsAreDescribed(t *testing.T) {
	t.Parallel()
	var a, b string
	fields := []strict.Field{strict.Text("a", &a), strict.Required(strict.Text("b", &b))}
	if got := strict.Schema(fields...)["required"]; !reflect.DeepEqual(got, []string{"b"}) || !strict.HasRequired(fields) {
		t.Errorf("required %v", got)
	}
	if _, ok := strict.Schema(fields[:1]...)["required"]; ok || strict.HasRequired(fields[:1]) {
		t.Error("something is required")
	}
}
