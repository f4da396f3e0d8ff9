package leak_test

import (
	"context"
	"crypto/elliptic"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

// However a foreign key is written in its URL, neither the trail nor whoever is told gets it.
func TestForeignKeysInURLs(t *testing.T) {
	t.Parallel()
	const foreign = "legacy+0123456789?abcdef/0123456789%abcdef=="
	lower := strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3F", "%3f", "%3D", "%3d").Replace(url.QueryEscape(foreign))
	var every strings.Builder
	for _, c := range []byte(foreign) {
		fmt.Fprintf(&every, "%%%02X", c)
	}
	for name, c := range map[string]struct{ at, want string }{
		"as it is":                 {"https://a.example/" + foreign + "/x", "https://a.example/****/x"},
		"in the query":             {"https://a.example/p?k=" + url.QueryEscape(foreign), "https://a.example/p"},
		"in the fragment":          {"https://a.example/p#" + url.QueryEscape(foreign), "https://a.example/p"},
		"in the query with others": {"https://a.example/p?k=" + foreign + "&old=legacy-fedcba", "https://a.example/p"},
		"in the path":              {"https://a.example/" + url.PathEscape(foreign) + "/a%20b", "https://a.example/****/a%20b"},
		"in the path, in full":     {"https://a.example/" + url.QueryEscape(foreign), "https://a.example/****"},
		"in small letters":         {"https://a.example/" + lower, "https://a.example/****"},
		"every byte":               {"https://a.example/" + every.String(), "https://a.example/****"},
		"in part":                  {"https://a.example/legacy%2B0123456789?abcdef/0123456789%25abcdef=%3D", "https://a.example/****"},
		"more than once":           {"https://a.example/" + url.PathEscape(url.QueryEscape(url.QueryEscape(foreign))), "https://a.example/****"},
		"not in it":                {"https://a.example/100%/%2B/é", "https://a.example/100%/%2B/é"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			github := newSigner(t, elliptic.P256())
			issuer := newIssuer(t, authkey.NewMemoryStore())
			record, err := issuer.Import(t.Context(), authkey.NewPresented(foreign), authkey.NewKey{Org: "demo", Project: "shop"})
			if err != nil {
				t.Fatal(err)
			}
			var told leak.Report
			h := newHandler(t, issuer, github.keys(t), leak.WithForeignKeys(), leak.WithNotify(func(_ context.Context, r leak.Report) { told = r }))
			serve(t, h, github.request(t, bodyOf(t, leak.Match{Token: foreign, Type: "old_key", URL: c.at}))).want(t, http.StatusOK, "")
			if now := find(t, issuer, &record); told.URL != c.want || now.Credentials[0].Reason != "leaked: "+c.want {
				t.Errorf("told %q, revoked because %q, want %q", told.URL, now.Credentials[0].Reason, c.want)
			}
		})
	}
}

// A key in the place of a source is told in no case, not even in small letters.
func TestKeyAsSource(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	store := &watched{Store: authkey.NewMemoryStore()}
	issuer := newIssuer(t, store)
	_, key := issue(t, issuer, authkey.NewKey{})
	var told leak.Report
	h := newHandler(t, issuer, github.keys(t), leak.WithNotify(func(_ context.Context, r leak.Report) { told = r }))
	serve(t, h, github.request(t, bodyOf(t, leak.Match{Token: key, Type: "a", Source: key}))).want(t, http.StatusOK, "")
	if told.Source != "unknown" || store.actor.Name != "leak-report:unknown" {
		t.Errorf("told of %q, changed by %q", told.Source, store.actor.Name)
	}
}
