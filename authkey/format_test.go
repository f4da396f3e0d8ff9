package authkey_test

import (
	"hash/crc32"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// known is a key whose checksum was worked out by another program (Python's zlib.crc32).
const (
	known         = "acme_live_073kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTUV"
	knownChecksum = "3TPDdh"
)

// seal appends the checksum that a body should have.
func seal(body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := ""
	for rest := crc32.ChecksumIEEE([]byte(body)); len(sum) < 6; rest /= 62 {
		sum = string(digits[rest%62]) + sum
	}
	return body + sum
}

func TestNewFormatRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, brand, env string }{
		{"underscore in the brand", "my_app", "live"},
		{"underscore in the env", "acme", "li_ve"},
		{"empty brand", "", "live"},
		{"empty env", "acme", ""},
		{"brand of one", "a", "live"},
		{"brand of thirteen", "abcdefghijklm", "live"},
		{"brand begins with a digit", "1acme", "live"},
		{"upper case", "Acme", "live"},
		{"env with a digit", "acme", "live1"},
		{"env of nine", "acme", "abcdefghi"},
		{"not ASCII", "äcme", "live"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			format, err := authkey.NewFormat(c.brand, c.env)
			fails(t, "NewFormat", err, authkey.ErrInvalid)
			if format != (authkey.Format{}) {
				t.Errorf("NewFormat returned %v with an error", format)
			}
		})
	}
}

func TestMintAndParse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		brand := rapid.StringMatching(`[a-z][a-z0-9]{1,11}`).Draw(t, "brand")
		env := rapid.StringMatching(`[a-z]{2,8}`).Draw(t, "env")
		org := rapid.String().Draw(t, "org")
		format, err := authkey.NewFormat(brand, env)
		if err != nil {
			t.Fatal(err)
		}
		key, id := format.Mint(org)
		text := key.Reveal()
		parsed, err := authkey.Parse(text)
		if err != nil {
			t.Fatalf("Parse of a minted key: %v", err)
		}
		if want := (authkey.Parsed{Brand: brand, Env: env, ID: id}); parsed != want || !format.Accepts(parsed) {
			t.Fatalf("parsed %+v, want %+v", parsed, want)
		}
		if !strings.HasPrefix(id, bucket.Of(org)) {
			t.Fatalf("id %s does not begin with the bucket %s", id, bucket.Of(org))
		}
		prefix := brand + "_" + env + "_" + id + "_"
		if parsed.String() != prefix+"****" || !strings.HasPrefix(text, prefix) || len(text) != len(prefix)+38 {
			t.Fatalf("a key of length %d is displayed as %s", len(text), parsed)
		}
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		with := rapid.Byte().Filter(func(b byte) bool { return b != text[at] }).Draw(t, "with")
		if _, err := authkey.Parse(text[:at] + string(rune(with)) + text[at+1:]); err == nil {
			t.Fatalf("a key with byte %d changed is well formed", at)
		}
	})
}

func TestMintIsRandom(t *testing.T) {
	t.Parallel()
	format := mustFormat(t, "acme", "live")
	const keys = 2000
	seen := map[string]bool{}
	count := map[rune]int{}
	for range keys {
		key, id := format.Mint("demo")
		if seen[id] {
			t.Fatalf("id %s came twice", id)
		}
		seen[id] = true
		secret := key.Reveal()[len("acme_live_")+len(id)+1:][:32]
		for _, c := range secret {
			count[c]++
		}
	}
	// 64,000 digits, about 1,032 of each; a modulo of a byte would give the first eight a quarter more.
	if len(count) != 62 {
		t.Fatalf("%d different digits, want 62", len(count))
	}
	first, rest := 0, 0
	for c, n := range count {
		if c >= '0' && c <= '7' {
			first += n
		} else {
			rest += n
		}
	}
	if share := float64(first) / float64(first+rest); share > 8.0/62*1.1 {
		t.Errorf("the first eight digits make %.4f of a secret, want about %.4f", share, 8.0/62)
	}
}

func TestMintOfZeroFormatPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	authkey.Format{}.Mint("demo")
}

func TestParseKnownKey(t *testing.T) {
	t.Parallel()
	parsed, err := authkey.Parse(known + knownChecksum)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := parsed.String(), "acme_live_073kTMd9Qx2LpA_****"; got != want {
		t.Errorf("parsed %s, want %s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	valid := known + knownChecksum
	for name, key := range map[string]string{
		"empty":                valid[:0],
		"appended":             valid + "0",
		"appended many":        valid + strings.Repeat("x", 200),
		"prepended":            "x" + valid,
		"truncated":            valid[:len(valid)-1],
		"over the cap":         strings.Repeat("a", 257),
		"a megabyte":           strings.Repeat("a", 1<<20),
		"another checksum":     known + "000000",
		"a space before":       " " + valid,
		"a newline after":      valid + "\n",
		"a NUL inside":         strings.Replace(valid, "3", "\x00", 1),
		"underscore in brand":  seal("my_app_live_073kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTUV"),
		"no brand":             seal("_live_073kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTUV"),
		"bucket 64":            seal("acme_live_643kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTUV"),
		"hyphen in the secret": seal("acme_live_073kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTU-"),
		"upper-case brand":     seal("Acme_live_073kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTUV"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parsed, err := authkey.Parse(key)
			fails(t, "Parse", err, authkey.ErrMalformed)
			if parsed != (authkey.Parsed{}) || err != nil && err.Error() != authkey.ErrMalformed.Error() {
				t.Errorf("Parse tells %+v and %q of what it refuses", parsed, err)
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	format := mustFormat(t, "acme", "live")
	own, anyone := regexp.MustCompile(format.Pattern()), regexp.MustCompile(authkey.AnyPattern)
	for range 100 {
		key, _ := format.Mint("demo")
		text := `{"key":"` + key.Reveal() + `"}`
		if own.FindString(text) != key.Reveal() || anyone.FindString(text) != key.Reveal() {
			t.Fatal("a minted key in a text is not found whole")
		}
	}
	other, _ := mustFormat(t, "acme", "test").Mint("demo")
	if own.MatchString(other.Reveal()) || !anyone.MatchString(other.Reveal()) {
		t.Error("a key of another env: want it found by AnyPattern only")
	}
	key, _ := format.Mint("demo")
	for _, text := range []string{key.Reveal() + "0", "x" + key.Reveal(), key.Reveal()[:50], "acme_live_"} {
		if own.MatchString(text) {
			t.Error("found a key in what is none")
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	valid := known + knownChecksum
	if n := testing.AllocsPerRun(100, func() { _, _ = authkey.Parse(valid) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
}

func FuzzParse(f *testing.F) {
	valid := known + knownChecksum
	for _, seed := range []string{"", valid, valid + "0", "_" + valid, strings.Repeat("_", 75), strings.ToUpper(valid), seal("aa_bb_00000000000000_" + strings.Repeat("0", 32))} {
		f.Add(seed)
	}
	pattern := regexp.MustCompile(`^(?:` + authkey.AnyPattern + `)$`)
	f.Fuzz(func(t *testing.T, key string) {
		parsed, err := authkey.Parse(key)
		if err != nil {
			if err.Error() != authkey.ErrMalformed.Error() {
				t.Fatalf("error %q says more than that it is malformed", err)
			}
			return
		}
		format, err := authkey.NewFormat(parsed.Brand, parsed.Env)
		if err != nil || !format.Accepts(parsed) {
			t.Fatalf("parsed %+v is of no format: %v", parsed, err)
		}
		if !pattern.MatchString(key) || !strings.HasPrefix(key, strings.TrimSuffix(parsed.String(), "****")) {
			t.Fatal("well formed, but not by the pattern or not as displayed")
		}
		if _, err := authkey.Parse(key + "0"); err == nil {
			t.Fatal("still well formed with a character appended")
		}
	})
}
