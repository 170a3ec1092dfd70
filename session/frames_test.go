package session

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// multiBody is the reply to a multi of parts that succeeded or failed, with the
// code of each. All parts of a multi that fails are errors.
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

// What the lease learns from a reply: nothing, that the session was active, that
// the leader was reached, or that a majority knows of a write.
//
// Covers S2.
func TestWhatAReplyProves(t *testing.T) {
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
			s := &Session{wake: make(chan struct{}, 1)}
			s.lease.restart(ms(0), 4*time.Second, time.Second, true)
			s.inflight = map[int32]packet{xid: {op: test.op, sent: ms(1000)}}
			s.repliedLocked(&wire.ReplyHeader{Xid: xid, Zxid: epoch<<32 | 5, Err: test.code}, test.body, ms(1010))
			got := "nothing"
			if len(s.lease.marks) > 0 {
				got = "activity"
				if !s.lease.marks[0].evidence.sent.IsZero() {
					got = "leader"
				}
			}
			if s.lease.epoch == epoch {
				got = "majority"
			}
			if got != test.want {
				t.Errorf("proves %s, want %s", got, test.want)
			}
			if len(s.inflight) > 0 {
				t.Error("still under way")
			}
		})
	}
}

// The handshake counts from when it was sent, however late it is answered, and an
// answer that an earlier connection has buffered is no answer to what went out on
// this one.
//
// Covers S2.
func TestConnectionsAreKeptApart(t *testing.T) {
	s := &Session{
		life: context.Background(), wake: make(chan struct{}, 1), up: newGate(),
		inflight: map[int32]packet{}, opts: Options{TickTime: time.Second},
	}
	welcome := &wire.ConnectResponse{SessionID: 5, Timeout: 4000, Password: []byte("secret")}
	sent := time.Now().Add(-time.Second)
	before, now := &conn{opened: sent}, &conn{opened: sent.Add(100 * time.Millisecond)}
	must(t, s.connected(before, welcome))
	if want := sent.Add(3800 * time.Millisecond); !s.lease.deadline.Equal(want) {
		t.Errorf("a new session's lease stands until %v after the handshake was sent, want 3.8s", s.lease.deadline.Sub(sent))
	}
	must(t, s.connected(now, welcome))
	if !s.lease.opened.Equal(now.opened) {
		t.Errorf("the handshake counts from %v after it was sent", s.lease.opened.Sub(now.opened))
	}
	for _, xid := range []int32{wire.XidPing, 3} {
		s.pings, s.inflight[3] = []time.Time{time.Now()}, packet{op: wire.OpSetData, sent: time.Now()}
		frame := wire.AppendFrame(nil, &wire.ReplyHeader{Xid: xid, Zxid: 1<<32 | 5})
		if _, err := s.received(before, frame[4:]); err == nil {
			t.Errorf("a reply %d of the earlier connection was taken", xid)
		}
		if len(s.lease.marks) > 0 || s.lease.epoch != 0 || len(s.pings) != 1 || len(s.inflight) != 1 {
			t.Errorf("a reply %d of the earlier connection counted", xid)
		}
	}
}
