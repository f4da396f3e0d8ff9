package telemetry

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

var _ middleware.Observer = (*Candidates)(nil)

// Bounds of what Candidates keeps.
const (
	maxCandidates = 64
	topProjects   = 100
)

// Candidates is an Observer that tells where candidates and live policies disagree, and for which projects
// most: what to look at before a candidate takes the place of the live policy (ratelimit.Policy.InPlaceOf). A
// Collector tells the totals as metrics; projects are no labels.
//
//	candidates := telemetry.NewCandidates()
//	auth := middleware.Authenticate(verifier, middleware.WithObserver(candidates))
//	...
//	json.NewEncoder(w).Encode(candidates.Report()) // on a page for operators alone
//
// It keeps up to 64 candidates of 100 projects each, however many there are, about 50 kB for each candidate;
// those beyond share Other. It is of this process, since it was made. Safe for concurrent use; it has nothing
// to close.
type Candidates struct {
	mu    sync.Mutex
	pairs map[pair]*comparison
}

// pair is a candidate and its live policy.
type pair struct{ policy, candidate string }

// comparison is what is known of a pair.
type comparison struct {
	agreeAllow, agreeRefuse, wouldRefuse, wouldAllow uint64

	disagreeing top
}

// CandidateReport is what became of the decisions on one candidate.
type CandidateReport struct {
	// Policy is the live policy, Candidate the one that is proposed to replace it.
	Policy    string `json:"policy"`
	Candidate string `json:"candidate"`
	// How often both let a request pass, both were exceeded, only the candidate was, and only the live policy
	// was: the verdicts of ratelimit.
	AgreeAllow  uint64 `json:"agree_allow"`
	AgreeRefuse uint64 `json:"agree_refuse"`
	WouldRefuse uint64 `json:"would_refuse"`
	WouldAllow  uint64 `json:"would_allow"`
	// Top has the projects that they were seen to disagree on most, up to 100, the most first. Every project is
	// in it that has more than a 101st of all disagreements.
	Top []ProjectCount `json:"top"`
}

// ProjectCount is how often a candidate and its live policy disagreed on a project.
type ProjectCount struct {
	// Org and Project are empty for callers of LimitBy.
	Org     string `json:"org"`
	Project string `json:"project"`
	// What was counted since the project came into Top.
	WouldRefuse uint64 `json:"would_refuse"`
	WouldAllow  uint64 `json:"would_allow"`
	// Missed is how many disagreements there may have been before, at most: never more than a 101st of all.
	Missed uint64 `json:"missed"`
}

// NewCandidates returns Candidates that saw nothing yet.
func NewCandidates() *Candidates { return &Candidates{pairs: make(map[pair]*comparison)} }

// Observe counts the candidates of a decision. It takes constant time, averaged over many, and allocates only
// for a candidate or a project that comes anew.
func (c *Candidates) Observe(e middleware.Event) {
	if !decides(&e) {
		return
	}
	var who project
	if e.Identity != nil {
		who = project{e.Identity.Org, e.Identity.Project}
	}
	for r, verdict := range e.Decision.Candidates() {
		c.count(pair{r.Candidate, r.Policy}, who, verdict)
	}
}

// decides reports whether an event has a decision to compare. To settle or give back is none.
func decides(e *middleware.Event) bool {
	// What a local share made of a request tells nothing of the limits.
	return e.Decision != nil && (e.Step == middleware.StepRateLimit || e.Step == middleware.StepTake) && !errors.Is(e.Err, ratelimit.ErrUnavailable)
}

func (c *Candidates) count(p pair, who project, verdict ratelimit.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.pairs[p]
	if known == nil {
		if len(c.pairs) >= maxCandidates {
			p = pair{Other, Other}
			known = c.pairs[p]
		}
		if known == nil {
			known = &comparison{disagreeing: newTop(topProjects)}
			c.pairs[p] = known
		}
	}
	switch verdict {
	case ratelimit.AgreeAllow:
		known.agreeAllow++
	case ratelimit.AgreeRefuse:
		known.agreeRefuse++
	case ratelimit.WouldRefuse:
		known.wouldRefuse++
		known.disagreeing.add(who, 1, 0)
	case ratelimit.WouldAllow:
		known.wouldAllow++
		known.disagreeing.add(who, 0, 1)
	}
}

// Report tells what was counted so far, for each candidate, by name. The report is the caller's.
func (c *Candidates) Report() []CandidateReport {
	c.mu.Lock()
	reports := make([]CandidateReport, 0, len(c.pairs))
	for p, known := range c.pairs {
		reports = append(reports, CandidateReport{
			Policy: p.policy, Candidate: p.candidate,
			AgreeAllow: known.agreeAllow, AgreeRefuse: known.agreeRefuse,
			WouldRefuse: known.wouldRefuse, WouldAllow: known.wouldAllow, Top: known.disagreeing.counts(),
		})
	}
	c.mu.Unlock()
	slices.SortFunc(reports, func(a, b CandidateReport) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Candidate, b.Candidate))
	})
	for i := range reports {
		slices.SortFunc(reports[i].Top, func(a, b ProjectCount) int {
			return cmp.Or(
				cmp.Compare(b.WouldRefuse+b.WouldAllow, a.WouldRefuse+a.WouldAllow), cmp.Compare(b.WouldRefuse, a.WouldRefuse),
				cmp.Compare(a.Org, b.Org), cmp.Compare(a.Project, b.Project),
			)
		})
	}
	return reports
}
