package authkey_test

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestImportLines(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("0f", 32)
	text := strings.Join([]string{
		`{"source":"a 1","key":"key-of-the-old-system","org":"demo","project":"shop","name":"n","owner":"o","plan":"gold","kind":"publishable",` +
			`"scopes":["read"],"products":["maps"],"networks":["192.0.2.0/24"],"origins":["https://example.com"],"meta":{"k":"v"},` +
			`"not_before":"2030-01-02T03:04:05Z","expires_at":"2031-01-02T03:04:05+02:00"}`,
		`{"source":"a 2","sha256":"` + digest + `","org":"demo","project":"shop"}` + "\r",
		`{"source":"a 3","key":"last","org":"demo","project":"shop"}`,
	}, "\n")
	for name, r := range map[string]io.Reader{
		"no newline at the end": strings.NewReader(text),
		"one":                   strings.NewReader(text + "\n"),
		"byte by byte":          iotest.OneByteReader(strings.NewReader(text)),
	} {
		var got []authkey.Existing
		for e, err := range authkey.ImportLines(r) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, e)
		}
		if len(got) != 3 {
			t.Fatalf("%s: %d keys, want 3", name, len(got))
		}
		first := got[0].Key
		if got[0].Presented.Reveal() != "key-of-the-old-system" || !got[0].Digest.IsZero() || first.Source != "a 1" || first.Org != "demo" ||
			first.Project != "shop" || first.Name != "n" || first.Owner != "o" || first.Plan != "gold" || first.Kind != authkey.KindPublishable ||
			first.Scopes[0] != "read" || first.Products[0] != "maps" || first.Networks[0] != netip.MustParsePrefix("192.0.2.0/24") ||
			first.Origins[0] != "https://example.com" || first.Meta["k"] != "v" || !first.NotBefore.Equal(start) ||
			!first.ExpiresAt.Equal(time.Date(2031, 1, 2, 1, 4, 5, 0, time.UTC)) {
			t.Errorf("%s: first %+v", name, first)
		}
		if sum := got[1].Digest.Sum(); fmt.Sprintf("%x", sum) != digest || !got[1].Presented.IsZero() || !got[1].Key.ExpiresAt.IsZero() {
			t.Errorf("%s: second %+v, digest %x", name, got[1].Key, sum)
		}
	}
}

// A bad line is told by its number, tells nothing of what it holds, and keeps no other.
func TestImportLinesRefuses(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"empty":            "",
		"not JSON":         "secret-secret-secret",
		"cut off":          `{"key":"secret-secret-secret`,
		"a list":           `["secret-secret-secret"]`,
		"an unknown name":  `{"secret-secret-secret":1}`,
		"digest of a kind": `{"sha256":{"secret-secret-secret":1}}`,
		"two values":       `{"key":"secret-secret-secret"} {}`,
		"a brace too many": `{"key":"secret-secret-secret"}}`,
		"a short digest":   `{"sha256":"secret-secret-secret"}`,
		"a network":        `{"networks":["secret-secret-secret"]}`,
		"a meta":           `{"meta":{"secret-secret-secret":1}}`,
		"a time":           `{"expires_at":"secret-secret-secret"}`,
		"long":             `{"key":"` + strings.Repeat("secret-secret-secret", 10_000) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := `{"source":"a 1","key":"good-good-good-good","org":"demo","project":"shop"}`
			g := newGate(t)
			var told []authkey.ImportResult
			counts, err := g.issuer.ImportAll(t.Context(), authkey.ImportLines(strings.NewReader(good+"\n"+line+"\n"+strings.Replace(good, "a 1", "a 3", 1)+"\n")),
				func(r authkey.ImportResult) {
					if r.Status == authkey.ImportInvalid {
						told = append(told, r)
					}
				})
			fails(t, "ImportAll", err, nil)
			if counts[authkey.ImportInvalid] != 1 || counts[authkey.ImportDone] != 1 || counts[authkey.ImportSkipped] != 1 {
				t.Errorf("counts %v", counts)
			}
			if len(told) != 1 || told[0].Position != 2 || strings.Contains(fmt.Sprint(told[0].Err), "secret") {
				t.Errorf("told %.300v", told)
			}
		})
	}
}

func TestImportLinesOfABrokenFile(t *testing.T) {
	t.Parallel()
	disk := errors.New("disk")
	g := newGate(t)
	r := io.MultiReader(strings.NewReader(`{"source":"a 1","key":"good-good-good-good","org":"demo","project":"shop"}`+"\n{"), iotest.ErrReader(disk))
	counts, err := g.issuer.ImportAll(t.Context(), authkey.ImportLines(r), nil)
	fails(t, "ImportAll", err, disk)
	counted(t, "ImportAll", counts, tally{authkey.ImportDone: 1})
}

func FuzzImportLines(f *testing.F) {
	f.Add("{\"source\":\"a 1\",\"key\":\"k\"}\n{}\nx")
	f.Add("null\n\n[]")
	f.Fuzz(func(t *testing.T, text string) {
		lines := 0
		for e, err := range authkey.ImportLines(strings.NewReader(text)) {
			lines++
			if err != nil && !errors.Is(err, authkey.ErrInvalid) {
				t.Fatalf("line %d: %v", lines, err)
			}
			if err != nil && (!e.Presented.IsZero() || !e.Digest.IsZero()) {
				t.Fatalf("line %d: a key comes with %v", lines, err)
			}
		}
		want := strings.Count(text, "\n")
		if !strings.HasSuffix(text, "\n") && text != "" {
			want++
		}
		if lines != want {
			t.Errorf("%d lines of %d", lines, want)
		}
	})
}
