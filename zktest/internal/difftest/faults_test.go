package difftest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	trap "github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// The scenes below compare how clients see a fault on zktest and on ZooKeeper. A scene records the
// observations of its clients as text, the account. The account of zktest and that of ZooKeeper
// must be equal.

// A breakable is an ensemble that supports the faults of the scenes.
type breakable interface {
	ensemble.Ensemble
	ensemble.Killer
	ensemble.Partitioner
	ensemble.Pauser
}

// With these settings, a server closes its connection to another server that is silent for 20 s. A
// scene takes less time, even on a busy machine. So an isolated server keeps its role until the
// isolation ends.
var sceneConfig = ensemble.Config{TickTime: 500 * time.Millisecond, SyncLimit: 40}

const sceneTimeout = 2 * time.Second // of sessions

// A scene plays one fault. Its field `want` is the expected account.
type scene struct {
	name string
	play func(s *stage)
	want string
}

var scenes = []scene{{
	name: "isolated follower",
	play: func(s *stage) {
		a, b := s.client("a", s.follower), s.client("b", s.leader)
		a.create("/e", wire.ModeEphemeral)
		b.exists("/e")
		s.cut(s.around(s.follower)...)
		began := time.Now()
		for b.code(wire.OpExists, &wire.PathWatch{Path: "/e"}) == wire.OK {
			a.code(wire.OpPing, nil)
			s.pause()
		}
		s.tell("the session expires, not before its time: %v", time.Since(began) > sceneTimeout-s.tick)
		a.ask("ping", wire.OpPing, nil)
		a.exists("/e")
		b.create("/e", wire.ModeEphemeral)
		a.exists("/e")
		s.mend()
		a.hangsUp()
	},
	want: `
a: create /e: ok
b: exists /e: ok
the session expires, not before its time: true
a: ping: ok
a: exists /e: ok
b: create /e: ok
a: exists /e: ok
a: is disconnected`,
}, {
	name: "lagging follower",
	play: func(s *stage) {
		a, b := s.client("a", s.follower), s.client("b", s.leader)
		s.cut(ensemble.Edge{From: s.leader, To: s.follower})
		b.create("/x", wire.ModePersistent)
		a.exists("/x")
		a.send(wire.OpSync, &wire.Path{Path: "/x"})
		a.silent("sync /x")
		s.mend()
		a.answered("sync /x")
		a.exists("/x")
	},
	want: `
b: create /x: ok
a: exists /x: no node
a: sync /x: no reply
a: sync /x: ok
a: exists /x: ok`,
}, {
	name: "lost reply after commit",
	play: func(s *stage) {
		b := s.client("b", s.leader)
		for when, path := range map[trap.When]string{trap.BeforeReply: "/done", trap.BeforeSending: "/undone"} {
			way := trap.New(s.e.DialContext)
			t := way.Set(trap.Request{Op: wire.OpCreate, When: when}, trap.Reset)
			a := s.through(way.DialContext, "a", s.follower)
			a.send(wire.OpCreate, &wire.CreateRequest{Path: path, ACL: everybody, Mode: wire.ModeEphemeral})
			<-t.Sprung()
			a.hangsUp()
			a.resume(s.other)
			b.catchUp()
			b.exists(path)
			a.create(path, wire.ModeEphemeral)
		}
		slices.Sort(s.account) // the loop ranges over a map, so its order is random
	},
	want: `
a: create /done: node exists
a: create /undone: ok
a: is disconnected
a: is disconnected
a: resumes
a: resumes
b: exists /done: ok
b: exists /undone: no node`,
}, {
	name: "deposed leader",
	play: func(s *stage) {
		a := s.client("a", s.leader)
		a.create("/old", wire.ModePersistent)
		s.cut(s.around(s.leader)...)
		for _, node := range []int{s.follower, s.other} {
			s.must(s.e.Kill(s.ctx, node))
			s.must(s.e.Start(s.ctx, node))
		}
		next := s.electedBut(s.leader, func() { a.code(wire.OpPing, nil) })
		b := s.client("b", next)
		b.create("/new", wire.ModePersistent)
		a.ask("sync", wire.OpSync, &wire.Path{Path: "/"})
		a.exists("/old")
		a.exists("/new")
		a.send(wire.OpCreate, &wire.CreateRequest{Path: "/late", ACL: everybody})
		a.silent("create /late")
		s.mend()
		a.hangsUp()
		b.exists("/late")
	},
	want: `
a: create /old: ok
b: create /new: ok
a: sync: ok
a: exists /old: ok
a: exists /new: no node
a: create /late: no reply
a: is disconnected
b: exists /late: no node`,
}, {
	name: "clients that leave a paused server",
	play: func(s *stage) {
		a, b, c := s.client("a", s.follower), s.client("b", s.leader), s.client("c", s.other)
		a.create("/mine", wire.ModeEphemeral)
		c.create("/c", wire.ModeEphemeral)
		s.must(s.e.Pause(s.ctx, s.follower))
		a.send(wire.OpCreate, &wire.CreateRequest{Path: "/sent", ACL: everybody})
		a.send(wire.OpCloseSession, nil)
		began := time.Now()
		a.link.Close()
		s.knock(c.id, s.follower)
		b.exists("/sent")
		s.must(s.e.Resume(s.ctx, s.follower))
		s.tell("the create is applied: %v", s.eventually(func() bool { return b.sees("/sent") }))
		s.eventually(func() bool { return !b.sees("/mine") })
		s.tell("the session of a ends before its timeout: %v", time.Since(began) < sceneTimeout)
		s.tell("the session of c moves: %v", s.eventually(func() bool {
			return c.code(wire.OpSetData, &wire.SetDataRequest{Path: "/c", Version: -1}) == wire.ConnectionLoss
		}))
	},
	want: `
a: create /mine: ok
c: create /c: ok
b: exists /sent: no node
the create is applied: true
the session of a ends before its timeout: true
the session of c moves: true`,
}}

func TestZktestFailsAsZooKeeper(t *testing.T) {
	for _, sc := range scenes {
		t.Run("zktest/"+strings.ReplaceAll(sc.name, " ", "-"), func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				e, err := embedded.Start(embedded.Options{Config: sceneConfig})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close(context.WithoutCancel(t.Context()))
				perform(t, sc, e)
			})
		})
	}
	onEachVersion(t, func(t *testing.T, version string) {
		config := sceneConfig
		config.Version = version
		e, err := process.Start(t.Context(), process.Options{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}()
		for _, sc := range scenes {
			t.Run(strings.ReplaceAll(sc.name, " ", "-"), func(t *testing.T) { perform(t, sc, e) })
		}
	})
}

func perform(t *testing.T, sc scene, e breakable) {
	s := &stage{T: t, ctx: t.Context(), e: e, tick: sceneConfig.TickTime}
	s.must(e.Ready(s.ctx))
	leader, err := e.Leader(s.ctx)
	s.must(err)
	s.leader = leader
	s.follower, s.other = (s.leader+1)%3, (s.leader+2)%3
	began := time.Now()
	sc.play(s)
	for _, a := range s.actors {
		a.link.Close()
	}
	if got := strings.Join(s.account, "\n"); got != strings.TrimSpace(sc.want) {
		t.Errorf("%s: got the account:\n%s\nwant:%s", e.Kind(), got, sc.want)
	}
	t.Logf("%s: %v", e.Kind(), time.Since(began).Round(time.Millisecond))
}

// A stage is an ensemble, the roles of its servers, and the account, which is
// the text of all observations so far.
type stage struct {
	*testing.T
	ctx                     context.Context
	e                       breakable
	tick                    time.Duration
	leader, follower, other int
	actors                  []*actor
	account                 []string
}

func (s *stage) tell(format string, args ...any) {
	s.account = append(s.account, fmt.Sprintf(format, args...))
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) pause() { <-time.After(50 * time.Millisecond) }

func (s *stage) cut(links ...ensemble.Edge) { s.must(s.e.Cut(s.ctx, links...)) }
func (s *stage) mend()                      { s.must(s.e.Mend(s.ctx)) }

// The method `around` returns the edges between a node and all others, in both directions.
func (s *stage) around(node int) (links []ensemble.Edge) {
	for other := range s.e.Servers() {
		if other != node {
			links = append(links, ensemble.Edge{From: node, To: other}, ensemble.Edge{From: other, To: node})
		}
	}
	return links
}

// electedBut waits until a server other than `old` leads, and returns that server. During the wait
// it calls the function `meanwhile` repeatedly.
func (s *stage) electedBut(old int, meanwhile func()) int {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); s.pause() {
		meanwhile()
		if now, err := s.e.Leader(s.ctx); err == nil && now != old {
			return now
		}
	}
	s.Fatalf("no other leader than server %d was elected within a minute", old)
	return 0
}

// eventually polls until the condition is true, and returns false if that takes longer than a
// minute.
func (s *stage) eventually(condition func() bool) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); s.pause() {
		if condition() {
			return true
		}
	}
	return false
}

// knock connects to a node and requests to resume a session. It closes the connection without
// waiting for the answer.
func (s *stage) knock(id wire.ConnectResponse, node int) {
	s.Helper()
	conn, err := s.e.DialContext(s.ctx, "tcp", s.e.Servers()[node])
	s.must(err)
	_, err = conn.Write(wire.AppendFrame(nil, &wire.ConnectRequest{
		Timeout: int32(sceneTimeout.Milliseconds()), SessionID: id.SessionID, Password: id.Password,
	}))
	s.must(err)
	s.must(conn.Close())
}

// An actor is a client with one session.
type actor struct {
	s    *stage
	name string
	link *trace.Link
	dial ensemble.DialFunc
	id   wire.ConnectResponse
}

var everybody = []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}

func (s *stage) client(name string, node int) *actor { return s.through(s.e.DialContext, name, node) }

func (s *stage) through(way ensemble.DialFunc, name string, node int) *actor {
	a := &actor{s: s, name: name, dial: way, id: wire.ConnectResponse{Password: make([]byte, 16)}}
	s.actors = append(s.actors, a)
	a.connect(node)
	return a
}

func (a *actor) connect(node int) {
	a.s.Helper()
	var err error
	a.link, err = trace.Dial(a.s.ctx, &trace.Servers{Addresses: a.s.e.Servers(), Dial: a.dial}, node)
	a.s.must(err)
	rsp, err := a.link.Handshake(wire.ConnectRequest{
		Timeout: int32(sceneTimeout.Milliseconds()), SessionID: a.id.SessionID, Password: a.id.Password,
	})
	a.s.must(err)
	if rsp == nil || rsp.SessionID == 0 {
		a.s.Fatalf("%s got no session at node %d: %+v", a.name, node, rsp)
	}
	a.id = *rsp
}

// resume continues the session at another node.
func (a *actor) resume(node int) {
	old := a.id.SessionID
	a.link.Close()
	a.connect(node)
	if a.id.SessionID == old {
		a.s.tell("%s: resumes", a.name)
	}
}

func (a *actor) send(op wire.Op, record wire.Record) {
	a.s.Helper()
	xid, body := a.link.NextXid(), []byte(nil)
	if op == wire.OpPing {
		xid = wire.XidPing
	}
	if record != nil {
		body = wire.Append(nil, record)
	}
	a.s.must(a.link.Write(&wire.RequestHeader{Xid: xid, Op: op}, body))
}

// receive returns the code of the next reply, or ConnectionLoss if the
// connection ends.
func (a *actor) receive() wire.Code {
	a.s.Helper()
	frame, err := a.link.Read()
	a.s.must(err)
	if frame == nil {
		return wire.ConnectionLoss
	}
	var h wire.ReplyHeader
	_, err = wire.Decode(frame, &h)
	a.s.must(err)
	return h.Err
}

func (a *actor) code(op wire.Op, record wire.Record) wire.Code {
	a.s.Helper()
	a.send(op, record)
	return a.receive()
}

func (a *actor) ask(what string, op wire.Op, record wire.Record) {
	a.s.Helper()
	a.send(op, record)
	a.answered(what)
}

func (a *actor) answered(what string) {
	a.s.Helper()
	a.s.tell("%s: %s: %s", a.name, what, a.receive().String())
}

func (a *actor) create(path string, mode int32) {
	a.s.Helper()
	a.ask("create "+path, wire.OpCreate, &wire.CreateRequest{Path: path, ACL: everybody, Mode: mode})
}

func (a *actor) exists(path string) {
	a.s.Helper()
	a.ask("exists "+path, wire.OpExists, &wire.PathWatch{Path: path})
}

// The method `sees` reports whether a node exists. It records nothing in the account.
func (a *actor) sees(path string) bool {
	a.s.Helper()
	return a.code(wire.OpExists, &wire.PathWatch{Path: path}) == wire.OK
}

// catchUp sends a sync and waits for the reply. It records nothing in the account.
func (a *actor) catchUp() {
	a.s.Helper()
	if code := a.code(wire.OpSync, &wire.Path{Path: "/"}); code != wire.OK {
		a.s.Fatalf("%s: sync: got code %v, want OK", a.name, code)
	}
}

// The method `silent` waits for half a second, and records in the account whether a reply has
// arrived.
func (a *actor) silent(what string) {
	a.s.Helper()
	silent, err := a.link.Silent(500 * time.Millisecond)
	a.s.must(err)
	if silent {
		a.s.tell("%s: %s: no reply", a.name, what)
	} else {
		a.s.tell("%s: %s: a reply, or the end", a.name, what)
	}
}

// hangsUp waits until the server closes the connection, and records this in the account. If a reply
// arrives first, hangsUp records the reply instead.
func (a *actor) hangsUp() {
	a.s.Helper()
	if code := a.receive(); code != wire.ConnectionLoss {
		a.s.tell("%s: receives %v", a.name, code)
		return
	}
	a.s.tell("%s: is disconnected", a.name)
}
