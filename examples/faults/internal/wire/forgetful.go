package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// Forgetful is a proxy that answers some commands with NOSCRIPT itself, as a server does that never keeps a script, and
// counts commands. It carries one command at a time on each connection. Safe for concurrent use.
type Forgetful struct {
	listener net.Listener
	server   string
	group    sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	forget map[string]bool
	sent   map[string]int // in which every command is known
	forgot map[string]int
}

// NewForgetful listens on a free port of 127.0.0.1, and passes on to a server what comes, until Close.
func NewForgetful(ctx context.Context, server string) (*Forgetful, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("wire: listen for %s: %w", server, err)
	}
	f := &Forgetful{listener: listener, server: server, sent: map[string]int{}, forgot: map[string]int{}}
	f.group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			f.group.Go(func() { f.serve(ctx, client) })
		}
	})
	return f, nil
}

// Addr returns where the proxy listens.
func (f *Forgetful) Addr() string { return f.listener.Addr().String() }

// Forget names the commands that are answered with NOSCRIPT from now on, in capitals, and begins to count.
func (f *Forgetful) Forget(commands ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget = map[string]bool{}
	clear(f.sent)
	clear(f.forgot)
	for _, c := range commands {
		f.forget[c] = true
	}
}

// Remember passes on everything again, and counts no more.
func (f *Forgetful) Remember() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget = nil
}

// Forgot returns how many commands of a name were answered with NOSCRIPT.
func (f *Forgetful) Forgot(command string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.forgot[command]
}

// Sent returns how many commands of a name came, whoever answered them.
func (f *Forgetful) Sent(command string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[command]
}

// Close cuts all connections and listens no more.
func (f *Forgetful) Close() {
	_ = f.listener.Close() // nobody is told
	f.mu.Lock()
	for _, c := range f.conns {
		_ = c.Close() // it may have ended
	}
	f.mu.Unlock()
	f.group.Wait()
}

func (f *Forgetful) serve(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }() // either end may have closed it
	server, err := new(net.Dialer).DialContext(ctx, "tcp", f.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }() // as above
	f.mu.Lock()
	f.conns = append(f.conns, client, server)
	f.mu.Unlock()
	asked, answered := bufio.NewReader(client), bufio.NewReader(server)
	for {
		var command strings.Builder
		name, err := value(asked, &command)
		if err != nil {
			return
		}
		if f.forgets(strings.ToUpper(name)) {
			_, err = io.WriteString(client, "-NOSCRIPT No matching script.\r\n")
		} else if _, err = io.WriteString(server, command.String()); err == nil {
			var reply strings.Builder
			if _, err = value(answered, &reply); err == nil {
				_, err = io.WriteString(client, reply.String())
			}
		}
		if err != nil {
			return
		}
	}
}

func (f *Forgetful) forgets(command string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.forget == nil {
		return false
	}
	f.sent[command]++
	if !f.forget[command] {
		return false
	}
	f.forgot[command]++
	return true
}

// value copies one value of the Redis protocol, version 2 or 3, and returns its first string.
func value(from *bufio.Reader, to *strings.Builder) (first string, err error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return "", err
	}
	to.WriteString(line)
	kind, text := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '$', '=', '!':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", err
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(from, b); err != nil {
			return "", err
		}
		to.Write(b)
		return string(b[:n]), nil
	case '*', '~', '>', '%', '|':
		n, err := strconv.Atoi(text)
		if kind == '%' || kind == '|' {
			n *= 2
		}
		if kind == '|' {
			n++ // what it is about follows
		}
		for i := 0; i < n && err == nil; i++ {
			var word string
			if word, err = value(from, to); i == 0 {
				first = word
			}
		}
		return first, err
	case '+', '-', ':', '_', '#', ',', '(':
		return text, nil
	}
	return "", errors.New("wire: no value begins with " + strconv.Quote(string(kind)))
}
