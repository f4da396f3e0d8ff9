package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// condition is what If-Match and If-None-Match ask of an override or a plan (RFC 9110, section 13.1). The zero
// condition asks nothing.
type condition struct {
	absent    bool    // If-None-Match: *
	present   bool    // If-Match: *
	listed    bool    // If-Match: with tags, even if none of them can match
	revisions []int64 // those tags that can
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

func (c *call) condition() (condition, error) {
	matches, nones := c.r.Header.Values("If-Match"), c.r.Header.Values("If-None-Match")
	match, none := strings.Join(matches, ","), strings.Join(nones, ",")
	switch {
	case len(nones) > 0 && (none != "*" || len(matches) > 0):
		return condition{}, problemOf(http.StatusBadRequest, codeConditional, "If-None-Match may only be *, without If-Match.")
	case none == "*":
		return condition{absent: true}, nil
	case len(matches) == 0:
		return condition{}, nil
	case strings.Trim(match, ", \t") == "": // who sends it means some tag, and not all of them
		return condition{}, problemOf(http.StatusBadRequest, codeConditional, "If-Match must be * or a list of ETags in quotes; it is empty.")
	case match == "*":
		return condition{present: true}, nil
	}
	want := condition{listed: true}
	for tag := range strings.SplitSeq(match, ",") {
		if tag = strings.Trim(tag, " \t"); tag == "" {
			continue // a list may have empty elements
		}
		strong := strings.TrimPrefix(tag, "W/")
		if len(strong) < 2 || strong[0] != '"' || strong[len(strong)-1] != '"' || strings.Contains(strong[1:len(strong)-1], `"`) {
			return condition{}, problemOf(http.StatusBadRequest, codeConditional, "If-Match must be * or a list of ETags in quotes.")
		}
		// Only what etag writes can match: 0 would mean "always" further down, and a weak tag never matches.
		if n, err := strconv.ParseInt(strong[1:len(strong)-1], 10, 64); err == nil && n > 0 && etag(n) == tag {
			want.revisions = append(want.revisions, n)
		}
	}
	return want, nil
}

// attempts bounds how often meet looks again after somebody else was quicker.
const attempts = 5

// meet runs a change under the precondition that a condition comes to. A single revision needs no look at
// what is there, for the change itself compares it; * and lists do. Errors: ratelimit.ErrNotFound and
// ErrConflict, and those of the look and of the change.
func meet(ctx context.Context, want condition, look func(context.Context) (revision int64, err error), change func(context.Context, ratelimit.Precondition) error) error {
	switch {
	case want.absent:
		return change(ctx, ratelimit.IfAbsent)
	case !want.present && !want.listed:
		return change(ctx, ratelimit.Always)
	case want.listed && len(want.revisions) == 1:
		return change(ctx, ratelimit.Precondition(want.revisions[0]))
	}
	for range attempts {
		revision, err := look(ctx)
		if err != nil {
			return err
		}
		if want.listed && !slices.Contains(want.revisions, revision) {
			return ratelimit.ErrConflict
		}
		if err := change(ctx, ratelimit.Precondition(revision)); !errors.Is(err, ratelimit.ErrConflict) {
			return err
		}
	}
	return ratelimit.ErrConflict
}
