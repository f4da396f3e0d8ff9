package telemetry_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// compared is the event of a decision on "requests" and its candidate "next".
func compared(project string, live, candidate bool) middleware.Event {
	return middleware.Event{
		Step: middleware.StepRateLimit, Outcome: middleware.OutcomeAllowed, Endpoint: "GET /v1/items",
		Identity: &authkey.Identity{Org: "acme", Project: project},
		Decision: &ratelimit.Decision{Allowed: !live, Results: []ratelimit.Result{
			{Policy: "requests", Exceeded: live},
			{Policy: "next", Candidate: "requests", Exceeded: candidate},
		}},
	}
}

func TestCandidatesReport(t *testing.T) {
	t.Parallel()
	c := telemetry.NewCandidates()
	for _, e := range []middleware.Event{
		compared("shop", false, false), compared("shop", false, false), compared("shop", true, true),
		compared("yard", false, true), compared("mill", false, true), compared("mill", true, false),
		compared("mill", false, true), compared("forge", true, false),
	} {
		c.Observe(e)
	}
	want := []telemetry.CandidateReport{{
		Policy: "requests", Candidate: "next", AgreeAllow: 2, AgreeRefuse: 1, WouldRefuse: 3, WouldAllow: 2,
		Top: []telemetry.ProjectCount{
			{Org: "acme", Project: "mill", WouldRefuse: 2, WouldAllow: 1},
			{Org: "acme", Project: "yard", WouldRefuse: 1},
			{Org: "acme", Project: "forge", WouldAllow: 1},
		},
	}}
	if got := c.Report(); !reflect.DeepEqual(got, want) {
		t.Errorf("Report() =\n%+v\nwant\n%+v", got, want)
	}
	text, err := json.Marshal(c.Report())
	if err != nil {
		t.Fatalf("Marshal: %v", err)
	}
	var back []telemetry.CandidateReport
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("JSON %s reads back as %+v, %v", text, back, err)
	}
}

// TestCandidatesOfWhatDecides has events that compare nothing: other steps, outages, and limits without candidates.
func TestCandidatesOfWhatDecides(t *testing.T) {
	t.Parallel()
	settled, renewed, unpaired := compared("shop", false, true), compared("shop", false, true), compared("shop", false, true)
	settled.Step, renewed.Step = middleware.StepSettle, middleware.StepRenew
	unpaired.Decision.Results = unpaired.Decision.Results[1:]
	c, metrics := telemetry.NewCandidates(), newCollector(t)
	for _, e := range []middleware.Event{
		settled, renewed, unpaired,
		{Step: middleware.StepRateLimit, Outcome: middleware.OutcomeOpened},
		{Step: middleware.StepRateLimit, Decision: &ratelimit.Decision{Results: []ratelimit.Result{{Policy: "requests", Exceeded: true}}}},
	} {
		c.Observe(e)
		metrics.Observe(e)
	}
	if got := c.Report(); len(got) != 0 {
		t.Errorf("Report() = %+v, want nothing", got)
	}
	compare(t, metrics, "", "tollgate_candidate_decisions_total")
	taken := compared("", false, true)
	taken.Step, taken.Identity = middleware.StepTake, nil
	c.Observe(taken)
	if got := c.Report(); len(got) != 1 || len(got[0].Top) != 1 || got[0].Top[0] != (telemetry.ProjectCount{WouldRefuse: 1}) {
		t.Errorf("Report() = %+v, want one of nobody", got)
	}
}

// TestCandidatesAreBounded has more candidates and more projects than there is room for.
func TestCandidatesAreBounded(t *testing.T) {
	t.Parallel()
	c := telemetry.NewCandidates()
	for i := range 200 {
		e := compared("shop", false, true)
		e.Decision.Results[1].Policy = fmt.Sprintf("next-%d", i)
		c.Observe(e)
	}
	for i := range 1000 {
		e := compared(fmt.Sprintf("p%d", i), false, true)
		e.Decision.Results[1].Policy = "next-0"
		c.Observe(e)
	}
	reports, sum := c.Report(), uint64(0)
	for _, r := range reports {
		sum += r.WouldRefuse
		if len(r.Top) > 100 {
			t.Errorf("%d projects of %s, want 100 at most", len(r.Top), r.Candidate)
		}
		if r.Candidate == telemetry.Other && r.WouldRefuse != 136 {
			t.Errorf("%d of %s, want 136", r.WouldRefuse, r.Candidate)
		}
	}
	if len(reports) != 65 || sum != 1200 {
		t.Errorf("%d reports of %d decisions, want 65 of 1200", len(reports), sum)
	}
}

func TestCandidatesAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	const each = 500
	c, metrics := telemetry.NewCandidates(), newCollector(t)
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			for n := range each {
				e := compared(fmt.Sprint(i*n), i%2 == 0, i < 2)
				c.Observe(e)
				metrics.Observe(e)
			}
		})
		wait.Go(func() {
			for range 50 {
				c.Report()
			}
		})
	}
	wait.Wait()
	got := c.Report()
	if len(got) != 1 || got[0].AgreeRefuse != each || got[0].WouldRefuse != each || got[0].WouldAllow != each || got[0].AgreeAllow != each {
		t.Errorf("Report() = %+v, want %d of each verdict", got, each)
	}
	compare(t, metrics, fmt.Sprintf(`
# HELP tollgate_candidate_decisions_total Decisions on a candidate beside a live policy, by verdict.
# TYPE tollgate_candidate_decisions_total counter
tollgate_candidate_decisions_total{candidate="next",policy="requests",verdict="agree_allow"} %[1]d
tollgate_candidate_decisions_total{candidate="next",policy="requests",verdict="agree_refuse"} %[1]d
tollgate_candidate_decisions_total{candidate="next",policy="requests",verdict="would_allow"} %[1]d
tollgate_candidate_decisions_total{candidate="next",policy="requests",verdict="would_refuse"} %[1]d
`, each), "tollgate_candidate_decisions_total")
}

func TestCandidatesAllocateNothing(t *testing.T) {
	c := telemetry.NewCandidates()
	agree, again := compared("shop", false, false), compared("shop", false, true)
	c.Observe(again)
	for name, e := range map[string]middleware.Event{"agreement": agree, "a project that is known": again} {
		if got := testing.AllocsPerRun(100, func() { c.Observe(e) }); got != 0 {
			t.Errorf("%s: %v allocations, want 0", name, got)
		}
	}
}

func ExampleNewCandidates() {
	candidates := telemetry.NewCandidates()
	// Stages made with middleware.WithObserver(candidates) send events like these.
	for range 3 {
		candidates.Observe(compared("shop", false, true))
	}
	candidates.Observe(compared("yard", false, false))

	for _, r := range candidates.Report() {
		fmt.Printf("%s for %s would refuse %d, %d of %s\n", r.Candidate, r.Policy, r.WouldRefuse, r.Top[0].WouldRefuse, r.Top[0].Project)
	}
	// Output:
	// next for requests would refuse 3, 3 of shop
}
