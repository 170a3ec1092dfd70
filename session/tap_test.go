package session

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// multiBody returns the reply to a multi whose parts have the given codes. All parts of a failed
// multi are errors.
func multiBody(codes ...wire.Code) []byte {
	failed := false
	for _, code := range codes {
		failed = failed || code != 0
	}
	var out []byte
	header := func(op wire.Op, done byte, code int32) {
		out = binary.BigEndian.AppendUint32(out, uint32(op))
		out = append(out, done)
		out = binary.BigEndian.AppendUint32(out, uint32(code))
	}
	for _, code := range codes {
		if !failed {
			header(wire.OpCheck, 0, 0)
			continue
		}
		header(wire.OpError, 0, int32(code))
		out = binary.BigEndian.AppendUint32(out, uint32(code))
	}
	header(wire.OpError, 1, -1)
	return out
}

// bareTap returns the tap of a session without a client.
func bareTap(t *testing.T) *tap {
	t.Helper()
	opts := Options{Servers: []string{"a", "b"}, TickTime: time.Second, slept: func() time.Duration { return 0 }}
	must(t, opts.complete())
	return assemble(opts).tap
}

var welcome = wire.ConnectResponse{SessionID: 5, Timeout: 4000, Password: []byte("secret")}

// The function `welcomed` returns a connection whose handshake was sent at the given time and
// accepted.
func welcomed(t *testing.T, tap *tap, sent time.Time) *conn {
	t.Helper()
	c := &conn{opened: sent, server: "a"}
	if _, err := tap.connected(c, &welcome); err != nil {
		t.Fatal(err)
	}
	return c
}

// If servers answer a handshake with another session or none, this session ends. If a connection
// was closed during its handshake, or if the answer comes after the end of the session, that
// connection does not serve the session.
func TestHandshakesThatDoNotServeTheSession(t *testing.T) {
	for name, test := range map[string]struct {
		response wire.ConnectResponse
		before   func(tap *tap, c *conn)
		want     error
	}{
		"expired":     {wire.ConnectResponse{}, nil, ErrLost},
		"replaced":    {wire.ConnectResponse{SessionID: 6, Timeout: 4000}, nil, ErrLost},
		"credentials": {wire.ConnectResponse{}, func(tap *tap, _ *conn) { tap.unwelcome = true }, ErrCredentials},
		"closed":      {welcome, func(_ *tap, c *conn) { c.gone = true }, errBroken},
		"too late":    {welcome, func(tap *tap, _ *conn) { tap.life.end(ErrClosed) }, errOver},
	} {
		t.Run(name, func(t *testing.T) {
			tap := bareTap(t)
			tap.disconnected(welcomed(t, tap, time.Now()), errHungUp)
			c := &conn{opened: time.Now()}
			if test.before != nil {
				test.before(tap, c)
			}
			if _, err := tap.connected(c, &test.response); !errors.Is(err, test.want) {
				t.Errorf("connected: got %v, want %v", err, test.want)
			}
			if server := tap.served(); server != "" || tap.states.now() == Connected {
				t.Errorf("got server %q and state %v, want none and not connected", server, tap.states.now())
			}
		})
	}
}

// A handshake requests the current session and no other. It also contains the latest zxid that the
// session has seen, so a server that has not applied this zxid can refuse the session.
func TestHandshakeRequestsTheCurrentSession(t *testing.T) {
	tap := bareTap(t)
	first := wire.ConnectRequest{Timeout: 10_000}
	if err := tap.resume(&first); err != nil || first.SessionID != 0 || first.Timeout != 10_000 {
		t.Errorf("the first handshake: got session %d, timeout %d, error %v; want 0, 10000 ms, nil",
			first.SessionID, first.Timeout, err)
	}
	welcomed(t, tap, time.Now())
	tap.seenZxid = 77
	forgetful, resuming, foreign := wire.ConnectRequest{}, wire.ConnectRequest{SessionID: 5}, wire.ConnectRequest{SessionID: 6}
	if err := tap.resume(&forgetful); err != nil || forgetful.SessionID != 5 || string(forgetful.Password) != "secret" || forgetful.Timeout != 4000 || forgetful.LastZxidSeen != 77 {
		t.Errorf("a handshake without a session: got session %d, password %q, timeout %d, zxid %d, error %v; want 5, \"secret\", 4000 ms, 77, nil",
			forgetful.SessionID, forgetful.Password, forgetful.Timeout, forgetful.LastZxidSeen, err)
	}
	if err := tap.resume(&resuming); err != nil || resuming.LastZxidSeen != 77 {
		t.Errorf("a handshake that resumes: got zxid %d, error %v; want 77, nil",
			resuming.LastZxidSeen, err)
	}
	if err := tap.resume(&foreign); err == nil {
		t.Error("a handshake for another session: got no error, want one")
	}
}

// A request whose caller has gone is not written. The client gets an error for it with the next
// reply. Any other request counts as sent.
//
// Covers S4.
func TestTapDropsWhatWasAbandoned(t *testing.T) {
	tap := bareTap(t)
	c := welcomed(t, tap, time.Now())
	frame := func(xid int32) []byte {
		return wire.AppendFrame(nil, &wire.RequestHeader{Xid: xid, Op: wire.OpDelete}, &wire.PathVersion{Path: "/a"})[4:]
	}
	trace := new(engine.Trace)
	trace.Init()
	gone, live := tap.tickets.issue(nil), tap.tickets.issue(trace)
	tap.tickets.void(gone)
	if _, _, err := tap.sending(c, frame(1), gone); err != errAbandoned || len(tap.inflight) != 0 {
		t.Errorf("an abandoned request: got %v with %d in progress, want %v with none", err, len(tap.inflight), errAbandoned)
	}
	if _, written, err := tap.sending(c, frame(2), live); err != nil || written == nil {
		t.Errorf("a request that is not abandoned: got %v, want it to be sent", err)
	}
	more, err := tap.received(c, wire.AppendFrame(nil, &wire.ReplyHeader{Xid: 2, Zxid: 9})[4:])
	if want := wire.AppendFrame(nil, &wire.ReplyHeader{Xid: 1, Err: wire.ConnectionLoss}); err != nil || string(more) != string(want) {
		t.Errorf("after the reply: got %x, %v; want %x", more, err, want)
	}
	if got := trace.Zxid(); got != 9 || len(tap.inflight) != 0 {
		t.Errorf("the reply: got zxid %d and %d in progress, want 9 and none", got, len(tap.inflight))
	}
}

// A reply proves one of four things: that a majority acknowledged a write, that the leader was
// reached, that the session was active, or nothing at all.
//
// Covers S2.
func TestProofOfAReply(t *testing.T) {
	const sessionExpired, sessionMoved, inconsistent wire.Code = -112, -118, -2
	for _, test := range []struct {
		name string
		op   wire.Op
		code wire.Code
		body []byte
		want string
	}{
		{name: "read", op: wire.OpGetData, want: "activity"},
		{name: "read that fails", op: wire.OpGetData, code: wire.NoNode, want: "nothing"},
		{name: "auth", op: wire.OpAuth, want: "nothing"},
		{name: "SASL", op: wire.OpSASL, want: "nothing"},
		{name: "sync", op: wire.OpSync, want: "leader"},
		{name: "sync that fails", op: wire.OpSync, code: wire.ThrottledOp, want: "nothing"},
		{name: "create", op: wire.OpCreate, want: "majority"},
		{name: "delete", op: wire.OpDelete, want: "majority"},
		{name: "set", op: wire.OpSetData, want: "majority"},
		{name: "ACL", op: wire.OpSetACL, want: "majority"},
		{name: "write refused by the leader or by the follower", op: wire.OpSetData, code: wire.NoAuth, want: "nothing"},
		{name: "write that is throttled", op: wire.OpCreate, code: wire.ThrottledOp, want: "nothing"},
		{name: "write of a closing session", op: wire.OpDelete, code: sessionExpired, want: "nothing"},
		{name: "multi", op: wire.OpMulti, body: multiBody(0, 0), want: "majority"},
		{name: "multi refused", op: wire.OpMulti, code: wire.ThrottledOp, body: multiBody(0), want: "nothing"},
		{name: "empty multi", op: wire.OpMulti, body: multiBody(), want: "activity"},
		{name: "multi without a body", op: wire.OpMulti, want: "activity"},
		{name: "multi: no node", op: wire.OpMulti, body: multiBody(wire.NoNode), want: "majority"},
		{name: "multi: no node in the second part", op: wire.OpMulti, body: multiBody(0, wire.NoNode, inconsistent), want: "majority"},
		{name: "multi: no permission", op: wire.OpMulti, body: multiBody(wire.NoAuth), want: "majority"},
		{name: "multi: version", op: wire.OpMulti, body: multiBody(wire.BadVersion, inconsistent), want: "majority"},
		{name: "multi: node exists", op: wire.OpMulti, body: multiBody(wire.NodeExists), want: "majority"},
		{name: "multi: not empty", op: wire.OpMulti, body: multiBody(wire.NotEmpty), want: "majority"},
		{name: "multi of a closing session", op: wire.OpMulti, body: multiBody(sessionExpired), want: "activity"},
		{name: "multi of a session that closes meanwhile", op: wire.OpMulti, body: multiBody(0, sessionExpired, wire.NoNode), want: "activity"},
		{name: "multi of a session that moved", op: wire.OpMulti, body: multiBody(sessionMoved, inconsistent), want: "activity"},
		{name: "multi: unimplemented", op: wire.OpMulti, body: multiBody(wire.Unimplemented), want: "activity"},
		{name: "multi: inconsistent", op: wire.OpMulti, body: multiBody(inconsistent, wire.NoNode), want: "activity"},
		{name: "multi cut short", op: wire.OpMulti, body: multiBody(0, wire.NoNode)[:12], want: "activity"},
	} {
		t.Run(test.name, func(t *testing.T) {
			const epoch, xid = 7, 3
			tap := bareTap(t)
			c := welcomed(t, tap, time.Now())
			lease := &tap.keeper.lease
			tap.inflight[xid] = packet{op: test.op, sent: time.Now()}
			frame := wire.AppendFrame(nil, &wire.ReplyHeader{Xid: xid, Zxid: epoch<<32 | 5, Err: test.code})
			_, err := tap.received(c, append(frame[4:], test.body...))
			must(t, err)
			got := "nothing"
			if len(lease.marks) > 0 {
				got = "activity"
				if !lease.marks[0].evidence.sent.IsZero() {
					got = "leader"
				}
			}
			if lease.epoch == epoch {
				got = "majority"
			}
			if got != test.want {
				t.Errorf("the reply proves %s, want %s", got, test.want)
			}
			if len(tap.inflight) > 0 {
				t.Error("the request counts as in progress after its reply")
			}
		})
	}
}

// A handshake counts from the time at which it was sent, however late the answer is. If a reply is
// still read from an earlier connection, it does not answer a request of the current connection.
//
// Covers S2.
func TestConnectionsAreKeptApart(t *testing.T) {
	tap := bareTap(t)
	lease := &tap.keeper.lease
	sent := time.Now().Add(-time.Second)
	before := welcomed(t, tap, sent)
	if want := sent.Add(3800 * time.Millisecond); !lease.deadline.Equal(want) {
		t.Errorf("a new session's lease stands until %v after the handshake was sent, want 3.8s", lease.deadline.Sub(sent))
	}
	now := welcomed(t, tap, sent.Add(100*time.Millisecond))
	if !lease.opened.Equal(now.opened) {
		t.Errorf("the handshake counts from %v after it was sent, want from when it was sent", lease.opened.Sub(now.opened))
	}
	for _, xid := range []int32{wire.XidPing, 3} {
		tap.pings, tap.inflight[3] = []time.Time{time.Now()}, packet{op: wire.OpSetData, sent: time.Now()}
		frame := wire.AppendFrame(nil, &wire.ReplyHeader{Xid: xid, Zxid: 1<<32 | 5})
		if _, err := tap.received(before, frame[4:]); err == nil {
			t.Errorf("reply %d of the earlier connection: got no error, want one", xid)
		}
		if len(lease.marks) > 0 || lease.epoch != 0 || len(tap.pings) != 1 || len(tap.inflight) != 1 {
			t.Errorf("reply %d of the earlier connection counts as evidence, want it to be ignored", xid)
		}
	}
}
