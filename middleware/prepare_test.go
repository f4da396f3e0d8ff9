package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// preparer is a limiter that knows what it prepared and what that was asked.
type preparer struct {
	limit  int64 // the effective one
	made   []ratelimit.Request
	calls  []ratelimit.Call
	direct int // how often the limiter itself was asked
	err    error
}

func (p *preparer) Admit(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	p.direct++
	return p.decide(r)
}

func (p *preparer) decide(r ratelimit.Request) (ratelimit.Decision, error) {
	d, err := allow(r)
	for i := range d.Results {
		d.Results[i].Limit, d.Results[i].Remaining = p.limit, p.limit-r.Charges[i].Cost
		d.Results[i].Candidate = r.Charges[i].Policy.Candidate
	}
	return d, err
}

func (p *preparer) prepare(r ratelimit.Request) (middleware.Prepared, error) {
	p.made = append(p.made, r)
	return question{p, r}, p.err
}

// question is what a preparer prepared. It is stale under any epoch but that of the refreshed identity, if there is one.
type question struct {
	*preparer
	request ratelimit.Request
}

func (q question) Admit(_ context.Context, call ratelimit.Call, d *ratelimit.Decision) error {
	q.preparer.calls = append(q.preparer.calls, call)
	if call.Epoch < 0 {
		return ratelimit.ErrStale
	}
	r := q.request
	if call.Costs != nil {
		r.Charges = slices.Clone(r.Charges)
		for i, cost := range call.Costs {
			r.Charges[i].Cost = cost
		}
	}
	decided, err := q.decide(r)
	decided.Results = append(d.Results[:0], decided.Results...)
	*d = decided
	return err
}

// noted returns callers whose one identity keeps notes.
func noted() *callers {
	who := demoCallers()
	who.known[goodKey].Notes = new(authkey.Notes)
	return who
}

// passing sends requests to a stage, and returns what the last one's fields tell.
func passing(t *testing.T, s middleware.Stage, requests int) (a *middleware.Admission, fields string) {
	t.Helper()
	for range requests {
		var refusal *middleware.Error
		var h http.Header
		if a, h, refusal = admit(t, s, request("GET", "/")); refusal != nil {
			t.Fatal(refusal)
		}
		fields = h.Get("RateLimit-Policy") + " " + h.Get("RateLimit")
	}
	return a, fields
}

func TestLimitIsPreparedOnce(t *testing.T) {
	t.Parallel()
	p := &preparer{limit: 10}
	stage := middleware.PreparedBy(middleware.Authenticate(noted()).RateLimit(p, ratelimit.PerMinute(10)), p.prepare)
	if _, got := passing(t, stage, 4); got != `"requests";q=10;w=60 "requests";r=9;t=2` {
		t.Errorf("fields %s", got)
	}
	if len(p.made) != 1 || len(p.calls) != 3 || p.direct != 1 {
		t.Errorf("prepared %d times, asked %d times, and the limiter itself %d; want 1, 3 and the first", len(p.made), len(p.calls), p.direct)
	}
	if r := p.made[0]; r.Org != "acme" || r.Project != "shop" || r.Key != "07key" || r.Endpoint != "GET /v1/search" || r.Epoch != 0 || len(r.Charges) != 1 {
		t.Errorf("prepared %+v", r)
	}
	if call := p.calls[0]; call.Epoch != 1 || call.Token != nil || call.Costs != nil {
		t.Errorf("asked %+v, want the identity's epoch", call)
	}
	p.limit = 7 // as by an override
	if _, got := passing(t, stage, 1); got != `"requests";q=7;w=60 "requests";r=6;t=2` {
		t.Errorf("fields after a change %s", got)
	}
}

// Each endpoint has counts of its own, each identity too, and each stage has policies of its own.
func TestPreparedForOneEndpoint(t *testing.T) {
	t.Parallel()
	p := &preparer{limit: 10}
	stage := middleware.PreparedBy(middleware.Authenticate(noted()).RateLimit(p, ratelimit.PerMinute(10)), p.prepare)
	for _, endpoint := range []string{"GET /a", "GET /b"} {
		for range 2 {
			if _, refusal := stage.Admit(http.Header{}, request("GET", "/"), endpoint); refusal != nil {
				t.Fatal(refusal)
			}
		}
	}
	if len(p.made) != 2 || p.made[0].Endpoint != "GET /a" || p.made[1].Endpoint != "GET /b" {
		t.Errorf("prepared %+v, want one for each endpoint", p.made)
	}
	passing(t, stage.OnFailure(middleware.FailOpen), 2)
	if len(p.made) != 3 {
		t.Errorf("another stage went on with what was prepared for this one")
	}
}

func TestNotPrepared(t *testing.T) {
	t.Parallel()
	text := func(*http.Request) string { return "here" }
	for name, row := range map[string]struct {
		who   *callers
		stage func(*middleware.Authenticated, *preparer) *middleware.Limited
		err   error
	}{
		"an identity that is not cached": {demoCallers(), func(a *middleware.Authenticated, p *preparer) *middleware.Limited {
			return a.RateLimit(p, ratelimit.PerMinute(10))
		}, nil},
		"a partition of the request": {noted(), func(a *middleware.Authenticated, p *preparer) *middleware.Limited {
			return a.RateLimit(p, ratelimit.PerMinute(10).By("region")).Partition("region", text)
		}, nil},
		"what cannot be": {noted(), func(a *middleware.Authenticated, p *preparer) *middleware.Limited {
			return a.RateLimit(p, ratelimit.PerMinute(10))
		}, ratelimit.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &preparer{limit: 10, err: row.err}
			passing(t, middleware.PreparedBy(row.stage(middleware.Authenticate(row.who), p), p.prepare), 3)
			if p.direct != 3 || len(p.calls) != 0 {
				t.Errorf("the limiter was asked %d times, what it prepared %d; want 3 and 0", p.direct, len(p.calls))
			}
		})
	}
}

func TestPreparedIsToldCosts(t *testing.T) {
	t.Parallel()
	p := &preparer{limit: 10}
	stage := middleware.Authenticate(noted()).
		RateLimit(p, ratelimit.PerMinute(10), ratelimit.PerHour(10).Named("rows"), ratelimit.PerSecond(10).Named("later").InPlaceOf("rows")).
		Cost("rows", func(*http.Request) (int64, error) { return 4, nil })
	_, got := passing(t, middleware.PreparedBy(stage, p.prepare), 2)
	if want := `"requests";r=9;t=2, "rows";r=6;t=2`; got[len(got)-len(want):] != want {
		t.Errorf("fields %s, want %s", got, want)
	}
	if len(p.calls) != 1 || !slices.Equal(p.calls[0].Costs, []int64{1, 4, 4}) {
		t.Errorf("asked %+v, want the cost of each charge, of a candidate that of its live policy", p.calls)
	}
}

// What was prepared for an identity ends with it.
func TestRefreshedIdentityHasNotesOfItsOwn(t *testing.T) {
	t.Parallel()
	who := noted()
	p := &preparer{limit: 10}
	stage := middleware.PreparedBy(middleware.Authenticate(who).RateLimit(p, ratelimit.PerMinute(10)), p.prepare)
	passing(t, stage, 2)
	old := *who.known[goodKey]
	old.Epoch = -1
	who.known[goodKey] = &old
	who.refreshed = map[string]*authkey.Identity{goodKey: {Org: "acme", Project: "moved", Epoch: 2, Notes: new(authkey.Notes)}}
	var a *middleware.Admission
	for range 2 {
		if a, _ = passing(t, stage, 1); a.Identity().Project != "moved" {
			t.Fatalf("identity %+v", a.Identity())
		}
	}
	if len(p.made) != 2 || p.made[0].Project != "shop" || p.made[1].Project != "moved" {
		t.Errorf("prepared %+v, want one for each identity", p.made)
	}
}

// The charges of a stage are those of all its requests: what one request makes of them is its own.
func TestRefundChangesNoOtherRequest(t *testing.T) {
	t.Parallel()
	back := &refunder{preparer: preparer{limit: 10}}
	stage := middleware.PreparedBy(middleware.Authenticate(noted()).RateLimit(back, ratelimit.PerMinute(10)), back.prepare)
	for i := range 3 {
		a, _ := passing(t, stage, 1)
		if err := a.Refund(t.Context(), nil, "requests", 1); err != nil {
			t.Errorf("request %d: %v", i+1, err)
		}
		if err := a.Refund(t.Context(), nil, "requests", 1); err == nil {
			t.Errorf("request %d gave back more than it took", i+1)
		}
	}
	if back.refunded != 3 {
		t.Errorf("%d units were given back, want 3", back.refunded)
	}
}

// refunder is a preparer that takes back.
type refunder struct {
	preparer
	refunded int64
}

func (r *refunder) Refund(_ context.Context, request ratelimit.Request, _ time.Time) (ratelimit.Decision, error) {
	for _, c := range request.Charges {
		r.refunded += c.Cost
	}
	return r.decide(request)
}

func (r *refunder) Settle(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, errors.New("nothing is held")
}

func (r *refunder) Renew(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, errors.New("nothing is held")
}

// Decisions that observers were told of stay as they were, whatever the request does then.
func TestObserversMayKeepDecisions(t *testing.T) {
	t.Parallel()
	var kept []*ratelimit.Decision
	observer := middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) {
		if e.Decision != nil {
			kept = append(kept, e.Decision)
		}
	}))
	p := &preparer{limit: 10}
	stage := middleware.PreparedBy(middleware.Authenticate(noted(), observer).RateLimit(p, ratelimit.PerMinute(10)), p.prepare)
	a, _ := passing(t, stage, 2)
	if err := a.Take(t.Context(), nil, "requests", 5); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, d := range kept {
		got = append(got, d.Results[0].Remaining)
	}
	if !slices.Equal(got, []int64{9, 9, 5}) || a.Decision().Results[0].Remaining != 5 {
		t.Errorf("decisions tell %v, the admission %+v; want 9, 9, 5 and 5", got, a.Decision())
	}
}

// tallier is a Recorder with counts at hand.
type tallier struct {
	ledger
	asked []middleware.Usage
	added []int64
}

func (m *tallier) Tally(u middleware.Usage) middleware.Tally {
	m.asked = append(m.asked, u)
	return m
}

func (m *tallier) Add(units int64, at time.Time) {
	if at.IsZero() {
		units = -1
	}
	m.added = append(m.added, units)
}

func TestUsageIsCountedOnTheIdentity(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		who           *callers
		source        bool
		tallies, rows int
	}{
		"cached":              {noted(), false, 1, 0},
		"not cached":          {demoCallers(), false, 0, 3},
		"of different source": {noted(), true, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book := &tallier{}
			stage := middleware.Authenticate(row.who).Meter(book, "stores", "search")
			if row.source {
				stage = stage.Source(func(*http.Request) string { return "web" })
			}
			for range 3 {
				a, _ := passing(t, stage, 1)
				a.Done(http.StatusOK, 0)
			}
			if len(book.asked) != row.tallies || len(book.added) != 3*row.tallies || len(book.rows) != row.rows || slices.Contains(book.added, -1) {
				t.Errorf("%d tallies were asked for, %v added, %d rows recorded; want %d, 1 for each request, %d", len(book.asked), book.added, len(book.rows), row.tallies, row.rows)
			}
			if row.tallies > 0 && (book.asked[0].Org != "acme" || book.asked[0].Project != "shop" || book.asked[0].Product != "stores" || book.asked[0].Kind != "search") {
				t.Errorf("asked for the tally of %+v", book.asked[0])
			}
		})
	}
}

// What a handler adds is named by itself, so it is recorded.
func TestCountIsRecordedBesideATally(t *testing.T) {
	t.Parallel()
	book := &tallier{}
	a, _ := passing(t, middleware.Authenticate(noted()).Meter(book, "stores", "search"), 1)
	if err := a.Count("stores", "rows", 7); err != nil {
		t.Fatal(err)
	}
	a.Done(http.StatusOK, 0)
	if !slices.Equal(book.added, []int64{1}) || len(book.rows) != 1 || book.rows[0].Kind != "rows" || book.rows[0].Units != 7 {
		t.Errorf("added %v, recorded %+v; want 1 and the rows", book.added, book.rows)
	}
}
