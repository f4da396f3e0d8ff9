package authkey_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

// measured is a verifier on the real clock, whose cache holds some keys.
func measured(tb testing.TB, keys int, opts ...authkey.Option) (*authkey.Verifier, []authkey.Presented) {
	tb.Helper()
	store, format := authkey.NewMemoryStore(), mustFormat(tb, "acme", "live")
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		tb.Fatal(err)
	}
	verifier, err := authkey.New(store, append([]authkey.Option{authkey.WithFormat(format), authkey.WithCache(100_000, 60e9)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	presented := make([]authkey.Presented, keys)
	for i := range presented {
		_, key, err := issuer.Issue(tb.Context(), authkey.NewKey{Org: fmt.Sprint("org", i), Project: "shop"})
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := verifier.Authenticate(tb.Context(), key); err != nil {
			tb.Fatal(err)
		}
		presented[i] = key
	}
	return verifier, presented
}

// BenchmarkAuthenticate sets a hit beside one SHA-256 of its key, for one caller and for many, on one key and on many;
// and what is refused, which must not cost more.
func BenchmarkAuthenticate(b *testing.B) {
	ctx := b.Context()
	for _, n := range []int{1, 1000} {
		verifier, keys := measured(b, n)
		texts := make([][]byte, n) // the sum of a key is what no cache that holds no keys can do without
		for i, key := range keys {
			texts[i] = []byte(key.Reveal())
		}
		hit := func(i int) {
			if _, err := verifier.Authenticate(ctx, keys[i]); err != nil {
				b.Error(err)
			}
		}
		for _, who := range []struct {
			name string
			do   func(key int)
		}{
			{"sha256", func(i int) { _ = sha256.Sum256(texts[i]) }},
			{"hit", hit},
		} {
			b.Run(fmt.Sprintf("keys=%d/%s", n, who.name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					who.do(i % n)
				}
			})
			b.Run(fmt.Sprintf("keys=%d/%s-parallel", n, who.name), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						who.do(i % n)
					}
				})
			})
		}
	}
	verifier, keys := measured(b, 1)
	good := keys[0].Reveal()
	for name, text := range map[string]string{
		"another brand": "b" + good[1:], "a slip": good[:len(good)-1] + "~", "junk": "junk", "a letter too much": good + "x",
	} {
		b.Run("refused/"+name, func(b *testing.B) {
			b.ReportAllocs()
			key := authkey.NewPresented(text)
			for b.Loop() {
				if _, err := verifier.Authenticate(ctx, key); err == nil {
					b.Fatal("it opens")
				}
			}
		})
	}
}
