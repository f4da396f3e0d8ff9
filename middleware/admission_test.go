package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// stale answers ErrStale until the request carries the epoch.
func stale(epoch int64, asked *[]ratelimit.Request) limiterFunc {
	return func(r ratelimit.Request) (ratelimit.Decision, error) {
		*asked = append(*asked, r)
		if r.Epoch != epoch {
			return ratelimit.Decision{}, ratelimit.ErrStale
		}
		return allow(r)
	}
}

func TestStaleIdentityIsRefreshedAndAskedAgain(t *testing.T) {
	t.Parallel()
	who := demoCallers()
	who.refreshed = map[string]*authkey.Identity{goodKey: {Org: "acme", Project: "moved", Key: "07key", Plan: "gold", Epoch: 2}}
	var asked []ratelimit.Request
	a, _, refusal := admit(t, middleware.Authenticate(who).RateLimit(stale(2, &asked), ratelimit.PerMinute(10)), request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if len(asked) != 2 || asked[0].Plan != "" || asked[1].Project != "moved" || asked[1].Plan != "gold" || asked[1].Epoch != 2 {
		t.Errorf("the limiter was asked %+v, want the refreshed identity the second time", asked)
	}
	if a.Identity().Project != "moved" || who.refreshes != 1 {
		t.Errorf("identity %+v after %d refreshes, want the refreshed one after 1", a.Identity(), who.refreshes)
	}
}

func TestRevokedWhileCachedIsRefused(t *testing.T) {
	t.Parallel()
	var asked []ratelimit.Request
	_, h, refusal := admit(t, middleware.Authenticate(demoCallers()).RateLimit(stale(2, &asked), ratelimit.PerMinute(10)), request("GET", "/"))
	if refusal == nil || refusal.Status != http.StatusUnauthorized || !errors.Is(refusal, authkey.ErrRevoked) {
		t.Fatalf("refusal %v, want 401 because of ErrRevoked", refusal)
	}
	if len(h) != 0 {
		t.Errorf("header %v, want none: nothing was counted", h)
	}
}

func TestGuardsAreAskedAgainAfterRefresh(t *testing.T) {
	t.Parallel()
	who := demoCallers()
	who.refreshed = map[string]*authkey.Identity{goodKey: {Org: "acme", Project: "shop", Epoch: 2}} // without scopes
	var asked []ratelimit.Request
	stage := middleware.Authenticate(who).RequireScope("search").RateLimit(stale(2, &asked), ratelimit.PerMinute(10))
	_, _, refusal := admit(t, stage, request("GET", "/"))
	if refusal == nil || refusal.Code != middleware.CodeScope {
		t.Errorf("refusal %v, want %s", refusal, middleware.CodeScope)
	}
	if len(asked) != 1 {
		t.Errorf("the limiter was asked %d times, want 1: nothing is charged for who may not", len(asked))
	}
}

func TestEndlessStalenessIsUnavailable(t *testing.T) {
	t.Parallel()
	who := demoCallers()
	who.refreshed = who.known
	var asked []ratelimit.Request
	_, _, refusal := admit(t, middleware.Authenticate(who).RateLimit(stale(2, &asked), ratelimit.PerMinute(10)), request("GET", "/"))
	if refusal == nil || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("refusal %v, want 503", refusal)
	}
	if len(asked) != 3 {
		t.Errorf("the limiter was asked %d times, want 3", len(asked))
	}
}

func TestOutageIsNever401Or429(t *testing.T) {
	t.Parallel()
	down := limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) {
		return ratelimit.Decision{}, ratelimit.ErrUnavailable
	})
	who := demoCallers()
	limited := middleware.Authenticate(who).RateLimit(down, ratelimit.PerMinute(10))
	_, h, refusal := admit(t, limited, request("GET", "/"))
	if refusal == nil || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter <= 0 || len(h) != 0 {
		t.Errorf("limiter down: refusal %v, header %v, want 503 with a Retry-After and no fields", refusal, h)
	}
	if a, h, refusal := admit(t, limited.OnFailure(middleware.FailOpen), request("GET", "/")); refusal != nil || len(h) != 0 || len(a.Decision().Results) != 0 {
		t.Errorf("limiter down, open: refusal %v, header %v, want a pass that tells nothing of limits", refusal, h)
	}
	who.err = authkey.ErrUnavailable
	if _, _, refusal := admit(t, limited.OnFailure(middleware.FailOpen), request("GET", "/")); refusal == nil || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("store down: refusal %v, want 503, also where limits are open", refusal)
	}
}

// Whoever hangs up at the right moment would else be served without a limit.
func TestHangingUpDoesNotOpen(t *testing.T) {
	t.Parallel()
	ctx, hangUp := context.WithCancel(t.Context())
	limiter := limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) {
		hangUp()
		return ratelimit.Decision{}, errors.Join(ratelimit.ErrUnavailable, ctx.Err())
	})
	stage := middleware.Authenticate(demoCallers()).RateLimit(limiter, ratelimit.PerMinute(10)).OnFailure(middleware.FailOpen)
	if _, _, refusal := admit(t, stage, request("GET", "/").WithContext(ctx)); refusal == nil || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("refusal %v, want 503", refusal)
	}
}

func TestPoliciesOfNestedStagesAreDistinct(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(demoCallers())
	group := auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(1000))
	outer, _, refusal := admit(t, group, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	route := auth.RateLimit(limiterFunc(allow), ratelimit.PerSecond(10))
	if _, _, refusal := admit(t, route, outer.Request()); refusal == nil || refusal.Status != http.StatusInternalServerError || !strings.Contains(refusal.Error(), "Named") {
		t.Errorf("two policies of one name: refusal %v, want 500 that tells to use Named", refusal)
	}
	for name, policy := range map[string]ratelimit.Policy{
		"another name":      ratelimit.PerSecond(10).Named("burst"),
		"another partition": ratelimit.PerSecond(10).By(ratelimit.ByOrg),
	} {
		if _, _, refusal := admit(t, auth.RateLimit(limiterFunc(allow), policy), outer.Request()); refusal != nil {
			t.Errorf("%s: %v", name, refusal)
		}
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	var asked []ratelimit.Request
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		asked = append(asked, r)
		d, err := allow(r)
		if r.Charges[0].Cost > 50 {
			d.Allowed, d.Results[0].Exceeded, d.Results[0].Remaining = false, true, 3
		}
		return d, err
	})
	stage := middleware.Authenticate(demoCallers()).
		RateLimit(limiter, ratelimit.PerSecond(10), ratelimit.PerSecond(100).Named("elements")).
		Cost("elements", middleware.Later)
	a, h, refusal := admit(t, stage, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if got := asked[0].Charges[1].Cost; got != 0 {
		t.Errorf("before the handler the policy was charged %d, want 0", got)
	}
	ctx := a.Request().Context()
	if err := a.Take(ctx, h, "elements", 40); err != nil {
		t.Fatalf("Take of what fits: %v", err)
	}
	if c := asked[1].Charges; len(c) != 1 || c[0].Policy.Name != "elements" || c[0].Cost != 40 {
		t.Errorf("Take charged %+v, want elements by 40 alone", c)
	}
	if got, want := h.Get("RateLimit"), `"requests";r=9;t=2, "elements";r=60;t=2`; got != want {
		t.Errorf("RateLimit: %s, want %s", got, want)
	}
	err := a.Take(ctx, h, "elements", 60)
	var taken *middleware.Error
	if !errors.As(err, &taken) || taken.Status != http.StatusTooManyRequests || !slices.Equal(violated(taken), []string{"elements"}) {
		t.Errorf("Take of too much: %v, want 429 by elements", err)
	}
	if got := h.Get("RateLimit"); !strings.Contains(got, `"elements";r=3`) {
		t.Errorf("RateLimit after the refusal: %s, want r=3 for elements", got)
	}
	for name, err := range map[string]error{"unknown policy": a.Take(ctx, h, "rows", 1), "negative": a.Take(ctx, h, "elements", -1)} {
		if err == nil || errors.As(err, &taken) && taken.Status == 0 {
			t.Errorf("Take, %s: %v, want an error", name, err)
		}
	}
	if len(asked) != 3 {
		t.Errorf("the limiter was asked %d times, want 3", len(asked))
	}
}

func TestAfterTheEnd(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	stage := middleware.Authenticate(demoCallers()).RateLimit(limiterFunc(allow), ratelimit.PerMinute(10)).Meter(book, "stores", "search")
	a, h, refusal := admit(t, stage, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	a.Done(200, 0)
	h.Del("RateLimit")
	if err := a.Take(t.Context(), h, "requests", 1); err == nil || h.Get("RateLimit") != "" {
		t.Errorf("Take after the end: %v, header %v; want an error that touches nothing", err, h)
	}
	if err := a.Count("stores", "rows", 1); err == nil || len(book.rows) != 1 {
		t.Errorf("Count after the end: %v, counted %+v; want an error and one row", err, book.rows)
	}
}

func TestTakeChargesTheInnermostStage(t *testing.T) {
	t.Parallel()
	var asked []ratelimit.Request
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		asked = append(asked, r)
		return allow(r)
	})
	auth := middleware.Authenticate(demoCallers())
	outer, _, refusal := admit(t, auth.RateLimit(limiter, ratelimit.PerMinute(10).By(ratelimit.ByOrg)), request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	inner, h, refusal := admit(t, auth.RateLimit(limiter, ratelimit.PerSecond(5)), outer.Request())
	if refusal != nil {
		t.Fatal(refusal)
	}
	if got, want := h.Get("RateLimit-Policy"), `"requests";q=10;w=60, "requests";q=5;w=1`; got != want {
		t.Errorf("RateLimit-Policy: %s, want %s: partitions are told apart", got, want)
	}
	if err := inner.Take(t.Context(), h, "requests", 2); err != nil {
		t.Fatal(err)
	}
	if got := asked[2].Charges[0].Policy.Partition; got != ratelimit.ByProject {
		t.Errorf("Take charged the policy by %s, want the one by project", got)
	}
}

func TestViolatedNamesWhatRefused(t *testing.T) {
	t.Parallel()
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		d, err := allow(r)
		for i := range d.Results {
			d.Results[i].Exceeded, d.Results[i].Monitor = true, r.Charges[i].Policy.Monitor
		}
		d.Allowed = false
		return d, err
	})
	stage := middleware.Authenticate(demoCallers()).RateLimit(limiter, ratelimit.PerMinute(10), ratelimit.PerHour(10).Named("watched").Monitored())
	if _, _, refusal := admit(t, stage, request("GET", "/")); refusal == nil || !slices.Equal(violated(refusal), []string{"requests"}) {
		t.Errorf("refusal %+v, want requests alone as violated", refusal)
	}
}

func TestPaymentRequired(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		exceeded [2]bool // the quota, the rate
		want     int
	}{
		"quota alone":    {[2]bool{true, false}, http.StatusPaymentRequired},
		"rate alone":     {[2]bool{false, true}, http.StatusTooManyRequests},
		"quota and rate": {[2]bool{true, true}, http.StatusTooManyRequests},
	} {
		limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
			d, err := allow(r)
			d.Allowed = false
			for i := range d.Results {
				d.Results[i].Exceeded, d.Results[i].Payment = c.exceeded[i], r.Charges[i].Policy.Payment
			}
			return d, err
		})
		stage := middleware.Authenticate(demoCallers()).RateLimit(limiter, ratelimit.Quota(10, ratelimit.Monthly(1, nil)).Paid(), ratelimit.PerSecond(1))
		if _, _, refusal := admit(t, stage, request("GET", "/")); refusal == nil || refusal.Status != c.want {
			t.Errorf("%s: refusal %v, want %d", name, refusal, c.want)
		}
	}
}

// What a stage calls may ask the admission: nothing is held meanwhile.
func TestObserversMayAskTheAdmission(t *testing.T) {
	t.Parallel()
	var a *middleware.Admission
	var told []error
	observer := middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) {
		if e.Step == middleware.StepHandler || e.Step == middleware.StepTake {
			told = append(told, a.Count("stores", "bytes", 1))
		}
	}))
	book := &ledger{}
	stage := middleware.Authenticate(demoCallers(), observer).RateLimit(limiterFunc(allow), ratelimit.PerMinute(10)).Meter(book, "stores", "search")
	a, h, refusal := admit(t, stage, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if err := a.Take(t.Context(), h, "requests", 1); err != nil {
		t.Fatal(err)
	}
	a.Done(200, 10)
	if len(told) != 2 || told[0] != nil || told[1] == nil || len(book.rows) != 2 {
		t.Errorf("Count answered %v, counted %+v; want it to count before the end and to refuse after", told, book.rows)
	}
}

func TestNoStageWithinOneThatIsDone(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(demoCallers())
	a, _, refusal := admit(t, auth, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	late := a.Request()
	a.Done(503, 0)
	if _, _, refusal := admit(t, auth.RequireScope("search"), late); refusal == nil || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("refusal %v, want 503", refusal)
	}
}

func TestNestedAuthentication(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(demoCallers())
	outer, _, refusal := admit(t, auth, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, _, refusal := admit(t, middleware.Authenticate(demoCallers()), outer.Request()); refusal != nil {
		t.Errorf("the same sources: %v, want the credential that was taken out to serve again", refusal)
	}
	other := middleware.Authenticate(demoCallers(), middleware.WithSources(middleware.Header("X-Admin-Key")))
	if _, _, refusal := admit(t, other, outer.Request()); refusal == nil || refusal.Code != middleware.CodeMissing {
		t.Errorf("other sources: %v, want %s: the credential of another place is not one", refusal, middleware.CodeMissing)
	}
}

func TestUsageIsCountedOnceWhenTheOutermostIsDone(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	auth := middleware.Authenticate(demoCallers())
	metered := auth.Meter(book, "stores", "search").Source(func(*http.Request) string { return "web" })
	outer, _, refusal := admit(t, auth, request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	inner, _, refusal := admit(t, metered, outer.Request())
	if refusal != nil {
		t.Fatal(refusal)
	}
	if inner != outer {
		t.Error("a stage within another opened an admission of its own")
	}
	if err := inner.Count("stores", "rows", 7); err != nil {
		t.Fatal(err)
	}
	inner.Done(200, 10)
	if len(book.rows) != 0 {
		t.Error("counted before the outermost stage was done")
	}
	outer.Done(200, 10)
	outer.Done(200, 10) // what no adapter does
	if len(book.rows) != 2 {
		t.Fatalf("counted %+v, want two rows", book.rows)
	}
	for i, want := range []middleware.Usage{
		{Org: "acme", Project: "shop", Product: "stores", Kind: "search", Source: "web", Units: 1},
		{Org: "acme", Project: "shop", Product: "stores", Kind: "rows", Source: "web", Units: 7},
	} {
		got := book.rows[i]
		if got.At.IsZero() {
			t.Error("usage without a time")
		}
		got.At = want.At
		if got != want {
			t.Errorf("row %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestRefusedWithinIsNotCounted(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	auth := middleware.Authenticate(demoCallers())
	outer, _, refusal := admit(t, auth.Meter(book, "all", "calls"), request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, _, refusal := admit(t, auth.RequireScope("root"), outer.Request()); refusal == nil {
		t.Fatal("a scope that nobody has was not required")
	}
	outer.Done(403, 0)
	if len(book.rows) != 0 {
		t.Errorf("counted %+v for a refused request", book.rows)
	}
}

func TestCountNeedsAMeter(t *testing.T) {
	t.Parallel()
	a, _, refusal := admit(t, middleware.Authenticate(demoCallers()), request("GET", "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if err := a.Count("stores", "rows", 1); err == nil {
		t.Error("Count without a Meter is no error")
	}
}

func TestEventsTellEachStep(t *testing.T) {
	t.Parallel()
	var events []middleware.Event
	observer := middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) { events = append(events, e) }))
	refuse := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		d, err := allow(r)
		d.Results[0].Exceeded = true
		d.Allowed = r.Charges[0].Policy.Monitor
		return d, err
	})
	limited := middleware.Authenticate(demoCallers(), observer).RateLimit(refuse, ratelimit.PerMinute(1))
	for _, c := range []struct {
		stage middleware.Stage
		want  []middleware.Outcome
	}{
		{limited, []middleware.Outcome{middleware.OutcomeAllowed, middleware.OutcomeRefused}},
		{limited.Monitor(), []middleware.Outcome{middleware.OutcomeAllowed, middleware.OutcomeMonitored, middleware.OutcomeAllowed}},
	} {
		events = nil
		if a, _, refusal := admit(t, c.stage, request("GET", "/")); refusal == nil {
			a.Done(204, 0)
		}
		var got []middleware.Outcome
		for _, e := range events {
			got = append(got, e.Outcome)
			if e.Endpoint != "GET /v1/search" || e.Request == nil {
				t.Errorf("event %+v lacks its endpoint or request", e)
			}
			if e.Step != middleware.StepAuthenticate && e.Request.Header.Get("X-Api-Key") != "" {
				t.Errorf("event of %s shows the credential", e.Step)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("outcomes %v, want %v", got, c.want)
		}
	}
}

func TestCauseStaysPrivate(t *testing.T) {
	t.Parallel()
	who := demoCallers()
	who.err = errors.Join(authkey.ErrUnavailable, errors.New("dial tcp 10.1.2.3:6379: refused"))
	_, _, refusal := admit(t, middleware.Authenticate(who), request("GET", "/"))
	w := httptest.NewRecorder()
	refusal.Render(w, request("GET", "/"))
	if body := w.Body.String(); strings.Contains(body, "10.1.2.3") || !strings.Contains(body, `"code":"unavailable"`) {
		t.Errorf("body %s shows the cause, or not the code", body)
	}
	if !strings.Contains(refusal.Error(), "10.1.2.3") {
		t.Errorf("Error() = %q hides the cause from logs", refusal.Error())
	}
}

func TestFromContextWithoutStage(t *testing.T) {
	t.Parallel()
	if a, ok := middleware.FromContext(context.Background()); ok || a != nil {
		t.Errorf("FromContext = %v, %v without a stage", a, ok)
	}
}
