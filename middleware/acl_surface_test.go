package middleware_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// surface is all that asks something of Redis, as one user of an org of its own. The administrator puts there what
// only time or many calls would bring about.
type surface struct {
	testing.TB
	rdb   redis.UniversalClient
	admin *redis.Client
	org   string
}

// exercise does everything, and returns what failed.
func exercise(ctx context.Context, tb testing.TB, rdb redis.UniversalClient, admin *redis.Client) error {
	tb.Helper()
	s := surface{tb, rdb, admin, redistest.Org(tb)}
	var failed []error
	for _, part := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"keys", s.keys}, {"foreign keys", s.foreignKeys}, {"limits", s.limits}, {"holds", s.holds}, {"overrides", s.overrides},
		{"plans", s.plans}, {"revocations", s.revocations}, {"usage", s.usage}, {"audit", s.audit}, {"idempotency", s.idempotency},
		{"proofs", s.proofs}, {"export", s.export}, {"replicas", s.replicas}, {"storage", func(ctx context.Context) error { return ratelimit.CheckStorage(ctx, rdb) }},
	} {
		if err := part.do(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", part.name, err))
		}
	}
	return errors.Join(failed...)
}

// built returns what it is given, or fails the test: nothing here dials.
func built[T any](s surface) func(value T, err error) T {
	return func(value T, err error) T {
		s.Helper()
		if err != nil {
			s.Fatal(err)
		}
		return value
	}
}

func (s surface) keys(ctx context.Context) error {
	store := redisstore.New(s.rdb, redisstore.WithTimeout(calm))
	format := built[authkey.Format](s)(authkey.NewFormat("acme", "live"))
	issuer := built[*authkey.Issuer](s)(authkey.NewIssuer(store, format))
	verifier := built[*authkey.Verifier](s)(authkey.New(store, authkey.WithFormat(format), authkey.WithTimeout(calm)))
	record, key, err := issuer.Issue(ctx, authkey.NewKey{Org: s.org, Project: "shop"})
	if err != nil {
		return err
	}
	_, err1 := verifier.Authenticate(ctx, key)
	err2 := store.NoteUses(ctx, []authkey.Use{{Key: record.ID, Credential: record.Credentials[0].ID, At: time.Now()}})
	_, second, err3 := issuer.Rotate(ctx, s.org, record.ID, authkey.Rotation{})
	_, _, err4 := issuer.Rotate(ctx, s.org, record.ID, authkey.Rotation{})
	_, err5 := verifier.Authenticate(ctx, second)
	if errors.Is(err5, authkey.ErrRevoked) { // as it should be
		err5 = nil
	}
	_, err6 := issuer.SetProject(ctx, s.org, "shop", 0, authkey.StateSuspended, "", "test")
	_, _, err7 := store.List(ctx, s.org, "", "", 10)
	_, _, err8 := store.Projects(ctx, s.org, "", 10)
	_, err9 := issuer.SetState(ctx, s.org, record.ID, 0, authkey.StateRevoked, "test")
	return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9)
}

func (s surface) foreignKeys(ctx context.Context) error {
	store := redisstore.New(s.rdb, redisstore.WithTimeout(calm))
	issuer := built[*authkey.Issuer](s)(authkey.NewIssuer(store, built[authkey.Format](s)(authkey.NewFormat("acme", "live"))))
	verifier := built[*authkey.Verifier](s)(authkey.New(store, authkey.WithForeignKeys(), authkey.WithTimeout(calm)))
	key := authkey.NewPresented("a-key-of-another-system-" + s.org)
	_, err1 := issuer.Import(ctx, key, authkey.NewKey{Org: s.org, Project: "imported", Source: "api_keys 17"})
	_, err2 := verifier.Authenticate(ctx, key)
	return errors.Join(err1, err2)
}

func (s surface) request(policies ...ratelimit.Policy) ratelimit.Request {
	r := ratelimit.Request{Org: s.org, Project: "shop", Key: "07key", Endpoint: "GET /v1/search"}
	for _, p := range policies {
		r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: 1})
	}
	return r
}

func (s surface) limiter() *ratelimit.Limiter {
	return built[*ratelimit.Limiter](s)(ratelimit.New(s.rdb, ratelimit.WithTimeout(calm)))
}

// limits asks for every algorithm, until each refuses.
func (s surface) limits(ctx context.Context) error {
	limiter := s.limiter()
	defer limiter.Close(ctx)
	const limit = 4
	policy := ratelimit.Per(limit, 300*24*time.Hour)
	for name, p := range map[string]ratelimit.Policy{
		"sliding": policy, "fixed": policy.Fixed(), "aligned": policy.Aligned(), "bucket": policy.Bucket(limit),
		"quota": ratelimit.Quota(limit, ratelimit.Monthly(1, time.UTC)), "ahead": policy.Ahead(2),
	} {
		r := s.request(p.Named(name))
		var d ratelimit.Decision
		for i := range limit + 1 {
			var err error
			if d, err = limiter.Admit(ctx, r); err != nil || d.Allowed != (i < limit) && name != "quota" {
				return fmt.Errorf("%s, number %d: %t, %w", name, i+1, d.Allowed, cmp.Or(err, errWrong))
			}
		}
		if name == "ahead" { // what is taken ahead is not given back
			continue
		}
		_, err1 := limiter.Refund(ctx, r, time.Now())
		if err := errors.Join(err1, limiter.Reset(ctx, r)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

var errWrong = errors.New("the limiter decided wrongly")

func (s surface) holds(ctx context.Context) error {
	limiter := s.limiter()
	defer limiter.Close(ctx)
	r := s.request(ratelimit.Concurrent(1))
	key := lua.LimitKey(s.org, "project", "shop", r.Endpoint, "concurrent", lua.Concurrency)
	if err := s.admin.ZAdd(ctx, key, redis.Z{Score: 1, Member: "1:left behind"}, redis.Z{Score: -1, Member: "held"}).Err(); err != nil {
		s.Fatal(err)
	}
	first, err := limiter.Admit(ctx, r)
	if err != nil {
		return err
	}
	second, err := limiter.Admit(ctx, r)
	if err != nil || !first.Allowed || second.Allowed {
		return fmt.Errorf("%t, %t, %w", first.Allowed, second.Allowed, cmp.Or(err, errWrong))
	}
	r.Hold, r.Charges[0].Held = first.Hold, 1
	_, err1 := limiter.Renew(ctx, r)
	_, err2 := limiter.Settle(ctx, r)
	return errors.Join(err1, err2)
}

func (s surface) overrides(ctx context.Context) error {
	overrides := built[*ratelimit.Overrides](s)(ratelimit.NewOverrides(s.rdb, ratelimit.WithTimeout(calm)))
	filled := make([]any, 0, 2*lua.MaxOverrides)
	for i := range lua.MaxOverrides { // so many that the next one has to make room
		filled = append(filled, fmt.Sprint("ended", i), `{"project":"old","until":"1"}`)
	}
	if err := s.admin.HSet(ctx, lua.OverridesKey(s.org), filled...).Err(); err != nil {
		s.Fatal(err)
	}
	stored, _, err := overrides.Set(ctx, ratelimit.Override{Org: s.org, Project: "shop", Access: ratelimit.Unlimited}, ratelimit.Always)
	if err != nil {
		return err
	}
	_, err1 := overrides.List(ctx, s.org)
	limiter := s.limiter()
	defer limiter.Close(ctx)
	d, err2 := limiter.Admit(ctx, s.request(ratelimit.PerHour(1)))
	if err2 == nil && !d.Results[0].Unlimited {
		err2 = errWrong
	}
	err3 := overrides.Delete(ctx, s.org, stored.ID, ratelimit.Always)
	_, err4 := overrides.Clear(ctx, s.org, "shop")
	return errors.Join(err1, err2, err3, err4)
}

func (s surface) plans(ctx context.Context) error {
	plans := built[*ratelimit.Plans](s)(ratelimit.NewPlans(s.rdb, ratelimit.WithTimeout(calm)))
	name := s.org
	_, _, err1 := plans.Set(ctx, ratelimit.Plan{Name: name, Rules: []ratelimit.PlanRule{{Access: ratelimit.Unlimited}}}, ratelimit.Always)
	if err1 != nil {
		return err1
	}
	_, err2 := plans.List(ctx)
	limiter := s.limiter()
	defer limiter.Close(ctx)
	r := s.request(ratelimit.PerHour(1))
	r.Plan = name
	d, err3 := limiter.Admit(ctx, r)
	if err3 == nil && !d.Results[0].Unlimited {
		err3 = errWrong
	}
	return errors.Join(err2, err3, plans.Delete(ctx, name, ratelimit.Always))
}

func (s surface) revocations(ctx context.Context) error {
	const issuer = "https://login.example.com/"
	store := built[*revocation.Store](s)(revocation.New(s.rdb, revocation.WithTimeout(calm)))
	for _, id := range []string{"one", "two", "three"} {
		if _, err := store.Revoke(ctx, s.org, issuer, id, time.Now().Add(time.Hour), "test"); err != nil {
			return err
		}
	}
	page, next, err1 := store.List(ctx, s.org, "", 2)
	rest, _, err2 := store.List(ctx, s.org, next, 2)
	if err1 == nil && err2 == nil && len(page)+len(rest) != 3 {
		err2 = errWrong
	}
	limiter := s.limiter()
	defer limiter.Close(ctx)
	r := s.request(ratelimit.PerHour(1))
	r.Token = &ratelimit.Token{Issuer: issuer, ID: "one", IssuedAt: time.Now()}
	_, err3 := limiter.Admit(ctx, r)
	if errors.Is(err3, ratelimit.ErrRevoked) { // as it should be
		err3 = nil
	}
	err4 := store.Check(ctx, s.org, &authkey.Token{Issuer: issuer, ID: "four"})
	return errors.Join(err1, err2, err3, err4, store.Lift(ctx, s.org, revocation.KindToken, issuer, "two"))
}

func (s surface) usage(ctx context.Context) error {
	usage := built[*meter.Meter](s)(meter.New(s.rdb, meter.WithTimeout(calm)))
	now := time.Now()
	usage.Record(middleware.Usage{Org: s.org, Project: "shop", Product: "stores", Kind: "search", Units: 3, At: now})
	err := usage.Flush(ctx)
	ended, end := context.WithCancel(ctx)
	end()
	if closed := usage.Close(ended); err != nil {
		return errors.Join(err, closed)
	}
	reader := built[*meter.Reader](s)(meter.NewReader(s.rdb, meter.WithTimeout(calm)))
	items, err := reader.Usage(ctx, meter.Query{Org: s.org, From: now.Add(-time.Hour), To: now.Add(time.Hour)})
	if err == nil && (len(items) != 1 || items[0].Units != 3) {
		err = fmt.Errorf("%w: usage %v", errWrong, items)
	}
	return err
}

func (s surface) audit(ctx context.Context) error {
	trail := built[*auditlog.Log](s)(auditlog.New(s.rdb, auditlog.WithTimeout(calm)))
	_, _, err1 := trail.Entries(ctx, s.org, auditlog.Query{})
	_, _, err2 := trail.Entries(ctx, s.org, auditlog.Query{Order: auditlog.NewestFirst})
	_, err3 := trail.Head(ctx, s.org)
	_, err4 := trail.Verify(ctx, s.org, nil)
	return errors.Join(err1, err2, err3, err4)
}

// idempotency is what package middleware/admin asks for where a request has an Idempotency-Key.
func (s surface) idempotency(ctx context.Context) error {
	conn := built[*lua.Conn](s)(lua.NewConn(s.rdb))
	_, err1 := conn.Claim(ctx, s.org, "request", "body", "owner", calm)
	again, err2 := conn.Claim(ctx, s.org, "request", "body", "another", calm)
	if err2 == nil && again.State != lua.ClaimUnderWay {
		err2 = errWrong
	}
	err3 := conn.FinishClaim(ctx, s.org, "request", "body", "owner", "key", "credential", calm)
	_, err4 := conn.Claim(ctx, s.org, "other", "body", "owner", calm)
	return errors.Join(err1, err2, err3, err4, conn.ReleaseClaim(ctx, s.org, "other", "owner"))
}

// proofs is what package authkey/bearer/dpop asks for.
func (s surface) proofs(ctx context.Context) error {
	conn := built[*lua.Conn](s)(lua.NewConn(s.rdb))
	return conn.UseProof(ctx, s.org, "proof", time.Minute)
}

// export is what package middleware/meter/export asks for.
func (s surface) export(ctx context.Context) error {
	conn := built[*lua.Conn](s)(lua.NewConn(s.rdb))
	hour := time.Now().Add(-3 * time.Hour).Truncate(time.Hour).Unix()
	err := conn.AddUsage(ctx, lua.UsageBatch{
		Org: s.org, Hour: hour, Process: "process", Number: 1, Keep: time.Hour,
		Entries: []lua.UsageEntry{{UsageName: lua.UsageName{Project: "shop", Product: "stores", Kind: "search"}, Units: 3}},
	})
	if err != nil {
		return err
	}
	_, err1 := conn.DueUsage(ctx, bucket.Of(s.org), 0, 0, 10)
	claim, err2 := conn.ClaimUsage(ctx, lua.UsageHour{Org: s.org, Hour: hour}, nil, 10)
	if err2 == nil {
		_, err2 = conn.SettleUsage(ctx, claim)
	}
	return errors.Join(err1, err2)
}

// replicas is what ratelimit.WithReplicas asks for.
func (s surface) replicas(ctx context.Context) error {
	conn := built[*lua.Conn](s)(lua.NewConn(s.rdb))
	_, err1 := conn.Beat(ctx, s.org, "process", time.Minute)
	_, err2 := conn.Beat(ctx, s.org, "process", 0)
	return errors.Join(err1, err2)
}
