// Package ratelimit answers the second question of a request: may the caller call now?
//
// A [Policy] says how much; a [Limiter] decides all policies of a request at once, all or nothing, in
// one Redis call, and proves in the same call that the caller's key and the overrides that it used are
// still current. [Overrides] change a policy for one project or org, and [Plans] for all whose identities
// point to one, from the next request on, on every replica.
//
//	limiter, err := ratelimit.New(rdb)
//	decision, err := limiter.Admit(ctx, ratelimit.Request{
//		Org: "acme", Project: "shop", Endpoint: "GET /v1/search",
//		Charges: []ratelimit.Charge{{Policy: ratelimit.PerMinute(100), Cost: 1}},
//	})
//	if err != nil { ... }          // Redis did not answer: nobody knows
//	if !decision.Allowed { ... }   // refused, and nothing was taken
//
// Requests that are decided at the same time share a call, so many callers cost Redis little more than a few. Who makes one
// request again and again may keep what is the same of it, as package middleware does with an identity:
//
//	prepared, err := limiter.Prepare(request)
//	err = prepared.Admit(ctx, ratelimit.Call{Epoch: identity.Epoch}, &decision)
//
// Two things decide from memory, where they are asked for, and hear of changes a little later: Policy.Ahead, which takes
// units ahead, and WithRefusals, which repeats what Redis refused. Close gives back what was taken ahead.
//
// In an HTTP service use package middleware, which calls this one. Do not use it where an approximate
// limit in the process's own memory is enough: golang.org/x/time/rate does that without a network.
package ratelimit

import "errors"

// What callers branch on. Compare with errors.Is. A refusal is no error but a Decision.
var (
	// ErrInvalid: a policy, a request, an override or a plan is out of its bounds. Nothing was changed.
	ErrInvalid = errors.New("ratelimit: invalid")
	// ErrUnavailable: Redis did not answer, or not in time. What was asked for may have happened.
	ErrUnavailable = errors.New("ratelimit: unavailable")
	// ErrStale: the request's Epoch is not the org's: a key of the org was changed after the identity
	// was read. Nothing was taken. Read the identity anew and ask again.
	ErrStale = errors.New("ratelimit: stale identity")
	// ErrRevoked: the request's Token is revoked, or what is stored of its revocation cannot be read. Nothing was
	// taken, and waiting does not help.
	ErrRevoked = errors.New("ratelimit: revoked token")
	// ErrNotFound: there is no such override or plan.
	ErrNotFound = errors.New("ratelimit: not found")
	// ErrConflict: the override or plan was changed by somebody else. Nothing was changed.
	ErrConflict = errors.New("ratelimit: another revision")
)
