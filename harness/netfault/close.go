package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// ErrNoSession means that the ensemble has no session with that id and password, because the
// session has already ended.
var ErrNoSession = errors.New("netfault: no such session")

// ErrUnanswered means that the request to close a session was sent, but the connection ended before
// the reply came. The session may or may not be closed.
var ErrUnanswered = errors.New("netfault: the close of the session was not answered")

// closeXid is a request number that the owner of the session never uses. A server uses the session
// and the number to find the request that belongs to a committed transaction. If a request of the
// owner had the same number as the close, the owner could receive the reply to the close. The owner
// would then mistake the close for its own write.
const closeXid int32 = 1 << 30

// CloseSession ends the session of a client, the owner, from outside. It connects to `server` as a
// second client with the session's id and password, and closes the session. When CloseSession
// returns nil, the session and its ephemeral znodes are gone. If the owner's proxy is stalled, the
// requests that wait in the proxy are lost. The owner learns of the close only from its own
// connection. CloseSession requests the given session timeout; the server decides the actual one.
//
// If ctx ends first, the session may or may not be closed, and its timeout may have changed. If the
// request to close was sent but not answered, the error is [ErrUnanswered].
func CloseSession(ctx context.Context, dial ensemble.DialFunc, server string, id int64, password []byte, timeout time.Duration) error {
	return withSession(ctx, dial, server, wire.ConnectRequest{
		Timeout: int32(timeout.Milliseconds()), SessionID: id, Password: password,
	}, closeSession)
}

// Gone reports whether a session has ended, by trying to resume the session at `server`. If the
// session is alive, the attempt renews the session and moves it to `server`. If the client that
// owns the session is connected to another server, that connection is then closed. So call Gone
// only when the session should have ended.
//
// A server that is isolated from the other servers can report either result.
func Gone(ctx context.Context, dial ensemble.DialFunc, server string, id int64, password []byte, timeout time.Duration) (bool, error) {
	err := withSession(ctx, dial, server, wire.ConnectRequest{
		Timeout: int32(timeout.Milliseconds()), SessionID: id, Password: password,
	}, func(net.Conn) error { return nil })
	if errors.Is(err, ErrNoSession) {
		return true, nil
	}
	return false, err
}

// withSession resumes a session on a new connection to `server`, and runs f on that connection.
func withSession(ctx context.Context, dial ensemble.DialFunc, server string, request wire.ConnectRequest, f func(net.Conn) error) error {
	conn, err := dial(ctx, "tcp", server)
	if err != nil {
		return fmt.Errorf("session %#x: %w", uint64(request.SessionID), err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err = resume(conn, request); err == nil {
		err = f(conn)
	}
	if err != nil && ctx.Err() != nil {
		unanswered := errors.Is(err, ErrUnanswered)
		err = context.Cause(ctx)
		if unanswered {
			err = fmt.Errorf("%w: %w", ErrUnanswered, err)
		}
	}
	if err != nil {
		return fmt.Errorf("session %#x at %s: %w", uint64(request.SessionID), server, err)
	}
	return nil
}

func resume(conn net.Conn, request wire.ConnectRequest) error {
	if _, err := conn.Write(wire.AppendFrame(nil, &request)); err != nil {
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
	if connected.SessionID != request.SessionID || connected.Timeout <= 0 {
		return ErrNoSession
	}
	return nil
}

func closeSession(conn net.Conn) error {
	if _, err := conn.Write(wire.AppendFrame(nil, &wire.RequestHeader{Xid: closeXid, Op: wire.OpCloseSession})); err != nil {
		return err
	}
	for {
		frame, err := wire.ReadFrame(conn, nil, 0)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnanswered, err)
		}
		var reply wire.ReplyHeader
		if _, err := wire.Decode(frame, &reply); err != nil {
			return fmt.Errorf("%w: %w", ErrUnanswered, err)
		}
		if reply.Xid != closeXid {
			continue // An event of a watch, if the session moved here with watches.
		}
		if reply.Err != wire.OK {
			return reply.Err
		}
		return nil
	}
}
