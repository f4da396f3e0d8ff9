package hostiletest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long an answer may take, instead of hanging.
const patience = 30 * time.Second

// send writes an input on a connection of its own, and reads the answer.
func (s *server) send(t *testing.T, in *input) (o outcome) {
	t.Helper()
	conn := s.dial(t)
	defer func() { _ = conn.Close() }()
	go func() { // a server may answer before it has read all
		_, _ = io.WriteString(conn, in.wire)
		if in.ends {
			_ = conn.CloseWrite()
		}
	}()
	method, _, _ := strings.Cut(in.wire, " ")
	o.read(conn, method)
	s.since(&o)
	return o
}

// dial connects. A connection leaves nothing behind when it is closed: there are thousands.
func (s *server) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("%T", conn)
	}
	if err := errors.Join(tcp.SetLinger(0), tcp.SetDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	return tcp
}

// read reads answers up to the last, and what is wrong with them.
func (o *outcome) read(conn io.Reader, method string) {
	var seen bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &seen))
	for {
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
			if !closed {
				o.faults = append(o.faults, "an answer that is none: "+err.Error())
			}
			return
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			o.faults = append(o.faults, "an answer that is cut: "+err.Error())
		}
		head, _, _ := bytes.Cut(seen.Bytes(), []byte("\r\n\r\n"))
		o.status, o.head, o.sent = response.StatusCode, string(head), o.sent+1
		if response.StatusCode >= http.StatusOK {
			var problem struct{ Code string }
			if json.Unmarshal(body, &problem) == nil {
				o.code = problem.Code
			}
			return
		}
		seen.Reset()
	}
}

// request returns the bytes of a request with the lines of a head, and a body.
func request(line string, body string, fields ...string) string {
	return line + " HTTP/1.1\r\nHost: tollgate.test\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n" + body
}
