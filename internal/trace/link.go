package trace

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// The constant `patience` is the time limit for a reply if Servers.Patience is 0.
const patience = time.Minute

// sessionTimeout is long, because no session of a trace may expire.
const sessionTimeout = 40 * time.Second

// A Link is one connection of a client. It sends one request and then reads the reply. Only one
// goroutine may call its methods.
type Link struct {
	conn     net.Conn
	r        *bufio.Reader
	patience time.Duration
	unbind   func() bool // after this call, the end of Dial's context does not close conn
	xid      int32
	told     []Event // since the last call of Events
	over     bool    // the server has closed the connection
	left     bool    // the session has moved to another connection; Ask then sends no ping, because a server may answer the ping even while it closes this connection
}

// An Event is a watch event with its zxid.
type Event struct {
	wire.WatcherEvent
	Zxid int64
}

// Dial connects to a server. Role 0 is the leader. The caller must close the connection. The
// connection is also closed when ctx ends.
func Dial(ctx context.Context, s *Servers, role int) (*Link, error) {
	conn, err := s.Dial(ctx, "tcp", s.Addresses[role%len(s.Addresses)])
	if err != nil {
		return nil, err
	}
	return &Link{
		conn: conn, r: bufio.NewReader(conn), patience: cmp.Or(s.Patience, patience),
		unbind: context.AfterFunc(ctx, func() { conn.Close() }),
	}, nil
}

// Close closes the connection, but not the session. It does nothing for a nil
// Link.
func (l *Link) Close() {
	if l != nil {
		l.unbind()
		l.conn.Close()
	}
}

// HangUp closes the client's end, waits until the server has closed its end, and then closes the
// connection. By the time the server has closed its end, ZooKeeper has removed the connection from
// its table of sessions. HangUp closes a connection in memory without a wait.
//
// Without the wait, the session could already have a new connection when ZooKeeper removes the old
// one. ZooKeeper would then remove the new connection from the table, and would not close that
// connection when the session ends. The reason is ServerCnxnFactory.removeCnxnFromSessionMap: in
// every release, it removes the entry of the session id, whichever connection the entry has.
func (l *Link) HangUp() error {
	if l == nil {
		return nil
	}
	defer l.Close()
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return nil // a connection in memory has no halves to close; after an error, the connection has already ended
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, l.r)
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("the server has not closed the connection within %v after the client closed its end", l.patience)
	}
	return nil
}

// Over reports whether a read has shown that the server has closed the connection.
func (l *Link) Over() bool { return l.over }

// NextXid returns the number of the next request.
func (l *Link) NextXid() int32 {
	l.xid++
	return l.xid
}

// Follow makes the xids of later requests differ from the xids of another link of the same session.
// A server finds the request of a committed transaction by session and xid. With equal xids, the
// reply could go to the wrong connection.
func (l *Link) Follow(other *Link) { l.xid = other.xid + 1000 }

// Write sends the record, followed by the bytes of `rest`, as one frame. If the server has closed
// the connection, the next read reports that.
func (l *Link) Write(record wire.Record, rest []byte) error {
	if err := l.conn.SetDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	frame := append(wire.Append(make([]byte, 4), record), rest...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	l.conn.Write(frame)
	return nil
}

// Read returns the next frame that is not an event. It returns nil if the server closes the
// connection first.
func (l *Link) Read() ([]byte, error) {
	for {
		frame, err := l.frame()
		if frame == nil {
			return nil, err
		}
		var h wire.ReplyHeader
		body, err := wire.Decode(frame, &h)
		if err != nil || h.Xid != wire.XidNotification {
			return frame, nil
		}
		e := Event{Zxid: h.Zxid}
		switch rest, err := wire.Decode(body, &e.WatcherEvent); {
		case err != nil:
			return nil, fmt.Errorf("cannot decode the event %x: %w", frame, err)
		case len(rest) > 0:
			return nil, fmt.Errorf("the event %x has %d bytes after its end", frame, len(rest))
		case h.Err != wire.OK:
			return nil, fmt.Errorf("the event %x has the error code %v, want %v", frame, h.Err, wire.OK)
		}
		l.told = append(l.told, e)
	}
}

// The method `frame` returns the next frame. It returns nil if the server closes the connection
// first.
func (l *Link) frame() ([]byte, error) {
	frame, err := wire.ReadFrame(l.r, nil, 0)
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		return nil, fmt.Errorf("no reply within %v", l.patience)
	}
	if err != nil {
		l.over = true
		return nil, nil
	}
	return frame, nil
}

// Events returns the events that the link has received since the last call.
func (l *Link) Events() []Event {
	told := l.told
	l.told = nil
	return told
}

// Handshake opens or resumes a session. The response is nil if the server closes the connection
// instead. It is an error if the server does not answer.
func (l *Link) Handshake(r wire.ConnectRequest) (*wire.ConnectResponse, error) {
	if err := l.Write(&r, nil); err != nil {
		return nil, err
	}
	frame, err := l.frame()
	if frame == nil {
		return nil, err
	}
	rsp := &wire.ConnectResponse{}
	rest, err := wire.Decode(frame, rsp)
	if err != nil {
		return nil, fmt.Errorf("cannot decode connect response %x: %w", frame, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("connect response %x has %d bytes after its end", frame, len(rest))
	}
	return rsp, nil
}

// Ask sends a request and returns the frame of its reply. It returns nil if the server closes the
// connection instead, or does not reply. To detect that the server does not reply, Ask sends a ping
// after the request: no reply to the request can come after the reply to the ping. Ask does not
// send this ping if the request is a ping or the close of the session, or if l.left is set.
func (l *Link) Ask(op wire.Op, xid int32, body []byte) (answer []byte, err error) {
	if err := l.Write(&wire.RequestHeader{Xid: xid, Op: op}, body); err != nil {
		return nil, err
	}
	if op == wire.OpPing || op == wire.OpCloseSession || l.left {
		return l.Read()
	}
	if err := l.Write(&wire.RequestHeader{Xid: wire.XidPing, Op: wire.OpPing}, nil); err != nil {
		return nil, err
	}
	for {
		frame, err := l.Read()
		if err != nil || frame == nil || bytes.HasPrefix(frame, pong) {
			return answer, err
		}
		if answer != nil {
			return nil, fmt.Errorf("two replies, %x and %x, want one", answer, frame)
		}
		answer = frame
	}
}

// pong is the start of the reply to a ping.
var pong = wire.Append(nil, &wire.Int32{Value: wire.XidPing})

// CatchUp waits until the server has applied the zxid and has sent all events up to the zxid. To do
// so, CatchUp sends pings, which pass through the same queues as reads.
func (l *Link) CatchUp(zxid int64) error {
	began := time.Now()
	for !l.over {
		if time.Since(began) > l.patience {
			return fmt.Errorf("the server has not applied zxid %#x within %v", zxid, l.patience)
		}
		frame, err := l.Ask(wire.OpPing, wire.XidPing, nil)
		if err != nil || frame == nil {
			return err
		}
		var h wire.ReplyHeader
		if _, err := wire.Decode(frame, &h); err != nil || h.Xid != wire.XidPing || h.Err != wire.OK {
			return fmt.Errorf("reply to a ping: %+v, error %v", h, err)
		}
		if h.Zxid >= zxid {
			return nil
		}
	}
	return nil
}

// Silent reports whether neither a frame nor the end of the connection arrives within d.
func (l *Link) Silent(d time.Duration) (bool, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return false, err
	}
	_, err := l.r.Peek(1)
	var late net.Error
	silent := errors.As(err, &late) && late.Timeout()
	return silent, l.conn.SetReadDeadline(time.Time{})
}

// AwaitEnd waits until the server closes the connection.
func (l *Link) AwaitEnd() error {
	l.conn.SetDeadline(time.Now().Add(l.patience))
	for !l.over {
		if frame, err := l.Read(); err != nil {
			return err
		} else if frame != nil {
			return fmt.Errorf("got frame %x, want the end of the connection", frame)
		}
	}
	_, err := l.r.ReadByte()
	if err != io.EOF {
		return err
	}
	return nil
}
