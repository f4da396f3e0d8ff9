package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// The codes of a problem, besides those that package middleware has for credentials, scopes and outages.
const (
	CodeBody         = "invalid_body"            // 400: no JSON, or too large
	CodeConditional  = "invalid_precondition"    // 400: If-Match or If-None-Match cannot be understood
	CodeIdempotency  = "invalid_idempotency_key" // 400: it is malformed, or nothing counts repeats here
	CodePath         = "invalid_path"            // 400
	CodeQuery        = "invalid_query"           // 400
	CodeCrossSite    = "cross_site"              // 403
	CodeForbidden    = "forbidden"               // 403
	CodeNotFound     = "not_found"               // 404
	CodeNotServed    = "not_served"              // 404: the part was not given to New
	CodeMethod       = "method_not_allowed"      // 405
	CodeConflict     = "conflict"                // 409
	CodeIssued       = "secret_already_issued"   // 409: a repeat of a request that succeeded
	CodeTooMany      = "too_many_credentials"    // 409: a key has no room for another
	CodePartition    = "other_partition"         // 409: what matches is counted by another partition than was asked for
	CodeUnderWay     = "in_progress"             // 409: a repeat of a request that is not answered yet
	CodePrecondition = "precondition_failed"     // 412
	CodeMediaType    = "unsupported_media"       // 415
	CodeFields       = "invalid_fields"          // 422: see errors
	CodeMismatch     = "idempotency_mismatch"    // 422: the Idempotency-Key was there with another body
	CodeRequired     = "precondition_required"   // 428
	CodeInternal     = "internal"                // 500
)

// Codes returns all codes of a problem.
func Codes() []string {
	return []string{
		CodeBody, CodeConditional, CodeIdempotency, CodePath, CodeQuery, CodeCrossSite, CodeForbidden, CodeNotFound, CodeNotServed,
		CodeMethod, CodeConflict, CodeIssued, CodeTooMany, CodePartition, CodeUnderWay, CodePrecondition, CodeMediaType, CodeFields, CodeMismatch,
		CodeRequired, CodeInternal, middleware.CodeMissing, middleware.CodeInvalid, middleware.CodeScope, middleware.CodeUnavailable,
	}
}

// Error is a problem, an answer as RFC 9457 has it. It is an error, so that actions can return it.
type Error struct {
	Type       string         `json:"type"`
	Title      string         `json:"title"`
	Status     int            `json:"status"`
	Detail     string         `json:"detail" doc:"What is wrong, for people."`
	Code       string         `json:"code" doc:"What is wrong, for programs; it never changes."`
	RequestID  string         `json:"request_id"`
	Errors     []strict.Fault `json:"errors,omitempty" doc:"The fields of the body that are to blame."`
	Key        string         `json:"key,omitempty" doc:"With secret_already_issued: the id of the key."`
	Credential string         `json:"credential,omitempty" doc:"With secret_already_issued: the id of the credential."`

	cause error // for the log
}

// Error names the status and the code, for logs.
func (p *Error) Error() string { return "admin: " + strconv.Itoa(p.Status) + " " + p.Code }

// Unwrap returns the cause, which is for logs alone.
func (p *Error) Unwrap() error { return p.cause }

// NewProblem returns a problem without a cause.
func NewProblem(status int, code, detail string, faults ...strict.Fault) *Error {
	return &Error{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: detail, Code: code, Errors: faults,
	}
}

// NotServed answers for a part that New was not given.
func NotServed() *Error {
	return NewProblem(http.StatusNotFound, CodeNotServed, "This part of the admin route is not served here.")
}

// NotFound answers for what is not there, or not for this actor.
func NotFound() *Error {
	return NewProblem(http.StatusNotFound, CodeNotFound, "There is no such thing, or not here.")
}

// Forbidden answers for what an actor may see and not do.
func Forbidden(detail string) *Error {
	return NewProblem(http.StatusForbidden, CodeForbidden, detail)
}

// PreconditionFailed answers for what is not as If-Match or If-None-Match want it.
func PreconditionFailed() *Error {
	return NewProblem(http.StatusPreconditionFailed, CodePrecondition, "It was changed meanwhile, or is there already, or is not there. Read it again.")
}

// InvalidFields answers for a body that is JSON, but not what is wanted.
func InvalidFields(faults ...strict.Fault) *Error {
	return NewProblem(http.StatusUnprocessableEntity, CodeFields, "Some fields cannot be accepted; errors names them.", faults...)
}

// Explain turns any error of an action into a problem. Texts of errors stay here, but for those that say
// what is wrong with the client's own input.
func Explain(err error) *Error {
	if p, ok := errors.AsType[*Error](err); ok {
		return p
	}
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
	var p *Error
	switch {
	case is(ratelimit.ErrUnavailable, authkey.ErrUnavailable, meter.ErrUnavailable, ErrUnavailable, context.Canceled, context.DeadlineExceeded):
		p = NewProblem(http.StatusServiceUnavailable, middleware.CodeUnavailable, "Redis, or whoever was asked, did not answer in time, or with what cannot be read; the service's log tells why. A change may have happened: read before you repeat it.")
	case is(ratelimit.ErrInvalid, authkey.ErrInvalid):
		p = InvalidFields(faultsOf(err)...)
	case is(ratelimit.ErrNotFound, authkey.ErrUnknown):
		p = NotFound()
	case is(ratelimit.ErrConflict, authkey.ErrConflict):
		p = PreconditionFailed()
	case is(authkey.ErrRevoked):
		p = NewProblem(http.StatusConflict, CodeConflict, "It is revoked, for good.")
	case is(authkey.ErrExists):
		p = NewProblem(http.StatusConflict, CodeConflict, "It is there already.")
	case is(authkey.ErrTooMany):
		p = NewProblem(http.StatusConflict, CodeTooMany, "The key has as many live credentials as it may have. Revoke one, or let the rotation have no overlap.")
	default:
		p = NewProblem(http.StatusInternalServerError, CodeInternal, "Something is wrong here; the log says more.")
	}
	p.cause = err
	return p
}
