package zktest

import (
	"net"
)

// accept serves the clients of one server. While the server is down it resets
// them at once: the listener stays, so that nobody else gets the port.
func (e *Ensemble) accept(server int, l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := newConn(e, server)
		host, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
		if !e.open(c, host) {
			if t, ok := nc.(*net.TCPConn); ok {
				t.SetLinger(0)
			}
			nc.Close()
			continue
		}
		e.wg.Go(func() { c.readFrom(nc) })
		e.wg.Go(func() { c.writeTo(nc) })
	}
}

// readFrom feeds what a client writes until it hangs up.
func (c *conn) readFrom(nc net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := nc.Read(buf)
		if n > 0 {
			c.feed(buf[:n])
		}
		if err != nil {
			break
		}
	}
	c.hangup()
	c.end()
}

// writeTo writes what is for a client until the server hangs up.
func (c *conn) writeTo(nc net.Conn) {
	var spare []byte
	for range c.ready {
		out, ended := c.swap(spare)
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				break
			}
		}
		spare = out
		if ended {
			break
		}
	}
	nc.Close()
	c.mu.Lock()
	c.out, c.ended = nil, true
	c.mu.Unlock()
}
