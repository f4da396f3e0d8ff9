// Package row is one row of the loss ledger: a fault is done to the Redis of a service while 200 callers call it, and
// taken back; then what Redis counted is held against what the callers were told.
//
// To write a row, say how its Redis is begun, broken and mended:
//
//	row.Fault{
//		Name: "F3", What: "hung server",
//		Open: func(ctx context.Context) (*row.Scene, error) {
//			server, err := proc.Start(ctx, proc.Config{})
//			if err != nil {
//				return nil, err
//			}
//			admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
//			return &row.Scene{
//				Client: func() redis.UniversalClient { return redis.NewClient(row.Small(server.Addr())) },
//				Admin:  admin,
//				Inject: func(context.Context) error { return server.Pause() },
//				Heal:   func(context.Context) error { return server.Resume() },
//				Close:  func() { admin.Close(); server.Close() },
//			}, nil
//		},
//	}
//
// Run then does, in this order: Open; keys are issued through Admin; the service is made with a Client, its pool warmed
// by concurrent commands, and called while all is well; Inject; at least a second and 1,000 calls; Heal; calls until
// one succeeds, and some more; the service and its client are closed; Line.Judge says what is wrong with the result.
// What is special of a row is in the other fields of Fault: what is not set is as the gates of the suite have it.
//
// For a cluster, Client returns a redis.ClusterClient made with Options of one's own (PoolSize as PoolSize here,
// ClientName as ClientName, by which connections are counted), Admin another one that sees the whole cluster, and
// Return is how long the first success may take. Rows run at the same time as others; nothing is shared but the machine.
package row

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tollgate-go/tollgate/examples/faults/internal/gate"
)

// PoolSize and ClientName are of each client of a service.
const (
	PoolSize   = 10
	ClientName = "gate"
)

// Fault is a row of the ledger. All fields but Name, What and Open may be left out.
type Fault struct {
	// Name is as in F3, and where a fault has several rows as in F3/open.
	Name string
	// What says in a few words what is done, for the table.
	What string
	// Open begins a Redis of the row's own.
	Open func(ctx context.Context) (*Scene, error)
	// Gate is the service.
	Gate gate.Config

	// Absent says that the fault is there before the service is made, and so nothing is warm.
	Absent bool
	// Serves says that no call may fail, so whoever is not acknowledged is a fault of the gate.
	Serves bool
	// Harmless says that the fault may pass unnoticed; otherwise a row in which no call fails shows nothing, and is wrong.
	Harmless bool
	// Off has the limiter be off by its kill switch from before the fault until it is healed.
	Off bool
	// Lasts is how long the fault does, at least; zero is a second.
	Lasts time.Duration
	// Cancel is when each caller hangs up, from the beginning of the fault; zero: never.
	Cancel time.Duration
	// Budget is what a call may take; zero is gate.Budget.
	Budget time.Duration
	// Return is how soon after Heal there has to be a success; zero is a second.
	Return time.Duration
	// MayLose is how many acknowledged calls Redis may have forgotten when all is over, as a share of them, and why. It is
	// stated in the table, and holds for usage too.
	MayLose float64
	// LateUnknown says that keys may be gone, so that callers may be told 401.
	LateUnknown bool
	// NoUsage says that usage cannot be compared, as where a process is killed.
	NoUsage bool
	// Play does the whole row by itself, where it is of another kind: it fills in the line, and judges it. Of the other
	// fields only Name and What are needed then.
	Play func(ctx context.Context, l *Line) error
	// Check judges what is special of the row, when all is read.
	Check func(ctx context.Context, r *Run) error
}

// Scene is the Redis of one row.
type Scene struct {
	// Client returns a client as a service would make it, to be closed by whoever asked. Its pool has PoolSize
	// connections, and they are named ClientName.
	Client func() redis.UniversalClient
	// Admin reaches Redis past the fault, at the latest when it is healed: keys are issued, counts are read by it.
	Admin redis.UniversalClient
	// Servers is how many the client may have a pool of connections to; zero is one.
	Servers int
	// Inject begins the fault. With Absent, it is called before the client is made.
	Inject func(ctx context.Context) error
	// Heal ends it, and returns when Redis is back: the first success is measured from then.
	Heal func(ctx context.Context) error
	// Close ends all that Open began.
	Close func()
}

// Small are the options of a client as the README has them, with time-outs that are small.
func Small(addr string) *redis.Options {
	o := Default(addr)
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 100*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	return o
}

// Default are the options of a client with all defaults of go-redis, its repetitions among them.
func Default(addr string) *redis.Options {
	return &redis.Options{Addr: addr, PoolSize: PoolSize, ClientName: ClientName, MaintNotificationsConfig: Plain()}
}

// Plain has go-redis ask for no notices of maintenance, which only a service of Redis's maker sends: two connections of
// redis.Client.Conn that are set up at once race for that setting.
func Plain() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
