package zktest_test

import (
	"bufio"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// A rawClient speaks the protocol with next to no cost of its own, one request
// at a time or pipelined, so that a benchmark measures the server.
type rawClient struct {
	tb  testing.TB
	nc  net.Conn
	in  *bufio.Reader
	buf []byte
	out []byte
	xid int32
}

func dialRaw(tb testing.TB, e *zktest.Ensemble, server int) *rawClient {
	tb.Helper()
	return dialRawTimeout(tb, e, server, 30000)
}

// call sends one request and waits for its reply.
func (c *rawClient) call(op wire.Op, req wire.Record, rsp ...wire.Record) wire.ReplyHeader {
	c.xid++
	c.out = wire.AppendFrame(c.out[:0], &wire.RequestHeader{Xid: c.xid, Op: op}, req)
	var h wire.ReplyHeader
	if _, err := c.nc.Write(c.out); err != nil {
		h.Err = wire.ConnectionLoss
		return h
	}
	var err error
	if c.buf, err = wire.ReadFrame(c.in, c.buf, 0); err != nil {
		h.Err = wire.ConnectionLoss
		return h
	}
	body, err := wire.Decode(c.buf, &h)
	if err == nil && h.Err == wire.OK && len(rsp) > 0 {
		wire.Decode(body, rsp...)
	}
	return h
}

var world = []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}

// eight runs b.N calls on eight connections at once.
func eight(b *testing.B, opts zktest.Options, call func(c *rawClient) wire.Code) {
	e := zktest.Start(b, opts)
	setup := dialRaw(b, e, 0)
	if h := setup.call(wire.OpCreate, &wire.CreateRequest{Path: "/b", Data: make([]byte, 100), ACL: world}); h.Err != wire.OK {
		b.Fatal(h.Err)
	}
	var clients []*rawClient
	for i := range 8 {
		clients = append(clients, dialRaw(b, e, i%3))
	}
	time.Sleep(10 * time.Millisecond)
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if code := call(c); code != wire.OK {
					b.Error(code)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
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

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		e, err := zktest.New(zktest.Options{TCP: true})
		if err != nil {
			b.Fatal(err)
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
				b.Fatal(h.Err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		c.nc.Close()
		e.Close()
	}
}

// dialRawTimeout opens a session with a timeout in milliseconds that nobody
// pings.
func dialRawTimeout(tb testing.TB, e *zktest.Ensemble, server int, ms int32) *rawClient {
	tb.Helper()
	nc, err := e.DialContext(tb.Context(), "tcp", e.Servers()[server])
	if err != nil {
		tb.Fatal(err)
	}
	c := &rawClient{tb: tb, nc: nc, in: bufio.NewReader(nc)}
	if _, err := nc.Write(wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: ms, Password: make([]byte, 16)})); err != nil {
		tb.Fatal(err)
	}
	if c.buf, err = wire.ReadFrame(c.in, c.buf, 0); err != nil {
		tb.Fatal(err)
	}
	return c
}

func (c *rawClient) create(path string, mode int32) {
	c.tb.Helper()
	h := c.call(wire.OpCreate, &wire.CreateRequest{Path: path, ACL: world, Mode: mode})
	if h.Err != wire.OK {
		c.tb.Fatalf("create %s: %v", path, h.Err)
	}
}

// count returns the number of nodes below a path.
func (c *rawClient) count(path string) int32 {
	c.tb.Helper()
	var n wire.Int32
	if h := c.call(wire.OpGetAllChildrenNumber, &wire.Path{Path: path}, &n); h.Err != wire.OK {
		c.tb.Fatalf("count %s: %v", path, h.Err)
	}
	return n.Value
}
