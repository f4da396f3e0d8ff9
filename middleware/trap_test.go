package middleware_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Traps that others who check keys fell into, and the tests that keep them shut; those of this file are TestTrap….
//
//	underscore in the brand               TestTrapUnderscoreInBrand; authkey: TestNewFormatRefuses
//	key with characters appended          TestTrapCharactersAppended; authkey: TestMintAndParse, TestImport
//	digest presented as a key             TestTrapDigestAsKey; authkey: TestDigestIsNoKey
//	revocation during a cache fill        authkey: TestRefreshDoesNotTrustAnEarlierLookup; TestChangeActsOnTheNextRequestUnderLoad
//	revocation while a replica lags       authkey: TestLaggingReadUndoesNothing
//	negative entry, then the key is made  authkey: TestNegativeEntryThenCreate
//	flood of unknown keys                 authkey: TestFloodOfUnknownKeysEvictsNothingGood
//	twenty Authorization fields           TestTrapTwentyAuthorizationFields
//	same key in header and query          TestTrapSameKeyInHeaderAndQuery
//	empty Bearer, bearer in lower case    TestTrapBearer; adapters/adaptertest: Credential/Bearer…
//	IPv4 in IPv6 against an IPv4 network  TestTrapFourInSixAgainstIPv4Network
//	missing Referer                       TestTrapMissingReferer
//	forged X-Forwarded-For                TestTrapForwardedForIsSpoofed
//	end of a key during its cache life    TestTrapEndDuringCacheLife; authkey: TestTimesAreJudgedWhileCached
//	skewed clocks                         TestTrapSkewedClocks; ratelimit: TestOverrideEndsByRedisTime
//	overlap longer than the old one lives authkey: TestRotate
//	rotated twice within the overlap      authkey: TestRotateTwiceWithinTheOverlap
//	project suspended in a burst          TestChangeActsOnTheNextRequestUnderLoad/…/project_suspended
//	override ends within a window         ratelimit: TestOverrideEndsByRedisTime
//	child limit above its parent's        TestTrapChildLimitAboveParent
//	limit changed within a window         TestOverrideActsOnTheNextRequestAtEveryReplica; ratelimit: TestUsedStaysUsed
//	batch of usage sent again             middleware/meter: TestRedisReplyLost; lua: TestAddUsageOnce
//	process ended before it flushed       middleware/meter: TestOldestPending, TestCloseTellsWhatIsLeft
//	stale If-Match                        authkey: TestOperationsThatAreRefused; middleware/admin: TestRequiredPreconditions
//	body with more than its sender may say middleware/admin: TestMassAssignment, TestIDsOfOthersReachNothing
//
// There is no test of a failover of Redis itself, nor of an export that is tried again.

// trapped is a key in a real store, and a stage that reads keys from everywhere.
type trapped struct {
	*customer
	stage *middleware.Authenticated
}

func newTrapped(t *testing.T) trapped {
	t.Helper()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	verifier, err := authkey.New(redisstore.New(rdb, redisstore.WithTimeout(calm)), authkey.WithTimeout(calm), authkey.WithForeignKeys())
	if err != nil {
		t.Fatal(err)
	}
	return trapped{newCustomer(t, rdb), middleware.Authenticate(verifier, everySource)}
}

// send calls from where the key may be used, with fields of its own.
func (p trapped) send(t *testing.T, target string, fields http.Header) (*middleware.Admission, *middleware.Error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = "192.0.2.7:1"
	r.Header = fields.Clone()
	r.Header.Set("Origin", "https://shop.example.com")
	a, _, refusal := admit(t, p.stage, r)
	return a, refusal
}

func apiKey(text string) http.Header { return http.Header{"X-Api-Key": {text}} }

func TestTrapUnderscoreInBrand(t *testing.T) {
	t.Parallel()
	p := newTrapped(t)
	if _, err := authkey.NewFormat("my_app", "live"); err == nil {
		t.Error("a brand may have an underscore, so keys could be split in two ways")
	}
	for _, text := range []string{"my_" + p.key.Reveal(), strings.Replace(p.key.Reveal(), "acme_", "ac_me_", 1), strings.Replace(p.key.Reveal(), "_live_", "__live_", 1)} {
		_, refusal := p.send(t, "/", apiKey(text))
		refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeInvalid)
	}
	_, refusal := p.send(t, "/", apiKey(p.key.Reveal()))
	refusedAs(t, refusal, 0, "")
}

func TestTrapCharactersAppended(t *testing.T) {
	t.Parallel()
	p := newTrapped(t)
	foreign := authkey.NewPresented("foreign-key-of-" + p.org)
	if _, err := p.issuer.Import(t.Context(), foreign, authkey.NewKey{Org: p.org, Project: "shop"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{p.key.Reveal(), foreign.Reveal()} {
		for _, text := range []string{key + "0", key + "_", key + key, "0" + key, key[:len(key)-1], key[1:], strings.ToUpper(key), key + "%00"} {
			_, refusal := p.send(t, "/", apiKey(text))
			refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeInvalid)
		}
		for _, text := range []string{key + "\x00", key + "\n", key + " x", key + ",x", key + "\u00a0"} {
			_, refusal := p.send(t, "/", apiKey(text))
			refusedAs(t, refusal, http.StatusBadRequest, middleware.CodeMalformed)
		}
		_, refusal := p.send(t, "/", apiKey(key))
		refusedAs(t, refusal, 0, "")
	}
}

// Who reads a record out of Redis has nothing that opens the gate.
func TestTrapDigestAsKey(t *testing.T) {
	t.Parallel()
	p := newTrapped(t)
	record, err := p.issuer.Find(t.Context(), p.org, p.id)
	if err != nil {
		t.Fatal(err)
	}
	sum := record.Credentials[0].Digest.Sum()
	for _, text := range []string{
		hex.EncodeToString(sum[:]), strings.ToUpper(hex.EncodeToString(sum[:])), base64.StdEncoding.EncodeToString(sum[:]), base64.RawURLEncoding.EncodeToString(sum[:]),
		"sha256:" + hex.EncodeToString(sum[:]), "acme_live_" + record.ID + "_" + hex.EncodeToString(sum[:]), record.ID,
	} {
		_, refusal := p.send(t, "/", apiKey(text))
		refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeInvalid)
	}
}

// Nobody looks up twenty keys for one request, whatever the order is and although the right one is among them.
func TestTrapTwentyAuthorizationFields(t *testing.T) {
	t.Parallel()
	known := demoCallers()
	values := slices.Repeat([]string{"Bearer " + goodKey}, 20)
	for i := range 19 {
		values[i] = "Bearer guess-" + strings.Repeat("x", i)
	}
	for range values {
		values = append(values[1:], values[0])
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = values
		_, _, refusal := admit(t, middleware.Authenticate(known), r)
		refusedAs(t, refusal, http.StatusBadRequest, middleware.CodeMalformed)
	}
	if known.asked != 0 {
		t.Errorf("%d keys were looked up", known.asked)
	}
}

func TestTrapSameKeyInHeaderAndQuery(t *testing.T) {
	t.Parallel()
	p := newTrapped(t)
	key := p.key.Reveal()
	a, refusal := p.send(t, "/?key="+key+"&q=1", apiKey(key))
	refusedAs(t, refusal, 0, "")
	if a != nil && (a.Request().URL.RawQuery != "q=1" || a.Request().Header.Get("X-Api-Key") != "") {
		t.Errorf("the handler sees %q and %v", a.Request().URL.RawQuery, a.Request().Header)
	}
	_, refusal = p.send(t, "/?key=another", apiKey(key))
	refusedAs(t, refusal, http.StatusBadRequest, middleware.CodeAmbiguous)
	_, refusal = p.send(t, "/?key="+key+"&key="+key, http.Header{})
	refusedAs(t, refusal, http.StatusBadRequest, middleware.CodeMalformed)
}

func TestTrapBearer(t *testing.T) {
	t.Parallel()
	p := newTrapped(t)
	for value, status := range map[string]int{
		"Bearer": 400, "Bearer ": 400, "bearer": 400, "bearer " + p.key.Reveal(): 0, "BEARER " + p.key.Reveal(): 0, "Bearer  " + p.key.Reveal(): 0,
		"Bearer" + p.key.Reveal(): 401, "Bearer Bearer " + p.key.Reveal(): 400, "Bearer\t" + p.key.Reveal(): 400, "Bearer \t" + p.key.Reveal(): 400, "Bearer " + p.key.Reveal() + "\tx": 400,
	} {
		_, refusal := p.send(t, "/", http.Header{"Authorization": {value}})
		if (refusal == nil) != (status == 0) || refusal != nil && refusal.Status != status {
			t.Errorf("%q: %v, want %d", strings.ReplaceAll(value, p.key.Reveal(), "…"), refusal, status)
		}
	}
}

// A key ends when it ends, not with its cache entry; and one that ends in less than the smallest unit of a store's
// times is no key for ever.
func TestTrapEndDuringCacheLife(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	for _, life := range []time.Duration{time.Microsecond, 999 * time.Millisecond, 3 * time.Second} {
		customer := newCustomer(t, rdb)
		began := time.Now().UTC().Truncate(time.Microsecond).Add(time.Hour)
		var passed atomic.Int64
		clock := func() time.Time { return began.Add(time.Duration(passed.Load())) }
		verifier, err := authkey.New(redisstore.New(rdb), authkey.WithTimeout(calm), authkey.WithClock(clock), authkey.WithCache(10, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := customer.issuer.Change(t.Context(), customer.org, customer.id, 0, authkey.Changes{ExpiresAt: new(began.Add(life))}); err != nil {
			t.Fatal(err)
		}
		stage := middleware.Authenticate(verifier)
		p := trapped{customer, stage}
		_, refusal := p.send(t, "/", apiKey(p.key.Reveal()))
		refusedAs(t, refusal, 0, "")
		passed.Store(int64(life) - 1)
		_, refusal = p.send(t, "/", apiKey(p.key.Reveal()))
		refusedAs(t, refusal, 0, "")
		passed.Store(int64(life))
		p.stage = stage.RequireScope("search")
		_, refusal = p.send(t, "/", apiKey(p.key.Reveal()))
		refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeInvalid)
	}
}

// Two replicas whose clocks are two hours apart have one count, and both follow a revocation at once.
func TestTrapSkewedClocks(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		customer := newCustomer(t, rdb)
		var calls []func() *middleware.Error
		for _, skew := range []time.Duration{-time.Hour, time.Hour} {
			clock := func() time.Time { return time.Now().Add(skew) }
			verifier, err := authkey.New(redisstore.New(rdb, redisstore.WithTimeout(calm)), authkey.WithTimeout(calm), authkey.WithClock(clock))
			if err != nil {
				t.Fatal(err)
			}
			limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
			if err != nil {
				t.Fatal(err)
			}
			stage := middleware.Authenticate(verifier).RateLimit(limiter, ratelimit.PerHour(4).Fixed())
			calls = append(calls, func() *middleware.Error {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.RemoteAddr = "192.0.2.7:1"
				r.Header = apiKey(customer.key.Reveal())
				r.Header.Set("Origin", "https://shop.example.com")
				_, _, refusal := admit(t, stage, r)
				return refusal
			})
		}
		for range 2 {
			for _, call := range calls {
				refusedAs(t, call(), 0, "")
			}
		}
		for _, call := range calls {
			refusedAs(t, call(), http.StatusTooManyRequests, middleware.CodeLimited)
		}
		if _, err := customer.issuer.SetState(t.Context(), customer.org, customer.id, 0, authkey.StateRevoked, "test"); err != nil {
			t.Fatal(err)
		}
		for _, call := range calls {
			refusedAs(t, call(), http.StatusUnauthorized, middleware.CodeInvalid)
		}
	})
}

// The parent holds however much the child may; and the child is not charged for what its parent refuses.
func TestTrapChildLimitAboveParent(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		customer := newCustomer(t, rdb)
		limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
		if err != nil {
			t.Fatal(err)
		}
		record, err := customer.issuer.Find(t.Context(), customer.org, customer.id)
		if err != nil {
			t.Fatal(err)
		}
		child, parent := ratelimit.PerHour(10).Fixed().By(ratelimit.ByKey).Named("key"), ratelimit.PerHour(3).Fixed().By(ratelimit.ByOrg).Named("org")
		ask := func(cost int64) ratelimit.Decision {
			t.Helper()
			d, err := limiter.Admit(t.Context(), ratelimit.Request{
				Org: customer.org, Project: "shop", Key: customer.id, Endpoint: "GET /", Epoch: record.Epoch,
				Charges: []ratelimit.Charge{{Policy: child, Cost: cost}, {Policy: parent, Cost: cost}},
			})
			if err != nil || len(d.Results) != 2 {
				t.Fatalf("%+v, %v", d, err)
			}
			return d
		}
		for n := range 6 {
			if d := ask(1); d.Allowed != (n < 3) || d.Results[0].Exceeded {
				t.Errorf("call %d: %v", n+1, d)
			}
		}
		if d := ask(0); d.Results[0].Used != 3 || d.Results[1].Used != 3 {
			t.Errorf("used is %d of the key and %d of the org, want 3", d.Results[0].Used, d.Results[1].Used)
		}
	})
}
