package leak_test

import (
	"errors"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

// scan returns the keys of a text as they are.
func scan(t testing.TB, text string, formats ...authkey.Format) []string {
	t.Helper()
	var keys []string
	for found, err := range leak.Scan(strings.NewReader(text), formats...) {
		if err != nil {
			t.Fatal(err)
		}
		key := found.Presented.Reveal()
		if found.Offset < 0 || !strings.HasPrefix(text[found.Offset:], key) || found.Line != 1+strings.Count(text[:found.Offset], "\n") {
			t.Errorf("line %d, offset %d of %q", found.Line, found.Offset, text)
		}
		keys = append(keys, key)
	}
	return keys
}

func TestScan(t *testing.T) {
	t.Parallel()
	live, test := newFormat(t, "live"), newFormat(t, "test")
	minted := func(f authkey.Format) string { p, _ := f.Mint("demo"); return p.Reveal() }
	a, b := minted(live), minted(test)
	wrong := a[:len(a)-1] + map[bool]string{true: "1", false: "0"}[a[len(a)-1] == '0']
	for _, c := range []struct {
		name, text string
		formats    []authkey.Format
		want       []string
	}{
		{"nothing", "", nil, nil},
		{"no key", "key = acme_live_" + strings.Repeat("x", 500), nil, nil},
		{"alone", a, nil, []string{a}},
		{"in code", "x := \"" + a + "\" // " + b + "\n\n" + a, nil, []string{a, b, a}},
		{"in a URL", "https://a.example/?k=" + a + "&l=" + b, nil, []string{a, b}},
		{"of a format", a + "\n" + b, []authkey.Format{test}, []string{b}},
		{"of two formats", a + "\n" + b, []authkey.Format{test, live}, []string{a, b}},
		{"of the zero format", a, []authkey.Format{{}}, nil},
		{"wrong checksum", wrong, nil, nil},
		{"longer", a + "x", nil, nil},
		{"part of a word", "x_" + a, nil, nil},
		{"between other letters", "é" + a + "é", nil, []string{a}},
		{"bytes that are no text", "\x00\xff" + a + "\xff", nil, []string{a}},
		{"after a long word", strings.Repeat("w", 1<<20) + " " + a, nil, []string{a}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := scan(t, c.text, c.formats...); !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func TestScanTellsItsReader(t *testing.T) {
	t.Parallel()
	presented, _ := newFormat(t, "live").Mint("demo")
	broken := errors.New("broken")
	var keys int
	var last error
	for found, err := range leak.Scan(io.MultiReader(strings.NewReader(presented.Reveal()+"\n"), iotest.ErrReader(broken))) {
		if last = err; err == nil && found.Presented.Equal(presented) {
			keys++
		}
	}
	if keys != 1 || !errors.Is(last, broken) {
		t.Errorf("%d keys, then %v", keys, last)
	}
	for _, err := range leak.Scan(nil) {
		last = err
	}
	if !errors.Is(last, leak.ErrInvalid) {
		t.Errorf("of no reader: %v", last)
	}
	for _, err := range leak.Scan(strings.NewReader(strings.Repeat(presented.Reveal()+" ", 3))) {
		if err != nil {
			t.Error(err)
		}
		break // more would panic
	}
}

// endless is a text of a length without an end of a word.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	e.left -= n
	for i := range n {
		p[i] = 'a'
	}
	return n, nil
}

func TestScanHoldsLittle(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for found, err := range leak.Scan(&endless{left: 8 << 20}) {
		t.Errorf("found %v, %v", found, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("a word of 8 MiB took %d bytes", got)
	}
}

// FuzzScan compares with the pattern that scanners are given.
func FuzzScan(f *testing.F) {
	presented, _ := newFormat(f, "live").Mint("demo")
	key := presented.Reveal()
	for _, seed := range []string{key, "a " + key + "\n" + key, key + key, "_" + key, key + "é", "\n\n" + key[1:]} {
		f.Add(seed)
	}
	pattern := regexp.MustCompile(authkey.AnyPattern)
	f.Fuzz(func(t *testing.T, text string) {
		var want []string
		for _, key := range pattern.FindAllString(text, -1) {
			if _, err := authkey.Parse(key); err == nil {
				want = append(want, key)
			}
		}
		if got := scan(t, text); !slices.Equal(got, want) {
			t.Errorf("found %q in %q, the pattern %q", got, text, want)
		}
	})
}
