package demo

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Main runs an example that puts the Service behind its router: mount puts the stages before its handlers.
func Main(mount func(*Service) http.Handler) { Run(withService(mount)) }

func withService(mount func(*Service) http.Handler) func(context.Context, Place) (*App, error) {
	return func(ctx context.Context, at Place) (*App, error) {
		s, err := New(ctx, at.Redis, at.Budget)
		if err != nil {
			return nil, err
		}
		return &App{Handler: mount(s), Facts: s.facts(at), Text: s.text(at), Close: s.Close}, nil
	}
}

// Place is where an example runs.
type Place struct {
	Addr      string // host:port that it listens on
	Redis     redis.UniversalClient
	RedisName string        // for people
	Budget    time.Duration // how long a request waits for Redis
}

// App is an example that is ready to serve.
type App struct {
	Handler http.Handler
	Facts   any    // what -json prints
	Text    string // what it prints otherwise: what to try
	Close   func(context.Context) error
}

// Run runs an example until SIGINT or SIGTERM, then lets open requests end and closes it. build returns it; after an
// error nothing is left to close.
func Run(build func(context.Context, Place) (*App, error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args, os.Stdout, build); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}

// drain is how long open requests and the last flush may take.
const drain = 10 * time.Second

// run is Run for a command line, the command's name first.
func run(ctx context.Context, args []string, out io.Writer, build func(context.Context, Place) (*App, error)) (err error) {
	flags := flag.NewFlagSet(filepath.Base(args[0]), flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "address to listen on; port 0 picks one")
	url := flags.String("redis", os.Getenv("REDIS_URL"), "redis:// URL; empty runs an embedded Redis in this process")
	machine := flags.Bool("json", false, "print one line of JSON instead of what to try")
	// Longer than the library's 50 ms: here client, service and Redis share one machine.
	budget := flags.Duration("timeout", time.Second, "how long a request waits for Redis")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	rdb, name, closeRedis, err := connect(*url)
	if err != nil {
		return err
	}
	defer closeRedis()
	if *url != "" { // the embedded one has no policy to tell
		if err := ratelimit.CheckStorage(ctx, rdb); err != nil {
			log.Printf("warning: %v", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	app, err := build(ctx, Place{Addr: listener.Addr().String(), Redis: rdb, RedisName: name, Budget: *budget})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		err = errors.Join(err, app.Close(ctx))
	}()
	if err := app.announce(out, *machine); err != nil {
		return errors.Join(err, listener.Close())
	}
	return serve(ctx, listener, app.Handler)
}

// announce prints how to use an example.
func (a *App) announce(out io.Writer, machine bool) error {
	if machine {
		return json.NewEncoder(out).Encode(a.Facts)
	}
	_, err := io.WriteString(out, a.Text)
	return err
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := server.Shutdown(ctx)
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
