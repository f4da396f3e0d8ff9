package authkey_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// printed returns what a value shows of itself in every way that we know of, also from inside other
// values, exported or not.
func printed(t *testing.T, value any) []string {
	t.Helper()
	type exported struct{ Value any }
	type hiding struct{ value any }
	var out []string
	for _, v := range []any{value, &value, exported{value}, hiding{value}, []any{value}, map[string]any{"k": value}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%t", "%U", "%p"} {
			out = append(out, fmt.Sprintf(verb, v))
		}
		out = append(out, fmt.Sprint(v), fmt.Sprintln(v))
	}
	for _, v := range []any{value, exported{value}, []any{value}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		out = append(out, log.String())
	}
	return out
}

// hides fails if any way to print value shows the secret, as text, as hexadecimal or as numbers.
func hides(t *testing.T, what string, value any, secret []byte) {
	t.Helper()
	numbers := strings.Trim(fmt.Sprintf("%d", secret), "[]")
	bytewise := strings.TrimPrefix(strings.TrimSuffix(fmt.Sprintf("%#v", secret), "}"), "[]byte{")
	for _, text := range printed(t, value) {
		low := strings.ToLower(text)
		if strings.Contains(text, string(secret)) || strings.Contains(low, hex.EncodeToString(secret)) ||
			strings.Contains(text, numbers) || strings.Contains(text, bytewise) {
			t.Errorf("%s shows its secret: %q", what, text)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-of-the-caller-0123456789abcdef"
	key := authkey.NewPresented(secret)
	type nested struct{ key authkey.Presented } // where fmt may not call methods
	hides(t, "Presented", key, []byte(secret))
	hides(t, "*Presented", &key, []byte(secret))
	hides(t, "Presented in an unexported field", nested{key}, []byte(secret))

	pepperText := []byte("pepper-0123456789-pepper-01234567")
	pepper := authkey.NewPepper("v1", pepperText)
	hasher, err := authkey.NewHasher(pepper)
	if err != nil {
		t.Fatal(err)
	}
	hides(t, "Pepper", pepper, pepperText)
	hides(t, "Hasher", hasher, pepperText)

	digest, _ := hasher.Digest(key)
	sum := digest.Sum()
	hides(t, "Digest", digest, sum[:])
	hides(t, "Record", authkey.Record{Credentials: []authkey.Credential{{Digest: digest}}}, sum[:])
}

func TestRedactedText(t *testing.T) {
	t.Parallel()
	key := authkey.NewPresented("secret")
	text, err := key.MarshalText()
	if err != nil || string(text) != "[redacted]" || key.String() != "[redacted]" || fmt.Sprintf("%d", key) != "[redacted]" {
		t.Errorf("got %q, %q, %v", text, key.String(), err)
	}
	if got := fmt.Sprintf("%+v", struct{ Key authkey.Presented }{key}); got != "{Key:[redacted]}" {
		t.Errorf("got %s", got)
	}
}

func TestPresented(t *testing.T) {
	t.Parallel()
	var none authkey.Presented
	one, same, other := authkey.NewPresented("a"), authkey.NewPresented("a"), authkey.NewPresented("b")
	if !none.IsZero() || none.Reveal() != "" || !authkey.NewPresented("").IsZero() || one.IsZero() || one.Reveal() != "a" {
		t.Error("IsZero or Reveal is wrong")
	}
	if !one.Equal(same) || one.Equal(other) || one.Equal(none) || !none.Equal(authkey.Presented{}) {
		t.Error("Equal is wrong")
	}
}

func TestDigestOfKnownKey(t *testing.T) {
	t.Parallel()
	key := authkey.NewPresented("a key")
	plain := sha256.Sum256([]byte("a key"))
	for _, h := range []*authkey.Hasher{nil, {}} {
		if digest, version := h.Digest(key); digest.Sum() != plain || version != "" {
			t.Errorf("without a pepper: version %q or another digest than SHA-256", version)
		}
	}
	secret := bytes.Repeat([]byte{7}, 32)
	hasher, err := authkey.NewHasher(authkey.NewPepper("v2", secret), authkey.Pepper{})
	if err != nil {
		t.Fatal(err)
	}
	secret[0] = 8 // the hasher has its own copy
	mac := hmac.New(sha256.New, bytes.Repeat([]byte{7}, 32))
	mac.Write([]byte("a key"))
	digest, version := hasher.Digest(key)
	if sum := digest.Sum(); version != "v2" || !hmac.Equal(sum[:], mac.Sum(nil)) {
		t.Errorf("with a pepper: version %q or another digest than HMAC-SHA-256", version)
	}
	if (authkey.Digest{}).Equal(authkey.Digest{}) || !digest.Equal(authkey.NewDigest(digest.Sum())) || digest.Equal(authkey.NewDigest(plain)) {
		t.Error("Digest.Equal is wrong")
	}
}

func TestNewHasherRefuses(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte{1}, 32)
	for name, peppers := range map[string][]authkey.Pepper{
		"short secret":  {authkey.NewPepper("v1", long[:31])},
		"no secret":     {authkey.NewPepper("v1", nil)},
		"no version":    {authkey.NewPepper("", long)},
		"long version":  {authkey.NewPepper(strings.Repeat("v", 33), long)},
		"version twice": {authkey.NewPepper("v1", long), authkey.NewPepper("v1", long)},
		"none twice":    {{}, {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := authkey.NewHasher(peppers...)
			fails(t, "NewHasher", err, authkey.ErrInvalid)
			if h != nil {
				t.Error("NewHasher returned a hasher with its error")
			}
		})
	}
}

func TestPresentedAt(t *testing.T) {
	kept := struct{ key string }{"a secret"}
	presented := authkey.PresentedAt(&kept.key)
	if presented.Reveal() != kept.key || !presented.Equal(authkey.NewPresented(kept.key)) || presented.IsZero() {
		t.Error("it is another than NewPresented")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", presented, struct{ p authkey.Presented }{presented}, presented, presented); strings.Contains(text, kept.key) {
		t.Errorf("it prints as %q", text)
	}
	if !authkey.PresentedAt(nil).IsZero() || !authkey.PresentedAt(new("")).IsZero() {
		t.Error("nothing is a key")
	}
	if n := testing.AllocsPerRun(100, func() { presented = authkey.PresentedAt(&kept.key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
