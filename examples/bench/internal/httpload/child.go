// Package httpload runs HTTP services under load: each service in a process of its own, and what loads it in another, so
// that neither counts as the other's work. Both are this same program, started again.
//
//	func main() {
//		if httpload.Child(os.Stdin, os.Stdout) { // it was started by Run
//			return
//		}
//		table, err := httpload.Run(ctx, httpload.Setting{...}, watch, setup, names)
//
// Parent and child talk by lines of JSON on the child's standard input and output. A child ends when its input does, and
// so with its parent, however that ends.
package httpload

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
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
	"github.com/tollgate-go/tollgate/examples/bench/internal/service"
)

// role is the variable of the environment that tells a child what it is for.
const role = "TOLLGATE_BENCH_CHILD"

// The roles.
const (
	serves = "serve"
	loads  = "load"
)

// serving asks a child for a service.
type serving struct {
	Name  string
	Setup service.Setup
}

// served is what such a child says: first where it listens, and then for each further line what it has spent.
type served struct {
	Addr  string        `json:",omitempty"`
	Spent measure.Spent `json:",omitzero"`
	Error string        `json:",omitempty"`
}

// Child does the work of a child process and reports whether this is one. Call it first in main.
func Child(in io.Reader, out io.Writer) bool {
	lines, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	switch os.Getenv(role) {
	case serves:
		if err := serve(lines, answers); err != nil {
			_ = answers.Encode(served{Error: err.Error()}) // or the parent has ended
		}
	case loads:
		if err := load(lines, answers); err != nil {
			_ = answers.Encode(Done{Error: err.Error()})
		}
	default:
		return false
	}
	return true
}

func serve(in *json.Decoder, out *json.Encoder) error {
	var wanted serving
	if err := in.Decode(&wanted); err != nil {
		return err
	}
	s, err := service.Open(context.Background(), wanted.Name, wanted.Setup)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.Close())
	}
	server := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	err = out.Encode(served{Addr: listener.Addr().String()})
	var line json.RawMessage
	for err == nil && in.Decode(&line) == nil {
		err = out.Encode(served{Spent: measure.Now()})
	}
	err = errors.Join(err, server.Close())
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, s.Close())
}

// load does jobs, one for each line.
func load(in *json.Decoder, out *json.Encoder) error {
	for {
		var job Job
		if err := in.Decode(&job); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("a job: %w", err)
		}
		before := measure.Now()
		done, err := Load(context.Background(), job)
		if err != nil {
			return err
		}
		done.Spent = measure.Now().Since(before)
		if err := out.Encode(done); err != nil {
			return err
		}
	}
}
