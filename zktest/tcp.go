package zktest

import (
	"net"
	"sync"
)

// accept serves the clients of one server. While the server is down it resets
// them at once: the listener stays, so that nobody else gets the port.
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

// A tcp is a connection over TCP. What its own requests give is written by the
// goroutine that reads them, which spares a switch for each; what others cause,
// a watch or a commit, by the one that writes.
type tcp struct {
	*conn
	writing sync.Mutex // held while the client is written to
	spare   []byte
}

// read feeds what the client writes until it hangs up.
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

// write writes what is for the client until the server hangs up.
func (t *tcp) write() {
	for range t.ready {
		if t.flush() {
			break
		}
	}
	t.nc.Close()
}

// flush writes all that there is for the client, and reports whether that was
// the last.
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
