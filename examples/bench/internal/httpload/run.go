package httpload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/service"
)

// Setting is what a table holds constant.
type Setting struct {
	Conns     int
	Rounds    int
	Warm, For time.Duration // each run: not counted, then counted
}

// Run puts services under load in each round, in an order that rotates, each in a fresh process, and returns a row for
// each of them, without a Name. What loads them is one process.
func Run(ctx context.Context, s Setting, redis *contest.Watch, setup service.Setup, names []string) (table *result.Table, err error) {
	client, err := start(ctx, loads, "GOMAXPROCS=1") // it is to take as little of the machine as it can
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	table = &result.Table{By: result.Rate}
	for _, name := range names {
		table.Rows = append(table.Rows, &result.Row{Name: name})
	}
	for round := range s.Rounds {
		for i := range names {
			name := names[(i+round)%len(names)]
			sample, status, err := once(ctx, s, redis, setup, client, name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			table.Add(name, sample)
			if status != 0 {
				table.Row(name).Fault = fmt.Sprintf("answered %d", status)
			}
		}
	}
	return table, nil
}

// once runs one service, and tells a status other than 200 that it answered with.
func once(ctx context.Context, s Setting, redis *contest.Watch, setup service.Setup, client *child, name string) (sample result.Sample, status int, err error) {
	server, err := start(ctx, serves)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	var at served
	if err := server.ask(serving{name, setup}, &at); err != nil || at.Error != "" {
		return nil, 0, errors.Join(err, said(at.Error))
	}
	job := Job{Addr: at.Addr, Conns: s.Conns, For: s.Warm}
	for _, key := range setup.Keys {
		job.Requests = append(job.Requests, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", service.Path, at.Addr, key))
	}
	if _, err := client.load(job); err != nil {
		return nil, 0, err
	}
	before, spentBefore, err := counters(ctx, redis, server)
	if err != nil {
		return nil, 0, err
	}
	job.For = s.For
	done, err := client.load(job)
	if err != nil {
		return nil, 0, err
	}
	after, spentAfter, err := counters(ctx, redis, server)
	if err != nil {
		return nil, 0, err
	}
	return done.sample(spentAfter.Since(spentBefore), after.Since(before)), done.Status, nil
}

func counters(ctx context.Context, redis *contest.Watch, server *child) (contest.Counters, measure.Spent, error) {
	c, err := redis.Counters(ctx)
	if err != nil {
		return c, measure.Spent{}, err
	}
	var now served
	err = server.ask(struct{}{}, &now)
	return c, now.Spent, errors.Join(err, said(now.Error))
}

func (d *Done) sample(server measure.Spent, redis contest.Counters) result.Sample {
	calls := float64(d.Calls)
	return result.Sample{
		result.Rate:     float64(d.Calls-d.Failed) / d.Elapsed.Seconds(),
		result.P50:      micros(d.P50),
		result.P99:      micros(d.P99),
		result.Server:   micros(server.CPU) / calls,
		result.Client:   micros(d.Spent.CPU) / calls,
		result.Redis:    micros(redis.CPU) / calls,
		result.Commands: redis.Commands / calls,
		result.Allocs:   float64(server.Allocs) / calls,
		result.Errors:   float64(d.Failed) / calls,
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func said(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// child is this program in another role.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	asks    *json.Encoder
	answers *json.Decoder
}

func start(ctx context.Context, as string, env ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program) //nolint:gosec // it is this very program
	cmd.Env = append(append(os.Environ(), role+"="+as), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd: cmd, in: in, asks: json.NewEncoder(in), answers: json.NewDecoder(out)}, nil
}

func (c *child) ask(question, answer any) error {
	if err := c.asks.Encode(question); err != nil {
		return err
	}
	return c.answers.Decode(answer)
}

func (c *child) load(j Job) (*Done, error) {
	done := new(Done)
	err := c.ask(j, done)
	return done, errors.Join(err, said(done.Error))
}

// stop ends the child's input, and so the child.
func (c *child) stop() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }
