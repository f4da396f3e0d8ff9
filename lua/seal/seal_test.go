package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/lua/seal"
)

var (
	first  = seal.NewKey("1", bytes.Repeat([]byte("first-secret-"), 3))
	second = seal.NewKey("2", bytes.Repeat([]byte("second-secret"), 3))
)

func sealer(t *testing.T, keys ...seal.Key) *seal.Sealer {
	t.Helper()
	s, err := seal.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealIsOfItsDomainAndPartsAlone(t *testing.T) {
	s := sealer(t, first)
	mac := s.Seal("override", "acme", "12", "text")
	if err := s.Verify(mac, "override", "acme", "12", "text"); err != nil {
		t.Fatalf("its own parts: %v", err)
	}
	for name, err := range map[string]error{
		"another domain":       s.Verify(mac, "plan", "acme", "12", "text"),
		"parts that run on":    s.Verify(mac, "override", "acme1", "2", "text"),
		"parts joined":         s.Verify(mac, "override", "acme12", "text"),
		"domain and part join": s.Verify(mac, "overrideacme", "12", "text"),
		"one part more":        s.Verify(mac, "override", "acme", "12", "text", ""),
		"another text":         s.Verify(mac, "override", "acme", "12", "texts"),
		"no seal":              s.Verify("", "override", "acme", "12", "text"),
		"a version alone":      s.Verify("1:", "override", "acme", "12", "text"),
		"another version":      s.Verify("2"+mac[1:], "override", "acme", "12", "text"),
		"a cut seal":           s.Verify(mac[:len(mac)-2], "override", "acme", "12", "text"),
		"another secret":       sealer(t, seal.NewKey("1", bytes.Repeat([]byte("x"), 32))).Verify(mac, "override", "acme", "12", "text"),
	} {
		if !errors.Is(err, seal.ErrBroken) {
			t.Errorf("%s: %v, want ErrBroken", name, err)
		}
	}
}

func TestOldKeysVerifyUntilTheyAreDropped(t *testing.T) {
	mac := sealer(t, first).Seal("d", "x")
	both := sealer(t, second, first)
	if err := both.Verify(mac, "d", "x"); err != nil {
		t.Errorf("a listed key: %v", err)
	}
	if renewed := both.Seal("d", "x"); !strings.HasPrefix(renewed, "2:") {
		t.Errorf("new seals are %q, want the first key's", renewed)
	}
	if err := sealer(t, second).Verify(mac, "d", "x"); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("a dropped key: %v, want ErrBroken", err)
	}
}

func TestNilSealerSealsNothing(t *testing.T) {
	var none *seal.Sealer
	if mac, err := none.Seal("d", "x"), none.Verify("anything", "d", "x"); mac != "" || err != nil {
		t.Errorf("got %q and %v, want nothing", mac, err)
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	long := bytes.Repeat([]byte("s"), 32)
	for name, keys := range map[string][]seal.Key{
		"no key":        nil,
		"zero key":      {{}},
		"no version":    {seal.NewKey("", long)},
		"odd version":   {seal.NewKey("a:b", long)},
		"long version":  {seal.NewKey(strings.Repeat("v", 33), long)},
		"short secret":  {seal.NewKey("1", long[:31])},
		"version twice": {first, first},
	} {
		if s, err := seal.New(keys...); !errors.Is(err, seal.ErrInvalid) || s != nil {
			t.Errorf("%s: %v, %v; want ErrInvalid", name, s, err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb+verb+verb, first, sealer(t, first), struct{ k seal.Key }{first})
		if strings.Contains(text, "first-secret") || strings.Contains(text, fmt.Sprintf("%x", "first-secret")) {
			t.Errorf("%s prints the secret: %s", verb, text)
		}
	}
}

func ExampleNew() {
	sealer, err := seal.New(seal.NewKey("2026-11", bytes.Repeat([]byte("k"), 32)))
	if err != nil {
		fmt.Println(err)
		return
	}
	mac := sealer.Seal("plan", "gold", `{"limit":100}`)
	fmt.Println(sealer.Verify(mac, "plan", "gold", `{"limit":100}`))
	fmt.Println(sealer.Verify(mac, "plan", "gold", `{"limit":999}`))
	// Output:
	// <nil>
	// seal: broken or missing seal
}
