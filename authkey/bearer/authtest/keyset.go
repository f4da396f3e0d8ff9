package authtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// published is a key as the key set has it.
type published struct{ kid, alg, jwk string }

// Key returns the key that Mint signs with.
func (i *Issuer) Key() *Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key
}

// AddKey makes a key and publishes it; Mint goes on with the one that it has.
func (i *Issuer) AddKey(alg, kid string) *Key {
	i.t.Helper()
	key := NewKey(i.t, alg, kid)
	i.Publish(key)
	return key
}

// Rotate makes a key, publishes it and has Mint sign with it. What was published before stays so until Remove. It is
// named "key-1", "key-2" and so on: two issuers have keys of one name, as happens. A jwks.Cache that has fetched within
// its cool-down (30 s) does not look again: call its Invalidate.
func (i *Issuer) Rotate(alg string) *Key {
	i.t.Helper()
	i.mu.Lock()
	i.named++
	kid := fmt.Sprintf("key-%d", i.named)
	i.mu.Unlock()
	key := i.AddKey(alg, kid)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = key
	return key
}

// Publish adds a key of one's own to the key set, also one whose kid is there already.
func (i *Issuer) Publish(key *Key) {
	i.t.Helper()
	jwk, err := json.Marshal(key.JWK())
	if err != nil {
		i.t.Fatalf("authtest: Publish: key %q: %v", key.ID, err)
	}
	i.PublishJWK(string(jwk))
}

// PublishJWK adds text to the key set as it is: an odd key, or no JSON at all. To change what is said of a key, change
// what its JWK method returns.
func (i *Issuer) PublishJWK(jwk string) {
	var said struct{ Kid, Alg string }
	_ = json.Unmarshal([]byte(jwk), &said) // what cannot be read cannot be removed by its name
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, published{said.Kid, said.Alg, jwk})
}

// Remove takes all keys of a name out of the key set; tokens can still be signed with them. A name that is not there
// ends the test. A jwks.Cache goes on with the keys that it has until it fetches again: call its Invalidate.
func (i *Issuer) Remove(kid string) {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	before := len(i.keys)
	i.keys = slices.DeleteFunc(i.keys, func(key published) bool { return key.kid == kid })
	if len(i.keys) == before {
		i.t.Fatalf("authtest: Remove: no key %q is published", kid)
	}
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	jwks := make([]string, len(i.keys))
	for n, key := range i.keys {
		jwks[n] = key.jwk
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(jwks, ","))
}

// algorithms lists those of the published keys, each once.
func (i *Issuer) algorithms() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	algs := []string{}
	for _, key := range i.keys {
		if key.alg != "" && !slices.Contains(algs, key.alg) {
			algs = append(algs, key.alg)
		}
	}
	return algs
}
