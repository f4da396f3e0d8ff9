package authkey_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestIssue(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	until := start.Add(time.Hour)
	record, key, err := g.issuer.Issue(t.Context(), authkey.NewKey{
		Org: "demo", Project: "shop", Kind: authkey.KindPublishable, ExpiresAt: until.Add(999 * time.Nanosecond),
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := authkey.Parse(key.Reveal())
	if err != nil || parsed.ID != record.ID || parsed.Brand != "acme" || parsed.Env != "live" {
		t.Errorf("the key is %v, %v; the record's id %s", parsed, err, record.ID)
	}
	if len(record.Credentials) != 1 || record.Credentials[0].ID != record.ID || record.State != authkey.StateActive || record.Kind != authkey.KindPublishable || record.Credentials[0].Foreign {
		t.Errorf("record %+v", record)
	}
	if !record.ExpiresAt.Equal(until) || record.Revision != 1 {
		t.Errorf("expires %v, revision %d; want %v, 1", record.ExpiresAt, record.Revision, until)
	}
	if g.record.Kind != authkey.KindSecret {
		t.Errorf("a key of no kind is %q, want secret", g.record.Kind)
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for name, c := range map[string]struct {
		key  authkey.NewKey
		says []string
	}{
		"nothing said":       {authkey.NewKey{}, []string{"Org", "Project"}},
		"an end in the past": {authkey.NewKey{Org: "o", Project: "p", ExpiresAt: start}, []string{"ExpiresAt", "future"}},
		"ends before it begins": {authkey.NewKey{
			Org: "o", Project: "p", NotBefore: start.Add(2 * time.Hour), ExpiresAt: start.Add(time.Hour),
		}, []string{"ExpiresAt", "NotBefore"}},
		"an end far off":  {authkey.NewKey{Org: "o", Project: "p", ExpiresAt: start.AddDate(1000, 0, 0)}, []string{"2255"}},
		"a kind of kind":  {authkey.NewKey{Org: "o", Project: "p", Kind: "root"}, []string{"Kind"}},
		"scope twice":     {authkey.NewKey{Org: "o", Project: "p", Scopes: []string{"a", "a"}}, []string{"Scopes"}},
		"too many":        {authkey.NewKey{Org: "o", Project: "p", Products: words(65)}, []string{"Products"}},
		"a long org":      {authkey.NewKey{Org: strings.Repeat("o", 129), Project: "p"}, []string{"Org"}},
		"not UTF-8":       {authkey.NewKey{Org: "o\xff", Project: "p"}, []string{"Org"}},
		"a NUL":           {authkey.NewKey{Org: "o", Project: "p\x00"}, []string{"Project"}},
		"everything else": {authkey.NewKey{Org: "o", Project: "p", Name: "\n", Plan: "\n"}, []string{"Name", "Plan"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record, key, err := g.issuer.Issue(t.Context(), c.key)
			fails(t, "Issue", err, authkey.ErrInvalid)
			if !key.IsZero() || record.ID != "" {
				t.Error("Issue returned a key with its error")
			}
			for _, word := range c.says {
				if err != nil && !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not name %s", err, word)
				}
			}
		})
	}
}

func words(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("w", i)
	}
	return all
}

func TestImport(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithForeignKeys(), authkey.WithFormat(mustFormat(t, "acme", "live")))
	of := authkey.NewKey{Org: "demo", Project: "shop"}
	for _, text := range []string{"0123456789abcdef", "zpka_abc.def/ghi~!{jkl}", strings.Repeat("k", 256)} {
		key := authkey.NewPresented(text)
		record, err := g.issuer.Import(t.Context(), key, of)
		if err != nil {
			t.Fatal(err)
		}
		if identity, err := g.Authenticate(t.Context(), key); err != nil || identity.Credential != record.ID || !record.Credentials[0].Foreign {
			t.Errorf("an imported key: %+v, %v", identity, err)
		}
		if _, err := g.Authenticate(t.Context(), authkey.NewPresented(text[:len(text)-1])); err == nil {
			t.Error("a shortened key is accepted")
		}
		if _, err := g.Authenticate(t.Context(), authkey.NewPresented(text+"0")); err == nil {
			t.Error("a key with a character appended is accepted")
		}
		_, err = g.issuer.Import(t.Context(), key, authkey.NewKey{Org: "other", Project: "shop"})
		fails(t, "a second Import", err, authkey.ErrExists)
		_, err = g.verifier(t).Authenticate(t.Context(), key)
		fails(t, "a verifier without foreign keys", err, authkey.ErrMalformed)
	}
	g.opens(t, "a minted key, beside them")
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	native, _ := mustFormat(t, "other", "live").Mint("demo")
	for name, text := range map[string]string{
		"none":      "",
		"short":     "0123456789abcde",
		"long":      strings.Repeat("k", 257),
		"a space":   "0123456789 abcdef",
		"a newline": "0123456789abcdef\n",
		"not ASCII": "0123456789abcdéf",
		"native":    native.Reveal(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := g.issuer.Import(t.Context(), authkey.NewPresented(text), authkey.NewKey{Org: "demo", Project: "shop"})
			fails(t, "Import", err, authkey.ErrInvalid)
			if err != nil && text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("the error %q tells the key", err)
			}
		})
	}
	short, err := authkey.NewIssuer(g.store, mustFormat(t, "acme", "live"), authkey.WithMinForeignLength(4), authkey.WithHasher(peppered(t, "v1")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short.Import(t.Context(), authkey.NewPresented("four"), authkey.NewKey{Org: "demo", Project: "shop"}); err != nil {
		t.Errorf("a short key, allowed: %v", err)
	}
}

func TestNewIssuerRefuses(t *testing.T) {
	t.Parallel()
	format := mustFormat(t, "acme", "live")
	_, err := authkey.NewIssuer(nil, authkey.Format{}, nil, authkey.WithMinForeignLength(0), authkey.WithHasher(nil), authkey.WithClock(nil))
	fails(t, "NewIssuer", err, authkey.ErrInvalid)
	for _, fault := range []string{"store", "format", "option 0", "WithMinForeignLength(0)", "WithHasher", "WithClock"} {
		if err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("error %q leaves out %s", err, fault)
		}
	}
	broken := errors.New("no client")
	_, err = authkey.NewIssuer(brokenStore{authkey.NewMemoryStore(), broken}, format)
	fails(t, "a store with a fault of its own", err, broken)
	_, err = authkey.New(brokenStore{authkey.NewMemoryStore(), broken})
	fails(t, "a store with a fault of its own", err, broken)
}

type brokenStore struct {
	authkey.Store
	err error
}

func (b brokenStore) Err() error { return b.err }
