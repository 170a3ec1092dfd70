package quorum

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

const ms = time.Millisecond

// The function `meet` returns a cluster that delivers messages without calls of Deliver, and a
// client that has a session at the leader.
func meet(t *testing.T) (*Cluster, *client) {
	t.Helper()
	c := newCluster(1, nil)
	c.cfg.Manual = false
	cl := dial(c, c.Leader(), 0)
	c.Run()
	if !cl.open {
		t.Fatal("the session was not established")
	}
	return c, cl
}

// The function `pass` advances time by d in steps of one millisecond. It returns the times, counted
// from now, at which the client received a reply and at which its connection was closed.
func pass(c *Cluster, cl *client, d time.Duration) (replies []time.Duration, closed time.Duration) {
	start, n := c.now, len(cl.replies)
	for c.Run(); ; c.Run() {
		for range cl.replies[n:] {
			replies = append(replies, c.now-start)
		}
		n = len(cl.replies)
		if cl.closed && closed == 0 {
			closed = c.now - start
		}
		if c.now-start >= d {
			return replies, closed
		}
		c.Advance(c.now + ms)
	}
}

var root = &wire.PathWatch{Path: "/"}

// Regression: a reply whose delay had ended was not sent while any other reply was still delayed.
func TestDelayedRepliesDoNotHoldBackEarlierOnes(t *testing.T) {
	c, cl := meet(t)
	c.AddRule(&Rule{Op: wire.OpGetData, Server: -1, Fate: DelayReply, Delay: 100 * ms})
	var got []time.Duration
	for i := range time.Duration(4) {
		cl.request(wire.OpGetData, "", root)
		replies, _ := pass(c, cl, 50*ms)
		for _, at := range replies {
			got = append(got, i*50*ms+at)
		}
	}
	if want := []time.Duration{100 * ms, 150 * ms, 200 * ms}; !slices.Equal(got, want) {
		t.Errorf("got replies at %v, want %v", got, want)
	}
}

// Regression: if the server closed a connection on which a reply was still delayed, this reply and
// all replies after it were lost.
func TestServerHangsUpBehindDelayedReplies(t *testing.T) {
	for name, ask := range map[string]func(cl *client){
		"close session":   func(cl *client) { cl.send(wire.OpCloseSession, "", nil) },
		"unknown request": func(cl *client) { cl.send(wire.Op(999), "", nil) },
		"bad auth": func(cl *client) {
			cl.request(wire.OpGetData, "", root)
			cl.request(wire.OpAuth, "", &wire.AuthRequest{Scheme: "none"})
		},
	} {
		c, cl := meet(t)
		c.AddRule(&Rule{Any: true, Server: -1, Fate: DelayReply, Delay: 100 * ms})
		ask(cl)
		cl.request(wire.OpGetData, "", root) // the server no longer reads this request
		want := int(cl.xid) - 1
		replies, closed := pass(c, cl, 200*ms)
		if len(replies) != want || replies[0] != 100*ms || closed != 100*ms {
			t.Errorf("%s: got replies after %v, want %d; connection closed after %v, want 100ms", name, replies, want, closed)
		}
	}
}

// A kill closes a connection at once, even if the server was going to close the connection after
// the delayed replies. The delayed replies are lost.
func TestKillEndsAConnectionThatIsEnding(t *testing.T) {
	c, cl := meet(t)
	c.AddRule(&Rule{Any: true, Server: -1, Fate: DelayReply, Delay: 100 * ms})
	cl.send(wire.OpCloseSession, "", nil)
	pass(c, cl, 50*ms)
	c.Kill(c.Leader())
	if len(cl.replies) > 0 || !cl.closed {
		t.Errorf("got %d replies, closed: %v; want 0, true", len(cl.replies), cl.closed)
	}
}

// Regression: a rule whose fate concerns the reply had no effect on a request that authenticates,
// although the rule selected the request.
func TestFatesOfRepliesThatAuthenticate(t *testing.T) {
	for op, body := range map[wire.Op]wire.Record{
		wire.OpAuth: &wire.AuthRequest{Scheme: "digest", Auth: []byte("a:b")},
		wire.OpSASL: &wire.AuthToken{},
	} {
		for fate, want := range map[Fate]string{
			DropReply:        "replies after [], closed: false",
			CloseBeforeReply: "replies after [], closed: true",
			DelayReply:       "replies after [50ms], closed: false",
			ThrottleRequest:  "replies after [0s], closed: false", // authentication is never refused
		} {
			c, cl := meet(t)
			c.AddRule(&Rule{Op: op, Server: -1, Fate: fate, Delay: 50 * ms})
			cl.request(op, "", body)
			replies, _ := pass(c, cl, 100*ms)
			if got := fmt.Sprintf("replies after %v, closed: %v", replies, cl.closed); got != want {
				t.Errorf("%v, fate %d: got %s; want %s", op, fate, got, want)
			}
		}
	}
}

// Regression: when the delay of a request ended, the server forgot that an earlier reply on the
// same connection was still delayed.
func TestDelayedReplyBehindADelayedRequest(t *testing.T) {
	c, cl := meet(t)
	c.AddRule(&Rule{Op: wire.OpGetData, Server: -1, Fate: DelayReply, Delay: 50 * ms})
	c.AddRule(&Rule{Op: wire.OpCreate, Server: -1, Fate: DelayRequest, Delay: 30 * ms})
	c.Lag(c.Leader(), time.Second)
	cl.request(wire.OpGetData, "", root)
	cl.request(wire.OpCreate, "", &wire.CreateRequest{Path: "/late", ACL: world})
	replies, _ := pass(c, cl, 2*time.Second)
	if want := []time.Duration{50 * ms, 1030 * ms}; !slices.Equal(replies, want) {
		t.Errorf("got replies after %v, want %v", replies, want)
	}
}

// Regression: four-letter words listed watches in the order of a map. So with several watches, the
// replies could differ between two runs with the same seed.
func TestWordsListWatchesInOneOrder(t *testing.T) {
	c, a := meet(t)
	b := dial(c, c.Leader(), 0)
	for _, path := range []string{"/d", "/b", "/a", "/c"} {
		a.request(wire.OpExists, "", &wire.PathWatch{Path: path, Watch: true})
	}
	b.request(wire.OpExists, "", &wire.PathWatch{Path: "/b", Watch: true})
	c.Run()
	one, two := fmt.Sprintf("\t0x%x\n", a.id), fmt.Sprintf("\t0x%x\n", b.id)
	for word, want := range map[string]string{
		"wchp": "/a\n" + one + "/b\n" + one + two + "/c\n" + one + "/d\n" + one + "\n",
		"wchc": one[1:] + "\t/a\n\t/b\n\t/c\n\t/d\n" + two[1:] + "\t/b\n\n",
	} {
		if got := c.servers[c.Leader()].answer(word, nil); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}

// Regression: if a client closed its connection while its requests waited at the server, the
// requests were lost. A real server reads them from its socket before it finds the end of the
// stream.
func TestRequestsOutliveTheirClient(t *testing.T) {
	type waits struct{ begin, end func(c *Cluster, server int) }
	for name, w := range map[string]waits{
		"paused server": {
			func(c *Cluster, server int) { c.Pause(server) },
			func(c *Cluster, server int) { c.Resume(server) },
		},
		"delayed requests": {
			func(c *Cluster, _ int) {
				c.AddRule(&Rule{Op: wire.OpCreate, Server: -1, Fate: DelayRequest, Delay: 50 * ms})
			},
			func(c *Cluster, _ int) { c.Advance(c.now + 100*ms) },
		},
		"unfinished handshake": {
			func(c *Cluster, server int) { c.Lag(server, 50*ms) },
			func(c *Cluster, _ int) { c.Advance(c.now + 100*ms) },
		},
	} {
		for _, role := range []string{"leader", "follower"} {
			c, watcher := meet(t)
			server := c.Leader()
			if role == "follower" {
				server = (server + 1) % 3
			}
			cl := dial(c, server, 0)
			if name != "unfinished handshake" {
				c.Run()
			}
			w.begin(c, server)
			c.Run()
			cl.request(wire.OpCreate, "", &wire.CreateRequest{Path: "/late", ACL: world})
			cl.send(wire.OpCloseSession, "", nil)
			c.Run()
			cl.conn.Hangup()
			c.Run()
			if _, code := c.servers[c.Leader()].tree.Exists("/late", tree.Reader{}); code != wire.NoNode {
				t.Fatalf("%s, %s: exists before the end: got %v, want %v", name, role, code, wire.NoNode)
			}
			w.end(c, server)
			pass(c, watcher, 0)
			leader := c.servers[c.Leader()]
			if _, code := leader.tree.Exists("/late", tree.Reader{}); code != wire.OK {
				t.Errorf("%s, %s: exists after the end: got %v, want OK", name, role, code)
			}
			if n := len(leader.term.sessions.sessions); n != 1 {
				t.Errorf("%s, %s: got %d sessions, want 1, because the other one is closed", name, role, n)
			}
			if c.servers[server].conns[cl.conn.ID()] != nil {
				t.Errorf("%s, %s: the server still has the connection, want it removed", name, role)
			}
			if cl.closed || len(cl.replies) > 0 {
				t.Errorf("%s, %s: the client got %d replies, closed: %v after it was gone; want 0, false",
					name, role, len(cl.replies), cl.closed)
			}
		}
	}
}

func TestPausedServerSendsNoDelayedReply(t *testing.T) {
	c, cl := meet(t)
	c.AddRule(&Rule{Op: wire.OpGetData, Server: -1, Fate: DelayReply, Delay: 50 * ms})
	cl.request(wire.OpGetData, "", root)
	c.Run()
	leader := c.Leader()
	c.Pause(leader)
	c.Advance(c.now + 60*ms)
	cl.send(wire.OpPing, "", nil)
	if c.Run(); len(cl.replies) > 0 {
		t.Error("the paused server has sent a reply")
	}
	if c.Resume(leader); len(cl.replies) != 2 {
		t.Errorf("got %d replies after Resume, want 2", len(cl.replies))
	}
}

// Regression: a rule delayed a request and was removed before the delay ended. After that, no rule
// applied to the next request on the connection.
func TestDelayOfARemovedRuleIsForgotten(t *testing.T) {
	c, cl := meet(t)
	rule := &Rule{Any: true, Server: -1, Fate: DelayRequest, Delay: 50 * ms}
	c.AddRule(rule)
	cl.request(wire.OpGetData, "", root)
	c.Run()
	c.RemoveRule(rule)
	if replies, _ := pass(c, cl, 60*ms); !slices.Equal(replies, []time.Duration{50 * ms}) {
		t.Errorf("got replies after %v, want [50ms]", replies)
	}
	c.AddRule(&Rule{Any: true, Server: -1, Fate: CloseBeforeRequest})
	cl.request(wire.OpGetData, "", root)
	if pass(c, cl, 0); !cl.closed {
		t.Error("the next rule did not select the next request")
	}
}
