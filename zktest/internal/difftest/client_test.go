package difftest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// patience is the time limit for a reply. After it the run is invalid.
const patience = 60 * time.Second

// sessionTimeout is long, because no session of a trace may expire.
const sessionTimeout = 40 * time.Second

// A link is one connection of a client. It sends one request and then reads the
// reply.
type link struct {
	conn net.Conn
	r    *bufio.Reader
	xid  int32
	told []event // since the last call of events
	over bool    // the server has closed the connection
	// The session has another connection, so the server may answer a ping while
	// it closes this one.
	left bool
}

// An event is a watch event with its zxid.
type event struct {
	wire.WatcherEvent
	zxid int64
}

func dial(ctx context.Context, s *servers, role int) (*link, error) {
	conn, err := s.dial(ctx, "tcp", s.addresses[role%len(s.addresses)])
	if err != nil {
		return nil, err
	}
	return &link{conn: conn, r: bufio.NewReader(conn)}, nil
}

func (l *link) close() {
	if l != nil {
		l.conn.Close()
	}
}

// write sends a record and the bytes after it as one frame. If the server has
// closed the connection, the next read reports it.
func (l *link) write(record wire.Record, rest []byte) error {
	if err := l.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	frame := append(wire.Append(make([]byte, 4), record), rest...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	l.conn.Write(frame)
	return nil
}

// read returns the next frame that is not an event. It returns nil if the
// server closes the connection first.
func (l *link) read() ([]byte, error) {
	for {
		frame, err := wire.ReadFrame(l.r, nil, 0)
		if late, ok := err.(net.Error); ok && late.Timeout() {
			return nil, fmt.Errorf("no reply within %v", patience)
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
		e := event{zxid: h.Zxid}
		if rest, err := wire.Decode(body, &e.WatcherEvent); err != nil || len(rest) > 0 || h.Err != wire.OK {
			return nil, fmt.Errorf("event %x: %+v, %v", frame, h, err)
		}
		l.told = append(l.told, e)
	}
}

// events returns the events that the link has received since the last call.
func (l *link) events() []event {
	told := l.told
	l.told = nil
	return told
}

// handshake opens or resumes a session. The response is nil if the server
// closes the connection instead.
func (l *link) handshake(r wire.ConnectRequest) (*wire.ConnectResponse, error) {
	if err := l.write(&r, nil); err != nil {
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

// ask sends a request and returns the frame of its reply. It returns nil if the
// server closes the connection instead, or never answers. It sends a ping after
// the request: the reply to the ping shows that no reply to the request will
// follow.
func (l *link) ask(op wire.Op, xid int32, body []byte) (answer []byte, err error) {
	if err := l.write(&wire.RequestHeader{Xid: xid, Op: op}, body); err != nil {
		return nil, err
	}
	if op == wire.OpPing || op == wire.OpCloseSession || l.left {
		return l.read()
	}
	if err := l.write(&wire.RequestHeader{Xid: wire.XidPing, Op: wire.OpPing}, nil); err != nil {
		return nil, err
	}
	for {
		frame, err := l.read()
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

// catchUp waits until the server has applied the zxid and has sent all events
// up to it. A ping passes through the same queues as a read.
func (l *link) catchUp(zxid int64) error {
	for !l.over {
		frame, err := l.ask(wire.OpPing, wire.XidPing, nil)
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

// awaitEnd waits until the server closes the connection.
func (l *link) awaitEnd() error {
	l.conn.SetDeadline(time.Now().Add(patience))
	for !l.over {
		if frame, err := l.read(); err != nil {
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
