package ratelimit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/tollgate-go/tollgate/lua/seal"
)

// Plan is a set of changes to policies, under a name that identities point to: what the customers of one tariff
// have in common. It is the least specific source of a limit above the policy as coded:
//
//	the overrides of project and org > plan and endpoint > plan > the policy as coded
//
// and at each of these levels a rule that names the policy goes before one that does not. A policy that is
// Shared takes the rules of all endpoints alone.
//
// Give identities that share a count, such as the keys of a project, the same plan. Each request is held to the limit
// of its own plan, and on a Window that is not the policy's more than that: the shorter one of two windows ends what
// was counted in the longer one, so that whoever goes back and forth between two plans has it anew each time.
type Plan struct {
	// Name is 1 to 64 of A-Z a-z 0-9 . _ -
	Name string
	// Rules are 1 to 100, each with an Endpoint and Policy that no other has.
	Rules []PlanRule
	// Revision changes with every change. CreatedAt and UpdatedAt are Redis times. Set, Get and List fill them in.
	Revision             int64
	CreatedAt, UpdatedAt time.Time
}

// PlanRule changes a policy, or all of them, on one endpoint or all. Its fields are as in an Override.
type PlanRule struct {
	// Endpoint and Policy select. Empty means all of them.
	Endpoint, Policy string
	// At least one of Limit, Window, Burst and Access is set.
	Limit  *int64
	Window time.Duration
	Burst  int64
	Access Access
	// Change is KeepUsed or Proportional: the others give units anew whenever the limit becomes another, and with
	// two plans on one count that is whenever somebody wants it.
	Change Change
}

// maxRules is the most rules of a plan.
const maxRules = 100

// Validate returns nil, or an ErrInvalid that names every field out of its bounds.
func (p *Plan) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w plan: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if !validName(p.Name) {
		fault("Name must be 1 to %d of A-Z a-z 0-9 . _ -", maxName)
	}
	if len(p.Rules) < 1 || len(p.Rules) > maxRules {
		fault("Rules must be 1 to %d", maxRules)
		return errors.Join(faults...)
	}
	seen := make(map[selector]int, len(p.Rules))
	for i := range p.Rules {
		o := p.Rules[i].override(p.Name)
		of := func(format string, args ...any) { fault("rule %d: "+format, append([]any{i}, args...)...) }
		o.validSelects(of)
		o.validTerms(of)
		if !utf8.ValidString(o.Endpoint) {
			of("Endpoint must be UTF-8, as JSON holds nothing else")
		}
		if o.Change == Additive || o.Change == ResetUsed {
			of("Change must be %q, or left out: two plans could share a count", Proportional)
		}
		if first, ok := seen[o.selector()]; ok {
			of("Endpoint and Policy must not be those of rule %d", first)
		} else {
			seen[o.selector()] = i
		}
	}
	return errors.Join(faults...)
}

// override returns a rule as an override of nobody in particular.
func (r *PlanRule) override(plan string) Override {
	return Override{
		ID: plan, Endpoint: r.Endpoint, Policy: r.Policy,
		Limit: r.Limit, Window: r.Window, Burst: r.Burst, Access: r.Access, Change: r.Change,
	}
}

// set returns the rules as a limiter holds them.
func (p *Plan) set(stamp int64) *overrideSet {
	s := &overrideSet{stamp: stamp, ofPlan: true, overrides: make(map[selector]*Override, len(p.Rules))}
	for i := range p.Rules {
		o := p.Rules[i].override(p.Name)
		s.overrides[o.selector()] = &o
	}
	return s
}

// planRecord is a plan as Redis holds it, or the mark that one left. Numbers are strings, as in a record.
type planRecord struct {
	Rules    []ruleRecord `json:"rules,omitempty"`
	Deleted  string       `json:"deleted,omitempty"`
	Revision int64        `json:"revision,string,omitempty"`
	Created  int64        `json:"created,string,omitempty"`
	Seal     string       `json:"seal,omitempty"`
}

type ruleRecord struct {
	Endpoint string `json:"endpoint,omitempty"`
	Policy   string `json:"policy,omitempty"`
	Limit    *int64 `json:"limit,string,omitempty"`
	Window   int64  `json:"window,string,omitempty"` // microseconds
	Burst    int64  `json:"burst,string,omitempty"`
	Access   Access `json:"access,omitempty"`
	Change   Change `json:"change,omitempty"`
}

// planDomain is what seals of plans are told from others by.
const planDomain = "plan"

func (p *Plan) record() planRecord {
	record := planRecord{Rules: make([]ruleRecord, len(p.Rules))}
	for i, r := range p.Rules {
		record.Rules[i] = ruleRecord{r.Endpoint, r.Policy, r.Limit, r.Window.Microseconds(), r.Burst, r.Access, r.Change}
	}
	return record
}

// text returns the JSON of the rules. A seal is of this text, as that of an override is.
func (r planRecord) text() (string, error) {
	text, err := json.Marshal(planRecord{Rules: r.Rules})
	if err != nil {
		return "", fmt.Errorf("%w plan: %w", ErrInvalid, err)
	}
	return string(text), nil
}

// verify tells of a seal that is missing or broken.
func (r planRecord) verify(sealer *seal.Sealer, name string) error {
	if sealer == nil {
		return nil
	}
	text, err := r.text()
	if err != nil {
		return err
	}
	return sealer.Verify(r.Seal, planDomain, name, text)
}

// decodePlan reads what Redis holds; exists is false for what was deleted. What is not a plan as Set writes them
// is an error.
func decodePlan(sealer *seal.Sealer, name, text string) (p Plan, exists bool, err error) {
	var record planRecord
	if text == "" {
		return Plan{}, false, nil
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return Plan{}, false, fmt.Errorf("%w: plan %q cannot be read; set or delete it: %w", ErrUnavailable, name, err)
	}
	if record.Deleted != "" {
		return Plan{}, false, nil
	}
	if err := record.verify(sealer, name); err != nil {
		return Plan{}, false, fmt.Errorf("%w: plan %q is not what was set; set it again or delete it: %w", ErrUnavailable, name, err)
	}
	p = Plan{
		Name: name, Rules: make([]PlanRule, len(record.Rules)), Revision: record.Revision,
		CreatedAt: time.UnixMicro(record.Created).UTC(), UpdatedAt: time.UnixMicro(record.Revision).UTC(),
	}
	for i, r := range record.Rules {
		p.Rules[i] = PlanRule{r.Endpoint, r.Policy, r.Limit, time.Duration(r.Window) * time.Microsecond, r.Burst, r.Access, r.Change}
	}
	if err := errors.Join(p.Validate(), validStamps(record.Revision, record.Created)); err != nil {
		return Plan{}, false, fmt.Errorf("%w: plan %q cannot be used; set or delete it: %w", ErrUnavailable, name, err)
	}
	return p, true, nil
}

// sameRules reports whether two plans change policies alike.
func sameRules(a, b []PlanRule) bool {
	return slices.EqualFunc(a, b, func(a, b PlanRule) bool {
		sameLimit := a.Limit == b.Limit || a.Limit != nil && b.Limit != nil && *a.Limit == *b.Limit
		a.Limit, b.Limit = nil, nil
		return sameLimit && a == b
	})
}
