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
	"syscall"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Main runs an example until SIGINT or SIGTERM, then lets open requests end and flushes what was
// counted. mount puts the service's stages before its handlers in the example's router.
func Main(mount func(*Service) http.Handler) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, mount); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}

// drain is how long open requests and the last flush may take.
const drain = 10 * time.Second

func run(ctx context.Context, args []string, out io.Writer, mount func(*Service) http.Handler) (err error) {
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "address to listen on; port 0 picks one")
	url := flags.String("redis", os.Getenv("REDIS_URL"), "redis:// URL; empty runs an embedded Redis in this process")
	machine := flags.Bool("json", false, "print one line of JSON instead of what to try")
	// Longer than the library's 50 ms: here client, service and Redis share one machine.
	budget := flags.Duration("timeout", time.Second, "how long a request waits for Redis")
	if err := flags.Parse(args); err != nil {
		return err
	}
	rdb, name, closeRedis, err := connect(*url)
	if err != nil {
		return err
	}
	defer closeRedis()
	service, err := New(ctx, rdb, *budget)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		err = errors.Join(err, service.Close(ctx))
	}()
	if *url != "" { // the embedded one has no policy to tell
		if err := ratelimit.CheckStorage(ctx, rdb); err != nil {
			log.Printf("warning: %v", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	if err := service.announce(out, listener.Addr().String(), name, *machine); err != nil {
		return errors.Join(err, listener.Close())
	}
	return serve(ctx, listener, mount(service))
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

// announce prints how to use the service. It is the one place that the key and the token are shown.
func (s *Service) announce(out io.Writer, addr, redis string, machine bool) error {
	if machine {
		return json.NewEncoder(out).Encode(struct { //nolint:gosec // to show the key is the purpose
			Addr       string `json:"addr"`
			Org        string `json:"org"`
			Project    string `json:"project"`
			APIKey     string `json:"api_key"`
			AdminToken string `json:"admin_token"`
			Redis      string `json:"redis"`
		}{addr, Org, Project, s.apiKey, s.adminToken, redis})
	}
	_, err := fmt.Fprintf(out, `Listening on http://%[1]s, Redis: %[2]s

  API key      %[3]s
  admin token  %[4]s

Call until the limit of 10 in 10 seconds answers 429:
  for i in $(seq 11); do curl -si -H 'X-API-Key: %[3]s' http://%[1]s/v1/search | grep -iE '^(HTTP|ratelimit:|retry-after)'; done

Lower it to 2; the next request obeys:
  curl -s -X PUT -H 'Authorization: Bearer %[4]s' -H 'Content-Type: application/json' -d '{"project":"demo","endpoint":"GET /v1/search","policy":"requests","limit":2,"expires_at":"never","reason":"try it"}' http://%[1]s/admin/v1/orgs/demo/overrides

See what was counted:
  curl -s -H 'Authorization: Bearer %[4]s' http://%[1]s/admin/v1/orgs/demo/usage

Administer it from a command line, in another terminal:
  go build -o tollgatectl ./examples/tollgatectl
  export TOLLGATE_ADMIN_URL=http://%[1]s/admin TOLLGATE_ADMIN_TOKEN=%[4]s
  ./tollgatectl keys list --org demo --project demo
  ./tollgatectl audit list --org demo
`, addr, redis, s.apiKey, s.adminToken)
	return err
}
