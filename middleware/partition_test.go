package middleware_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// keysOf returns the pk of all members of both fields.
func keysOf(t *testing.T, h http.Header) (policies, limits []string) {
	t.Helper()
	of := func(name string) (keys []string) {
		list, err := httpsfv.UnmarshalList(h[name])
		if err != nil {
			t.Fatalf("%s: %q: %v", name, h[name], err)
		}
		for _, member := range list {
			key, ok := member.(httpsfv.Item).Params.Get("pk")
			if raw, is := key.([]byte); !ok || !is || len(raw) != 16 {
				t.Fatalf("%s: %q: pk %v, want 16 bytes", name, h[name], key)
			}
			keys = append(keys, base64.StdEncoding.EncodeToString(key.([]byte)))
		}
		return keys
	}
	return of("Ratelimit-Policy"), of("Ratelimit")
}

func TestPartitionKeys(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of the service")
	key := func(org, project, key, endpoint, value, secret string, policy ratelimit.Policy) string {
		t.Helper()
		who := demoCallers()
		who.known[goodKey] = &authkey.Identity{Org: org, Project: project, Key: key}
		stage := middleware.Authenticate(who, middleware.WithPartitionKeys([]byte(secret))).RateLimit(limiterFunc(allow), policy)
		if policy.Partition == "region" {
			stage = stage.Partition("region", func(*http.Request) string { return value })
		}
		h := http.Header{}
		if _, refusal := stage.Admit(h, request("GET", "/"), endpoint); refusal != nil {
			t.Fatal(refusal)
		}
		policies, limits := keysOf(t, h)
		if !slices.Equal(policies, limits) || len(limits) != 1 {
			t.Fatalf("pk %v and %v, want one, twice", policies, limits)
		}
		for _, id := range []string{org, project, key, value} {
			raw, _ := base64.StdEncoding.DecodeString(limits[0])
			if id != "" && (strings.Contains(string(raw), id) || strings.Contains(limits[0], id)) {
				t.Errorf("pk %s has %q in it", limits[0], id)
			}
		}
		return limits[0]
	}
	p := ratelimit.PerMinute(10)
	same := key("acme", "acme", "acme", "GET /a", "", string(secret), p)
	if again := key("acme", "acme", "other", "GET /a", "", string(secret), p.Named("other").Fixed()); again != same {
		t.Errorf("another policy of the same partition has %s, want %s", again, same)
	}
	seen := map[string]string{same: "project"}
	for name, got := range map[string]string{
		"org":             key("acme", "acme", "acme", "GET /a", "", string(secret), p.By(ratelimit.ByOrg)),
		"key":             key("acme", "acme", "acme", "GET /a", "", string(secret), p.By(ratelimit.ByKey)),
		"region":          key("acme", "acme", "acme", "GET /a", "acme", string(secret), p.By("region")),
		"another region":  key("acme", "acme", "acme", "GET /a", "acm", string(secret), p.By("region")),
		"another key":     key("acme", "acme", "acm", "GET /a", "", string(secret), p.By(ratelimit.ByKey)),
		"another org":     key("acm", "acme", "acme", "GET /a", "", string(secret), p),
		"another project": key("acme", "acm", "acme", "GET /a", "", string(secret), p),
		"endpoint":        key("acme", "acme", "acme", "GET /b", "", string(secret), p),
		"all endpoints":   key("acme", "acme", "acme", "GET /a", "", string(secret), p.Across()),
		"another secret":  key("acme", "acme", "acme", "GET /a", "", "a secret of another one", p),
		"moved letters":   key("acme", "acmeG", "acme", "ET /a", "", string(secret), p),
	} {
		if other, there := seen[got]; there {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[got] = name
	}
	if a, b := key("acme", "shop", "k", "GET /a", "", string(secret), p.Across()), key("acme", "shop", "k", "GET /b", "", string(secret), p.Across()); a != b {
		t.Errorf("a policy of all endpoints has %s at one and %s at another", a, b)
	}
}

func TestPartitionKeysHoldTheirSecret(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of the service")
	stage := middleware.Authenticate(demoCallers(), middleware.WithPartitionKeys(secret)).RateLimit(limiterFunc(allow), ratelimit.PerMinute(10))
	a, before, refusal := admit(t, stage, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	want, _ := keysOf(t, before)
	clear(secret)
	_, after, _ := admit(t, stage, request("GET", "/"))
	if got, _ := keysOf(t, after); !slices.Equal(got, want) {
		t.Errorf("the key became %v with the caller's bytes, want %v", got, want)
	}
	if err := a.Take(t.Context(), before, "requests", 2); err != nil {
		t.Fatal(err)
	}
	if got, _ := keysOf(t, before); !slices.Equal(got, want) {
		t.Errorf("after a Take the key is %v, want %v", got, want)
	}
}
