package httpload

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
)

// Job asks for load on a server of HTTP/1.1.
type Job struct {
	Addr     string
	Requests []string // as they are on the wire; connections send them in turn
	Conns    int      // that are kept alive; each sends its next request when it has the answer to its last
	For      time.Duration
}

// Done is what a job came to.
type Done struct {
	Calls    int64 // requests that were answered
	Failed   int64 // of them: by another status than 200
	Status   int   `json:",omitempty"` // such a one
	Elapsed  time.Duration
	P50, P99 time.Duration
	Spent    measure.Spent // by the process that loads
	Error    string        `json:",omitempty"`
}

// connection is one of the load's.
type connection struct {
	net.Conn
	done    Done
	latency measure.Histogram
	buffer  [8192]byte
}

// Load does a job. It looks at what is on the wire with as little work as will do, for it shares the machine with the
// server: the status of each answer, and its length. The first answer is read by net/http, and has to be a 200, within
// so many tries.
//
// An answer without a Content-Length is an error, and so is a connection that ends.
func Load(ctx context.Context, j Job) (*Done, error) {
	if len(j.Requests) == 0 || j.Conns < 1 {
		return nil, errors.New("httpload: a job needs requests and connections")
	}
	all := make([]*connection, j.Conns)
	for i := range all {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", j.Addr)
		if err != nil {
			return nil, fmt.Errorf("httpload: %w", err)
		}
		defer func() { _ = conn.Close() }()
		all[i] = &connection{Conn: conn}
		if err := conn.SetDeadline(time.Now().Add(j.For + 10*time.Second)); err != nil {
			return nil, fmt.Errorf("httpload: %w", err)
		}
	}
	for try := 1; ; try++ {
		err := all[0].first(j.Requests[0])
		if err == nil {
			break
		}
		if try == tries || !errors.Is(err, errStatus) {
			return nil, fmt.Errorf("httpload: the first answer: %w", err)
		}
	}
	requests := make([][]byte, len(j.Requests))
	for i, r := range j.Requests {
		requests[i] = []byte(r)
	}
	faults := make([]error, len(all))
	began := time.Now()
	var running sync.WaitGroup
	for i, c := range all {
		running.Go(func() { faults[i] = c.run(requests, i*len(requests)/len(all), began, j.For) })
	}
	running.Wait()
	sum := &Done{Elapsed: time.Since(began)}
	var latency measure.Histogram
	for _, c := range all {
		sum.Calls += c.done.Calls
		sum.Failed += c.done.Failed
		sum.Status = max(sum.Status, c.done.Status)
		latency.Add(&c.latency)
	}
	sum.P50, sum.P99 = latency.Quantile(0.5), latency.Quantile(0.99)
	return sum, errors.Join(faults...)
}

var errStatus = errors.New("not a 200")

// tries is how often the first answer may be no 200: on a machine that is busy, a server that asks Redis answers 503 at first.
const tries = 50

// first sends a request and reads the answer as a whole.
func (c *connection) first(request string) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s: %s", errStatus, answer.Status, body)
	}
	return err
}

// run sends requests, beginning with one of them, until the time is over.
func (c *connection) run(requests [][]byte, next int, began time.Time, length time.Duration) error {
	for last := time.Since(began); c.done.Calls == 0 || last < length; next++ { // without a call there are no figures
		if _, err := c.Write(requests[next%len(requests)]); err != nil {
			return fmt.Errorf("httpload: %w", err)
		}
		status, err := c.answer()
		if err != nil {
			return fmt.Errorf("httpload: an answer: %w", err)
		}
		now := time.Since(began)
		c.latency.Record(now - last)
		last = now
		c.done.Calls++
		if status != http.StatusOK {
			c.done.Failed++
			c.done.Status = status
		}
	}
	return nil
}

var (
	end   = []byte("\r\n\r\n")
	sizes = []byte("\r\nContent-Length: ")
)

// answer reads until an answer ends, and returns its status.
func (c *connection) answer() (int, error) {
	have, head := 0, -1
	for head < 0 {
		n, err := c.Read(c.buffer[have:])
		if err != nil {
			return 0, err
		}
		have += n
		head = bytes.Index(c.buffer[:have], end)
		if head < 0 && have == len(c.buffer) {
			return 0, errors.New("its header is too long")
		}
	}
	const status = len("HTTP/1.1 ")
	if head < status+3 {
		return 0, fmt.Errorf("%q is no answer", c.buffer[:head])
	}
	code, err := strconv.Atoi(string(c.buffer[status : status+3]))
	if err != nil {
		return 0, fmt.Errorf("%q is no answer", c.buffer[:head])
	}
	_, value, found := bytes.Cut(c.buffer[:head+2], sizes)
	if !found {
		return 0, errors.New("it has no Content-Length")
	}
	digits, _, _ := bytes.Cut(value, end[:2])
	size, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0, err
	}
	for rest := head + len(end) + size - have; rest > 0; {
		n, err := c.Read(c.buffer[:min(rest, len(c.buffer))])
		if err != nil {
			return 0, err
		}
		rest -= n
	}
	return code, nil
}
