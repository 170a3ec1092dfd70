package zktest

import (
	"io"
	"net"
	"sync"
)

// A port is the address of one server over TCP. While the server is down, the address stays
// reserved. On Linux, the port then refuses connections, and another process can listen on it only
// with the socket option SO_REUSEADDR.
type port struct {
	addr     string
	held     io.Closer    // nil if the system cannot hold an address; then the listener stays open
	listener net.Listener // nil while connections are refused
}

func newPort(addr string) (p *port, err error) {
	p = &port{}
	if p.held, p.addr, err = hold(addr); err != nil {
		return nil, err
	}
	if p.listener, err = net.Listen("tcp", p.addr); err != nil {
		p.close()
		return nil, err
	}
	p.addr = p.listener.Addr().String()
	return p, nil
}

// The method `refuse` closes the listener, so that the system refuses connections. On systems where
// the process cannot keep the address without a listener, p.held is nil, and the listener stays
// open.
func (p *port) refuse() {
	if p.held != nil && p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
}

// close releases the address.
func (p *port) close() {
	if p.listener != nil {
		p.listener.Close()
	}
	if p.held != nil {
		p.held.Close()
	}
}

// The method `listen` opens the listener of a server again if it was closed. Without TCP it does
// nothing.
func (e *Ensemble) listen(server int) error {
	if !e.opts.TCP || e.ports[server].listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", e.addrs[server])
	if err != nil {
		return err
	}
	e.ports[server].listener = l
	e.wg.Go(func() { e.accept(server, l) })
	return nil
}

// accept serves the clients of one server, until the listener is closed. If the server is down or
// has too many connections, accept resets a new connection at once.
func (e *Ensemble) accept(server int, l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		t := &tcp{conn: newConn(e, server)}
		t.nc = nc
		if !e.open(t.conn, nc.RemoteAddr().String()) {
			if tc, ok := nc.(*net.TCPConn); ok {
				tc.SetLinger(0)
			}
			nc.Close()
			continue
		}
		e.wg.Go(t.read)
		e.wg.Go(t.write)
	}
}

// A tcp is a connection over TCP. The goroutine that reads requests also writes their results,
// which saves a goroutine switch for each request. Another goroutine writes output with other
// causes, such as a watch or a commit.
type tcp struct {
	*conn
	writing sync.Mutex // held during a write to the client
	spare   []byte
}

// The method `read` processes bytes from the client until the connection ends.
func (t *tcp) read() {
	buf := make([]byte, 16<<10)
	for {
		n, err := t.nc.Read(buf)
		if n > 0 {
			t.setBusy(true)
			t.feed(buf[:n])
			t.setBusy(false)
			if t.flush() {
				break
			}
		}
		if err != nil {
			break
		}
	}
	t.hangup()
	t.end()
}

func (t *tcp) setBusy(busy bool) {
	t.mu.Lock()
	t.busy = busy
	t.mu.Unlock()
}

// The method `write` writes output for the client until the connection ends. Then it closes the
// socket.
func (t *tcp) write() {
	for range t.ready {
		if t.flush() {
			break
		}
	}
	t.nc.Close()
}

// flush writes all output for the client. It reports whether the connection is over, because no
// output can follow or because the write failed.
func (t *tcp) flush() (last bool) {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	out := t.out
	t.out, t.sent, last = t.spare[:0], 0, t.ended
	t.mu.Unlock()
	t.spare = out
	if len(out) > 0 {
		if _, err := t.nc.Write(out); err != nil {
			return true
		}
	}
	return last
}
