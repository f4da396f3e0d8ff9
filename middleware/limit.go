package middleware

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// CostFunc tells what a request costs: 0 to ratelimit.MaxLimit units. It may read the body, if it puts a
// new one in its place: the request is a copy that the handler is given. It runs before anything is
// charged. An error refuses the request with 400.
type CostFunc func(r *http.Request) (int64, error)

// Later is the CostFunc of a policy that the handler charges, with Admission.Take, once it knows the
// cost.
func Later(*http.Request) (int64, error) { return 0, nil }

// Failure is what a stage does when its limiter cannot decide.
type Failure uint8

const (
	// FailClosed refuses with 503. It is the default; but a limiter that monitors all, by
	// ratelimit.Limiter.SetMonitor, makes a stage FailOpen for which OnFailure chose nothing.
	FailClosed Failure = iota
	// FailOpen lets the request pass, without RateLimit fields. Whoever can slow Redis down can then
	// lift the limit. A token whose revocation the limiter had to look up is refused all the same, unless its
	// authenticator lets it pass (authkey.RevocationPendingOpen).
	FailOpen
	// FailLocal asks the limiter for this process's share of the limits, which it knows from memory: a request within it
	// passes, without RateLimit fields, and any other is refused with 429, as by the limit itself. The limiter has to be a
	// LocalLimiter, or else that is an error of the stage. Where it has no share either, and for tokens as of FailOpen,
	// the stage is FailClosed. Admission.Take, Settle and Refund do the same.
	FailLocal
)

// Key is what LimitBy limits by: a name, which tells different kinds of keys apart, and how a request
// tells the value. Requests with an empty value share one.
type Key struct {
	Name string
	Of   func(r *http.Request) string

	err error
}

// limit is what a step asks a limiter. Immutable.
type limit struct {
	limiter   Limiter
	holder    Holder // the limiter, if it is one
	policies  []ratelimit.Policy
	costs     []CostFunc                   // nil: 1
	values    []func(*http.Request) string // nil: by identity
	failure   Failure
	chosen    bool         // failure was, by OnFailure
	local     LocalLimiter // the limiter, of a stage that is FailLocal
	anonymous bool

	usual      []ratelimit.Charge // 1 of each policy
	costly     bool               // a policy has a CostFunc
	ofIdentity bool               // the identity tells all partitions
	prepare    func(ratelimit.Request) (prepared, error)
	keys       *noteKeys
}

func newLimit(limiter Limiter, policies []ratelimit.Policy, key *Key) step {
	l := &limit{
		limiter: limiter, policies: append([]ratelimit.Policy(nil), policies...),
		costs: make([]CostFunc, len(policies)), values: make([]func(*http.Request) string, len(policies)),
		anonymous: key != nil,
	}
	l.holder, _ = limiter.(Holder)
	l.prepare = preparing(limiter)
	var faults []error
	if missing(limiter) {
		faults = append(faults, errors.New("middleware: the limiter is nil"))
	}
	if len(policies) == 0 {
		faults = append(faults, errors.New("middleware: a limit needs at least one policy"))
	}
	names := map[string]bool{}
	for i := range l.policies {
		p := &l.policies[i]
		if p.Name == "" {
			p.Name = "requests"
		}
		if names[p.Name] {
			faults = append(faults, fmt.Errorf("middleware: two policies are named %q; use Named", p.Name))
		}
		names[p.Name] = true
		if p.Partition == "" {
			p.Partition = ratelimit.ByProject
		}
		if key != nil {
			if p.Partition != ratelimit.ByProject {
				faults = append(faults, fmt.Errorf("middleware: policy %q is partitioned by %s, but LimitBy has a key of its own", p.Name, p.Partition))
			}
			p.Partition, l.values[i] = ratelimit.Partition(key.Name), key.Of
		}
		if p.Lease > 0 && l.holder == nil && !missing(limiter) {
			faults = append(faults, fmt.Errorf("middleware: policy %q has a Lease, but the limiter %T is no Holder", p.Name, limiter))
		}
		faults = append(faults, p.Validate())
	}
	faults = append(faults, l.unpaired())
	l.complete()
	return step{err: errors.Join(faults...), limit: l, run: l.run}
}

// complete fills in what follows from the rest.
func (l *limit) complete() {
	l.keys, l.costly, l.ofIdentity = new(noteKeys), false, !l.anonymous
	l.usual = make([]ratelimit.Charge, len(l.policies))
	for i := range l.policies {
		l.usual[i] = ratelimit.Charge{Policy: l.policies[i], Cost: 1}
		l.costly = l.costly || l.costs[i] != nil
		l.ofIdentity = l.ofIdentity && l.values[i] == nil
	}
}

func (l *limit) run(a *Admission, header http.Header) *Error { return a.limit(header, l) }

// change returns a step with another limit in place of the one of s.
func (s *step) change(edit func(l *limit) error) *step {
	next := *s
	l := *s.limit
	l.costs, l.values = append([]CostFunc(nil), l.costs...), append([]func(*http.Request) string(nil), l.values...)
	l.policies = append([]ratelimit.Policy(nil), l.policies...)
	next.err = errors.Join(s.err, edit(&l))
	l.complete()
	next.limit = &l
	next.run = l.run
	return &next
}

// unvalued returns an error for each policy whose partition nobody tells the value of.
func (l *limit) unvalued() error {
	var faults []error
	for i := range l.policies {
		switch p := &l.policies[i]; p.Partition {
		case ratelimit.ByProject, ratelimit.ByKey, ratelimit.ByOrg:
		default:
			if l.values[i] == nil && !l.anonymous {
				faults = append(faults, fmt.Errorf("middleware: policy %q is partitioned by %s; say with Partition(%q, ...) how a request tells that", p.Name, p.Partition, p.Partition))
			}
		}
	}
	return errors.Join(faults...)
}

func (l *limit) setCost(policy string, cost CostFunc) error {
	if cost == nil {
		return fmt.Errorf("middleware: Cost(%q, nil)", policy)
	}
	for i := range l.policies {
		if p := &l.policies[i]; p.Name == policy {
			if p.Candidate != "" {
				return fmt.Errorf("middleware: Cost(%q): a candidate costs what its live policy %q does", policy, p.Candidate)
			}
			l.costs[i] = cost
			return nil
		}
	}
	return fmt.Errorf("middleware: Cost(%q): the stage has no such policy", policy)
}

func (l *limit) monitor() error {
	l.failure, l.local = FailOpen, nil
	for i := range l.policies {
		l.policies[i].Monitor = true
	}
	return nil
}

func (l *limit) setFailure(f Failure) error {
	if f > FailLocal {
		return fmt.Errorf("middleware: OnFailure(%d) is not known", f)
	}
	l.failure, l.chosen, l.local = f, true, nil
	var err error
	if f == FailLocal {
		l.local, err = localOf(l.limiter)
	}
	return err
}

// Limited is an authenticated stage with a limit.
type Limited struct{ *step }

// Cost returns a stage in which a request costs a policy what the function says, instead of 1.
func (s *Limited) Cost(policy string, cost CostFunc) *Limited {
	return &Limited{s.change(func(l *limit) error { return l.setCost(policy, cost) })}
}

// Partition returns a stage that takes the value of a partition of the caller's own, which policies name
// in their Partition, from the request. The value must not be for the client to choose freely, or it
// chooses its limit. A request without a value is refused.
func (s *Limited) Partition(partition ratelimit.Partition, value func(*http.Request) string) *Limited {
	return &Limited{s.change(func(l *limit) error {
		found := false
		for i := range l.policies {
			if l.policies[i].Partition == partition {
				l.values[i], found = value, true
			}
		}
		if value == nil || !found {
			return fmt.Errorf("middleware: Partition(%q): needs a function and a policy with that partition", partition)
		}
		return nil
	})}
}

// Monitor returns a stage that counts and reports, but lets everything pass that its policies would
// refuse. It is FailOpen, too, unless OnFailure comes after it.
func (s *Limited) Monitor() *Limited {
	return &Limited{s.change((*limit).monitor)}
}

// OnFailure returns a stage that does something else than FailClosed when the limiter cannot decide.
func (s *Limited) OnFailure(f Failure) *Limited {
	return &Limited{s.change(func(l *limit) error { return l.setFailure(f) })}
}

// Meter returns a stage that counts what was admitted: units of a product and kind, for billing.
func (s *Limited) Meter(recorder Recorder, product, kind string) *Metered {
	var before *step
	if s != nil {
		before = s.step
	}
	return newMetered(before, recorder, product, kind)
}

// LimitedBy is a stage with a limit for callers who are not authenticated.
type LimitedBy struct{ *step }

// LimitBy returns a stage that limits by a key, where nobody is authenticated. No override applies to
// it, and it sends no RateLimit fields; a refusal has Retry-After. A request of the stage costs one Redis
// call, which is not shared with a stage behind it that limits identities.
func LimitBy(key Key, limiter Limiter, policies ...ratelimit.Policy) *LimitedBy {
	s := newLimit(limiter, policies, &key)
	if key.Name == "" || key.Of == nil {
		s.err = errors.Join(s.err, errors.New("middleware: LimitBy needs a key with a Name and Of, such as ClientNetwork()"))
	}
	s.err = errors.Join(s.err, key.err)
	s.config = newConfig()
	return &LimitedBy{&s}
}

// With returns a stage with options applied: WithObserver, WithRenderer and WithRetryJitter.
func (s *LimitedBy) With(opts ...Option) *LimitedBy {
	next := *s.step
	config, err := s.config.with(opts)
	next.config, next.err = config, errors.Join(s.err, err)
	return &LimitedBy{&next}
}

// Cost returns a stage in which a request costs a policy what the function says, instead of 1.
func (s *LimitedBy) Cost(policy string, cost CostFunc) *LimitedBy {
	return &LimitedBy{s.change(func(l *limit) error { return l.setCost(policy, cost) })}
}

// Monitor returns a stage that counts and reports, but refuses nothing. It is FailOpen, too, unless
// OnFailure comes after it.
func (s *LimitedBy) Monitor() *LimitedBy {
	return &LimitedBy{s.change((*limit).monitor)}
}

// OnFailure returns a stage that does something else than FailClosed when the limiter cannot decide.
func (s *LimitedBy) OnFailure(f Failure) *LimitedBy {
	return &LimitedBy{s.change(func(l *limit) error { return l.setFailure(f) })}
}
