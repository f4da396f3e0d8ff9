// Package admin is the admin route: an http.Handler that changes limits, hands out and revokes keys, revokes bearer
// tokens, tells usage, and shows who changed what. What it changes holds for the very next request, on every replica.
//
//	handler, err := admin.New(
//		admin.Authorizers(
//			admin.Tokens(admin.Token{Name: "ops", Secret: secret, Scopes: []string{admin.ScopeAll}}),
//			admin.Keys(verifier), // for keys of authkey.KindAdmin
//		),
//		admin.WithPrefix("/admin"),
//		admin.WithKeys(store, issuer), admin.WithIdempotency(rdb),
//		admin.WithOverrides(overrides), admin.WithPlans(plans),
//		admin.WithLimits(limiter), admin.WithRoute("GET /v1/search", search.Policies()...),
//		admin.WithRevocations(revocations), admin.WithUsage(usage), admin.WithAuditLog(log),
//	)
//	mux.Handle("/admin/", handler)
//
// Do not mount the handler where strangers need not reach it: a listener of its own is best. It is not behind the
// limits that it changes. It takes no cookies, so give it an [Authorizer] that takes none.
//
// # Routes
//
// Every part is an option, and answers 404 "not_served" where it was not given. Below the prefix:
//
//	GET             /v1/openapi.json                               all of this, as OpenAPI 3.1; needs no credential
//	GET             /v1/orgs/{org}/projects                        list
//	GET PUT PATCH   /v1/orgs/{org}/projects/{project}              read, set, change
//	GET POST        /v1/orgs/{org}/projects/{project}/keys         list, issue
//	GET PATCH DELETE .../keys/{id}                                 read, change, revoke with ?reason=
//	GET POST        .../keys/{id}/credentials                      list, rotate
//	GET DELETE      .../keys/{id}/credentials/{credential}         read, revoke with ?reason=
//	POST            /v1/orgs/{org}/keys:bulk-revoke
//	POST            /v1/keys:lookup                                whose a key is that somebody found
//	GET DELETE      /v1/orgs/{org}/projects/{project}/limits       show with ?endpoint=&key=&plan=, reset with
//	                                                               ?endpoint=&policy=&key=&partition=
//	GET PUT DELETE  /v1/orgs/{org}/overrides                       list, write, clear with ?project=
//	GET DELETE      /v1/orgs/{org}/overrides/{id}
//	POST            /v1/orgs/{org}/overrides/dry-run               ?project=&key=&plan=
//	GET POST DELETE /v1/orgs/{org}/revocations                     list, revoke tokens, lift with ?kind=&issuer=&value=
//	GET             /v1/orgs/{org}/usage                           ?project=&from=&to=&step=
//	GET             /v1/orgs/{org}/audit                           ?actor=&action=&id=&from=&to=&order=
//	GET             /v1/orgs/{org}/audit:verify                    ?seq=&link=
//	GET             /v1/plans                                      list
//	GET PUT DELETE  /v1/plans/{name}
//	GET             /v1/audit, /v1/audit:verify                    of the plans, which belong to no org
//
// HEAD works wherever GET does. The document at /v1/openapi.json is made from the table that is served: it has the
// parts that were given, every member of every body, and the scope of each operation.
//
// # Who may do what
//
// An [Actor] has scopes: projects, keys, overrides, limits, plans and revocations have one to read and one to write, such
// as "keys:write"; usage has "usage:read" and the audit trail "audit:read". A dry run needs "overrides:read". [Scopes] has
// all of them. Without its scope an operation is 403 "insufficient_scope".
//
// An actor with an Org has that org alone: all of another, and what belongs to none, is 404, whether or not it is
// there. He may issue and change keys and projects, and not give them another plan, for that is what his org pays for.
// A key of the admin kind is such an actor always. To issue or change one takes "admins:write" too and an actor of all
// orgs, and it gets no scope that he has not. The service itself refuses admin keys, and the admin route all others.
//
// There is no default credential. Each change is written to the audit trail, by the script that makes it, with the
// actor's name, the X-Request-Id of the answer and the address of the connection or, from behind proxies that
// [WithTrustedProxies] names, of who is there.
//
// # Writing without losing
//
// What can be changed has a revision, and that is its ETag (RFC 9110, section 8.8.3): If-Match for a change, and
// If-None-Match: * to create, make concurrent edits lose nothing; what was changed meanwhile is 412
// "precondition_failed". With [WithRequiredPreconditions] a write without either is 428. To read with If-None-Match is
// 304 while it is the same. What has no ETag, such as a list, matches none.
//
// Where a secret is issued or a token revoked, an Idempotency-Key makes it safe to send a request again: see
// [WithIdempotency].
//
// # Forms
//
// A list is {"items":[...],"next":"..."}; next, where there is one, is the cursor= of the next page, and limit= sets
// the length of a page. Times are RFC 3339 in UTC, durations as in Go ("1m30s"). Bodies are JSON objects of at most
// 128 KiB, of which nothing is forgiven: an unknown, repeated or differently cased field is 422.
//
// Errors are problems (RFC 9457) with a code to branch on, and errors, where single fields of a body are
// to blame: [{"pointer","code","message"}]. A secret is shown in one answer only: the one that issues it. No answer
// has a digest.
//
// # Projects, keys and credentials
//
// A key is what limits, usage and the audit trail hang on; its credentials are the secrets that open the gate for it.
// A project has a state, "active" or "suspended", which stops all of its keys at once, and a plan for those that name
// none.
//
// To PATCH is a merge patch (RFC 7396): what is absent stays, and null takes away, for one entry of meta too. A key's
// id, org, project, kind and credentials are never changed, and to revoke it is a DELETE; it is for good. The list
// takes ?state=, ?owner=, ?kind=, ?scope=, ?expires_before= and ?unused_since=.
//
// To rotate, POST {"overlap":"24h"} to the credentials: the answer has the secret of the new one, and those that are
// live end after the overlap, or at their own end if that is sooner; with "0s" they end at once. More live ones than
// the issuer allows are 409.
//
// keys:bulk-revoke takes {"keys":[...]}, or {"project","owner","created_before"} for all that fit, with a reason, up to
// 200 keys at a time, and says what became of each; with {"dry_run":true} it changes nothing. keys:lookup takes
// {"key":"..."} in the body, as paths are logged.
//
// # Revocations of bearer tokens
//
// To revoke, POST {"kind","issuer","value","reason"}: issuer is what tokens have as iss, byte for byte, and value their
// jti for the kind "token", sub for "subject", sid for "session", client_id for "client". A token may have its
// "expires_at", until which it is then refused; of the others those that were made before "before" are, which is now
// where it is absent, and they are refused for as long as the longest-lived token is good. The answer, always 200,
// has what then holds; from it on no request passes, on any replica.
//
// To revoke again what is revoked changes nothing but the reason and the actor, or makes it stronger: the later before
// and the later until stand. So there is no ETag and no precondition, for no write can lose another. To lift is a
// DELETE, whose parameters select what the list shows; they may well be in logs. A revocation that is damaged refuses
// all tokens of its name, and is shown so. An org has up to 100,000 revocations, beyond which one is 422: revoke the
// subject or the client instead. See package authkey/bearer/revocation.
//
// # Overrides and limits
//
// An override has the fields of a [ratelimit.Override]: project, endpoint and policy select; limit, window,
// burst, access ("blocked", "unlimited") and change ("proportional", "additive", "reset") say what of the
// policy is another; starts_at and expires_at say when, and reason why. What is absent stays as the policy has
// it. Answers add its state: "pending", "active" or "ended". The list takes ?project=, ?endpoint=, ?state= and
// ?ending_before= with a time; so ?state=active&ending_before=2026-12-01T00:00:00Z is what is about to end.
//
// A dry run takes what a PUT of an override would, writes nothing, and shows what each policy of each endpoint
// comes to for a project before and after: the limit, what is used, and whether it passes, that is lets the next
// request of cost 1 pass. The project is the override's, or that of ?project= for an override of the whole org.
// Where its state is "pending", it is shown as if it had begun.
//
// The limits show each policy of each endpoint: how it counts, what its limit is and why (source is "policy",
// "plan:" and a name or "override:" and an id, level how specific that is), what of it is used, held and
// remaining, after how long there is more and all of it again. To DELETE them forgets what was used and held, of
// the endpoint and the policy that are named, or of all: what is counted by project; with ?key=, what is counted
// by key, of that key; and what is counted for the whole org only if partition=org asks for it. A shared count is
// one for all endpoints. Where WithKeys is given, a key of ?key= that is not the project's is 404.
//
// # Plans
//
// A plan is {"rules":[...]}: what the identities that point to it have in common. A rule has endpoint, policy,
// limit, window, burst, access and change as an override has. A key gets its plan when it is issued. The limits
// and a dry run are those under the plan that ?plan= names or that the key of ?key= has. To PUT a plan again as it is
// mends one that a failure kept from some orgs, whatever the precondition; so does to DELETE it again, although that
// is then 404.
//
// # The audit trail
//
// It is listed with the newest entry first, or with order=oldest. Its head, {"seq","link"}, stands for all entries up
// to it: keep it elsewhere, and audit:verify tells with it whether they still are what they were. See package
// middleware/admin/auditlog.
package admin
