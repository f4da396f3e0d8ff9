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
// flush, a second's worth unless Redis was out of reach before. While it lives it loses nothing that it
// took in, and drops only what [Stats] reports as dropped. Redis counts nothing twice, as long as it
// keeps what it acknowledged; a failover to a replica that lags may lose or repeat the last batches.
//
// Do not use it for events that must each be kept, or for money itself: it keeps sums.
package meter

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/middleware"
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
	batches atomic.Int64 // the number of the last batch
	entries atomic.Int64 // distinct names pending, of all shards
	invalid atomic.Uint64
	// shards go by the bucket of the org: what one Redis node does not answer for is together.
	shards [bucket.Count]shard

	failMu   sync.Mutex
	failures map[lua.Class]uint64

	passing chan struct{} // holds a token while a pass runs
	stop    context.CancelFunc
	stopped chan struct{}
}

// ledger is where batches go.
type ledger interface {
	AddUsage(ctx context.Context, batch lua.UsageBatch) error
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
	units map[name]*cell // being added up
	since time.Time      // when the oldest of units came
	// freezing are cells that the running pass makes batches of. Those that it has done are empty.
	freezing map[name]*cell
	// due are batches that are frozen, the first perhaps sent; they are the running pass's. dueSince is
	// when the oldest of them came, zero if there is none.
	due      []lua.UsageBatch
	dueSince time.Time
}

// name is what units are added up by, within an org.
type name struct {
	hour int64
	lua.UsageName
}

// New returns a Meter that writes to a Redis client: standalone, Sentinel, Cluster or Ring. It does not
// dial, and starts one goroutine, which Close ends. The error joins all that is wrong with the arguments.
func New(rdb redis.UniversalClient, opts ...Option) (*Meter, error) {
	reader, c, err := configure(rdb, opts)
	if err != nil {
		return nil, err
	}
	return start(reader, reader.conn, c), nil
}

func start(reader *Reader, to ledger, c config) *Meter {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Meter{
		Reader: reader, config: c, ledger: to, process: rand.Text(),
		failures: make(map[lua.Class]uint64), passing: make(chan struct{}, 1),
		stop: cancel, stopped: make(chan struct{}),
	}
	for i := range m.shards {
		m.shards[i].accounts = make(map[string]*account)
	}
	go m.run(ctx)
	return m
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
		a = &account{org: org}
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

// Stats counts what a Meter did since it was made, and tells what is pending.
type Stats struct {
	Recorded uint64 // units that Record took in
	Flushed  uint64 // units that Redis has
	Pending  uint64 // units that are to be written: what a crash would lose now
	Dropped  uint64 // units that had no room, or came after Close
	Invalid  uint64 // calls of Record that were out of bounds
	Entries  int    // distinct names pending
	Orgs     int    // orgs with something pending, or a moment ago
	// OldestPending is how long the oldest pending units have been waiting; zero if none are.
	OldestPending time.Duration
	// Failures counts the calls to Redis that failed. Under lua.ClassConfig are also batches that Redis
	// refused, because what it holds for their hour is no usage.
	Failures map[lua.Class]uint64
}

// Stats returns the counts. Safe for concurrent use; it takes time with the number of names pending, and
// the numbers are not of one instant.
func (m *Meter) Stats() Stats {
	stats := Stats{Invalid: m.invalid.Load(), Entries: int(m.entries.Load())}
	var oldest time.Time
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		pending := s.frozen
		for _, a := range s.accounts {
			oldest = earliest(oldest, earliest(a.since, a.dueSince))
			pending += sum(a.units) + sum(a.freezing)
		}
		stats.Recorded += s.flushed + pending + s.spoiled
		stats.Flushed += s.flushed
		stats.Pending += pending
		stats.Dropped += s.dropped
		stats.Orgs += len(s.accounts)
		s.mu.Unlock()
	}
	if !oldest.IsZero() {
		stats.OldestPending = max(m.now().Sub(oldest), 0)
	}
	m.failMu.Lock()
	defer m.failMu.Unlock()
	stats.Failures = maps.Clone(m.failures)
	return stats
}

// earliest returns the earlier of two times, where the zero time is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
