package zktest

import (
	"net"
	"sync"
)

// accept serves the clients of one server. While the server is down, it resets
// their connections at once. The listener stays open, so that no other process
// gets the port.
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

// A tcp is a connection over TCP. The goroutine that reads requests also writes
// their results, which saves a goroutine switch for each. Another goroutine
// writes output with other causes, such as a watch or a commit.
type tcp struct {
	*conn
	writing sync.Mutex // held during a write to the client
	spare   []byte
}

// read processes bytes from the client until it closes the connection.
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

// write writes output for the client until the server closes the connection.
func (t *tcp) write() {
	for range t.ready {
		if t.flush() {
			break
		}
	}
	t.nc.Close()
}

// flush writes all output for the client, and reports whether it was the last.
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
