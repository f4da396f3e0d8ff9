package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

// Condition is what the flags say of the revision that a change is made to. Without them it is the one that is
// there now, so that a change by somebody else in between is not lost.
type Condition struct {
	revision string
	force    bool
}

// Condition declares --if-match and --force.
func (f *Flags) Condition() *Condition {
	w := &Condition{}
	f.Func("if-match", "change it only if it has this `revision`", func(text string) error {
		n, err := strconv.ParseInt(strings.Trim(text, `"`), 10, 64)
		if err != nil || n < 1 {
			return errors.New("want a revision, such as 3")
		}
		w.revision = tag(n)
		return nil
	})
	f.BoolVar(&w.force, "force", false, "change it whatever its revision is")
	return w
}

func tag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// Given reports whether a flag was given; both of them contradict each other.
func (w *Condition) Given() (bool, error) {
	if w.force && w.revision != "" {
		return true, Usage("--if-match and --force contradict each other")
	}
	return w.force || w.revision != "", nil
}

// Pin asks for a tag where no flag was given; "" asks for none.
func (w *Condition) Pin(tag string) {
	if !w.force && w.revision == "" {
		w.revision = tag
	}
}

// Force asks for any revision, as --force does, where no flag was given.
func (w *Condition) Force() { w.force = w.force || w.revision == "" }

// Header returns the precondition of a change to what there is at a path, which it reads if need be. Errors are
// those of the look.
func (w *Condition) Header(ctx context.Context, c *Call, path []string) (http.Header, error) {
	given, err := w.Given()
	switch {
	case err != nil:
		return nil, err
	case !given:
		answer, err := c.Get(ctx, nil, path)
		if err != nil {
			return nil, err
		}
		return match(answer.Header.Get("ETag")), nil
	case w.force:
		return match("*"), nil
	}
	return match(w.revision), nil
}

// HeaderOrNew is Header for what may be absent, which a look tells: then it must still be so when it is written.
func (w *Condition) HeaderOrNew(look func() (tag string, exists bool, err error)) (header http.Header, exists bool, err error) {
	if _, err := w.Given(); err != nil || w.revision != "" {
		return match(w.revision), true, err
	}
	tag, exists, err := look()
	switch {
	case err != nil:
		return nil, false, err
	case !exists:
		return http.Header{"If-None-Match": {"*"}}, false, nil
	case w.force:
		return match("*"), true, nil
	}
	return match(tag), true, nil
}

// LookAt is a look at what there is at a path, for HeaderOrNew. A project that has keys and is set to nothing can be
// read, but has no tag: it is not there yet.
func (c *Call) LookAt(ctx context.Context, path []string) func() (tag string, exists bool, err error) {
	return func() (string, bool, error) {
		answer, err := c.Get(ctx, nil, path)
		if Code(err) == NotFound {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		tag := answer.Header.Get("ETag")
		return tag, tag != "", nil
	}
}

// TagOf returns the tag of something that has a revision; "" if it has none.
func TagOf(item show.Item) string {
	number, ok := item["revision"].(json.Number)
	if n, err := number.Int64(); ok && err == nil && n > 0 {
		return tag(n)
	}
	return ""
}

// match returns an If-Match; none where a server has no tags.
func match(tag string) http.Header {
	if tag == "" {
		return nil
	}
	return http.Header{"If-Match": {tag}}
}
