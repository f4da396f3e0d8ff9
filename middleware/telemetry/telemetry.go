// Package telemetry shows Prometheus what Tollgate does: how requests were decided, how long each step
// took, how the caches and Redis fare, and whether usage reaches Redis.
//
//	metrics, err := telemetry.New(
//		telemetry.WithVerifier(verifier), telemetry.WithLimiter(limiter), telemetry.WithMeter(usage),
//		telemetry.WithRedis(rdb), telemetry.WithIssuers(cache),
//	)
//	prometheus.MustRegister(metrics)
//
//	auth := middleware.Authenticate(verifier, middleware.WithObserver(metrics))
//
// The metrics:
//
//	tollgate_decisions_total{step,outcome,code,endpoint}  what each step decided
//	tollgate_step_duration_seconds{step}                  how long it took; step "handler" is the handler
//	tollgate_redis_errors_total{step,class}               outages; steps "flush" of the meter, "export", "info" of WithRedis
//	tollgate_redis_masters{eviction}                      off; on or latent: a policy drops keys, alert on it
//	tollgate_redis_evicted_keys_total                     keys that were dropped: alert on it
//	tollgate_cache_lookups_total{cache,result}            keys: hit, negative_hit, miss; overrides: hit, miss
//	tollgate_cache_entries{cache}                         keys, unknown_keys, overrides
//	tollgate_store_errors_total                           look-ups that the store of keys did not answer
//	tollgate_throttled_lookups_total                      look-ups that WithUnknownRate kept from the store
//	tollgate_rehashes_total{result}                       moved: digests under the current pepper now; failed: to be
//	tollgate_stale_answers_total                          answers of Redis that a change had made old
//	tollgate_candidate_decisions_total{policy,candidate,verdict}  what a candidate makes of decisions, see below
//	tollgate_superseded_credential_requests_total{credential}  who still uses an outgoing credential, see below
//	tollgate_limit_local_decisions_total{result}          allowed, refused: what the local share decided while Redis was away
//	tollgate_limit_local_counts                           counts that it keeps in memory
//	tollgate_limit_replicas                               processes that the limits are divided by then
//	tollgate_breaker_open{part}                           Redis servers that are left alone, for they failed: keys, limits
//	tollgate_limiters_off                                 limiters with SetOff on: they decide nothing
//	tollgate_limiters_monitored                           limiters with SetMonitor on: they refuse nobody
//	tollgate_overrides_ending{within}                     overrides to renew or let go: 1h, 1d, 7d, see below
//	tollgate_usage_recorded_units_total                   units that the meter took in
//	tollgate_usage_flushed_units_total                    units that Redis has
//	tollgate_usage_dropped_units_total                    units that were lost: alert on it
//	tollgate_usage_invalid_records_total                  calls of Record that were out of bounds
//	tollgate_usage_pending_units                          what Redis has not yet: a crash loses what is not journaled
//	tollgate_usage_journaled_units                        what of it a journal keeps
//	tollgate_usage_loss_bound_seconds                     how far back the rest reaches, the most of all meters
//	tollgate_usage_replayed_units_total                   units of processes that died, from their journals
//	tollgate_usage_unsure_units_total                     units in journals that were set aside: alert on it
//	tollgate_usage_journal_errors_total                   faults of journals, as of a full disk: alert on it
//	tollgate_usage_pending_names                          how much of WithMaxPending is taken
//	tollgate_usage_oldest_pending_seconds                 how far flushing is behind: alert on it
//	tollgate_export_events_total                          events of usage that the sink of WithExporter accepted
//	tollgate_export_units_total                           units of these
//	tollgate_export_sink_failures_total                   calls of the sink that failed
//	tollgate_export_due_hours                             hours of orgs that the last pass left
//	tollgate_export_behind_seconds                        time since the first of them was over: alert on it
//	tollgate_issuer_key_sets{issuer,state}                fresh; stale: should be newer; none: alert on it, see below
//	tollgate_issuer_keys{issuer}                          keys in memory
//	tollgate_issuer_key_age_seconds{issuer}               how old they are, the oldest of a label
//	tollgate_issuer_fetches_total{issuer,result}          ok, failed
//	tollgate_issuer_fetch_seconds_total{issuer}           how long fetches took together
//	tollgate_issuer_missing_keys_total{issuer,result}     unknown kids; looked: for a newer set; cooled_down: not again so soon
//	tollgate_issuer_stale_keys_used_total{issuer}         look-ups that a stale set answered
//
// tollgate_overrides_ending counts the overrides that are active and end within the time; those of an hour are
// among those of a day. A limiter knows of the orgs that it has in memory, and of each as it was at its last
// request. So replicas see different parts and many the same ones: alert on the max over them, not on a sum. The
// list of the admin route (package middleware/admin) names them, for one org at a time.
//
// A verdict is agree_allow, agree_refuse, would_refuse or would_allow, as package ratelimit has them.
// [Candidates] tells for which projects most.
//
// tollgate_superseded_credential_requests_total counts requests with a good credential that a rotation
// replaced. Its label is the public id: where that does not rise any more, the credential can be revoked before it
// ends. Up to 100 have a label of their own until they end, all others share [Other]; a process tells of those that
// it was shown.
//
// An issuer in state none has no keys that can be used: its tokens are answered with 503. One whose state is stale for
// long is about to get there: look at the fetches that failed. A process tells of an issuer once its cache was asked
// for it. Whoever sends tokens with made-up kids moves tollgate_issuer_missing_keys_total, and cools down.
//
// Where nobody can tell whether a token is revoked, tollgate_decisions_total has the code "unavailable". Its outcome is
// "failed" where that refused the request with 503: in step "authenticate" where the verifier looked and in step
// "rate_limit" where the limiter did, although its route fails open. It is "opened" in step "rate_limit" where the
// token may pass by bearer.WithOpenRevocations and the route fails open. What the verifier itself lets pass is told to
// the function of that option alone, and is "allowed" here. A token that is revoked is refused in step "authenticate"
// with "invalid_credential", whoever found it. In step "authenticate" tollgate_redis_errors_total counts outages of
// issuers and of introspection too.
//
// Every label has a bounded set of values, whatever clients send. No org, project or key is one, nor any credential
// but an outgoing one: what a customer used is in package meter, and this one is not for billing.
package telemetry

import (
	"errors"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// ErrInvalid says that an option is out of its bounds. Compare with errors.Is.
var ErrInvalid = errors.New("telemetry: invalid option")

var (
	_ prometheus.Collector = (*Collector)(nil)
	_ middleware.Observer  = (*Collector)(nil)
)

// Other is the label of everything beyond the bound of a label.
const Other = "other"

// flushStep is the step of a Redis error that the meter met.
const flushStep = "flush"

// buckets are seconds, from a decision in memory to a slow handler. 0.05 is the limiter's own bound.
var buckets = []float64{
	.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// Collector counts the events of stages and reads the counts of a verifier, a limiter, a meter, a Redis and issuers.
// Make it with New. Safe for concurrent use; it has nothing to close.
type Collector struct {
	config
	decisions   *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	redisErrors *prometheus.CounterVec
	candidates  *prometheus.CounterVec
	superseded  *superseded

	steps, outcomes, codes, endpoints, policies labels
}

// New returns a Collector. It starts nothing and registers itself nowhere. The error joins all that is
// wrong with the options.
func New(opts ...Option) (*Collector, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	return &Collector{
		config: c,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_decisions_total", Help: "Decisions on requests, by step, outcome, code and endpoint.",
		}, []string{"step", "outcome", "code", "endpoint"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tollgate_step_duration_seconds", Help: "Time that a step of a request took.", Buckets: buckets,
		}, []string{"step"}),
		redisErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: redisErrorsName, Help: redisErrorsHelp,
		}, redisErrorsLabels),
		candidates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_candidate_decisions_total", Help: "Decisions on a candidate beside a live policy, by verdict.",
		}, []string{"policy", "candidate", "verdict"}),
		superseded: newSuperseded(),
		// The first three are closed sets; their bounds hold for whoever else sends events.
		steps: labels{most: 16}, outcomes: labels{most: 16}, codes: labels{most: 64}, policies: labels{most: 2 * maxCandidates},
		endpoints: labels{most: c.maxEndpoints},
	}, nil
}

// Observe counts an event of a stage. It allocates nothing for an event like one that came before, unless
// that is an error.
func (c *Collector) Observe(e middleware.Event) {
	step := c.steps.label(string(e.Step))
	c.durations.WithLabelValues(step).Observe(e.Duration.Seconds())
	if e.Step == middleware.StepHandler {
		return // it decides nothing
	}
	code := "none"
	if refusal, ok := errors.AsType[*middleware.Error](e.Err); ok {
		code = c.codes.label(refusal.Code)
	}
	outcome, endpoint := c.outcomes.label(string(e.Outcome)), c.endpoints.label(e.Endpoint)
	c.decisions.WithLabelValues(step, outcome, code, endpoint).Inc()
	c.superseded.observe(&e)
	if decides(&e) {
		for r, verdict := range e.Decision.Candidates() {
			c.candidates.WithLabelValues(c.policies.label(r.Candidate), c.policies.label(r.Policy), string(verdict)).Inc()
		}
	}
	if errors.Is(e.Err, ratelimit.ErrOff) {
		return // nobody was asked
	}
	if errors.Is(e.Err, authkey.ErrUnavailable) || errors.Is(e.Err, ratelimit.ErrUnavailable) {
		c.redisErrors.WithLabelValues(step, string(lua.Classify(e.Err))).Inc()
	}
}

// labels are the values of a label: the first that come, up to a bound.
type labels struct {
	most  int
	mu    sync.RWMutex
	known map[string]string
}

// label returns what stands for a value: itself, as valid UTF-8, or Other.
func (l *labels) label(value string) string {
	l.mu.RLock()
	label, ok := l.known[value]
	full := len(l.known) >= l.most
	l.mu.RUnlock()
	if ok {
		return label
	}
	if full {
		return Other
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if label, ok := l.known[value]; ok {
		return label
	}
	if len(l.known) >= l.most {
		return Other
	}
	if l.known == nil {
		l.known = make(map[string]string)
	}
	value = strings.Clone(value)
	label = strings.ToValidUTF8(value, "\uFFFD")
	l.known[value] = label
	return label
}
