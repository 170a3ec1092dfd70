package zktest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func dialPlain(t *testing.T, e *zktest.Ensemble, server int) net.Conn {
	t.Helper()
	nc, err := e.DialContext(t.Context(), "tcp", e.Servers()[server])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// Bad bytes close the connection that they were sent on. Other connections are
// not affected.
func TestBadBytesCloseTheirConnectionOnly(t *testing.T) {
	connectFrame := wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: 10000, Password: make([]byte, 16)})
	cases := map[string][]byte{
		"huge length":         {0x7f, 0xff, 0xff, 0xff, 1},
		"negative length":     {0xff, 0xff, 0xff, 0xfe, 1},
		"length over limit":   {0, 0x10, 0, 0},
		"empty first frame":   {0, 0, 0, 0},
		"garbage":             []byte("GET / HTTP/1.1\r\n\r\n"),
		"short connect":       {0, 0, 0, 3, 1, 2, 3},
		"huge password":       append([]byte{0, 0, 0, 28}, append(make([]byte, 24), 0x7f, 0xff, 0xff, 0xff)...),
		"empty request":       append(bytes.Clone(connectFrame), 0, 0, 0, 0),
		"short header":        append(bytes.Clone(connectFrame), 0, 0, 0, 2, 1, 2),
		"unknown operation":   wire.AppendFrame(bytes.Clone(connectFrame), &wire.RequestHeader{Xid: 1, Op: 999}),
		"auth without a body": wire.AppendFrame(bytes.Clone(connectFrame), &wire.RequestHeader{Xid: 1, Op: wire.OpAuth}),
		"unknown auth":        wire.AppendFrame(bytes.Clone(connectFrame), &wire.RequestHeader{Xid: 1, Op: wire.OpAuth}, &wire.AuthRequest{Scheme: "x"}),
	}
	both(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		good := dialRaw(t, e, 0)
		defer good.nc.Close()
		for name, b := range cases {
			nc := dialPlain(t, e, 0)
			nc.Write(b)
			nc.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.Copy(io.Discard, nc); err != nil {
				t.Errorf("%s: the connection was not closed: %v", name, err)
			}
			good.create(fmt.Sprintf("/%x", name), 0)
		}
		r := rand.New(rand.NewPCG(1, 1))
		for range 200 {
			nc := dialPlain(t, e, r.IntN(3))
			b := bytes.Clone(connectFrame)
			for range r.IntN(5) {
				body := make([]byte, r.IntN(40))
				for i := range body {
					body[i] = byte(r.Uint32())
				}
				b = binary.BigEndian.AppendUint32(b, uint32(8+len(body)))
				b = binary.BigEndian.AppendUint32(b, 1)
				b = binary.BigEndian.AppendUint32(b, uint32(r.IntN(25)))
				b = append(b, body...)
			}
			nc.Write(b[:r.IntN(len(b)+1)])
			nc.Close()
		}
		good.create("/still", 0)
	})
}

// If a request has a correct frame but its body cannot be decoded, the server replies with a
// marshalling error, and the connection stays open.
func TestUndecodableRequestIsAnswered(t *testing.T) {
	both(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		c := dialRaw(t, e, 0)
		defer c.nc.Close()
		for _, op := range []wire.Op{wire.OpCreate, wire.OpGetData, wire.OpMulti, wire.OpSetWatches, wire.OpDelete} {
			if h := c.call(op, &wire.Int32{Value: 1000}); h.Err != wire.MarshallingError {
				t.Errorf("%v: got code %v, want MarshallingError", op, h.Err)
			}
		}
		c.create("/ok", 0)
	})
}

// The ensemble distinguishes a null path or a null list from an empty one. zktest/internal/difftest
// compares the replies with those of ZooKeeper.
func TestNullsAreRefused(t *testing.T) {
	both(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		c := dialRaw(t, e, 0)
		defer c.nc.Close()
		for op, req := range map[wire.Op]wire.Record{
			wire.OpCreate:    &wire.CreateRequest{Path: wire.Null, ACL: world},
			wire.OpDelete:    &wire.PathVersion{Path: wire.Null, Version: -1},
			wire.OpExists:    &wire.PathWatch{Path: wire.Null},
			wire.OpGetData:   &wire.PathWatch{Path: wire.Null},
			wire.OpMulti:     &wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpCheck, Request: &wire.PathVersion{Path: wire.Null}}}},
			wire.OpCreate2:   &wire.CreateRequest{Path: "/a", ACL: []wire.ACL{{ID: wire.ID{Scheme: "world", ID: wire.Null}}}},
			wire.OpGetACL:    &wire.Path{Path: wire.Null},
			wire.OpMultiRead: &wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpGetData, Request: &wire.PathWatch{Path: wire.Null}}}},
		} {
			if h := c.call(op, req); h.Err != wire.MarshallingError {
				t.Errorf("%v: got code %v, want MarshallingError", op, h.Err)
			}
		}
		if h := c.call(wire.OpSync, &wire.Path{Path: wire.Null}); h.Err != wire.OK {
			t.Errorf("sync: got code %v, want OK", h.Err)
		}
	})
}

func word(t *testing.T, e *zktest.Ensemble, server int, w string) string {
	nc := dialPlain(t, e, server)
	io.WriteString(nc, w)
	b, err := io.ReadAll(nc)
	if err != nil {
		t.Errorf("%s at server %d: got error %v, want an answer", w, server, err)
	}
	return string(b)
}

func TestFourLetterWords(t *testing.T) {
	both(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		c := connect(t, e, 0, 10*time.Second)
		mustCreate(t, c, "/e", zk.FlagEphemeral)
		c.GetW("/e")
		c.ChildrenW("/")
		for w, want := range map[string]string{
			"ruok": "imok", "isro": "rw", "srvr": "Mode: follower", "stat": "Node count: 6", "mntr": "zk_znode_count\t6\nzk_watch_count\t2",
			"conf": "tickTime=2000", "cons": fmt.Sprintf("sid=0x%x", c.SessionID()), "dump": "\t/e", "envi": "zookeeper.version=3.9.6",
			"wchs": "1 connections watching 1 paths\nTotal watches:1\n", "wchp": "/e\n\t0x", "wchc": "\n\t/e", "dirs": "datadir_size",
			"srst": "Server stats reset.", "crst": "Connection stats reset.",
		} {
			if got := word(t, e, 0, w); !strings.Contains(got, want) {
				t.Errorf("%s: got %q, want it to contain %q", w, got, want)
			}
		}
		if got := word(t, e, 2, "srvr"); !strings.Contains(got, "Mode: leader") {
			t.Errorf("srvr at the leader: got %q, want Mode: leader", got)
		}
		e.Kill(0)
		e.Kill(1)
		e.Start(1)
		e.ElectLeader(2)
		if got := word(t, e, 1, "srvr"); !strings.Contains(got, "not currently serving") {
			t.Errorf("srvr without a quorum: got %q, want not currently serving", got)
		}
	})
}

// The functions of go-zookeeper for four-letter words work with an ensemble. FLWSrvr is not tested,
// because it cannot parse the date in the reply of any server since 3.6.
func TestFourLetterWordsOfGoZookeeper(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	for _, ok := range zk.FLWRuok(e.Servers(), time.Second) {
		if !ok {
			t.Error("FLWRuok returned false, want true")
		}
	}
	c := connect(t, e, 0, 10*time.Second)
	// FLWCons opens a connection and sends the four-letter word cons. The reply has one line for
	// each connection of the server. FLWCons cannot parse the line about its own connection, so its
	// second result is false. With real servers, this result is false too.
	cons, _ := zk.FLWCons(e.Servers()[:1], time.Second)
	if len(cons) != 1 || len(cons[0].Clients) != 1 {
		t.Fatalf("FLWCons returned %d servers, want one server with one client", len(cons))
	}
	if got := cons[0].Clients[0].SessionID; got != c.SessionID() {
		t.Errorf("client of FLWCons: got session %#x, want %#x", got, c.SessionID())
	}
}

// A session can move to another server, and keeps its ephemeral nodes. A write on the old
// connection receives no reply, because the connection is closed.
func TestSessionMovesToAnotherServer(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		for from := range 3 {
			for to := range 3 {
				a := dialRaw(t, e, from)
				path := fmt.Sprintf("/e%d%d", from, to)
				a.create(path, wire.ModeEphemeral)
				b, rsp := resume(t, e, to, a.session, 0)
				if rsp.SessionID != a.session.SessionID || rsp.Timeout != 30000 {
					t.Fatalf("from %d to %d: resumed session %#x with timeout %d, want session %#x with timeout 30000",
						from, to, rsp.SessionID, rsp.Timeout, a.session.SessionID)
				}
				var st wire.Stat
				if h := b.call(wire.OpExists, &wire.PathWatch{Path: path}, &st); h.Err != wire.OK || st.EphemeralOwner != rsp.SessionID {
					t.Errorf("from %d to %d: ephemeral znode after the move: got code %v, owner %#x; want OK, owner %#x",
						from, to, h.Err, st.EphemeralOwner, rsp.SessionID)
				}
				if h := a.call(wire.OpSetData, &wire.SetDataRequest{Path: path, Version: -1}); h.Err != wire.ConnectionLoss {
					t.Errorf("from %d to %d: write on the old connection: got code %v, want ConnectionLoss", from, to, h.Err)
				}
				a.nc.Close()
				b.nc.Close()
			}
		}
	})
}

func TestSessionIsNotResumed(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a := dialRaw(t, e, 0)
		defer a.nc.Close()
		for server := range 3 {
			wrong := a.session
			wrong.Password = make([]byte, 16)
			if _, rsp := resume(t, e, server, wrong, 0); rsp.Timeout != 0 || rsp.SessionID != 0 {
				t.Errorf("wrong password at server %d: got session %#x with timeout %d, want no session",
					server, rsp.SessionID, rsp.Timeout)
			}
		}
		e.Expire(a.session.SessionID)
		for server := range 3 {
			if _, rsp := resume(t, e, server, a.session, 0); rsp.Timeout != 0 || rsp.SessionID != 0 {
				t.Errorf("expired session at server %d: got session %#x with timeout %d, want no session",
					server, rsp.SessionID, rsp.Timeout)
			}
		}
		b := dialRaw(t, e, 1)
		defer b.nc.Close()
		nc := dialPlain(t, e, 2)
		nc.Write(wire.AppendFrame(nil, &wire.ConnectRequest{LastZxidSeen: 1 << 60, Timeout: 4000, Password: make([]byte, 16)}))
		if n, err := nc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("client with a zxid from the future: read %d bytes, error %v; want 0, EOF", n, err)
		}
	})
}

func TestTimeoutIsNegotiated(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		for asked, want := range map[int32]int32{1: 4000, 4000: 4000, 9999: 9999, 1 << 30: 40000, -5: 4000} {
			c := dialRawTimeout(t, e, 0, asked)
			if c.session.Timeout != want {
				t.Errorf("timeout %d was requested: got %d, want %d", asked, c.session.Timeout, want)
			}
			c.nc.Close()
		}
	})
}

func TestACL(t *testing.T) {
	both(t, zktest.Options{Superuser: "super:secret"}, func(t *testing.T, e *zktest.Ensemble) {
		a, b := connect(t, e, 0, 10*time.Second), connect(t, e, 1, 10*time.Second)
		if err := a.AddAuth("digest", []byte("u:p")); err != nil {
			t.Fatalf("add the credential: got error %v, want nil", err)
		}
		if _, err := a.Create("/d", []byte("x"), 0, zk.DigestACL(zk.PermAll, "u", "p")); err != nil {
			t.Fatalf("create /d: got error %v, want nil", err)
		}
		if _, err := a.Create("/auth", nil, 0, zk.AuthACL(zk.PermAll)); err != nil {
			t.Fatalf("create /auth: got error %v, want nil", err)
		}
		if _, err := b.Create("/auth2", nil, 0, zk.AuthACL(zk.PermAll)); err != zk.ErrInvalidACL {
			t.Errorf("create with scheme auth, without authentication: got %v, want ErrInvalidACL", err)
		}
		if _, err := b.Create("/n", nil, 0, nil); err != zk.ErrInvalidACL {
			t.Errorf("create without ACL: got %v, want ErrInvalidACL", err)
		}
		b.Sync("/")
		if _, _, err := b.Get("/d"); err != zk.ErrNoAuth {
			t.Errorf("get: got %v, want ErrNoAuth", err)
		}
		if _, err := b.Set("/d", nil, -1); err != zk.ErrNoAuth {
			t.Errorf("set: got %v, want ErrNoAuth", err)
		}
		if _, err := b.Create("/d/x", nil, 0, open); err != zk.ErrNoAuth {
			t.Errorf("create: got %v, want ErrNoAuth", err)
		}
		if _, _, err := a.Get("/d"); err != nil {
			t.Errorf("get by the owner: got %v, want nil", err)
		}
		acl, _, err := a.GetACL("/auth")
		if err != nil || len(acl) != 1 || acl[0].Scheme != "digest" || !strings.HasPrefix(acl[0].ID, "u:") {
			t.Errorf("got ACL %v, error %v; want one digest entry of u", acl, err)
		}
		if _, err := a.SetACL("/d", []zk.ACL{{Perms: zk.PermRead, Scheme: "ip", ID: "127.0.0.0/8"}}, 0); err != nil {
			t.Fatalf("setACL of /d: got error %v, want nil", err)
		}
		b.Sync("/")
		if _, _, err := b.Get("/d"); err != nil {
			t.Errorf("get from an allowed address: got %v, want nil", err)
		}
		if _, err := a.Set("/d", nil, -1); err != zk.ErrNoAuth {
			t.Errorf("set after setACL: got %v, want ErrNoAuth", err)
		}
		b.AddAuth("digest", []byte("super:secret"))
		if _, err := b.Set("/d", nil, -1); err != nil {
			t.Errorf("set by the superuser: got %v, want nil", err)
		}
	})
}

// A client that sets its watches again on another connection receives the
// events that it has missed.
func TestWatchesSurviveAReconnect(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a, b := connect(t, e, 0, 20*time.Second), connect(t, e, 2, 20*time.Second)
		for _, p := range []string{"/data", "/kids", "/gone", "/same"} {
			mustCreate(t, b, p, 0)
		}
		a.Sync("/")
		_, _, data, _ := a.GetW("/data")
		_, _, kids, _ := a.ChildrenW("/kids")
		_, _, gone, _ := a.GetW("/gone")
		_, _, born, _ := a.ExistsW("/born")
		_, _, same, _ := a.GetW("/same")
		e.Kill(0)
		b.Set("/data", nil, -1)
		mustCreate(t, b, "/kids/k", 0)
		b.Delete("/gone", -1)
		mustCreate(t, b, "/born", 0)
		for ch, want := range map[<-chan zk.Event]zk.EventType{
			data: zk.EventNodeDataChanged, kids: zk.EventNodeChildrenChanged, gone: zk.EventNodeDeleted, born: zk.EventNodeCreated,
		} {
			if ev := <-ch; ev.Type != want {
				t.Errorf("got %+v, want type %v", ev, want)
			}
		}
		b.Set("/same", nil, -1)
		if ev := <-same; ev.Type != zk.EventNodeDataChanged {
			t.Errorf("got %+v, want type NodeDataChanged", ev)
		}
	})
}

func TestPersistentRecursiveWatch(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a, b := dialRaw(t, e, 0), dialRaw(t, e, 0)
		defer a.nc.Close()
		defer b.nc.Close()
		a.create("/r", 0)
		if h := a.call(wire.OpAddWatch, &wire.AddWatchRequest{Path: "/r", Mode: wire.WatchPersistentRecursive}); h.Err != wire.OK {
			t.Fatalf("addWatch: got code %v, want OK", h.Err)
		}
		b.create("/r/x", 0)
		b.create("/r/x/y", 0)
		b.call(wire.OpSetData, &wire.SetDataRequest{Path: "/r/x", Version: -1})
		b.call(wire.OpDelete, &wire.PathVersion{Path: "/r/x/y", Version: -1})
		b.create("/other", 0)
		for _, want := range []wire.WatcherEvent{
			{Type: wire.EventCreated, State: 3, Path: "/r/x"}, {Type: wire.EventCreated, State: 3, Path: "/r/x/y"},
			{Type: wire.EventDataChanged, State: 3, Path: "/r/x"}, {Type: wire.EventDeleted, State: 3, Path: "/r/x/y"},
		} {
			if got := a.event(); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if h := a.call(wire.OpRemoveWatches, &wire.WatchesRequest{Path: "/r", Type: wire.WatcherAny}); h.Err != wire.OK {
			t.Errorf("first removeWatches: got %v, want OK", h.Err)
		}
		if h := a.call(wire.OpRemoveWatches, &wire.WatchesRequest{Path: "/r", Type: wire.WatcherAny}); h.Err != wire.NoWatcher {
			t.Errorf("second removeWatches: got %v, want NoWatcher", h.Err)
		}
	})
}

func TestContainersAndTTLNodesGo(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{TTLNodes: true})
		c := connect(t, e, 0, 10*time.Second)
		c.CreateContainer("/used", nil, zk.FlagContainer, open)
		c.CreateContainer("/new", nil, zk.FlagContainer, open)
		c.CreateTTL("/ttl", nil, zk.FlagTTL, open, 90*time.Second)
		mustCreate(t, c, "/used/x", 0)
		c.Delete("/used/x", -1)
		exists := func(path string) bool {
			ok, _, err := c.Exists(path)
			if err != nil {
				t.Errorf("exists %s: got error %v, want nil", path, err)
			}
			return ok
		}
		time.Sleep(61 * time.Second)
		if exists("/used") || !exists("/new") || !exists("/ttl") {
			t.Errorf("after one minute: /used %v, /new %v, /ttl %v; want false, true, true", exists("/used"), exists("/new"), exists("/ttl"))
		}
		time.Sleep(60 * time.Second)
		if exists("/ttl") || !exists("/new") {
			t.Errorf("after two minutes: /ttl %v, /new %v; want false, true", exists("/ttl"), exists("/new"))
		}
	})
}

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{MaxClientConns: 60})
		for range 60 {
			dialPlain(t, e, 0)
		}
		if nc, err := e.DialContext(t.Context(), "tcp", e.Servers()[0]); err == nil {
			t.Error("the 61st connection was accepted, want it refused")
			nc.Close()
		}
		dialPlain(t, e, 1)
		time.Sleep(21 * time.Second) // the server closes connections without a session
		dialPlain(t, e, 0)
	})
}

func TestThousandSessions(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{MaxClientConns: -1})
		var clients []*rawClient
		for i := range 1000 {
			c := dialRawTimeout(t, e, i%3, 4000)
			c.create("/s-", wire.ModeEphemeralSequential)
			clients = append(clients, c)
		}
		w := connect(t, e, 0, 40*time.Second)
		for range 10 {
			time.Sleep(2 * time.Second)
			for _, c := range clients {
				c.call(wire.OpPing, nil)
			}
		}
		if kids, _, err := w.Children("/"); err != nil || len(kids) != 1001 {
			t.Errorf("while all clients ping: got %d children, error %v; want 1001 children", len(kids), err)
		}
		for _, c := range clients {
			c.nc.Close()
		}
		time.Sleep(9 * time.Second)
		if kids, _, err := w.Children("/"); err != nil || len(kids) != 1 {
			t.Errorf("after all sessions expired: got %d children, error %v; want 1 child", len(kids), err)
		}
	})
}

// Close returns even if a client does not read.
func TestCloseDoesNotWaitForADeafClient(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	c := dialRaw(t, e, 0)
	defer c.nc.Close()
	if h := c.call(wire.OpCreate, &wire.CreateRequest{Path: "/big", ACL: world, Data: make([]byte, 500_000)}); h.Err != wire.OK {
		t.Fatalf("create /big: got code %v, want OK", h.Err)
	}
	var b []byte
	for i := range 100 {
		b = wire.AppendFrame(b, &wire.RequestHeader{Xid: int32(i), Op: wire.OpGetData}, &wire.PathWatch{Path: "/big"})
	}
	c.nc.Write(b)
	start := time.Now()
	e.Close()
	e.Close()
	if d := time.Since(start); d > time.Minute { // the server prepares 50 MB of replies first
		t.Errorf("Close took %v, want at most 1m", d)
	}
	if _, err := e.DialContext(t.Context(), "tcp", e.Servers()[0]); err == nil {
		t.Error("DialContext to a closed ensemble returned no error")
	}
	if err := e.Expire(1); err != zktest.ErrClosed {
		t.Errorf("Expire on a closed ensemble: got %v, want ErrClosed", err)
	}
}

func TestMemoryConnKeepsDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		nc := dialPlain(t, e, 0)
		for _, d := range []time.Duration{-1, time.Second, 2 * time.Second} {
			start := time.Now()
			nc.SetReadDeadline(start.Add(d))
			_, err := nc.Read(make([]byte, 1))
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || time.Since(start) != max(d, 0) {
				t.Errorf("deadline in %v: got %v after %v, want a timeout at the deadline", d, err, time.Since(start))
			}
		}
		nc.SetDeadline(time.Time{})
		if _, err := nc.Write(wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: 4000})); err != nil {
			t.Errorf("write without a deadline: got error %v, want nil", err)
		}
		if _, err := nc.Read(make([]byte, 4)); err != nil {
			t.Errorf("read without a deadline: got error %v, want nil", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			io.Copy(io.Discard, nc)
		})
		time.Sleep(time.Second)
		nc.Close()
		nc.Close()
		wg.Wait()
		if _, err := nc.Write([]byte{1}); err == nil {
			t.Error("write after Close returned no error")
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []zktest.Options{
		{Servers: -1}, {Servers: 255}, {TickTime: 1}, {SyncLimit: -1}, {Listen: []string{"127.0.0.1:0"}},
		{MinSessionTimeout: time.Hour}, {Step: true, TCP: true}, {ElectionTime: -1},
		{Listen: []string{"256.0.0.1:0", "", ""}}, {TickTime: math.MaxInt64}, {SyncLimit: math.MaxInt}, {MaxFrame: -1},
		{MaxSessionTimeout: math.MaxInt64}, {ElectionTime: math.MaxInt64},
	} {
		if e, err := zktest.New(o); err == nil {
			t.Errorf("%+v: got no error, want one", o)
			e.Close()
		}
	}
}

// Regression: if a session was created at the last of 255 servers, its ephemeral nodes counted as
// nodes with a time to live, and had no owner. The maximum is now 254 servers.
func TestLastOfTheMostServersHasEphemerals(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{Servers: most})
		c := dialRaw(t, e, most-1)
		defer c.nc.Close()
		c.create("/e", wire.ModeEphemeral)
		var st wire.Stat
		if c.call(wire.OpExists, &wire.PathWatch{Path: "/e"}, &st); st.EphemeralOwner != c.session.SessionID {
			t.Errorf("got owner %x, want session %x", st.EphemeralOwner, c.session.SessionID)
		}
	})
}

const most = 254 // servers

// Ensembles of one, two and five servers serve as long as a majority runs.
func TestEnsemblesOfAnySize(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		virtual.Test(t, func(t *testing.T) {
			e := zktest.Start(t, zktest.Options{Servers: n})
			c := connect(t, e, 0, 10*time.Second)
			mustCreate(t, c, "/x", 0)
			for i := range (n - 1) / 2 {
				e.Kill(i)
			}
			time.Sleep(20 * time.Second)
			if ok, _, err := c.Exists("/x"); !ok || err != nil {
				t.Errorf("%d servers: /x exists: %v, error %v; want true, nil", n, ok, err)
			}
		})
	}
}

// Regression: by default, zktest limited the connections of one address to 60 for each server, like
// ZooKeeper. With three servers, the 181st session of a test waited forever. Now there is no limit
// by default.
func TestConnectionsAreUnlimitedByDefault(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for n := range 200 {
			s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
			if err != nil {
				t.Fatalf("session %d: got error %v, want nil", n+1, err)
			}
			defer s.Close()
		}
	})
}
