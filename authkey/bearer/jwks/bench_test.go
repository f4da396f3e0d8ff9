package jwks_test

import (
	"net/http"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func BenchmarkKeysInMemory(b *testing.B) {
	cache, err := jwks.New(jwks.WithHTTPClient(&http.Client{Transport: newNetwork("a")}))
	if err != nil {
		b.Fatal(err)
	}
	defer cache.Close()
	source, h := cache.Issuer(issuerURL), header("a")
	if err := cache.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := source.Keys(b.Context(), h); err != nil {
				b.Error(err)
			}
		}
	})
}
