package row

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/gate"
	"github.com/tollgate-go/tollgate/examples/faults/internal/load"
)

// end waits until nothing is under way any more, closes the service, and reads what Redis counted.
func (r *Run) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	err := until(ctx, "rest: goroutines and connections as before", func() bool {
		return r.goroutines() <= max(r.base, resting) && r.connections(ctx) <= max(r.Baseline, PoolSize*max(r.Servers, 1))
	})
	if err != nil {
		return fmt.Errorf("%w: %d goroutines, %d before; %d connections, %d before", err, r.goroutines(), r.base, r.connections(ctx), r.Baseline)
	}
	if err := r.Gate.Close(ctx); err != nil {
		return fmt.Errorf("close the service: %w", err)
	}
	if err := r.rdb.Close(); err != nil {
		return fmt.Errorf("close the client: %w", err)
	}
	err = until(ctx, "end of all goroutines and connections", func() bool { return r.goroutines() == 0 && r.connections(ctx) == 0 })
	if err != nil {
		return fmt.Errorf("%w: %d connections are left, and goroutines:\n%s", err, r.connections(ctx), strings.Join(r.groups(), "\n\n"))
	}
	asked := make([]gate.Asked, len(r.Calls))
	for i := range r.Calls {
		asked[i] = r.Calls[i].Asked
	}
	if r.Counts, err = gate.Counted(ctx, r.Admin, asked); err != nil {
		return err
	}
	if r.Handled = r.Gate.Handled(); !r.NoUsage {
		if r.Metered, err = gate.Metered(ctx, r.Admin); err != nil {
			return err
		}
	}
	r.tally()
	return nil
}

// tally fills in the line.
func (r *Run) tally() {
	var took []time.Duration
	sums := map[gate.Place]*struct{ acknowledged, ambiguous int64 }{}
	for i := range r.Calls {
		m := &r.Calls[i]
		if m.phase == broken {
			took = append(took, m.Took)
			r.Broken++
			if m.Outcome != Acknowledged {
				r.Failed++
			}
		}
		place := gate.Place{Org: m.Org, Project: m.Project, Route: m.Route}
		if sums[place] == nil {
			sums[place] = &struct{ acknowledged, ambiguous int64 }{}
		}
		r.Line.Calls++
		acknowledged := m.Outcome == Acknowledged
		switch m.Outcome {
		case Acknowledged:
			r.Line.Acknowledged++
			sums[place].acknowledged++
		case Opened, Refused, Cancelled, Wrong:
			r.Ambiguous++
			sums[place].ambiguous++
		case Limited:
			r.Line.Limited++
		case Unknown:
			r.Line.Unknown++
		}
		if m.Outcome == Opened {
			r.Line.Opened++
		}
		if m.Route == gate.Each {
			n := r.Counts.Call[m.ID]
			r.Over += max(n-1, 0)
			if acknowledged && n == 0 {
				r.Lost++
			}
			if n > 0 && !acknowledged && m.Outcome != Opened && m.Outcome != Refused && m.Outcome != Cancelled {
				r.Over += n // told that nothing was taken
			}
		}
	}
	for place, sum := range sums {
		n := r.Counts.Project[place]
		r.Line.Counted += n
		if place.Route == gate.Shared { // of Each, every call was looked at
			r.Over += max(n-sum.acknowledged-sum.ambiguous, 0)
			r.Lost += max(sum.acknowledged-n, 0)
		}
	}
	r.Added = load.Quantile(took, 0.999)
	if first := r.first.Load(); first > 0 {
		r.First = time.Duration(first - r.healed.Load())
	}
}

// labelKey is under which the goroutines of a row are known, with all that they start.
const labelKey = "row"

var library = regexp.MustCompile(`tollgate-go/tollgate/(authkey|ratelimit|lua|middleware|adapters)|redis/go-redis`)

// resting is how many goroutines a gate has that nobody calls: the one that writes usage.
const resting = 1

// groups returns those goroutines of the row that run code of the library or of its client, as a profile tells them: those
// with one stack together.
func (r *Run) groups() []string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return []string{"-1 @ " + err.Error()}
	}
	return slices.DeleteFunc(strings.Split(profile.String(), "\n\n"), func(group string) bool {
		return !strings.Contains(group, strconv.Quote(r.label)) || !library.MatchString(group)
	})
}

// goroutines counts those of groups.
func (r *Run) goroutines() int {
	sum := 0
	for _, group := range r.groups() {
		for line := range strings.Lines(group) {
			if n, _, ok := strings.Cut(line, " @ "); ok {
				count, _ := strconv.Atoi(strings.TrimSpace(n))
				sum += count
			}
		}
	}
	return sum
}

// connections counts those that Redis has of the service; -1 where it cannot tell.
func (r *Run) connections(ctx context.Context) int {
	count := func(ctx context.Context, one *redis.Client) (int, error) {
		list, err := one.ClientList(ctx).Result()
		return strings.Count(list, " name="+ClientName+" "), err
	}
	switch admin := r.Admin.(type) {
	case *redis.Client:
		n, err := count(ctx, admin)
		if err != nil {
			return -1
		}
		return n
	case *redis.ClusterClient:
		sums := make(chan int, 64)
		err := admin.ForEachShard(ctx, func(ctx context.Context, one *redis.Client) error {
			n, err := count(ctx, one)
			sums <- n
			return err
		})
		close(sums)
		if err != nil {
			return -1
		}
		sum := 0
		for n := range sums {
			sum += n
		}
		return sum
	}
	return -1
}
