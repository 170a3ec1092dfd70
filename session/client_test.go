package session

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A bare is a client of go-zookeeper that no session of this package uses. The test acts as its
// server.
type bare struct {
	*testing.T
	client *zk.Conn
	events <-chan zk.Event
	conns  chan net.Conn // the server's sides of the connections
	writes chan []byte   // each Write of the client
	drop   atomic.Int32  // number of writes still to be dropped
}

// A bareConn is the client's side of a connection.
type bareConn struct {
	net.Conn
	b *bare
}

func (c *bareConn) Write(p []byte) (int, error) {
	c.b.writes <- bytes.Clone(p)
	if c.b.drop.Add(-1) >= 0 {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func newBare(t *testing.T) *bare {
	b := &bare{T: t, conns: make(chan net.Conn, 10), writes: make(chan []byte, 1000)}
	var err error
	b.client, b.events, err = zk.Connect([]string{"script:2181"}, 9*time.Second, zk.WithLogInfo(false),
		zk.WithLogger(debugLog{slog.New(slog.DiscardHandler)}), zk.WithHostProvider(&oneServer{}),
		zk.WithDialer(func(string, string, time.Duration) (net.Conn, error) {
			client, server := net.Pipe()
			b.conns <- server
			return &bareConn{Conn: client, b: b}, nil
		}))
	must(t, err)
	return b
}

// accept answers the handshake of the next connection.
func (b *bare) accept() (c net.Conn, request wire.ConnectRequest) {
	b.Helper()
	c = <-b.conns
	frame, err := wire.ReadFrame(c, nil, 0)
	must(b.T, err)
	_, err = wire.Decode(frame, &request)
	must(b.T, err)
	b.reply(c, fresh(request))
	return c, request
}

func (b *bare) reply(c net.Conn, records ...wire.Record) {
	b.Helper()
	_, err := c.Write(wire.AppendFrame(nil, records...))
	must(b.T, err)
}

// The method `read` returns the next request.
func (b *bare) read(c net.Conn) (h wire.RequestHeader, body []byte) {
	b.Helper()
	frame, err := wire.ReadFrame(c, nil, 0)
	must(b.T, err)
	h, body, err = wire.CutRequest(frame)
	must(b.T, err)
	return h, body
}

// refuse reads requests and replies to each with an error.
func (b *bare) refuse(c net.Conn) {
	for {
		frame, err := wire.ReadFrame(c, nil, 0)
		if err != nil {
			return
		}
		h, _, err := wire.CutRequest(frame)
		if err != nil {
			return
		}
		c.Write(wire.AppendFrame(nil, &wire.ReplyHeader{Xid: h.Xid, Err: wire.NoNode}))
	}
}

func (b *bare) close(c net.Conn) {
	go b.refuse(c)
	b.client.Close()
	c.Close()
	for range b.events {
	}
}

// The method `get` starts a read. The returned channel receives the error of the read.
func (b *bare) get(path string) <-chan error {
	answer := make(chan error, 1)
	go func() {
		_, _, err := b.client.Get(path)
		answer <- err
	}()
	synctest.Wait()
	return answer
}

// The method `calls` returns a function for each kind of request that a session makes. The function
// makes one request of this kind.
func (b *bare) calls(path string) map[wire.Op]func() error {
	acl := zk.WorldACL(zk.PermAll)
	return map[wire.Op]func() error{
		wire.OpCreate: func() error { _, err := b.client.Create(path, []byte("data"), 0, acl); return err },
		wire.OpCreateContainer: func() error {
			_, err := b.client.CreateContainer(path, nil, zk.FlagContainer, acl)
			return err
		},
		wire.OpCreateTTL: func() error {
			_, err := b.client.CreateTTL(path, nil, zk.FlagTTL, acl, time.Minute)
			return err
		},
		wire.OpExists:       func() error { _, _, err := b.client.Exists(path); return err },
		wire.OpGetData:      func() error { _, _, err := b.client.Get(path); return err },
		wire.OpGetChildren2: func() error { _, _, err := b.client.Children(path); return err },
		wire.OpSetData:      func() error { _, err := b.client.Set(path, []byte("data"), 0); return err },
		wire.OpDelete:       func() error { return b.client.Delete(path, 0) },
		wire.OpSync:         func() error { _, err := b.client.Sync(path); return err },
		wire.OpGetACL:       func() error { _, _, err := b.client.GetACL(path); return err },
		wire.OpSetACL:       func() error { _, err := b.client.SetACL(path, acl, 0); return err },
		wire.OpMulti: func() error {
			_, err := b.client.Multi(&zk.CheckVersionRequest{Path: path}, &zk.DeleteRequest{Path: "/second"})
			return err
		},
	}
}

// eachCall makes a request of each kind, and calls `check` with its frame.
func (b *bare) eachCall(path string, check func(op wire.Op, h wire.RequestHeader, body []byte)) {
	b.Helper()
	c, _ := b.accept()
	defer b.close(c)
	for op, call := range b.calls(path) {
		done := make(chan error, 1)
		go func() { done <- call() }()
		h, body := b.read(c)
		if h.Op != op {
			b.Errorf("got request %v, want %v", h.Op, op)
		}
		check(op, h, body)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid, Err: wire.NoNode})
		<-done
	}
}

var clientDoes = map[string]func(b *bare){
	"each request is one Write of one whole frame": func(b *bare) {
		b.eachCall("/a", func(wire.Op, wire.RequestHeader, []byte) {})
		close(b.writes)
		n := 0
		for p := range b.writes {
			n++
			if frame, err := wire.ReadFrame(bytes.NewReader(p), nil, 0); err != nil || len(frame) != len(p)-4 {
				b.Errorf("got a write of %d bytes with a frame of %d (%v), want one whole frame", len(p), len(frame), err)
			}
		}
		if want := len(b.calls("/a")) + 2; n != want {
			b.Errorf("got %d writes, want %d: the handshake, the requests and the end", n, want)
		}
	},
	"nothing is written before the handshake is answered": func(b *bare) {
		answer := b.get("/a")
		time.Sleep(time.Second)
		if n := len(b.writes); n != 1 {
			b.Errorf("got %d writes before the answer, want 1", n)
		}
		c, _ := b.accept()
		h, _ := b.read(c)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid, Err: wire.NoNode})
		<-answer
		b.close(c)
	},
	"a path goes into the frame unchanged, as its first field": func(b *bare) {
		path := newTickets().issue(nil).mark("/a/b")
		b.eachCall(path, func(op wire.Op, _ wire.RequestHeader, body []byte) {
			if got := wire.FirstPath(op, body); got != path {
				b.Errorf("%v: got the path %q, want %q", op, got, path)
			}
		})
	},
	"the last byte of a read is its watch flag": func(b *bare) {
		b.eachCall("/a", func(op wire.Op, _ wire.RequestHeader, body []byte) {
			if !watchable(op) {
				return
			}
			var r wire.PathWatch
			body[len(body)-1] = 1
			if rest, err := wire.Decode(body, &r); err != nil || len(rest) > 0 || !r.Watch {
				b.Errorf("%v: got %+v, %v, %d bytes left; want the watch flag as the last byte", op, r, err, len(rest))
			}
		})
	},
	"xids are above zero, and -2 for a ping": func(b *bare) {
		b.eachCall("/a", func(op wire.Op, h wire.RequestHeader, _ []byte) {
			if h.Xid <= 0 {
				b.Errorf("%v: got xid %d, want one above zero", op, h.Xid)
			}
		})
		b2 := newBare(b.T)
		c, _ := b2.accept()
		if h, _ := b2.read(c); h.Xid != wire.XidPing || h.Op != wire.OpPing {
			b.Errorf("an idle client: got %+v, want a ping", h)
		}
		b2.close(c)
	},
	"replies with other xids below zero are ignored": func(b *bare) {
		c, _ := b.accept()
		answer := b.get("/a")
		h, _ := b.read(c)
		for _, xid := range []int32{wire.XidAuth, wire.XidSetWatches, xidRemoveWatches, xidCatchUp, xidIdle} {
			b.reply(c, &wire.ReplyHeader{Xid: xid, Zxid: 5}, &wire.Stat{})
		}
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid}, &wire.GetDataResponse{})
		must(b.T, <-answer)
		b.close(c)
	},
	"the buffer for replies is made after the handshake and grows": func(b *bare) {
		limitReplies(b.client, smallBuffer)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, _ := b.accept()
		synctest.Wait()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			b.Errorf("got %d bytes allocated by the handshake, want at most 1 MiB", n)
		}
		limitReplies(b.client, 0)
		answer := b.get("/a")
		h, _ := b.read(c)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid}, &wire.GetDataResponse{Data: make([]byte, 2<<20)})
		if err := <-answer; err != nil {
			b.Errorf("a reply of 2 MiB: got error %v, want none", err)
		}
		b.close(c)
	},
	"replies may come in any order": func(b *bare) {
		c, _ := b.accept()
		first := b.get("/first")
		h1, _ := b.read(c)
		second := b.get("/second")
		h2, _ := b.read(c)
		b.reply(c, &wire.ReplyHeader{Xid: h2.Xid, Err: wire.ConnectionLoss})
		b.reply(c, &wire.ReplyHeader{Xid: h1.Xid}, &wire.GetDataResponse{})
		if err := <-first; err != nil {
			b.Errorf("the first request: got error %v, want none", err)
		}
		if err := <-second; err == nil {
			b.Error("the second request: got no error, want the error of its reply")
		}
		b.close(c)
	},
	"a reply with an error is not decoded": func(b *bare) {
		c, _ := b.accept()
		answer := b.get("/a")
		h, _ := b.read(c)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid, Err: wire.NoAuth}) // the reply has no body
		if err := <-answer; err != zk.ErrNoAuth {
			b.Errorf("got %v, want %v", err, zk.ErrNoAuth)
		}
		b.close(c)
	},
	"an unknown error names its code": func(b *bare) {
		c, _ := b.accept()
		answer := b.get("/a")
		h, _ := b.read(c)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid, Err: wire.QuotaExceeded})
		if err := named(<-answer); err != ErrQuota {
			b.Errorf("got %v, want %v", err, ErrQuota)
		}
		b.close(c)
	},
	"a multi that fails gives the error of each part": func(b *bare) {
		c, _ := b.accept()
		go func() {
			h, _ := b.read(c)
			b.reply(c, &wire.ReplyHeader{Xid: h.Xid}, &wire.MultiResponse{Results: []wire.MultiResult{
				{Op: wire.OpError}, {Op: wire.OpError, Err: wire.NoNode},
			}})
		}()
		parts, err := b.client.Multi(&zk.CheckVersionRequest{Path: "/a"}, &zk.CheckVersionRequest{Path: "/b"})
		if i, part := failedPart(parts); len(parts) != 2 || i != 1 || part != zk.ErrNoNode {
			b.Errorf("got %d parts, part %d with the error %v, and %v; want 2 parts, part 1 with %v", len(parts), i, part, err, zk.ErrNoNode)
		}
		b.close(c)
	},
	"a request that was written fails when its connection ends": func(b *bare) {
		c, _ := b.accept()
		answer := b.get("/a")
		b.read(c)
		c.Close()
		if err := <-answer; err != zk.ErrConnectionClosed {
			b.Errorf("got %v, want %v", err, zk.ErrConnectionClosed)
		}
		c, _ = b.accept()
		b.close(c)
	},
	"a request that was not written is written on the next connection": func(b *bare) {
		answer := b.get("/a")
		(<-b.conns).Close()
		c, _ := b.accept()
		h, body := b.read(c)
		if path := wire.FirstPath(h.Op, body); path != "/a" {
			b.Errorf("the request on the next connection: got the path %q, want /a", path)
		}
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid}, &wire.GetDataResponse{})
		must(b.T, <-answer)
		b.close(c)
	},
	"a request may be dropped although Write succeeds": func(b *bare) {
		c, _ := b.accept()
		b.drop.Store(2)
		answered, lost := b.get("/answered"), b.get("/lost")
		after := b.get("/after")
		h, _ := b.read(c)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid}, &wire.GetDataResponse{})
		must(b.T, <-after)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid - 2, Err: wire.ConnectionLoss})
		if err := <-answered; err == nil {
			b.Error("a dropped request: got no error, want one")
		}
		c.Close()
		if err := <-lost; err != zk.ErrConnectionClosed {
			b.Errorf("got %v, want %v", err, zk.ErrConnectionClosed)
		}
		c, _ = b.accept()
		b.close(c)
	},
	"a new connection resumes the session": func(b *bare) {
		c, r := b.accept()
		if r.SessionID != 0 {
			b.Errorf("first session: got %d, want 0", r.SessionID)
		}
		c.Close()
		if c, r = b.accept(); r.SessionID != 77 {
			b.Errorf("resumed session: got %d, want 77", r.SessionID)
		}
		b.close(c)
	},
	"no watches are set again if none was set by the client": func(b *bare) {
		c, _ := b.accept()
		answer := b.get("/a")
		h, _ := b.read(c)
		b.reply(c, &wire.ReplyHeader{Xid: h.Xid}, &wire.GetDataResponse{})
		must(b.T, <-answer)
		b.reply(c, &wire.ReplyHeader{Xid: wire.XidNotification}, &wire.WatcherEvent{Type: wire.EventType(zk.EventNodeDataChanged), State: 3, Path: "/a"})
		c.Close()
		c, _ = b.accept()
		if h, _ := b.read(c); h.Op != wire.OpPing {
			b.Errorf("first frame: got %v, want a ping", h.Op)
		}
		b.close(c)
	},
	"Close ends with the answer of the server": func(b *bare) {
		c, _ := b.accept()
		go func() {
			if h, _ := b.read(c); h.Op != wire.OpCloseSession {
				b.Errorf("got %v, want closeSession", h.Op)
			} else {
				b.reply(c, &wire.ReplyHeader{Xid: h.Xid})
			}
		}()
		start := time.Now()
		b.client.Close()
		for range b.events {
		}
		if d := time.Since(start); d > 0 {
			b.Errorf("Close took %v, want no wait", d)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			b.Errorf("the connection: got %v, want EOF", err)
		}
	},
}

func TestClientDoesWhatIsAssumed(t *testing.T) {
	source, err := os.ReadFile("client.go")
	must(t, err)
	var named []string
	for line := range strings.Lines(string(source)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "//   - "); ok {
			named = append(named, name)
		}
	}
	if len(named) != len(clientDoes) {
		t.Errorf("client.go lists %d assumptions, but %d have a test; want the same number", len(named), len(clientDoes))
	}
	for name, test := range clientDoes {
		if !slices.Contains(named, name) {
			t.Errorf("client.go does not list %q", name)
		}
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) { test(newBare(t)) })
		})
	}
}
