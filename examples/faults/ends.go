package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/examples/faults/internal/load"
	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// ends are the ways in which a service ends under load.
func ends() []row.Fault {
	return []row.Fault{
		{Name: "F45", What: "SIGTERM under load", Play: terminated},
		{Name: "F46", What: "kill -9 of a service under load: its usage", Play: func(ctx context.Context, l *row.Line) error { return killed(ctx, l, "") }},
		{Name: "F46/journal", What: "the same with a journal, and a service that comes after it", Play: func(ctx context.Context, l *row.Line) error {
			dir, err := os.MkdirTemp("", "faults-journal-")
			if err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(dir) }()
			return killed(ctx, l, dir)
		}},
	}
}

const (
	serveLimit   = 1_000_000
	serveCallers = 50
	servePause   = 20 * time.Millisecond
	serveCalls   = 4500                   // some 1.8 seconds: the meter has written once, and is about to write again
	memoryBound  = time.Second            // of a meter that has no journal: its interval
	journalBound = 100 * time.Millisecond // of one that has
	lateBound    = time.Second / 2        // how late a busy machine may begin to write
)

// busy is a service under load, and the Redis that it has.
type busy struct {
	*child
	orders
	server *proc.Server
	rdb    *redis.Client
	crowd  *load.Crowd
	all    *customers
}

// begin starts a service and has it called so often.
func begin(ctx context.Context, journal string) (*busy, error) {
	server, err := proc.Start(ctx, proc.Config{})
	if err != nil {
		return nil, err
	}
	b := &busy{server: server, rdb: redis.NewClient(&redis.Options{Addr: server.Addr()})}
	b.orders = orders{Do: "serve", Redis: server.Addr(), Limit: serveLimit, Journal: journal}
	if err := b.start(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *busy) start(ctx context.Context) error {
	store := redisstore.New(b.rdb)
	format, err1 := authkey.NewFormat("acme", "test")
	issuer, err2 := authkey.NewIssuer(store, format)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	_, key, err := issuer.Issue(ctx, authkey.NewKey{Org: servedOrg, Project: servedProject})
	if err != nil {
		return err
	}
	if b.child, err = spawn(ctx, b.orders, nil); err != nil {
		return err
	}
	var at served
	if err := b.out.Decode(&at); err != nil {
		return fmt.Errorf("a child: %w", errors.Join(err, b.Wait()))
	}
	b.all = &customers{url: "http://" + at.Addr + servedEndpoint[len("GET "):], key: key.Reveal(), others: map[int]int64{}}
	b.all.client.Transport = &http.Transport{MaxIdleConnsPerHost: serveCallers}
	b.crowd = load.Start(ctx, serveCallers, servePause, b.all.call)
	return wait(ctx, "calls of a service", func() (bool, error) { return b.all.count() >= serveCalls, nil })
}

// close ends what of it is left.
func (b *busy) close() {
	if b.crowd != nil {
		b.crowd.Stop()
		b.all.client.CloseIdleConnections()
	}
	if b.child != nil {
		_ = b.Process.Kill() // it may have ended
		_ = b.Wait()
	}
	_ = b.rdb.Close() // nothing is under way
	b.server.Close()
}

// wait polls.
func wait(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		ok, err := done()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no %s in time: %w", what, errors.Join(err, ctx.Err()))
		case <-again.C:
		}
	}
}

// counted and metered read what Redis has.
func (b *busy) counted(ctx context.Context) (int64, error) {
	limiter, err := ratelimit.New(b.rdb, ratelimit.WithTimeout(patience))
	if err != nil {
		return 0, err
	}
	r := b.request()
	r.Peek = true
	d, err := limiter.Admit(ctx, r)
	if err != nil {
		return 0, err
	}
	return d.Results[0].Used, nil
}

func (b *busy) metered(ctx context.Context) (sum int64, err error) {
	reader, err := meter.NewReader(b.rdb, meter.WithTimeout(10*time.Second))
	if err != nil {
		return 0, err
	}
	now := time.Now()
	items, err := reader.Usage(ctx, meter.Query{Org: servedOrg, From: now.Add(-24 * time.Hour), To: now.Add(24 * time.Hour)})
	for _, item := range items {
		sum += item.Units
	}
	return sum, err
}

// tell fills in the line by what callers were told.
func (b *busy) tell(l *row.Line) {
	l.Acknowledged, l.Ambiguous = int64(len(b.all.acknowledged)), int64(len(b.all.ambiguous))
	l.Limited, l.Unknown = b.all.others[http.StatusTooManyRequests], b.all.others[http.StatusUnauthorized]
	l.Calls = l.Acknowledged + l.Ambiguous
	for _, n := range b.all.others {
		l.Calls += n
	}
	l.Ambiguous = l.Calls - l.Acknowledged - l.Limited - l.Unknown
}

// terminated holds that a service that is told to end loses nothing, of the limit and of usage.
func terminated(ctx context.Context, l *row.Line) error {
	b, err := begin(ctx, "")
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	var told served
	if err := b.end(&told); err != nil {
		return err
	}
	b.crowd.Stop()
	b.tell(l)
	var err1, err2 error
	l.Counted, err1 = b.counted(ctx)
	l.Metered, err2 = b.metered(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	l.Handled, l.Lost, l.Over = told.Handled, max(told.Handled-l.Metered, 0), max(l.Metered-told.Handled, 0)
	if l.Metered != l.Handled || l.Handled < l.Acknowledged || l.Handled > l.Acknowledged+l.Ambiguous {
		err = fmt.Errorf("%d were acknowledged, %d are ambiguous, %d were handled, %d metered", l.Acknowledged, l.Ambiguous, l.Handled, l.Metered)
	}
	if l.Counted < l.Handled || l.Counted > l.Acknowledged+l.Ambiguous {
		err = errors.Join(err, fmt.Errorf("%d were handled, %d are counted: what was taken ahead has to be given back", l.Handled, l.Counted))
	}
	if told.Stats.Pending > 0 || told.Stats.Dropped > 0 || l.Limited+l.Unknown > 0 {
		err = errors.Join(err, fmt.Errorf("%d units pending, %d dropped; %d calls were told 429, %d 401",
			told.Stats.Pending, told.Stats.Dropped, l.Limited, l.Unknown))
	}
	return err
}

// killed holds that a service that is killed loses no more usage than it says, and none twice.
func killed(ctx context.Context, l *row.Line, journal string) error {
	b, err := begin(ctx, journal)
	if err != nil {
		return err
	}
	defer b.close()
	at := time.Now()
	if err := b.Process.Kill(); err != nil {
		return err
	}
	_ = b.Wait() // it was killed
	b.crowd.Stop()
	b.tell(l)
	bound := memoryBound
	if journal != "" {
		bound = journalBound
		if err := b.replay(ctx); err != nil {
			return err
		}
	}
	var err1, err2 error
	l.Counted, err1 = b.counted(ctx)
	l.Metered, err2 = b.metered(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	l.Lost, l.Over = max(l.Acknowledged-l.Metered, 0), max(l.Metered-l.Acknowledged-l.Ambiguous, 0)
	may := int64(0)
	for _, answered := range b.all.acknowledged {
		if at.Sub(answered) <= bound+lateBound {
			may++
		}
	}
	if l.Lost > may || l.Over > 0 {
		return fmt.Errorf("of %d acknowledged calls, %d ambiguous, %d are metered; %d of them in the last %v may be lost", l.Acknowledged, l.Ambiguous, l.Metered, may, bound+lateBound)
	}
	if l.Counted < l.Acknowledged || l.Counted > l.Acknowledged+l.Ambiguous+ahead { // nobody gave back what was taken ahead
		return fmt.Errorf("%d were acknowledged, %d are ambiguous, %d counted", l.Acknowledged, l.Ambiguous, l.Counted)
	}
	l.Counted = l.Metered // which the row is about
	return nil
}

// replay has a service come after the one that was killed, which takes over what that left and then ends.
func (b *busy) replay(ctx context.Context) error {
	left, err := os.ReadDir(b.Journal)
	if err != nil || len(left) == 0 {
		return fmt.Errorf("nothing is in the journal: %w", err)
	}
	next, err := spawn(ctx, b.orders, nil)
	if err != nil {
		return err
	}
	var at, told served
	if err := next.out.Decode(&at); err != nil {
		return fmt.Errorf("a child: %w", errors.Join(err, next.Wait()))
	}
	err = wait(ctx, "end of what was left", func() (bool, error) {
		for _, file := range left {
			if _, err := os.Stat(filepath.Join(b.Journal, file.Name())); !errors.Is(err, os.ErrNotExist) {
				return false, err
			}
		}
		return true, nil
	})
	if err = errors.Join(err, next.Process.Signal(syscall.SIGTERM), next.end(&told)); err != nil {
		return err
	}
	if told.Stats.JournalErrors > 0 || told.Stats.Unsure > 0 || told.Stats.Replayed == 0 {
		return fmt.Errorf("the journal: %+v", told.Stats)
	}
	return nil
}
