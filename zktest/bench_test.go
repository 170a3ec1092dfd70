package zktest_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/zkcoord/zkcoord/internal/procs"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// A rawClient speaks the protocol with very little overhead, one request at a time, so that a
// benchmark measures the server.
type rawClient struct {
	tb  testing.TB
	nc  net.Conn
	in  *bufio.Reader
	buf []byte
	out []byte
	xid int32

	session wire.ConnectResponse
	body    []byte
	events  []wire.WatcherEvent
}

func dialRaw(tb testing.TB, e *zktest.Ensemble, server int) *rawClient {
	tb.Helper()
	return dialRawTimeout(tb, e, server, 30000)
}

// The method `call` sends one request and waits for its reply.
func (c *rawClient) call(op wire.Op, req wire.Record, rsp ...wire.Record) wire.ReplyHeader {
	c.xid++
	c.out = wire.AppendFrame(c.out[:0], &wire.RequestHeader{Xid: c.xid, Op: op}, req)
	var h wire.ReplyHeader
	if _, err := c.nc.Write(c.out); err != nil {
		h.Err = wire.ConnectionLoss
		return h
	}
	for {
		var err error
		if h, err = c.reply(); err != nil {
			h.Err = wire.ConnectionLoss
			return h
		}
		if h.Xid != wire.XidNotification {
			break
		}
	}
	if h.Err == wire.OK && len(rsp) > 0 {
		wire.Decode(c.body, rsp...)
	}
	return h
}

var world = []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}

// The function `eight` runs b.N calls on eight connections at once. It reports the calls per
// second, and the processor time of one call. If the machine has other work, the processor time is
// the better measure.
func eight(b *testing.B, opts zktest.Options, call func(c *rawClient) wire.Code) {
	e := zktest.Start(b, opts)
	setup := dialRaw(b, e, 0)
	if h := setup.call(wire.OpCreate, &wire.CreateRequest{Path: "/b", Data: make([]byte, 100), ACL: world}); h.Err != wire.OK {
		b.Fatalf("create /b: got code %v, want OK", h.Err)
	}
	var clients []*rawClient
	for i := range 8 {
		clients = append(clients, dialRaw(b, e, i%3))
	}
	b.ReportAllocs()
	b.ResetTimer()
	user, system := procs.CPUTime()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if code := call(c); code != wire.OK {
					b.Errorf("call: got code %v, want OK", code)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	u, s := procs.CPUTime()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64((u-user).Nanoseconds())/float64(b.N), "user-ns/op")
	b.ReportMetric(float64((s-system).Nanoseconds())/float64(b.N), "kernel-ns/op")
	for _, c := range append(clients, setup) {
		c.nc.Close()
	}
}

func read(c *rawClient) wire.Code {
	return c.call(wire.OpGetData, &wire.PathWatch{Path: "/b"}).Err
}

func write(c *rawClient) wire.Code {
	return c.call(wire.OpSetData, &wire.SetDataRequest{Path: "/b", Data: c.buf[:0], Version: -1}).Err
}

func BenchmarkReadsTCP(b *testing.B)     { eight(b, zktest.Options{TCP: true}, read) }
func BenchmarkWritesTCP(b *testing.B)    { eight(b, zktest.Options{TCP: true}, write) }
func BenchmarkReadsMemory(b *testing.B)  { eight(b, zktest.Options{}, read) }
func BenchmarkWritesMemory(b *testing.B) { eight(b, zktest.Options{}, write) }

// BenchmarkEchoTCP measures the limit of the machine: the rate at which eight clients and a server
// exchange frames if the server does no work. Each frame has the size of a read's reply. The server
// has one goroutine for each connection. The goroutine returns the bytes that it receives.
func BenchmarkEchoTCP(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer l.Close()
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				buf := make([]byte, 16<<10)
				for {
					n, err := nc.Read(buf)
					if err != nil {
						return
					}
					if _, err := nc.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	reply := make([]byte, 4+16+4+100+68) // header, data and stat
	binary.BigEndian.PutUint32(reply, uint32(len(reply)-4))
	var clients sync.WaitGroup
	for i := range 8 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		clients.Go(func() {
			in, buf := bufio.NewReader(nc), []byte(nil)
			for range b.N*(i+1)/8 - b.N*i/8 {
				if _, err = nc.Write(reply); err == nil {
					buf, err = wire.ReadFrame(in, buf, 0)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		e, err := zktest.New(zktest.Options{TCP: true})
		if err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}

// BenchmarkThousandSessions opens a thousand sessions over TCP, and each sends
// one request. It measures the heap at both ends of the connections.
func BenchmarkThousandSessions(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		e := zktest.Start(b, zktest.Options{TCP: true, MaxClientConns: -1})
		clients := make([]*rawClient, 1000)
		for i := range clients {
			clients[i] = dialRaw(b, e, i%3)
			clients[i].create("/s-", wire.ModeEphemeralSequential)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<10)/float64(len(clients)), "KiB/session")
		for _, c := range clients {
			c.nc.Close()
		}
		e.Close()
	}
}

func BenchmarkHundredThousandNodes(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		e := zktest.Start(b)
		c := dialRaw(b, e, 0)
		c.call(wire.OpCreate, &wire.CreateRequest{Path: "/n", ACL: world})
		for range 100_000 {
			req := wire.CreateRequest{Path: "/n/node-", Data: make([]byte, 100), ACL: world, Mode: wire.ModePersistentSequential}
			if h := c.call(wire.OpCreate, &req); h.Err != wire.OK {
				b.Fatalf("create below /n: got code %v, want OK", h.Err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		c.nc.Close()
		e.Close()
	}
}

// dialRawTimeout opens a session with a timeout in milliseconds. No goroutine sends pings for the
// session.
func dialRawTimeout(tb testing.TB, e *zktest.Ensemble, server int, ms int32) *rawClient {
	tb.Helper()
	c, rsp := resume(tb, e, server, wire.ConnectResponse{Password: make([]byte, 16)}, ms)
	if rsp.SessionID == 0 {
		tb.Fatal("the session was not established")
	}
	return c
}

// resume opens a connection for a session, or for a new session if the id is 0.
func resume(tb testing.TB, e *zktest.Ensemble, server int, s wire.ConnectResponse, ms int32) (*rawClient, wire.ConnectResponse) {
	tb.Helper()
	c, err := tryResume(e, server, s, ms)
	if err != nil {
		tb.Fatal(err)
	}
	c.tb = tb
	return c, c.session
}

func tryResume(e *zktest.Ensemble, server int, s wire.ConnectResponse, ms int32) (*rawClient, error) {
	nc, err := e.DialContext(context.Background(), "tcp", e.Servers()[server])
	if err != nil {
		return nil, err
	}
	c := &rawClient{nc: nc, in: bufio.NewReader(nc)}
	req := wire.ConnectRequest{Timeout: max(ms, s.Timeout), SessionID: s.SessionID, Password: s.Password}
	if _, err = nc.Write(wire.AppendFrame(nil, &req)); err == nil {
		c.buf, err = wire.ReadFrame(c.in, c.buf, 0)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	_, err = wire.Decode(c.buf, &c.session)
	return c, err
}

// The method `event` returns the next event that `reply` has stored. If there is none, it waits for
// one.
func (c *rawClient) event() wire.WatcherEvent {
	c.tb.Helper()
	for len(c.events) == 0 {
		if _, err := c.reply(); err != nil {
			c.tb.Fatal(err)
		}
	}
	ev := c.events[0]
	c.events = c.events[1:]
	return ev
}

// The method `reply` reads one frame and returns its header. If the frame is an event, reply also
// stores the event.
func (c *rawClient) reply() (h wire.ReplyHeader, err error) {
	if c.buf, err = wire.ReadFrame(c.in, c.buf, 0); err != nil {
		return h, err
	}
	c.body, err = wire.Decode(c.buf, &h)
	if h.Xid == wire.XidNotification {
		var ev wire.WatcherEvent
		wire.Decode(c.body, &ev)
		c.events = append(c.events, ev)
	}
	return h, err
}

func (c *rawClient) create(path string, mode int32) {
	c.tb.Helper()
	h := c.call(wire.OpCreate, &wire.CreateRequest{Path: path, ACL: world, Mode: mode})
	if h.Err != wire.OK {
		c.tb.Fatalf("create %s: got code %v, want OK", path, h.Err)
	}
}

// The method `count` returns the number of nodes below a path.
func (c *rawClient) count(path string) int32 {
	c.tb.Helper()
	var n wire.Int32
	if h := c.call(wire.OpGetAllChildrenNumber, &wire.Path{Path: path}, &n); h.Err != wire.OK {
		c.tb.Fatalf("count %s: got code %v, want OK", path, h.Err)
	}
	return n.Value
}
