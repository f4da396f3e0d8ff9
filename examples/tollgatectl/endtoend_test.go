package main

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
)

// onEach runs a test against services on a standalone Redis and on a cluster.
func onEach(t *testing.T, test func(*testing.T, *service)) {
	t.Helper()
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		test(t, newService(t, rdb))
	})
}

// revision returns the revision of something, as --if-match takes it.
func revision(item map[string]any) string { return fmt.Sprintf("%.0f", item["revision"]) }

func TestOverridesOfAService(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		o := s.call(t, cli.Done, "", "overrides preview --project shop --limit 1 --for 24h")
		contains(t, "stdout", o.stdout, search, "LIMIT THEN", "10", "override:")
		contains(t, "stderr", o.stderr, "would be active")
		if len(s.items(t, "overrides list")) != 0 {
			t.Error("a preview wrote something")
		}
		set := "overrides set --project shop --limit 1 --for 24h --reason launch_day"
		made := s.object(t, "", set)
		if made["limit"] != 1.0 || made["reason"] != "launch day" {
			t.Errorf("it was written as %v", made)
		}
		if !s.take(t) || s.take(t) {
			t.Error("the limit of the override does not hold")
		}
		if again := s.object(t, "", set+" --limit 2"); again["id"] != made["id"] || again["limit"] != 2.0 {
			t.Errorf("it was written again as %v", again)
		}
		o = s.call(t, cli.Conflict, "", set+" --if-match "+revision(made))
		contains(t, "stderr", o.stderr, "412 precondition_failed", "request id: ")
		again := s.items(t, "overrides list")[0]
		s.call(t, cli.Done, "", set+" --if-match "+revision(again))
		s.call(t, cli.Done, "", set+" --force")
		s.call(t, cli.Done, "", "overrides set --org-wide --limit 50 --until never --reason all")
		o = s.call(t, cli.Done, "", "overrides list")
		contains(t, "stdout", o.stdout, "shop", "launch day", "(in 23h)", "never")
		if got := s.items(t, "overrides list --project shop --state active --ending-before +2d"); len(got) != 1 {
			t.Errorf("the filters find %v", got)
		}
		id := made["id"].(string)
		contains(t, "stdout", s.call(t, cli.Done, "", "overrides show "+id).stdout, id, "launch day")
		s.call(t, cli.Failed, "", "overrides clear --project shop")
		s.call(t, cli.Done, "", "overrides show "+id)
		contains(t, "stdout", s.call(t, cli.Done, "", "overrides clear --project shop --yes").stdout, "deleted", "1")
		s.call(t, cli.NotFound, "", "overrides show "+id)
		s.call(t, cli.NotFound, "", "overrides delete "+id)
		s.call(t, cli.NotFound, "", "overrides delete --force "+id)
		wide := s.items(t, "overrides list")
		if len(wide) != 1 {
			t.Fatalf("after it was cleared, there is %v", wide)
		}
		s.call(t, cli.Conflict, "", "overrides delete --if-match 7 "+wide[0]["id"].(string))
		s.call(t, cli.Done, "", "overrides delete "+wide[0]["id"].(string))
		o = s.call(t, cli.Failed, "", "overrides set --project shop --limit -5 --for 1h")
		contains(t, "stderr", o.stderr, "422 invalid_fields", "/limit: ")
	})
}

func TestLimitsOfAService(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		if !s.take(t) {
			t.Fatal("the first request does not pass")
		}
		o := s.call(t, cli.Done, "", "limits explain --project shop")
		contains(t, "stdout", o.stdout, search, "requests", "project", "policy")
		if got := s.items(t, "limits show --project shop"); len(got) != 1 || got[0]["used"] != 1.0 {
			t.Errorf("the limits are %v", got)
		}
		o = s.call(t, cli.Failed, "", "limits reset --project shop")
		contains(t, "stdout", o.stdout, search)
		if got := s.items(t, "limits show --project shop"); got[0]["used"] != 1.0 {
			t.Errorf("without --yes, the limits are %v", got)
		}
		s.call(t, cli.NotFound, "", "limits reset --project shop --policy other")
		s.call(t, cli.Done, "", "limits reset --project shop --policy requests")
		if got := s.items(t, "limits show --project shop"); got[0]["used"] != 0.0 {
			t.Errorf("after a reset, the limits are %v", got)
		}
		s.call(t, cli.Conflict, "", "limits reset --project shop --yes --partition org")
		s.call(t, cli.NotFound, "", "limits explain --project shop --endpoint GET_/never")
	})
}

func TestPlansOfAService(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		name := "tollgatectl-" + strings.ToLower(rand.Text())
		s.call(t, cli.NotFound, "", "plans show "+name)
		s.call(t, cli.Done, `{"rules":[{"endpoint":"GET /v1/search","limit":3}]}`, "plans set "+name)
		defer s.call(t, cli.NotFound, "", "plans delete --force --yes "+name) // it is gone by then, and this makes sure
		read := s.call(t, cli.Done, "", "--json plans show "+name).stdout
		o := s.call(t, cli.Done, "", "plans show "+name)
		contains(t, "stdout", o.stdout, name, "rules", search)
		changed := s.object(t, strings.Replace(read, `"limit": 3`, `"limit": 4`, 1), "plans set "+name)
		if changed["revision"] == nil || changed["created_at"] == changed["updated_at"] {
			t.Errorf("it was changed to %v", changed)
		}
		o = s.call(t, cli.Conflict, strings.Replace(read, `"limit": 3`, `"limit": 5`, 1), "plans set "+name)
		contains(t, "stderr", o.stderr, "precondition_failed")
		s.call(t, cli.Done, read, "plans set --force "+name)
		contains(t, "stdout", s.call(t, cli.Done, "", "plans list --all").stdout, name)
		if got := s.items(t, "limits show --project shop --plan "+name); got[0]["limit"] != 3.0 || got[0]["source"] != "plan:"+name {
			t.Errorf("under the plan, the limits are %v", got)
		}
		s.call(t, cli.Failed, "", "plans delete "+name)
		s.call(t, cli.Done, "", "plans delete --yes "+name)
		s.call(t, cli.NotFound, "", "plans show "+name)
	})
}

func TestUsageOfAService(t *testing.T) {
	onEach(t, func(t *testing.T, s *service) {
		s.meter.Record(middleware.Usage{Org: s.org, Project: "shop", Product: "stores", Kind: "search", Units: 7})
		if err := s.meter.Flush(t.Context()); err != nil {
			t.Fatalf("Flush: %v", err)
		}
		o := s.call(t, cli.Done, "", "usage --step day --from -1d")
		contains(t, "stdout", o.stdout, "shop", "stores", "search", "7")
		if got := s.items(t, "usage --project shop"); len(got) != 1 || got[0]["units"] != 7.0 {
			t.Errorf("usage is %v", got)
		}
		if got := s.items(t, "usage --project other"); len(got) != 0 {
			t.Errorf("usage of another project is %v", got)
		}
		contains(t, "stderr", s.call(t, cli.Failed, "", "usage --step week").stderr, "invalid_query")
	})
}
