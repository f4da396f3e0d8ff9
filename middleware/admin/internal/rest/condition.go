package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Condition is what If-Match and If-None-Match ask of what is to be changed (RFC 9110, section 13.1). The zero
// Condition asks nothing.
type Condition struct {
	absent    bool    // If-None-Match: *
	present   bool    // If-Match: *
	listed    bool    // If-Match: with tags, even if none of them can match
	revisions []int64 // those tags that can
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// Condition reads the precondition. An operation that creates nothing can meet no If-None-Match.
func (c *Call) Condition() (Condition, error) {
	want, err := c.condition()
	switch {
	case err != nil:
		return want, err
	case c.server.RequirePreconditions && !want.absent && !want.present && !want.listed:
		return want, NewProblem(http.StatusPreconditionRequired, CodeRequired,
			"Send If-Match with the ETag that you read, or with * for whatever is there; or If-None-Match: * to create.")
	case want.absent && !c.operation.Creating:
		return want, PreconditionFailed()
	}
	return want, nil
}

func (c *Call) condition() (Condition, error) {
	matches, nones := c.Request.Header.Values("If-Match"), c.Request.Header.Values("If-None-Match")
	match, none := strings.Join(matches, ","), strings.Join(nones, ",")
	switch {
	case len(nones) > 0 && (none != "*" || len(matches) > 0):
		return Condition{}, badCondition("If-None-Match may only be *, without If-Match.")
	case none == "*":
		return Condition{absent: true}, nil
	case len(matches) == 0:
		return Condition{}, nil
	case strings.Trim(match, ", \t") == "": // who sends it means some tag, and not all of them
		return Condition{}, badCondition("If-Match must be * or a list of ETags in quotes; it is empty.")
	case match == "*":
		return Condition{present: true}, nil
	}
	want := Condition{listed: true}
	for tag := range strings.SplitSeq(match, ",") {
		if tag = strings.Trim(tag, " \t"); tag == "" {
			continue // a list may have empty elements
		}
		strong := strings.TrimPrefix(tag, "W/")
		if len(strong) < 2 || strong[0] != '"' || strong[len(strong)-1] != '"' || strings.Contains(strong[1:len(strong)-1], `"`) {
			return Condition{}, badCondition("If-Match must be * or a list of ETags in quotes.")
		}
		// Only what etag writes can match: 0 would mean "always" further down, and a weak tag never matches.
		if n, err := strconv.ParseInt(strong[1:len(strong)-1], 10, 64); err == nil && n > 0 && etag(n) == tag {
			want.revisions = append(want.revisions, n)
		}
	}
	return want, nil
}

func badCondition(detail string) *Error {
	return NewProblem(http.StatusBadRequest, CodeConditional, detail)
}

// attempts bounds how often Meet looks again after somebody else was quicker. For *, which is whatever is there, nothing
// does but the context: whoever changes something all the time must not hold off its end.
const attempts = 5

// Meet runs a change under the precondition that a condition comes to. A single revision needs no look at
// what is there, for the change itself compares it; * and lists do. Errors: those of the look and of the change,
// and ratelimit.ErrConflict.
func (want *Condition) Meet(ctx context.Context, look func(context.Context) (revision int64, err error), change func(context.Context, ratelimit.Precondition) error) error {
	switch {
	case want.absent:
		return change(ctx, ratelimit.IfAbsent)
	case !want.present && !want.listed:
		return change(ctx, ratelimit.Always)
	case want.listed && len(want.revisions) == 1:
		return change(ctx, ratelimit.Precondition(want.revisions[0]))
	}
	for n := 0; n < attempts || want.present && ctx.Err() == nil; n++ {
		revision, err := look(ctx)
		if err != nil {
			return err
		}
		if want.listed && !slices.Contains(want.revisions, revision) {
			return ratelimit.ErrConflict
		}
		if err := change(ctx, ratelimit.Precondition(revision)); !isConflict(err) {
			return err
		}
	}
	return ratelimit.ErrConflict
}

func isConflict(err error) bool {
	return errors.Is(err, ratelimit.ErrConflict) || errors.Is(err, authkey.ErrConflict)
}

// fresh reports whether a client has what a read would answer with: the tag is one of If-None-Match.
func (c *Call) fresh(reply *Reply) bool {
	if reply.Revision == 0 || c.operation.Method != http.MethodGet {
		return false
	}
	want := etag(reply.Revision)
	for tag := range strings.SplitSeq(strings.Join(c.Request.Header.Values("If-None-Match"), ","), ",") {
		if tag = strings.Trim(tag, " \t"); tag == "*" || strings.TrimPrefix(tag, "W/") == want {
			return true
		}
	}
	return false
}
