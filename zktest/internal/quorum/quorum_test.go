package quorum

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

const tick = 100 * time.Millisecond

func newCluster(seed uint64, trace func(string, ...any)) *Cluster {
	cfg := Config{
		Servers: 3, Tick: tick, SyncLimit: 5, MinSession: 2 * tick, MaxSession: 20 * tick,
		ElectionTime: 20 * time.Millisecond, Start: time.Unix(1e9, 0), TTL: true,
		Rand: rand.New(rand.NewPCG(seed, 1)), Manual: true, Trace: trace,
	}
	for i := range cfg.Servers {
		cfg.Addrs = append(cfg.Addrs, fmt.Sprintf("127.0.0.1:%d", i+1))
	}
	return New(cfg)
}

// A client is the client's end of a connection. It keeps everything that it
// receives.
type client struct {
	conn    *Conn
	cut     wire.Frames
	replies []reply
	open    bool
	closed  bool
	xid     int32
	sent    map[int32]string // the path of each create, by xid
	last    int64            // zxid of the last reply
	id      int64
}

type reply struct {
	wire.ReplyHeader
	body []byte
}

func (c *client) Send(frame []byte) {
	c.cut.Feed(frame, func(f wire.Frame) error {
		b := bytes.Clone(f.Head)
		if !c.open {
			var r wire.ConnectResponse
			wire.Decode(b, &r)
			c.open, c.id = true, r.SessionID
			return nil
		}
		var r reply
		r.body, _ = wire.Decode(b, &r.ReplyHeader)
		c.replies = append(c.replies, r)
		return nil
	})
}

func (c *client) Close() { c.closed = true }

func dial(cl *Cluster, server int, seen int64) *client {
	c := &client{sent: make(map[int32]string)}
	if c.conn = cl.Connect(server, "127.0.0.1:1", c); c.conn == nil {
		return nil
	}
	c.conn.Receive(wire.Append(nil, &wire.ConnectRequest{Timeout: 2000, LastZxidSeen: seen, Password: make([]byte, 16)}))
	return c
}

func (c *client) request(op wire.Op, what string, r wire.Record) {
	c.send(op, what, wire.Append(nil, r))
}

func (c *client) send(op wire.Op, what string, body []byte) {
	c.xid++
	c.sent[c.xid] = what
	c.conn.Receive(append(wire.Append(nil, &wire.RequestHeader{Xid: c.xid, Op: op}), body...))
}

var world = []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}

// heal undoes all faults and waits until the cluster is quiet.
func heal(c *Cluster) {
	c.MendAll()
	for i := range c.servers {
		c.Resume(i)
		c.Start(i)
		c.Lag(i, 0)
		c.ClockRate(i, 1)
		for j := range c.servers {
			c.Delay(i, j, 0)
		}
	}
	for end := c.now + 30*time.Second; c.now < end; {
		c.Advance(c.now + 10*time.Millisecond)
		c.Run()
		for c.deliverAll() {
			c.Run()
		}
	}
}

// walk takes random steps drawn from the seed: writes by clients, messages,
// time and faults. It returns the paths whose creation was acknowledged, each
// with its zxid.
func walk(t *testing.T, c *Cluster, seed uint64, steps int) map[string]int64 {
	r := rand.New(rand.NewPCG(seed, 2))
	acked := make(map[string]int64)
	var clients []*client
	collect := func(cl *client) {
		for _, rep := range cl.replies {
			if rep.Zxid < cl.last {
				t.Fatalf("seed %d: zxid of replies went back from %x to %x",
					seed, cl.last, rep.Zxid)
			}
			cl.last = rep.Zxid
			if rep.Err == wire.OK && cl.sent[rep.Xid] != "" {
				var p wire.Path
				wire.Decode(rep.body, &p)
				if old, ok := acked[p.Path]; ok {
					t.Fatalf("seed %d: %s was created twice, in %x and %x",
						seed, p.Path, old, rep.Zxid)
				}
				acked[p.Path] = rep.Zxid
			}
		}
		cl.replies = nil
	}
	for step := range steps {
		switch n := r.IntN(100); {
		case n < 4:
			if cl := dial(c, r.IntN(3), 0); cl != nil {
				clients = append(clients, cl)
			}
		case n < 30 && len(clients) > 0:
			cl := clients[r.IntN(len(clients))]
			if cl.open && !cl.closed {
				what := fmt.Sprintf("/n%d-", step)
				cl.request(wire.OpCreate, what, &wire.CreateRequest{Path: what, ACL: world, Mode: wire.ModePersistentSequential})
			}
		case n < 85:
			for range 6 {
				c.Deliver(r.IntN(3), r.IntN(3))
			}
		case n < 97:
			c.Advance(c.now + time.Duration(r.IntN(int(tick/4))))
		default:
			fault(c, r)
		}
		c.Run()
		for _, cl := range clients {
			collect(cl)
		}
	}
	heal(c)
	for _, cl := range clients {
		collect(cl)
	}
	return acked
}

func fault(c *Cluster, r *rand.Rand) {
	i, j := r.IntN(3), r.IntN(3)
	switch r.IntN(12) {
	case 0:
		c.Kill(i)
	case 1, 2:
		c.Start(i)
	case 3:
		c.Pause(i)
	case 4, 5:
		c.Resume(i)
	case 6:
		c.Cut(i, j)
	case 7:
		c.MendAll()
	case 8:
		c.Lag(i, time.Duration(r.IntN(int(tick))))
	case 9:
		c.Elect(i)
	case 10:
		c.Delay(i, j, time.Duration(r.IntN(int(tick))))
	case 11:
		c.ClockRate(i, 0.5+r.Float64())
	}
}

// Whatever faults happen, all replicas are equal in the end, acknowledged writes are present, and
// the zxids of a client's replies never go back.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 100
	}
	writes, epochs := 0, int64(0)
	for seed := range uint64(seeds) {
		c := newCluster(seed, nil)
		acked := walk(t, c, seed, 600)
		if !c.Ready() {
			t.Fatalf("seed %d: the ensemble is not ready after all faults are healed", seed)
		}
		var want bytes.Buffer
		c.servers[0].tree.Dump(&want)
		for _, s := range c.servers[1:] {
			var got bytes.Buffer
			s.tree.Dump(&got)
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Fatalf("seed %d: got the replica:\n%s\nwant that of server 0:\n%s",
					seed, got.String(), want.String())
			}
		}
		for path := range acked {
			if !bytes.Contains(want.Bytes(), []byte(fmt.Sprintf("%q", path))) {
				t.Fatalf("seed %d: the acknowledged %s is lost", seed, path)
			}
		}
		writes += len(acked)
		epochs += c.servers[0].epoch
	}
	if writes < 10*seeds || epochs < 2*int64(seeds) {
		t.Errorf("got %d writes and %d epochs in %d runs, want at least %d and %d",
			writes, epochs, seeds, 10*seeds, 2*seeds)
	}
	t.Logf("%d writes, %d epochs", writes, epochs)
}

// Ready is false while a server is paused, because that server serves no clients. Ready is also
// false while a follower does not know yet that the leader has given it up.
func TestReadyIsWhenAllServe(t *testing.T) {
	ready := func(c *Cluster, want bool, what string) {
		t.Helper()
		if c.Run(); c.Ready() != want {
			t.Errorf("%s: ready is %v, want %v", what, !want, want)
		}
	}
	for i := range 3 {
		c, _ := meet(t)
		c.Pause(i)
		ready(c, false, "paused")
		c.Resume(i)
		ready(c, true, "resumed")
	}
	c, _ := meet(t)
	l := c.Leader()
	f := (l + 1) % 3
	c.Cut(l, f)
	c.Elect(l)
	c.Advance(c.now + 100*ms)
	if c.Leader() != l {
		t.Fatalf("server %d leads, want server %d", c.Leader(), l)
	}
	ready(c, false, "in the last term")
	c.MendAll()
	c.Advance(c.now + time.Second)
	ready(c, true, "mended")
}

func FuzzFramesOfAClient(f *testing.F) {
	f.Add([]byte{}, int32(wire.OpPing), uint8(0))
	for op, r := range map[wire.Op]wire.Record{
		wire.OpCreate:     &wire.CreateRequest{Path: "/a", ACL: world},
		wire.OpMulti:      &wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpDelete, Request: &wire.PathVersion{Path: "/a", Version: -1}}}},
		wire.OpSetWatches: &wire.SetWatchesRequest{Data: []string{"/a"}},
		wire.OpAddWatch:   &wire.AddWatchRequest{Path: "/a", Mode: 1},
		wire.OpSetACL:     &wire.SetACLRequest{Path: "/a", ACL: []wire.ACL{{Perms: 1, ID: wire.ID{Scheme: "ip", ID: "::1/64"}}}},
		wire.OpAuth:       &wire.AuthRequest{Scheme: "digest", Auth: []byte("a:b")},
	} {
		f.Add(wire.Append(nil, r), int32(op), uint8(op))
	}
	f.Fuzz(func(t *testing.T, body []byte, op int32, server uint8) {
		c := newCluster(1, nil)
		c.cfg.Manual = false
		bad, good := dial(c, int(server)%3, 0), dial(c, 0, 0)
		c.Run()
		bad.send(wire.Op(op), "", body)
		bad.conn.Receive(body)
		bad.send(wire.OpMulti, "", body)
		c.Run()
		c.Advance(c.now + tick)
		good.request(wire.OpCreate, "", &wire.CreateRequest{Path: "/ok-", ACL: world, Mode: wire.ModePersistentSequential})
		c.Run()
		if len(good.replies) != 1 || good.replies[0].Err != wire.OK || good.closed {
			t.Fatalf("the good connection got %+v, want one reply with OK", good.replies)
		}
	})
}
