package difftest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// A null is a string or a vector of length -1. A client in Go cannot send it by mistake, but
// clients in other languages can.
var null = []byte{0xff, 0xff, 0xff, 0xff}

// encode returns the fields of a request as the protocol writes them.
func encode(fields ...any) []byte {
	var b []byte
	for _, f := range fields {
		switch f := f.(type) {
		case []byte:
			b = append(b, f...)
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(f))
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(f))
		case bool:
			b = append(b, map[bool]byte{true: 1}[f])
		}
	}
	return b
}

// The function `nulls` returns requests in which a string or a vector is null. Each request is a
// function that sets the operation and returns the body.
func nulls() map[string]func(op *wire.Op) []byte {
	all := map[string]func(op *wire.Op) []byte{}
	add := func(name string, op wire.Op, fields ...any) {
		all[fmt.Sprintf("%v %s", op, name)] = func(o *wire.Op) []byte { *o = op; return encode(fields...) }
	}
	world := encode(1, 31, "world", "anyone")
	part := func(op wire.Op, fields ...any) []byte {
		return encode(int(op), false, -1, encode(fields...), -1, true, -1)
	}
	for _, op := range []wire.Op{wire.OpCreate, wire.OpCreate2} {
		add("path", op, null, "", world, 0)
		add("acl", op, "/n1", "", null, 0)
		add("scheme", op, "/n2", "", encode(1, 31, null, "anyone"), 0)
		add("id of the world", op, "/n3", "", encode(1, 31, "world", null), 0)
		add("id of a digest", op, "/n4", "", encode(1, 31, "digest", null), 0)
		add("id of an address", op, "/n5", "", encode(1, 31, "ip", null), 0)
		add("path, sequential", op, null, "", world, 2)
		add("path and acl", op, null, "", null, 0)
		add("path and wrong mode", op, null, "", world, 99)
	}
	add("path", wire.OpCreateContainer, null, "", world, 4)
	add("path", wire.OpCreateTTL, null, "", world, 5, int64(1000))
	add("path", wire.OpDelete, null, -1)
	add("path", wire.OpSetData, null, "x", -1)
	add("path", wire.OpSetACL, null, world, -1)
	add("acl", wire.OpSetACL, "/", null, -1)
	for _, op := range []wire.Op{wire.OpExists, wire.OpGetData, wire.OpGetChildren, wire.OpGetChildren2} {
		add("path", op, null, false)
		add("path, watched", op, null, true)
	}
	for _, op := range []wire.Op{wire.OpGetACL, wire.OpSync, wire.OpGetEphemerals, wire.OpGetAllChildrenNumber} {
		add("path", op, null)
	}
	for mode := range 2 {
		add(fmt.Sprintf("path, mode %d", mode), wire.OpAddWatch, null, mode)
	}
	for kind := 1; kind <= 3; kind++ {
		add(fmt.Sprintf("path, kind %d", kind), wire.OpRemoveWatches, null, kind)
		add(fmt.Sprintf("path, kind %d", kind), wire.OpCheckWatches, null, kind)
	}
	lists := func(null []byte, which, n int) (fields []any) {
		fields = []any{int64(0)}
		for i := range n {
			if i == which {
				fields = append(fields, null)
			} else {
				fields = append(fields, 0)
			}
		}
		return fields
	}
	for i := range 5 {
		if i < 3 {
			add(fmt.Sprintf("list %d", i), wire.OpSetWatches, lists(null, i, 3)...)
			add(fmt.Sprintf("path in list %d", i), wire.OpSetWatches, lists(encode(1, null), i, 3)...)
		}
		add(fmt.Sprintf("list %d", i), wire.OpSetWatches2, lists(null, i, 5)...)
		add(fmt.Sprintf("path in list %d", i), wire.OpSetWatches2, lists(encode(1, null), i, 5)...)
	}
	add("path of create", wire.OpMulti, part(wire.OpCreate, null, "", world, 0))
	add("path of delete", wire.OpMulti, part(wire.OpDelete, null, -1))
	add("path of setData", wire.OpMulti, part(wire.OpSetData, null, "", -1))
	add("path of check", wire.OpMulti, part(wire.OpCheck, null, -1))
	add("id in create", wire.OpMulti, part(wire.OpCreate, "/n7", "", encode(1, 31, "digest", null), 0))
	add("path of getData", wire.OpMultiRead, part(wire.OpGetData, null, false))
	add("path of getChildren", wire.OpMultiRead, part(wire.OpGetChildren, null, false))
	add("scheme", wire.OpAuth, 0, null, "u1:pw")
	add("token", wire.OpAuth, 0, "ip", null)
	return all
}

func TestNullsAreAnsweredAsByZooKeeper(t *testing.T) {
	onEachVersion(t, func(t *testing.T, version string) {
		for _, n := range []int{1, 3} {
			real, release := startReal(t, version, n)
			real.Patience = 5 * time.Second
			e := zktest.Start(t, options(n, release))
			model := from(e.Servers(), e.Leader(), e.DialContext)
			role := n / 2 // with several servers, this is a follower
			for name, request := range nulls() {
				var op wire.Op
				body := request(&op)
				if op == wire.OpMulti && n > 1 {
					continue // the leader never answers again
				}
				want, got := reply(t, real, role, op, body), reply(t, model, role, op, body)
				if got != want {
					t.Errorf("%s of %d: %s is null: got from zktest %s; want, from ZooKeeper: %s", release, n, name, got, want)
				}
			}
		}
	})
}

// The function `reply` sends a request on a new connection. It returns, as text, the reply and
// whether the connection still works after the reply.
func reply(t *testing.T, s *trace.Servers, role int, op wire.Op, body []byte) string {
	t.Helper()
	l, err := trace.Dial(t.Context(), s, role)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	session, err := l.Handshake(wire.ConnectRequest{Timeout: int32(time.Minute.Milliseconds()), Password: make([]byte, 16)})
	if err != nil || session == nil {
		t.Fatalf("got no session: error %v", err)
	}
	var b strings.Builder
	xid := l.NextXid()
	if op == wire.OpAuth {
		xid = wire.XidAuth
	}
	for _, next := range []wire.Op{op, wire.OpPing} {
		if next == wire.OpPing {
			body, xid = nil, wire.XidPing
		}
		frame, err := l.Ask(next, xid, body)
		if err != nil {
			return b.String() + err.Error()
		}
		if frame == nil {
			b.WriteString("the end")
			break
		}
		h, rest, err := wire.CutReply(frame)
		if err != nil {
			t.Fatal(err)
		}
		// The variable `rest` is the part of the reply after the header. It is not compared in two
		// cases. If it is longer than 40 bytes, it has a stat, which differs, for example in its
		// times. After an error, ZooKeeper may send an empty response that zktest does not send:
		// see the package comment.
		if len(rest) > 40 || h.Err != wire.OK {
			rest = nil
		}
		fmt.Fprintf(&b, "%v %x, ", h.Err.String(), rest)
	}
	return b.String()
}
