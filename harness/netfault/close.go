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

// ErrNoSession says that the ensemble knows no such session, or not with that password: it has ended already.
var ErrNoSession = errors.New("netfault: no such session")

// ErrUnanswered says that a session was asked to be closed and that the connection ended before the answer came: the session is
// closed, or it is not.
var ErrUnanswered = errors.New("netfault: the close of the session was not answered")

// CloseSession ends somebody's session from outside: it connects to server as a second client with the session's id and
// password, and closes it. What the session's owner has stalled is gone when CloseSession returns nil; the owner learns it only
// from its own connection. timeout is the session timeout to ask for; the server gives the session the one that results.
//
// If ctx ends first the session may be closed or not, and its timeout may have changed. If the request to close was sent and not
// answered, the error is [ErrUnanswered].
func CloseSession(ctx context.Context, dial ensemble.DialFunc, server string, id int64, password []byte, timeout time.Duration) error {
	return withSession(ctx, dial, server, wire.ConnectRequest{
		Timeout: int32(timeout.Milliseconds()), SessionID: id, Password: password,
	}, closeSession)
}

// Gone reports whether a session has ended, by trying to resume it at server. One that lives is touched by that, moves to
// server, and has its owner's connection to another server closed: ask when it should be gone.
//
// A server that is cut off from the others may say either.
func Gone(ctx context.Context, dial ensemble.DialFunc, server string, id int64, password []byte, timeout time.Duration) (bool, error) {
	err := withSession(ctx, dial, server, wire.ConnectRequest{
		Timeout: int32(timeout.Milliseconds()), SessionID: id, Password: password,
	}, func(net.Conn) error { return nil })
	if errors.Is(err, ErrNoSession) {
		return true, nil
	}
	return false, err
}

// withSession runs f on a connection to server that has resumed a session.
func withSession(ctx context.Context, dial ensemble.DialFunc, server string, request wire.ConnectRequest, f func(net.Conn) error) error {
	conn, err := dial(ctx, "tcp", server)
	if err != nil {
		return fmt.Errorf("session %#x: %w", request.SessionID, err)
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
		return fmt.Errorf("session %#x at %s: %w", request.SessionID, server, err)
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
	if _, err := conn.Write(wire.AppendFrame(nil, &wire.RequestHeader{Xid: 1, Op: wire.OpCloseSession})); err != nil {
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
		if reply.Xid != 1 {
			continue // An event of a watch, if the session moved here with some.
		}
		if reply.Err != wire.OK {
			return reply.Err
		}
		return nil
	}
}
