package zktest

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A memory is the client's end of a connection in memory. A write never blocks.
type memory struct {
	*conn
	once   sync.Once
	closed chan struct{}
	reads  deadline
	writes deadline
}

func newMemory(e *Ensemble, server int) *memory {
	return &memory{
		conn: newConn(e, server), closed: make(chan struct{}),
		reads: newDeadline(), writes: newDeadline(),
	}
}

func (m *memory) Read(p []byte) (int, error) {
	for {
		select {
		case <-m.closed:
			return 0, m.fail("read", net.ErrClosed)
		case <-m.reads.passed():
			return 0, m.fail("read", os.ErrDeadlineExceeded)
		default:
		}
		if n, err := m.take(p); n > 0 || errors.Is(err, io.EOF) || len(p) == 0 {
			return n, err
		}
		select {
		case <-m.ready:
		case <-m.closed:
		case <-m.reads.passed():
		}
	}
}

func (m *memory) Write(p []byte) (int, error) {
	select {
	case <-m.closed:
		return 0, m.fail("write", net.ErrClosed)
	case <-m.writes.passed():
		return 0, m.fail("write", os.ErrDeadlineExceeded)
	default:
	}
	m.mu.Lock()
	ended := m.ended
	m.mu.Unlock()
	if ended {
		return 0, m.fail("write", syscall.EPIPE)
	}
	m.feed(p)
	return len(p), nil
}

func (m *memory) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "memory", Source: m.LocalAddr(), Addr: m.RemoteAddr(), Err: err}
}

// Close closes the client's end. The server still processes the requests that the client has sent,
// even if they wait, for example because the server is paused.
func (m *memory) Close() error {
	m.once.Do(func() {
		close(m.closed)
		m.reads.set(time.Time{})
		m.writes.set(time.Time{})
		m.hangup()
	})
	return nil
}

// An address is the address of one end of a connection in memory.
type address string

func (a address) Network() string { return "memory" }
func (a address) String() string  { return string(a) }

func (m *memory) LocalAddr() net.Addr  { return address("127.0.0.1:0") }
func (m *memory) RemoteAddr() net.Addr { return address(m.e.addrs[m.server]) }

func (m *memory) SetDeadline(t time.Time) error {
	m.reads.set(t)
	m.writes.set(t)
	return nil
}
func (m *memory) SetReadDeadline(t time.Time) error  { m.reads.set(t); return nil }
func (m *memory) SetWriteDeadline(t time.Time) error { m.writes.set(t); return nil }

// A deadline has a channel that is closed when a given time has passed.
type deadline struct{ *deadlineState }

type deadlineState struct {
	mu    sync.Mutex
	timer *time.Timer
	late  chan struct{}
}

func newDeadline() deadline { return deadline{&deadlineState{late: make(chan struct{})}} }

func (d deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.late
}

// The method `set` moves the deadline. The zero time means no deadline. Clients set a deadline for
// each read and write, so `set` reuses a timer that has not fired.
func (d deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stopped := d.timer != nil && d.timer.Stop()
	if d.timer != nil && !stopped {
		d.late = make(chan struct{}) // the old channel is closed or will be closed soon
	}
	select {
	case <-d.late:
		d.late = make(chan struct{})
	default:
	}
	wait := time.Until(t)
	switch {
	case t.IsZero():
		d.timer = nil
	case wait <= 0:
		d.timer = nil
		close(d.late)
	case stopped:
		d.timer.Reset(wait)
	default:
		late := d.late
		d.timer = time.AfterFunc(wait, func() { close(late) })
	}
}
