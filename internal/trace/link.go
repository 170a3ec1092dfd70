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

// patience is that of servers without another one.
const patience = time.Minute

// sessionTimeout is long: no session of a trace may expire.
const sessionTimeout = 40 * time.Second

// A Link is one connection of a client, used by hand: one request, then its answer. Its methods are for one goroutine.
type Link struct {
	conn     net.Conn
	r        *bufio.Reader
	patience time.Duration
	unbind   func() bool // from the context of Dial
	xid      int32
	told     []Event // since Events was called last
	over     bool    // the server has hung up
	left     bool    // the session has another connection: the server may answer a ping while it hangs up
}

// An Event is what a server tells a client, and the zxid that it gives with it.
type Event struct {
	wire.WatcherEvent
	Zxid int64
}

// Dial connects to a server. Role 0 is the leader. The connection ends with ctx. The caller closes it.
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

// Close closes the connection, not the session. A nil Link is closed already.
func (l *Link) Close() {
	if l != nil {
		l.unbind()
		l.conn.Close()
	}
}

// HangUp closes the connection once the server has closed its end. ZooKeeper forgets by then which connection the session had.
// A server that still does that when the session has its next connection forgets the next one instead (every release:
// ServerCnxnFactory.removeCnxnFromSessionMap removes by the id alone). It does not close that one when the session ends.
func (l *Link) HangUp() error {
	if l == nil {
		return nil
	}
	defer l.Close()
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return nil // the server has closed it, or is no server across a network
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, l.r)
	if late, ok := err.(net.Error); ok && late.Timeout() {
		return fmt.Errorf("a connection is still open %v after the client closed its half", l.patience)
	}
	return nil
}

// Over reports whether the server has hung up, as far as reads have shown.
func (l *Link) Over() bool { return l.over }

// NextXid returns the number of the next request.
func (l *Link) NextXid() int32 {
	l.xid++
	return l.xid
}

// Write sends a record and what follows it as one frame. That the server has hung up shows at the next read.
func (l *Link) Write(record wire.Record, rest []byte) error {
	if err := l.conn.SetDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	frame := append(wire.Append(make([]byte, 4), record), rest...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	l.conn.Write(frame)
	return nil
}

// Read returns the next frame that is no event, nil if the server hangs up first.
func (l *Link) Read() ([]byte, error) {
	for {
		frame, err := wire.ReadFrame(l.r, nil, 0)
		if late, ok := err.(net.Error); ok && late.Timeout() {
			return nil, fmt.Errorf("no answer within %v", l.patience)
		}
		if err != nil {
			l.over = true
			return nil, nil
		}
		var h wire.ReplyHeader
		body, err := wire.Decode(frame, &h)
		if err != nil || h.Xid != wire.XidNotification {
			return frame, nil
		}
		e := Event{Zxid: h.Zxid}
		if rest, err := wire.Decode(body, &e.WatcherEvent); err != nil || len(rest) > 0 || h.Err != wire.OK {
			return nil, fmt.Errorf("event %x: %+v, %v", frame, h, err)
		}
		l.told = append(l.told, e)
	}
}

// Events returns what the link was told of since the last call.
func (l *Link) Events() []Event {
	told := l.told
	l.told = nil
	return told
}

// Handshake opens or resumes a session. The response is nil where the server hangs up instead.
func (l *Link) Handshake(r wire.ConnectRequest) (*wire.ConnectResponse, error) {
	if err := l.Write(&r, nil); err != nil {
		return nil, err
	}
	frame, err := wire.ReadFrame(l.r, nil, 0)
	if err != nil {
		l.over = true
		return nil, nil
	}
	rsp := &wire.ConnectResponse{}
	rest, err := wire.Decode(frame, rsp)
	if err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("connect response %x: %v", frame, err)
	}
	return rsp, nil
}

// Ask sends a request and returns the frame that answers it, nil if the server hangs up instead or answers never. A ping goes
// behind the request: its answer says that none to the request will come.
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
			return nil, fmt.Errorf("two answers, %x and %x", answer, frame)
		}
		answer = frame
	}
}

// pong is how the answer to a ping starts.
var pong = wire.Append(nil, &wire.Int32{Value: wire.XidPing})

// CatchUp waits until the server has applied the zxid, so that what it tells of it has been told. A ping passes through
// all that a read does.
func (l *Link) CatchUp(zxid int64) error {
	began := time.Now()
	for !l.over {
		if time.Since(began) > l.patience {
			return fmt.Errorf("zxid %#x not applied within %v", zxid, l.patience)
		}
		frame, err := l.Ask(wire.OpPing, wire.XidPing, nil)
		if err != nil || frame == nil {
			return err
		}
		var h wire.ReplyHeader
		if _, err := wire.Decode(frame, &h); err != nil || h.Xid != wire.XidPing || h.Err != wire.OK {
			return fmt.Errorf("answer to a ping: %+v, %v", h, err)
		}
		if h.Zxid >= zxid {
			return nil
		}
	}
	return nil
}

// Silent reports whether nothing comes within d: no frame, and no end of the connection.
func (l *Link) Silent(d time.Duration) (bool, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return false, err
	}
	_, err := l.r.Peek(1)
	var late net.Error
	silent := errors.As(err, &late) && late.Timeout()
	return silent, l.conn.SetReadDeadline(time.Time{})
}

// AwaitEnd waits until the server hangs up.
func (l *Link) AwaitEnd() error {
	l.conn.SetDeadline(time.Now().Add(l.patience))
	for !l.over {
		if frame, err := l.Read(); err != nil {
			return err
		} else if frame != nil {
			return fmt.Errorf("%x where an end was to come", frame)
		}
	}
	_, err := l.r.ReadByte()
	if err != io.EOF {
		return err
	}
	return nil
}
