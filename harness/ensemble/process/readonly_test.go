package process

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// This test checks the statements of docs/decisions/0007 about read-only servers. A server without
// a quorum accepts only a client that sets a flag, which go-zookeeper does not set. The session of
// such a client is unknown to the other servers.
func TestReadOnlySessionIsOfOneServer(t *testing.T) {
	needJava(t)
	e, err := Start(t.Context(), Options{Dir: t.TempDir(), Config: ensemble.Config{
		// Without local sessions, a server without a quorum rejects every new session.
		Extra:    map[string]string{"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"},
		JVMFlags: []string{"-Dreadonlymode.enabled=true"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	if err := errors.Join(e.Kill(t.Context(), 1), e.Kill(t.Context(), 2)); err != nil {
		t.Fatal(err)
	}
	request := wire.ConnectRequest{Timeout: 8000, ReadOnly: true}
	answer := sessionAt(t, e, 0, request, true)
	if answer.Timeout <= 0 || answer.SessionID == 0 {
		t.Fatalf("got session %#x with a timeout of %d ms from the server without a quorum, "+
			"want neither to be 0", answer.SessionID, answer.Timeout)
	}
	request.ReadOnly, request.NoReadOnly = false, true
	if _, err := handshake(t.Context(), e, 0, request); err == nil {
		t.Error("a client without the flag got a session from the server without a quorum, want an error")
	}

	if err := errors.Join(e.Start(t.Context(), 1), e.Start(t.Context(), 2), e.Ready(t.Context())); err != nil {
		t.Fatal(err)
	}
	request.SessionID, request.Password = answer.SessionID, answer.Password
	request.ReadOnly, request.NoReadOnly = true, false
	resumed := sessionAt(t, e, 1, request, false)
	if resumed.Timeout > 0 {
		t.Errorf("got a timeout of %d ms for the resumed session %#x, want 0, because it has "+
			"expired", resumed.Timeout, answer.SessionID)
	}
}

// sessionAt requests a session from a server until it gets a reply with the given ReadOnly.
func sessionAt(
	t *testing.T, e *Ensemble, server int, request wire.ConnectRequest, readOnly bool,
) wire.ConnectResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		answer, err := handshake(ctx, e, server, request)
		if err == nil && answer.ReadOnly == readOnly {
			return answer
		}
		select {
		case <-ctx.Done():
			t.Fatalf("server %d: got session %#x, read-only %t, error %v for 1m; want a reply "+
				"with read-only %t", server, answer.SessionID, answer.ReadOnly, err, readOnly)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func handshake(ctx context.Context, e *Ensemble, server int, request wire.ConnectRequest) (answer wire.ConnectResponse, err error) {
	conn, err := e.DialContext(ctx, "tcp", e.Servers()[server])
	if err != nil {
		return answer, err
	}
	defer conn.Close()
	err = errors.Join(conn.SetDeadline(time.Now().Add(10*time.Second)), shakeHands(conn, &request, &answer))
	return answer, err
}

func shakeHands(conn net.Conn, request *wire.ConnectRequest, answer *wire.ConnectResponse) error {
	if _, err := conn.Write(wire.AppendFrame(nil, request)); err != nil {
		return err
	}
	frame, err := wire.ReadFrame(conn, nil, 0)
	if err == nil {
		_, err = wire.Decode(frame, answer)
	}
	return err
}
