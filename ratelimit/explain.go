package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"
)

// String explains the decision for logs: a line that says what was decided, and one for each result. It tells
// nothing of who asked, and no Hold.
func (d Decision) String() string {
	var b strings.Builder
	switch {
	case d.At.IsZero():
		b.WriteString("nothing decided")
	case d.Allowed:
		fmt.Fprintf(&b, "allowed by Redis at %s", d.At.Format(time.RFC3339Nano))
	default:
		fmt.Fprintf(&b, "refused by Redis at %s, retry after %s", d.At.Format(time.RFC3339Nano), wait(d.RetryAfter()))
	}
	for i := range d.Results {
		b.WriteByte('\n')
		d.Results[i].write(&b)
	}
	return b.String()
}

// String explains the result in one line.
func (r Result) String() string {
	var b strings.Builder
	r.write(&b)
	return b.String()
}

// write tells the policy, where its limit is from, what it found, and when there is more.
func (r *Result) write(b *strings.Builder) {
	fmt.Fprintf(b, "%q ", r.Policy)
	switch {
	case r.Unlimited:
		b.WriteString("unlimited")
	case r.Algorithm == Concurrency:
		fmt.Fprintf(b, "%d %s", r.Limit, r.Unit)
	default:
		fmt.Fprintf(b, "%d %s per %v", r.Limit, r.Unit, r.Window)
	}
	if r.Burst > 0 && !r.Unlimited {
		fmt.Fprintf(b, ", burst %d", r.Burst)
	}
	fmt.Fprintf(b, " (%v, by %s), level %s", r.Algorithm, r.Partition, r.Level)
	if r.Source != SourcePolicy {
		fmt.Fprintf(b, ", %s", r.Source)
	}
	if r.Reason != "" {
		fmt.Fprintf(b, " %q", r.Reason)
	}
	fmt.Fprintf(b, ": cost %d %s", r.Cost, r.outcome())
	if r.Unlimited {
		return
	}
	fmt.Fprintf(b, ", used %d, held %d, remaining %d", r.Used, r.Held, r.Remaining)
	if r.Used > 0 {
		fmt.Fprintf(b, ", more after %s, all after %s", wait(r.NextAfter), wait(r.ResetAfter))
	}
	if r.Exceeded {
		fmt.Fprintf(b, ", retry after %s", wait(r.RetryAfter))
	}
}

func (r *Result) outcome() string {
	switch {
	case !r.Exceeded:
		return "fits"
	case r.Candidate != "":
		return "exceeds (candidate for \"" + r.Candidate + "\")"
	case r.Monitor:
		return "exceeds (monitored)"
	}
	return "exceeds"
}

func wait(d time.Duration) string {
	if d == Never {
		return "never"
	}
	return d.String()
}

// LogValue implements slog.LogValuer: what the decision was, and a group for each policy.
func (d Decision) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 2+len(d.Results))
	attrs = append(attrs, slog.Bool("allowed", d.Allowed), slog.Time("at", d.At))
	for i := range d.Results {
		attrs = append(attrs, slog.Any(d.Results[i].Policy, d.Results[i]))
	}
	return slog.GroupValue(attrs...)
}

// LogValue implements slog.LogValuer: where the limit is from and what counts against it.
func (r Result) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("source", r.Source), slog.String("level", string(r.Level)),
		slog.Bool("exceeded", r.Exceeded), slog.Bool("monitor", r.Monitor), slog.String("candidate", r.Candidate),
		slog.Bool("unlimited", r.Unlimited),
		slog.Int64("limit", r.Limit), slog.Int64("cost", r.Cost), slog.Int64("used", r.Used),
		slog.Int64("held", r.Held), slog.Int64("remaining", r.Remaining),
		slog.String("retry_after", wait(r.RetryAfter)))
}

// Preview peeks as if an override were set, and sets nothing: what it would make of the limits, and of the
// units in use. It counts as if it had begun, and in place of the one that has its selector; where one that is
// more specific counts, or it selects something else, the decision is as without it.
//
// Cost as Admit. Errors: as Admit, and ErrInvalid also for an override that Set would refuse, except for the count of
// overrides, of another org, or that has ended.
func (l *Limiter) Preview(ctx context.Context, r Request, o Override) (Decision, error) {
	if err := o.Validate(); err != nil {
		return Decision{}, err
	}
	if o.Org != r.Org {
		return Decision{}, fmt.Errorf("%w request: Org must be that of the override", ErrInvalid)
	}
	ends := o.ExpiresAt
	o.ID, o.StartsAt, o.ExpiresAt = o.selector().id(), time.Time{}, time.Time{}
	r.Peek, r.preview = true, &o
	d, err := l.Admit(ctx, r)
	if err == nil && !ends.IsZero() && d.At.UnixMicro() >= ends.UnixMicro() {
		return Decision{}, errEnded
	}
	return d, err
}

// with returns the set as it is with one override more, or with that instead of one.
func (s *overrideSet) with(o *Override) *overrideSet {
	if o == nil {
		return s
	}
	set := *s
	set.overrides = maps.Clone(s.overrides)
	set.overrides[o.selector()] = o
	return &set
}
