package middleware

import (
	"net"
	"sync"
)

// Keep prolongs what the request holds, such as a place among concurrent requests, until a connection that the
// handler took over is closed. Adapters call it for each; it returns the connection to give to the handler,
// which is conn itself where nothing is held.
func (a *Admission) Keep(conn net.Conn) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released || len(a.held()) == 0 {
		return conn
	}
	a.kept++
	kept := &keptConn{Conn: conn, closed: sync.OnceFunc(func() {
		a.mu.Lock()
		a.kept--
		a.mu.Unlock()
		a.release()
	})}
	if half, ok := conn.(closeWriter); ok {
		return &halfConn{kept, half}
	}
	return kept
}

// halfConn is a keptConn whose one direction can be closed by itself, as *net.TCPConn's; proxies look for it.
type halfConn struct {
	*keptConn
	closeWriter
}

type closeWriter interface{ CloseWrite() error }

// keptConn is a connection that holds something while it is open.
type keptConn struct {
	net.Conn
	closed func()
}

func (c *keptConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
