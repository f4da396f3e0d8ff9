package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// long returns so many different texts of a length, each of which JSON writes in six times its length.
func long(n, length int) []string {
	texts := make([]string, n)
	for i := range texts {
		bits := strings.NewReplacer("0", "<", "1", ">").Replace(fmt.Sprintf("%06b", i))
		texts[i] = strings.Repeat("<", length-len(bits)) + bits
	}
	return texts
}

// longestKey returns what the admin route says of a key that has the most of everything.
func longestKey(t *testing.T) string {
	t.Helper()
	const org, project = "acme", "shop"
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	store := authkey.NewMemoryStore()
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	name, reason := long(1, 128)[0], long(1, 256)[0]
	made := authkey.NewKey{
		Org: org, Project: project, Kind: authkey.KindPublishable, Name: name, Owner: name, Plan: name,
		Scopes: long(64, 64), Products: long(64, 64), Meta: map[string]string{},
		NotBefore: time.Now().Add(time.Hour), ExpiresAt: time.Now().Add(48 * time.Hour),
	}
	for i := range 64 {
		host := strings.Repeat(strings.Repeat("a", 61)+".", 4) + fmt.Sprintf("a%02d", i)
		made.Origins = append(made.Origins, strings.Repeat("s", 320-len("://:65535")-len(host))+"://"+host+":65535")
		made.Networks = append(made.Networks, netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:1111:1111:1111:1111:1111:11%02x", i)), 128))
	}
	for _, key := range long(16, 64) {
		made.Meta[key] = reason
	}
	record, _, err := issuer.Issue(t.Context(), made)
	for n := 1; n < authkey.MaxCredentials && err == nil; n++ {
		_, _, err = issuer.Rotate(t.Context(), org, record.ID, authkey.Rotation{Reason: reason})
	}
	if err == nil {
		_, err = issuer.SetState(t.Context(), org, record.ID, 0, authkey.StateDisabled, reason)
	}
	if err != nil {
		t.Fatal(err)
	}
	handler, err := admin.New(admin.Tokens(admin.Token{Name: "ops", Secret: adminToken, Scopes: []string{admin.ScopeAll}}), admin.WithKeys(store, issuer))
	if err != nil {
		t.Fatal(err)
	}
	r, w := httptest.NewRequest(http.MethodGet, "/v1/orgs/acme/projects/shop/keys/"+record.ID, nil), httptest.NewRecorder()
	r.Header.Set("Authorization", "Bearer "+adminToken)
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("answer %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// A page of the longest keys is read whole.
func TestLongestPage(t *testing.T) {
	t.Parallel()
	key := longestKey(t)
	page := `{"items":[` + strings.Repeat(key+",", maxPage-1) + key + `]}`
	t.Logf("a key of %d bytes, a page of %d", len(key), len(page))
	f := newFake(t, map[string]canned{"GET " + inShop + "/keys": {body: page}})
	o := f.call("", "keys list --project shop --timeout 60s").want(t, cli.Done)
	if got := strings.Count(o.stdout, "\n"); got != 1+maxPage {
		t.Errorf("%d lines, want a title and %d keys", got, maxPage)
	}
}
