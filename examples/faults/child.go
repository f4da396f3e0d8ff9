package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// childEnv names the orders of a process that this program starts of itself, to be killed or to have another clock.
const childEnv = "TOLLGATE_FAULTS_ORDERS"

func init() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.obey(context.Background(), json.NewEncoder(os.Stdout))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// orders say what a child does.
type orders struct {
	Do      string // decide or serve
	Redis   string
	Limit   int64
	Calls   int64  // to decide
	Journal string // a directory, or empty
}

// decided is what a child that decides tells.
type decided struct {
	Allowed, Refused, Used int64
	Longest                time.Duration // RetryAfter
	At, Now                time.Time     // of the last decision; what the child takes for the present
}

// served is what a child that serves tells: where, and when it has ended how much.
type served struct {
	Addr    string
	Handled int64
	Stats   meter.Stats
}

// What a child that serves limits and meters.
const (
	servedOrg, servedProject = "acme", "shop"
	servedEndpoint           = "GET /v1/search"
	ahead                    = 100
)

// policy of a child. The limit of one that serves is taken ahead, so that Close has something to give back.
func (o *orders) policy() ratelimit.Policy {
	p := ratelimit.Per(o.Limit, 30*24*time.Hour).Fixed()
	if o.Do == "serve" {
		p = p.Ahead(ahead)
	}
	return p
}

func (o *orders) request() ratelimit.Request {
	return ratelimit.Request{
		Org: servedOrg, Project: servedProject, Endpoint: servedEndpoint, Charges: []ratelimit.Charge{{Policy: o.policy(), Cost: 1}},
	}
}

func (o *orders) obey(ctx context.Context, out *json.Encoder) error {
	rdb := redis.NewClient(row.Small(o.Redis))
	defer func() { _ = rdb.Close() }() // nothing is under way
	switch o.Do {
	case "decide":
		return o.decide(ctx, rdb, out)
	case "serve":
		return o.serve(ctx, rdb, out)
	}
	return fmt.Errorf("there is no order %q", o.Do)
}

func (o *orders) decide(ctx context.Context, rdb redis.UniversalClient, out *json.Encoder) error {
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(10*time.Second))
	if err != nil {
		return err
	}
	var told decided
	for range o.Calls {
		d, err := limiter.Admit(ctx, o.request())
		if err != nil {
			return err
		}
		if d.Allowed {
			told.Allowed++
		} else {
			told.Refused++
		}
		told.Used, told.At, told.Longest = d.Results[0].Used, d.At, max(told.Longest, d.RetryAfter())
	}
	told.Now = time.Now()
	return out.Encode(told)
}

// serve is a service as the README has it, which ends by SIGTERM: first the server, then what has something to give back.
func (o *orders) serve(ctx context.Context, rdb redis.UniversalClient, out *json.Encoder) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	var opts []meter.Option
	if o.Journal != "" {
		opts = append(opts, meter.WithJournal(o.Journal))
	}
	verifier, err1 := authkey.New(redisstore.New(rdb))
	limiter, err2 := ratelimit.New(rdb)
	usage, err3 := meter.New(rdb, opts...)
	listener, err4 := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	var handled atomic.Int64
	mux, stage := http.NewServeMux(), middleware.Authenticate(verifier).RateLimit(limiter, o.policy()).Meter(usage, "stores", "search")
	mux.Handle(servedEndpoint, httpkit.Middleware(stage)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled.Add(1) })))
	server, ended := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := out.Encode(served{Addr: listener.Addr().String()}); err != nil {
		return err
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := server.Shutdown(ctx)
	for range 2 { // to close again is harmless
		err = errors.Join(err, limiter.Close(ctx), usage.Close(ctx))
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, out.Encode(served{Handled: handled.Load(), Stats: usage.Stats()}))
}

// patience bounds what is waited for; it is long because a busy machine is no fault of the gate.
const patience = 30 * time.Second

// child is a process of this program.
type child struct {
	*exec.Cmd
	out *json.Decoder
}

// spawn starts a child.
func spawn(ctx context.Context, o orders, env []string) (*child, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self) //nolint:gosec // this program
	cmd.Env = append(append(os.Environ(), env...), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a child: %w", err)
	}
	return &child{Cmd: cmd, out: json.NewDecoder(bufio.NewReader(out))}, nil
}

// end reads what a child tells last, and waits for its end.
func (c *child) end(told any) error {
	err := c.out.Decode(told)
	if errors.Is(err, io.EOF) {
		err = errors.New("it told nothing")
	}
	if e := c.Wait(); err != nil || e != nil {
		return fmt.Errorf("a child: %w", errors.Join(err, e))
	}
	return nil
}

// ask has a child obey, and reads what it tells.
func ask(ctx context.Context, o orders, env []string, told any) error {
	c, err := spawn(ctx, o, env)
	if err != nil {
		return err
	}
	return c.end(told)
}
