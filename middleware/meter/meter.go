// Package meter answers the third question of a request: what do we count?
//
// A [Meter] adds up usage in process, by org, project, product, kind, source and hour (UTC), and writes
// it to Redis every second in batches. A batch is frozen before it is sent and sent until Redis has
// answered for it, and Redis counts it once however often it comes. A [Reader] tells what was used.
//
//	usage, err := meter.New(rdb)
//	defer usage.Close(ctx) // writes what is pending
//
//	search := auth.RateLimit(limiter, ratelimit.PerMinute(100)).Meter(usage, "stores", "search")
//
//	items, err := usage.Usage(ctx, meter.Query{
//		Org: "acme", From: monday, To: monday.AddDate(0, 0, 7), Step: meter.Day,
//	})
//
// What may be lost, and what may not: a process that dies takes with it what it recorded since its last
// flush, a second's worth unless Redis was out of reach before. With [WithJournal] that is a tenth of a second's
// worth, whether or not Redis answers: the rest is on disk, and the next process writes it. [Stats] tells the bound as it
// is now. While a process lives it loses nothing that it took in, and drops only what Stats reports as dropped. Redis
// counts nothing twice, as long as it keeps what it acknowledged; a failover to a replica that lags may lose or repeat
// the last batches.
//
// Do not use it for events that must each be kept, or for money itself: it keeps sums.
package meter

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter/journal"
)

// What callers branch on. Compare with errors.Is.
var (
	// ErrInvalid: an option or a query is out of its bounds.
	ErrInvalid = errors.New("meter: invalid")
	// ErrUnavailable: Redis did not answer a query, not in time, or not with usage.
	ErrUnavailable = errors.New("meter: unavailable")
	// ErrNotFlushed: usage is still pending. It is kept and sent again while the Meter lives.
	ErrNotFlushed = errors.New("meter: not flushed")
)

var (
	_ middleware.Recorder = (*Meter)(nil)
	_ middleware.Tallier  = (*Meter)(nil)
)

// Meter records usage and writes it to Redis; as a Reader it tells what was written. Make it with New and
// close it. Safe for concurrent use.
type Meter struct {
	*Reader
	config
	ledger  ledger
	process string
	batches atomic.Int64 // the highest number of a batch
	entries atomic.Int64 // distinct names pending, of all shards
	invalid atomic.Uint64
	// shards go by the bucket of the org: what one Redis node does not answer for is together.
	shards   [bucket.Count]shard
	failures *failures

	journal   *journal.Journal // nil: there is none
	journaled atomic.Int64     // in ns, when what was recorded before was in the journal
	replays   replays

	passing chan struct{} // holds a token while a pass runs
	stop    context.CancelFunc
	loops   sync.WaitGroup
}

// failures counts the calls to Redis that failed.
type failures struct {
	mu    sync.Mutex
	class map[lua.Class]uint64
}

func (f *failures) add(class lua.Class) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.class[class]++
}

// ledger is where batches go.
type ledger interface {
	AddUsage(ctx context.Context, batch lua.UsageBatch) error
	UsageMark(ctx context.Context, org, process string) (int64, error)
}

// shard is a part of the orgs. Nothing does I/O while it holds mu.
type shard struct {
	mu       sync.Mutex
	accounts map[string]*account
	closed   bool
	// Units. What is in cells is pending too, and what is pending, flushed or spoiled was recorded.
	frozen  uint64 // pending in batches
	flushed uint64
	dropped uint64
	spoiled uint64 // taken in, and dropped later
}

// account is what is pending for one org.
type account struct {
	org   string
	last  int64          // the number of the last batch, or one that is not below it
	units map[name]*cell // being added up
	since time.Time      // when the oldest of units came
	// freezing are cells that the running pass makes batches of. Those that it has done are empty.
	freezing map[name]*cell
	// due are batches that are frozen, the first perhaps sent; they are the running pass's. dueSince is
	// when the oldest of them came, zero if there is none.
	due      []lua.UsageBatch
	dueSince time.Time
	// unproved and overtaken are of an orphan: it is not known whether the process sent batches that its journal does
	// not know; it did. See prove.
	unproved, overtaken bool
}

// name is what units are added up by, within an org.
type name struct {
	hour int64
	lua.UsageName
}

// New returns a Meter that writes to a Redis client: standalone, Sentinel, Cluster or Ring. It does not
// dial, and starts goroutines, which Close ends: one, or three with WithJournal, where it makes a file too. The error
// joins all that is wrong with the arguments, or says why there can be no journal.
func New(rdb redis.UniversalClient, opts ...Option) (*Meter, error) {
	reader, c, err := configure(rdb, opts)
	if err != nil {
		return nil, err
	}
	m := build(reader, reader.conn, c, rand.Text())
	if c.journals != nil {
		if m.journal, err = c.journals.Create(m.process); err != nil {
			return nil, err
		}
	}
	m.start()
	return m, nil
}

// build returns a Meter that runs nothing yet.
func build(reader *Reader, to ledger, c config, process string) *Meter {
	m := &Meter{
		Reader: reader, config: c, ledger: to, process: process,
		failures: &failures{class: make(map[lua.Class]uint64)}, passing: make(chan struct{}, 1),
	}
	for i := range m.shards {
		m.shards[i].accounts = make(map[string]*account)
	}
	return m
}

// start runs what Close ends.
func (m *Meter) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.loops.Go(func() { m.run(ctx) })
	if m.journal != nil {
		m.journaled.Store(m.now().UnixNano())
		m.loops.Go(func() { m.keepJournal(ctx) })
		m.loops.Go(func() { m.replay(ctx) })
	}
}

// Record adds to a count in memory: no I/O, and no allocation while the name is pending already.
//
// It needs an Org, a Product and a Kind, names of at most 128 bytes, 1 to 10^15-1 Units, and At within
// the years 1970 to 9999 (zero is now); else it counts as invalid. When as many names are pending as
// WithMaxPending allows, a new one counts without its Source if it can, and else is dropped, as is
// everything after Close.
func (m *Meter) Record(u middleware.Usage) { m.record(&u) }

// record returns the cell of just this name that it added to; nil if it did not.
func (m *Meter) record(u *middleware.Usage) *cell {
	n, ok := m.nameOf(u)
	if !ok {
		m.invalid.Add(1)
		return nil
	}
	s := m.shardOf(u.Org)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		if c := m.add(s, u.Org, n, u.Units); c != nil || m.addWithoutSource(s, u.Org, n, u.Units) {
			return c
		}
	}
	s.dropped += uint64(u.Units)
	return nil
}

const (
	maxName = 128
	maxHour = 253402300800 // the year 10000
)

func (m *Meter) nameOf(u *middleware.Usage) (name, bool) {
	n := name{UsageName: lua.UsageName{Project: u.Project, Product: u.Product, Kind: u.Kind, Source: u.Source}}
	at := u.At
	if at.IsZero() {
		at = m.now()
	}
	n.hour = at.Unix() - at.Unix()%3600
	ok := u.Org != "" && u.Product != "" && u.Kind != "" && u.Units >= 1 && u.Units <= lua.MaxUsageUnits &&
		max(len(u.Org), len(u.Project), len(u.Product), len(u.Kind), len(u.Source)) <= maxName &&
		at.Unix() >= 0 && n.hour < maxHour
	return n, ok
}

func (m *Meter) shardOf(org string) *shard {
	b := bucket.Of(org)
	return &m.shards[int(b[0]-'0')*10+int(b[1]-'0')]
}

// add returns the cell that it added units of a name to; nil if there was no room. The caller holds the shard.
func (m *Meter) add(s *shard, org string, n name, units int64) *cell {
	a := s.accounts[org]
	if a != nil {
		if c := a.units[n]; c != nil {
			if !c.add(units) {
				return nil
			}
			return c
		}
	}
	if m.entries.Add(1) > int64(m.maxPending) {
		m.entries.Add(-1)
		return nil
	}
	if a == nil {
		a = &account{org: org, last: m.batches.Load()}
		s.accounts[org] = a
	}
	if len(a.units) == 0 {
		a.units, a.since = make(map[name]*cell), m.now()
	}
	n.Source = strings.Clone(n.Source) // it may be a piece of a whole request
	c := newCell(n.hour, units)
	a.units[n] = c
	return c
}

// addWithoutSource keeps the count where a client that invents sources has used up the room for names.
func (m *Meter) addWithoutSource(s *shard, org string, n name, units int64) bool {
	if n.Source == "" {
		return false
	}
	n.Source = ""
	return m.add(s, org, n, units) != nil
}
