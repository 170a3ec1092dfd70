package trace

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A trace for servers that other programs use changes no znode outside of its root. The owner of
// the root may delete all znodes that the trace leaves behind.
func TestGuestStaysBelowItsRoot(t *testing.T) {
	owner := Digest("owner")
	const root = "/guest/trace"
	inside := func(path string) bool {
		// Servers refuse a path without a leading slash, so a request may contain such a path.
		return path == root || strings.HasPrefix(path, root+"/") || !strings.HasPrefix(path, "/")
	}
	var seed uint64
	var check func(op wire.Op, req wire.Record)
	checkACL := func(op wire.Op, acl []wire.ACL) {
		open := slices.Contains(acl, wire.ACL{Perms: wire.PermAll, ID: world})
		if len(acl) > 0 && !open && !slices.Contains(acl, wire.ACL{Perms: wire.PermAll, ID: owner}) {
			t.Errorf("seed %d: %v: got the ACL %+v, want one that lets the owner delete",
				seed, op, acl)
		}
	}
	checkPaths := func(op wire.Op, paths ...string) {
		for _, p := range paths {
			if !inside(p) {
				t.Errorf("seed %d: %v uses %q, want a path below %s", seed, op, p, root)
			}
		}
	}
	check = func(op wire.Op, req wire.Record) {
		switch r := req.(type) {
		case *wire.CreateRequest:
			checkPaths(op, r.Path)
			checkACL(op, r.ACL)
		case *wire.CreateTTLRequest:
			check(op, &r.CreateRequest)
		case *wire.SetACLRequest:
			checkPaths(op, r.Path)
			checkACL(op, r.ACL)
		case *wire.PathVersion:
			checkPaths(op, r.Path)
		case *wire.SetDataRequest:
			checkPaths(op, r.Path)
		case *wire.PathWatch:
			checkPaths(op, r.Path)
		case *wire.AddWatchRequest:
			checkPaths(op, r.Path)
		case *wire.WatchesRequest:
			checkPaths(op, r.Path)
		case *wire.SetWatchesRequest:
			checkPaths(op, slices.Concat(r.Data, r.Exist, r.Child)...)
		case *wire.SetWatches2Request:
			check(op, &r.SetWatchesRequest)
			checkPaths(op, slices.Concat(r.Persistent, r.PersistentRecursive)...)
		case *wire.Path:
			if op != wire.OpGetEphemerals { // getEphemerals lists only znodes of the client itself
				checkPaths(op, r.Path)
			}
		case *wire.MultiRequest:
			for _, part := range r.Ops {
				check(part.Op, part.Request)
			}
		case *wire.AuthRequest, nil:
		default:
			t.Errorf("%v: the test does not check requests of type %T: add them", op, req)
		}
	}
	for seed = range uint64(1000) {
		for _, s := range Generate(seed, root, Limits{Guest: true, Owner: owner}) {
			if s.kind != request {
				continue
			}
			if s.cut > 0 || s.stale || s.op == wire.OpReconfig || s.op == wire.OpSASL || s.op == Unknown {
				t.Errorf("seed %d: got %v, want no such step on servers of others", seed, s)
			}
			check(s.op, s.req)
		}
	}
}

// HangUp returns only after the server has closed its end of the connection.
func TestHangUpWaitsForTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var closed atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		var b [1]byte
		conn.Read(b[:]) // until the client has closed its end
		<-time.After(50 * time.Millisecond)
		closed.Store(true)
		conn.Close()
	}()
	s := &Servers{Addresses: []string{l.Addr().String()}, Dial: (&net.Dialer{}).DialContext}
	link, err := Dial(context.Background(), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := link.HangUp(); err != nil {
		t.Fatal(err)
	}
	if !closed.Load() {
		t.Error("HangUp returned before the server had closed the connection")
	}
	<-done
}
