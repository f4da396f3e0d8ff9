// Package watch sees what a handler answers, through a writer with the very interfaces of the server's.
package watch

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/felixge/httpsnoop"

	"github.com/tollgate-go/tollgate/middleware"
)

// Response is what was seen of a response. The zero Response is ready for Writer.
type Response struct {
	Status   int // zero until the response begins
	Size     int64
	Hijacked bool // the connection was taken over; Status is 101 then, unless the response had begun

	w         http.ResponseWriter
	admission *middleware.Admission
}

// Writer returns a writer that has s see what is written to w, with the interfaces of w and no others. It holds what the
// admission holds until a connection is closed that a handler takes over. No allocation where w is that of net/http's
// server, for HTTP/1 or HTTP/2, an httptest.ResponseRecorder, or nothing but an http.ResponseWriter.
func Writer(s *Response, w http.ResponseWriter, admission *middleware.Admission) http.ResponseWriter {
	s.w, s.admission = w, admission
	_, flushes := w.(http.Flusher)
	_, texts := w.(io.StringWriter)
	_, server := w.(ofServers)
	_, reads := w.(io.ReaderFrom)
	_, hijacks := w.(http.Hijacker)
	_, pushes := w.(http.Pusher)
	switch {
	case server && reads && hijacks && !pushes:
		return http1{both{recorder{plain{s}}}}
	case server && !reads && !hijacks && pushes:
		return http2{both{recorder{plain{s}}}}
	case reads || hijacks || pushes || flushes != texts || ofAnyServer(w):
		return s.snoop()
	case flushes:
		return recorder{plain{s}}
	}
	return plain{s}
}

// Watched reports whether a writer is one of Writer's, so that another stage sees what is written to it. It does not know
// those of writers with odd sets of interfaces.
func Watched(w http.ResponseWriter) bool {
	switch w.(type) {
	case http1, http2, recorder, plain:
		return true
	}
	return false
}

// ofServers are the interfaces that both of the server's writers have.
type ofServers interface {
	http.Flusher
	io.StringWriter
	flusherError
	closeNotifier
	deadliner
	duplexer
}

type (
	flusherError  interface{ FlushError() error }
	closeNotifier interface{ CloseNotify() <-chan bool }
	duplexer      interface{ EnableFullDuplex() error }
	deadliner     interface {
		SetReadDeadline(deadline time.Time) error
		SetWriteDeadline(deadline time.Time) error
	}
)

// ofAnyServer reports whether a writer has one of the interfaces that only the server's have.
func ofAnyServer(w http.ResponseWriter) bool {
	switch w.(type) {
	case flusherError, closeNotifier, deadliner, duplexer:
		return true
	}
	return false
}

func (s *Response) begin(status int) {
	if s.Status == 0 {
		s.Status = status
	}
}

func (s *Response) wrote(n int64) {
	s.begin(http.StatusOK)
	s.Size += n
}

func (s *Response) writeHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		s.begin(status)
	}
}

func (s *Response) took(conn net.Conn) net.Conn {
	s.begin(http.StatusSwitchingProtocols)
	s.Hijacked = true
	return s.admission.Keep(conn)
}

// plain is an http.ResponseWriter. Like all of these it is a pointer, which an interface holds as it is.
type plain struct{ seen *Response }

// Unwrap is for http.ResponseController.
func (p plain) Unwrap() http.ResponseWriter { return p.seen.w }

func (p plain) Header() http.Header { return p.seen.w.Header() }

func (p plain) WriteHeader(status int) {
	p.seen.writeHeader(status)
	p.seen.w.WriteHeader(status)
}

func (p plain) Write(b []byte) (int, error) {
	n, err := p.seen.w.Write(b)
	p.seen.wrote(int64(n))
	return n, err
}

// recorder has what an httptest.ResponseRecorder has.
type recorder struct{ plain }

func (r recorder) WriteString(text string) (int, error) {
	n, err := r.seen.w.(io.StringWriter).WriteString(text)
	r.seen.wrote(int64(n))
	return n, err
}

func (r recorder) Flush() {
	r.seen.begin(http.StatusOK) // what was not begun is now
	r.seen.w.(http.Flusher).Flush()
}

// both has what the server's writers have in common.
type both struct{ recorder }

func (b both) FlushError() error {
	b.seen.begin(http.StatusOK)
	return b.seen.w.(flusherError).FlushError()
}

func (b both) CloseNotify() <-chan bool { return b.seen.w.(closeNotifier).CloseNotify() }

func (b both) SetReadDeadline(t time.Time) error { return b.seen.w.(deadliner).SetReadDeadline(t) }

func (b both) SetWriteDeadline(t time.Time) error { return b.seen.w.(deadliner).SetWriteDeadline(t) }

func (b both) EnableFullDuplex() error { return b.seen.w.(duplexer).EnableFullDuplex() }

type http1 struct{ both }

func (h http1) ReadFrom(src io.Reader) (int64, error) {
	n, err := h.seen.w.(io.ReaderFrom).ReadFrom(src)
	h.seen.wrote(n)
	return n, err
}

func (h http1) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := h.seen.w.(http.Hijacker).Hijack()
	if err == nil {
		conn = h.seen.took(conn)
	}
	return conn, rw, err
}

type http2 struct{ both }

func (h http2) Push(target string, opts *http.PushOptions) error {
	return h.seen.w.(http.Pusher).Push(target, opts)
}

// snoop returns a writer for any other set of interfaces.
func (s *Response) snoop() http.ResponseWriter {
	return httpsnoop.Wrap(s.w, httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(status int) { s.writeHeader(status); next(status) }
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(p []byte) (int, error) {
				n, err := next(p)
				s.wrote(int64(n))
				return n, err
			}
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(p string) (int, error) {
				n, err := next(p)
				s.wrote(int64(n))
				return n, err
			}
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) {
				n, err := next(src)
				s.wrote(n)
				return n, err
			}
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { s.begin(http.StatusOK); next() }
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error { s.begin(http.StatusOK); return next() }
		},
		Hijack: func(next httpsnoop.HijackFunc) httpsnoop.HijackFunc {
			return func() (net.Conn, *bufio.ReadWriter, error) {
				conn, rw, err := next()
				if err == nil {
					conn = s.took(conn)
				}
				return conn, rw, err
			}
		},
	})
}
