package authkey_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// peppered returns a hasher whose peppers have these versions; "" is the zero one.
func peppered(t testing.TB, versions ...string) *authkey.Hasher {
	t.Helper()
	var peppers []authkey.Pepper
	for _, version := range versions {
		pepper := authkey.Pepper{}
		if version != "" {
			pepper = authkey.NewPepper(version, []byte(strings.Repeat(version, 32)))
		}
		peppers = append(peppers, pepper)
	}
	hasher, err := authkey.NewHasher(peppers...)
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}

func (g *gate) importer(t testing.TB, opts ...authkey.IssuerOption) *authkey.Issuer {
	t.Helper()
	issuer, err := authkey.NewIssuer(g.store, mustFormat(t, "acme", "live"), append([]authkey.IssuerOption{authkey.WithClock(g.clock.now)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

func TestShortForeignKeysNeedAPepper(t *testing.T) {
	t.Parallel()
	format := mustFormat(t, "acme", "live")
	for name, c := range map[string]struct {
		opts []authkey.IssuerOption
		want error
	}{
		"short, no pepper":        {[]authkey.IssuerOption{authkey.WithMinForeignLength(15)}, authkey.ErrInvalid},
		"short, zero pepper":      {[]authkey.IssuerOption{authkey.WithMinForeignLength(1), authkey.WithHasher(peppered(t, "", "v1"))}, authkey.ErrInvalid},
		"short, a pepper":         {[]authkey.IssuerOption{authkey.WithMinForeignLength(1), authkey.WithHasher(peppered(t, "v1", ""))}, nil},
		"a pepper, given earlier": {[]authkey.IssuerOption{authkey.WithHasher(peppered(t, "v1")), authkey.WithMinForeignLength(1)}, nil},
		"as by default":           {[]authkey.IssuerOption{authkey.WithMinForeignLength(16)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := authkey.NewIssuer(authkey.NewMemoryStore(), format, c.opts...)
			fails(t, "NewIssuer", err, c.want)
			if err != nil && (!strings.Contains(err.Error(), "WithMinForeignLength") || !strings.Contains(err.Error(), "WithHasher")) {
				t.Errorf("error %q does not name the options", err)
			}
		})
	}
}

// A source is imported once: under whatever pepper, by key or by digest, and also after it was revoked.
func TestASourceIsImportedOnce(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	key := authkey.NewPresented("a-key-of-the-old-system")
	of := authkey.NewKey{Org: "demo", Project: "shop", Source: "api_keys 17"}
	first, err := g.importer(t, authkey.WithHasher(peppered(t, "v1"))).Import(t.Context(), key, of)
	if err != nil {
		t.Fatal(err)
	}
	for name, imports := range map[string]func() (authkey.Record, error){
		"again": func() (authkey.Record, error) {
			return g.importer(t, authkey.WithHasher(peppered(t, "v1"))).Import(t.Context(), key, of)
		},
		"under a new pepper": func() (authkey.Record, error) {
			return g.importer(t, authkey.WithHasher(peppered(t, "v2"))).Import(t.Context(), key, of)
		},
		"by digest": func() (authkey.Record, error) {
			return g.importer(t).ImportDigest(t.Context(), authkey.NewDigest(sha256.Sum256([]byte(key.Reveal()))), of)
		},
	} {
		record, err := imports()
		fails(t, name, err, authkey.ErrExists)
		if record.ID != "" {
			t.Errorf("%s: a record comes with the error", name)
		}
	}
	other := of
	other.Source = "api_keys 18"
	second, err := g.importer(t, authkey.WithHasher(peppered(t, "v2"))).Import(t.Context(), authkey.NewPresented("another-key-of-the-old-system"), other)
	if err != nil || second.ID == first.ID {
		t.Errorf("another source: id %s, %v; the first has %s", second.ID, err, first.ID)
	}
}

// Without a source too, a key that is there under an older pepper is not imported beside itself: the second record would
// stand before the first, also when that was revoked.
func TestImportSeesOlderPeppers(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	key := authkey.NewPresented("a-key-of-the-old-system")
	of := authkey.NewKey{Org: "demo", Project: "shop"}
	both := peppered(t, "v2", "v1")
	record, err := g.importer(t, authkey.WithHasher(peppered(t, "v1"))).Import(t.Context(), key, of)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.issuer.SetState(t.Context(), "demo", record.ID, 0, authkey.StateRevoked, "leaked"); err != nil {
		t.Fatal(err)
	}
	_, err = g.importer(t, authkey.WithHasher(both)).Import(t.Context(), key, of)
	fails(t, "Import under a newer pepper", err, authkey.ErrExists)
	_, err = g.verifier(t, authkey.WithForeignKeys(), authkey.WithHasher(both)).Authenticate(t.Context(), key)
	fails(t, "Authenticate", err, authkey.ErrRevoked)

	g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) {
		return authkey.Record{}, authkey.ErrUnavailable
	}
	_, err = g.importer(t, authkey.WithHasher(both)).Import(t.Context(), authkey.NewPresented("yet-another-key-of-it"), of)
	fails(t, "Import where nobody knows", err, authkey.ErrUnavailable)
}

func TestSourceIsBounded(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, source := range []string{strings.Repeat("s", 129), "a\nb", "\xff"} {
		_, err := g.issuer.Import(t.Context(), authkey.NewPresented("a-key-of-the-old-system"), authkey.NewKey{Org: "demo", Project: "shop", Source: source})
		fails(t, "Import", err, authkey.ErrInvalid)
	}
	_, _, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop", Source: "api_keys 17"})
	fails(t, "Issue with a source", err, authkey.ErrInvalid)
}
