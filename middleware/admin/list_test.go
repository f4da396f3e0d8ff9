package admin_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestListOverrides(t *testing.T) {
	t.Parallel()
	h := newService(t, redistest.Standalone(t)).admin
	base := "/v1/orgs/" + redistest.Org(t) + "/overrides"
	if a := serve(t, h, request("GET", base, "")).want(t, 200, ""); a.text != `{"items":[]}` {
		t.Errorf("an empty list is %s", a.text)
	}
	for i := range 7 {
		serve(t, h, request("PUT", base, fmt.Sprintf(`{"project":"p%d","endpoint":"GET /%d","limit":1}`, i/2, i%2))).want(t, 201, "")
	}
	serve(t, h, request("PUT", base, `{"limit":1}`)).want(t, 201, "")

	places := func(query string) (all []string) {
		cursor := ""
		for range 10 { // there are fewer pages
			a := serve(t, h, request("GET", base+"?"+query+cursor, "")).want(t, 200, "")
			for _, item := range a.items(t) {
				all = append(all, item["project"].(string)+"|"+item["endpoint"].(string))
			}
			next, ok := a.object["next"].(string)
			if !ok {
				return all
			}
			cursor = "&cursor=" + url.QueryEscape(next)
		}
		t.Fatalf("?%s has no last page", query)
		return nil
	}
	everything := []string{"|", "p0|GET /0", "p0|GET /1", "p1|GET /0", "p1|GET /1", "p2|GET /0", "p2|GET /1", "p3|GET /0"}
	for query, want := range map[string][]string{
		"": everything, "limit=1": everything, "limit=3": everything, "limit=4": everything, "limit=200": everything,
		"limit=1&project=p1":           {"p1|GET /0", "p1|GET /1"},
		"project=":                     {"|"},
		"endpoint=":                    {"|"},
		"limit=2&endpoint=GET+/0":      {"p0|GET /0", "p1|GET /0", "p2|GET /0", "p3|GET /0"},
		"project=p2&endpoint=GET+%2F1": {"p2|GET /1"},
		"project=P2":                   nil,
	} {
		if got := places(query); !slices.Equal(got, want) {
			t.Errorf("?%s lists %q, want %q", query, got, want)
		}
	}

	// A cursor holds when what it was made of is gone.
	first := serve(t, h, request("GET", base+"?limit=3", ""))
	serve(t, h, request("DELETE", base+"?project=p0", "")).want(t, 200, "")
	rest := serve(t, h, request("GET", base+"?cursor="+first.object["next"].(string), "")).items(t)
	if len(rest) != 5 || rest[0]["project"] != "p1" {
		t.Errorf("after a change the rest is %v", rest)
	}
	for _, query := range []string{
		"limit=0", "limit=201", "limit=-1", "limit=", "limit=1.5", "limit=1&limit=1", "cursor=", "cursor=x", "cursor=bnVsbA", "cursor=W10",
		"cursor=" + strings.Repeat("a", 5000), "policy=x", "Project=p", "project=p&project=p", "a=%zz", "a;b", "project=%FF",
		"state=", "state=Active", "state=active&state=ended", "ending_before=", "ending_before=1h", "ending_before=tomorrow", "ending_within=1h",
	} {
		serve(t, h, request("GET", base+"?"+query, "")).want(t, 400, "invalid_query")
	}
}

func TestListOverridesByTime(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	h := newService(t, rdb).admin
	org := redistest.Org(t)
	base := "/v1/orgs/" + org + "/overrides"
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	for project, times := range map[string]string{
		"always":  ``,
		"soon":    `,"expires_at":"` + in(30*time.Minute) + `"`,
		"late":    `,"expires_at":"` + in(30*time.Hour) + `"`,
		"next":    `,"starts_at":"` + in(time.Hour) + `","expires_at":"` + in(2*time.Hour) + `"`,
		"then on": `,"starts_at":"` + in(time.Hour) + `"`,
	} {
		serve(t, h, request("PUT", base, `{"project":"`+project+`","limit":1`+times+`}`)).want(t, 201, "")
	}
	// One that has ended is written as it was before.
	ended := `{"project":"ended","endpoint":"","policy":"","limit":"1","window":"0","until":"1600000000000000","reason":"","revision":"1","created":"1"}`
	if err := rdb.HSet(t.Context(), lua.OverridesKey(org), "ended", ended).Err(); err != nil {
		t.Fatalf("HSET: %v", err)
	}
	for query, want := range map[string][]string{
		"":              {"always active", "ended ended", "late active", "next pending", "soon active", "then on pending"},
		"state=active":  {"always active", "late active", "soon active"},
		"state=pending": {"next pending", "then on pending"},
		"state=ended":   {"ended ended"},
		"ending_before=" + url.QueryEscape(in(24*time.Hour)):              {"ended ended", "next pending", "soon active"},
		"state=active&ending_before=" + url.QueryEscape(in(24*time.Hour)): {"soon active"},
		"state=active&ending_before=" + url.QueryEscape(in(48*time.Hour)): {"late active", "soon active"},
		"ending_before=1999-01-01T00:00:00Z":                              nil,
		"ending_before=0001-01-01T00:00:00Z":                              nil,
		"project=soon&state=pending":                                      nil,
	} {
		var got []string
		for _, item := range serve(t, h, request("GET", base+"?"+query, "")).want(t, 200, "").items(t) {
			got = append(got, fmt.Sprint(item["project"], " ", item["state"]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("?%s lists %q, want %q", query, got, want)
		}
	}
}
