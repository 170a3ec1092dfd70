package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// ErrNoSession says that the ensemble knows no such session, or not with that password: it has ended already.
var ErrNoSession = errors.New("no such session")

// CloseSession ends somebody's session from outside: it connects to server as a second client with the session's id and
// password, and closes it. What the session's owner has held is gone when CloseSession returns nil; the owner learns it only
// from its own connection. timeout is the session timeout to ask for; the server gives the session the one that results.
//
// If ctx ends first the session may be closed or not, and its timeout may have changed.
func CloseSession(ctx context.Context, dial ensemble.DialFunc, server string, id int64, password []byte, timeout time.Duration) error {
	conn, err := dial(ctx, "tcp", server)
	if err != nil {
		return fmt.Errorf("close session %#x: %w", id, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := closeSession(conn, id, password, timeout); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("close session %#x at %s: %w", id, server, err)
	}
	return nil
}

func closeSession(conn net.Conn, id int64, password []byte, timeout time.Duration) error {
	connect := wire.AppendFrame(nil, &wire.ConnectRequest{
		Timeout: int32(timeout.Milliseconds()), SessionID: id, Password: password,
	})
	if _, err := conn.Write(connect); err != nil {
		return err
	}
	frame, err := wire.ReadFrame(conn, nil, 0)
	if err != nil {
		return err
	}
	var connected wire.ConnectResponse
	if _, err := wire.Decode(frame, &connected); err != nil {
		return err
	}
	if connected.SessionID != id || connected.Timeout <= 0 {
		return ErrNoSession
	}
	if _, err := conn.Write(wire.AppendFrame(nil, &wire.RequestHeader{Xid: 1, Op: wire.OpCloseSession})); err != nil {
		return err
	}
	for {
		if frame, err = wire.ReadFrame(conn, frame, 0); err != nil {
			return err
		}
		var reply wire.ReplyHeader
		if _, err := wire.Decode(frame, &reply); err != nil {
			return err
		}
		if reply.Xid != 1 {
			continue // An event of a watch, if the session moved here with some.
		}
		if reply.Err != wire.OK {
			return reply.Err
		}
		return nil
	}
}
