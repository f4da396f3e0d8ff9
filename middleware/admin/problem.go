package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// The codes of a problem, besides those that package middleware has for credentials and outages.
const (
	codeBody         = "invalid_body"         // 400: no JSON, or too large
	codeCrossSite    = "cross_site"           // 403
	codeConflict     = "conflict"             // 409
	codeFields       = "invalid_fields"       // 422: see errors
	codeForbidden    = "forbidden"            // 403
	codeInternal     = "internal"             // 500
	codeMediaType    = "unsupported_media"    // 415
	codeMethod       = "method_not_allowed"   // 405
	codeNotFound     = "not_found"            // 404
	codeNotServed    = "not_served"           // 404: the part was not given to New
	codePartition    = "other_partition"      // 409: what matches is counted by another partition than was asked for
	codePath         = "invalid_path"         // 400
	codePrecondition = "precondition_failed"  // 412
	codeConditional  = "invalid_precondition" // 400: If-Match or If-None-Match cannot be understood
	codeQuery        = "invalid_query"        // 400
)

// problem is an answer as RFC 9457 has it. It is an error, so that actions can return it.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Code      string         `json:"code"`
	RequestID string         `json:"request_id"`
	Errors    []strict.Fault `json:"errors,omitempty"`

	cause error // for the log
}

func (p *problem) Error() string { return "admin: " + strconv.Itoa(p.Status) + " " + p.Code }

func (p *problem) Unwrap() error { return p.cause }

func problemOf(status int, code, detail string, faults ...strict.Fault) *problem {
	return &problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: detail, Code: code, Errors: faults,
	}
}

func badQuery(detail string) *problem { return problemOf(http.StatusBadRequest, codeQuery, detail) }

func notServed() *problem {
	return problemOf(http.StatusNotFound, codeNotServed, "This part of the admin route is not served here.")
}

func notFound() *problem {
	return problemOf(http.StatusNotFound, codeNotFound, "There is no such thing, or not here.")
}

func preconditionFailed() *problem {
	return problemOf(http.StatusPreconditionFailed, codePrecondition, "It was changed meanwhile, or is there already, or is not there. Read it again.")
}

func invalidFields(faults []strict.Fault) *problem {
	return problemOf(http.StatusUnprocessableEntity, codeFields, "Some fields cannot be accepted; errors names them.", faults...)
}

// explain turns any error of an action into a problem. Texts of errors stay here, but for those that say
// what is wrong with the client's own input.
func explain(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	var p *problem
	switch {
	case is(ratelimit.ErrUnavailable, authkey.ErrUnavailable, meter.ErrUnavailable, ErrUnavailable, context.Canceled, context.DeadlineExceeded):
		p = problemOf(http.StatusServiceUnavailable, middleware.CodeUnavailable, "Redis, or whoever was asked, did not answer in time. A change may have happened: read before you repeat it.")
	case is(ratelimit.ErrInvalid, authkey.ErrInvalid):
		p = invalidFields(faultsOf(err))
	case is(ratelimit.ErrNotFound, authkey.ErrUnknown):
		p = notFound()
	case is(ratelimit.ErrConflict):
		p = preconditionFailed()
	case is(authkey.ErrExists, authkey.ErrRevoked):
		p = problemOf(http.StatusConflict, codeConflict, "It is there already, or revoked.")
	default:
		p = problemOf(http.StatusInternalServerError, codeInternal, "Something is wrong here; the log says more.")
	}
	p.cause = err
	return p
}

// names are what fields of ratelimit.Override, ratelimit.Plan and authkey.Record are called in a body.
var names = map[string]string{
	"Project": "project", "Endpoint": "endpoint", "Policy": "policy", "Limit": "limit", "Window": "window", "Reason": "reason",
	"Burst": "burst", "Access": "access", "Change": "change", "StartsAt": "starts_at",
	"Rules": "rules", "ExpiresAt": "expires_at", "NotBefore": "not_before", "Name": "name", "Kind": "kind", "Plan": "plan", "Scopes": "scopes", "Products": "products",
}

// faultsOf tells which fields an ErrInvalid is about: it has a line for each fault, such as "ratelimit:
// invalid override: Limit -1 must be 0 to 999". A line of another form is about the whole body.
func faultsOf(err error) []strict.Fault {
	var faults []strict.Fault
	for line := range strings.SplitSeq(err.Error(), "\n") {
		for _, before := range [...]string{"override: ", "plan: ", "record: "} {
			if _, after, ok := strings.Cut(line, before); ok {
				line = after
			}
		}
		at, line := ruleOf(line)
		words := strings.Split(line, " ")
		fault := strict.Fault{Pointer: at, Code: strict.CodeValue}
		for i, word := range words {
			field, punctuation := strings.TrimRight(word, ",:"), strings.TrimLeft(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
			name, ok := names[field]
			if !ok {
				continue
			}
			if words[i] = name + punctuation; i == 0 && punctuation != "," && (len(words) < 2 || words[1] != "or") {
				fault.Pointer = at + "/" + name
			}
		}
		fault.Message = strings.Join(words, " ")
		faults = append(faults, fault)
	}
	return faults
}

// ruleOf cuts which rule of a plan a line is about, as in "rule 2: Limit -1 must be 0 to 999".
func ruleOf(line string) (pointer, rest string) {
	after, ok := strings.CutPrefix(line, "rule ")
	i, rest, found := strings.Cut(after, ": ")
	if _, err := strconv.Atoi(i); !ok || !found || err != nil {
		return "", line
	}
	return "/rules/" + i, rest
}

// marshal encodes what actions answer with, and holds nothing that JSON cannot.
func marshal(body any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic("admin: answer: " + err.Error())
	}
	return text
}
