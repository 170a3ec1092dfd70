package ensembletest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// The steps of the contract for damage: to packets, clocks, disks and data.

func (c contract) loss(t *testing.T) {
	l := capability[ensemble.Lossy](t, c)
	node := c.follower(t)
	must(t, l.Lose(t.Context(), 0.3, c.around(node)...))
	c.await(t, "packets to be lost", func() bool {
		n, err := l.Lost(t.Context())
		return err == nil && n > 0
	})
	must(t, l.Lose(t.Context(), 0, c.around(node)...))
	before, err := l.Lost(t.Context())
	must(t, err)
	c.write(t, "/after-the-loss", "x")
	c.ready(t)
	if after, err := l.Lost(t.Context()); err != nil || after != before {
		t.Errorf("got %[2]d packets lost after the heal (%[3]v), want still %[1]d", before, after, err)
	}
	if err := l.Lose(t.Context(), 0.5, ensemble.Edge{From: 0, To: 0}); err == nil {
		t.Error("Lose on an edge from a node to itself: got no error, want one")
	}
}

func (c contract) clock(t *testing.T) {
	k := capability[ensemble.Clock](t, c)
	node := c.leader(t)
	needs(t, k.SetClock(t.Context(), node, 0, 1))
	conn := c.connect(t)
	defer conn.Close()
	c.write(t, "/kept", "x")
	session := conn.SessionID()
	ahead := func(from, to time.Duration) func() bool {
		return func() bool {
			now, err := k.Time(t.Context(), node)
			return err == nil && time.Until(now) > from && time.Until(now) < to
		}
	}
	for range 2 { // the second round also moves the clock from behind to ahead
		must(t, k.SetClock(t.Context(), node, time.Hour, 1))
		c.await(t, "the clock to be an hour ahead", ahead(59*time.Minute, 61*time.Minute))
		must(t, k.SetClock(t.Context(), node, -time.Hour, 1))
		c.await(t, "the clock to be an hour behind", ahead(-61*time.Minute, -59*time.Minute))
	}
	if now := c.leader(t); now != node {
		t.Errorf("node %d leads after the clock was set, want still node %d", now, node)
	}
	must(t, k.SetClock(t.Context(), node, 0, 1))
	c.await(t, "the clock to be right", ahead(-time.Second, time.Second))
	if ok, _, err := conn.Exists("/kept"); !ok || err != nil || conn.SessionID() != session {
		t.Errorf("after the clock changes: got session 0x%x, /kept exists: %t, %v; want session "+
			"0x%x and /kept", conn.SessionID(), ok, err, session)
	}
	c.ready(t)
}

func (c contract) wiped(t *testing.T) {
	w := capability[ensemble.Wiper](t, c)
	c.rejoins(t, "/before-the-wipe", w.Wipe)
}

func (c contract) truncated(t *testing.T) {
	tr := capability[ensemble.Truncater](t, c)
	c.rejoins(t, "/before-the-truncation", tr.Truncate)
}

// The method `rejoins` damages the data of a killed follower, and checks that the follower serves
// its earlier data again.
func (c contract) rejoins(t *testing.T, path string, damage func(ctx context.Context, node int) error) {
	k := c.Ensemble.(ensemble.Killer)
	node := c.follower(t)
	c.write(t, path, strings.Repeat("x", 5000))
	if err := damage(t.Context(), node); err == nil {
		t.Error("damage to the data of a running node: got no error, want one")
	}
	must(t, k.Kill(t.Context(), node))
	must(t, damage(t.Context(), node))
	must(t, k.Start(t.Context(), node))
	c.ready(t)
	there := c.connect(t, c.Servers()[node])
	defer there.Close()
	c.await(t, fmt.Sprintf("a read of %s at node %d", path, node), func() bool {
		text, _, err := there.Get(path)
		return err == nil && len(text) == 5000
	})
}

func (c contract) fullDisk(t *testing.T) {
	d := capability[ensemble.Disk](t, c)
	k := capability[ensemble.Killer](t, c)
	node := c.leader(t)
	c.write(t, "/before-it-is-full", "x")
	needs(t, d.Free(t.Context(), node))
	must(t, d.Fill(t.Context(), node))
	// The leader notices that its disk is full when a write finds no room. So the loop writes until
	// another node leads.
	n := 0
	c.await(t, fmt.Sprintf("a leader other than node %d, whose disk is full", node), func() bool {
		n++
		c.tryWrite(t, fmt.Sprintf("/full-%d", n))
		now, err := c.Leader(t.Context())
		return err == nil && now != node
	})
	must(t, d.Free(t.Context(), node))
	must(t, k.Kill(t.Context(), node))
	must(t, k.Start(t.Context(), node))
	c.ready(t)
	if got := c.read(t, "/before-it-is-full"); got != "x" {
		t.Errorf("read /before-it-is-full: got %q, want %q", got, "x")
	}
}

// The method `timers` is the step that makes the nodes' timers run four times as fast. An abandoned
// session must then end in a fraction of its timeout.
func (c contract) timers(t *testing.T) {
	f := capability[ensemble.Timers](t, c)
	set := func(rate float64) {
		for node := range c.Servers() {
			must(t, f.SetTimers(t.Context(), node, rate))
		}
	}
	normal := c.abandoned(t)
	set(4)
	fast := c.abandoned(t)
	set(1)
	again := c.abandoned(t)
	if fast > normal/2 || again < normal/2 {
		t.Errorf("a session lived %v, then %v with fast timers, then %v; want less than half only with fast timers", normal, fast, again)
	}
	c.ready(t)
}

// The method `abandoned` creates a session with an ephemeral znode, and cuts the client off. It
// returns how long the session lives after that.
func (c contract) abandoned(t *testing.T) time.Duration {
	t.Helper()
	owner, cut := c.connectCut(t)
	c.await(t, "an ephemeral", func() bool {
		_, err := owner.Create("/mortal", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		return err == nil
	})
	cut()
	begun := time.Now()
	owner.Close()
	watcher := c.connect(t)
	defer watcher.Close()
	c.await(t, "the ephemeral to go", func() bool {
		there, _, err := watcher.Exists("/mortal")
		return err == nil && !there
	})
	return time.Since(begun)
}

func (c contract) sequence(t *testing.T) {
	s := capability[ensemble.Sequencer](t, c)
	c.write(t, "/counted", "x")
	must(t, s.SetSequence(t.Context(), "/counted", 2147483640))
	conn := c.connect(t)
	defer conn.Close()
	name, err := conn.Create("/counted/n-", nil, zk.FlagSequence, zk.WorldACL(zk.PermAll))
	if err != nil || name != "/counted/n-2147483640" {
		t.Errorf("created %q, %v; want %q", name, err, "/counted/n-2147483640")
	}
	if err := s.SetSequence(t.Context(), "/nowhere", 1); err == nil {
		t.Error("SetSequence of a znode that does not exist: got no error, want one")
	}
}

// stalledLog stalls the leader's log while the timeouts of three sessions pass. The leader writes a
// line to its log before it closes a session, so all three sessions must remain. They must end soon
// after the log accepts bytes again.
func (c contract) stalledLog(t *testing.T) {
	const (
		sessions = 3
		expired  = 7 * time.Second // the sessions' timeout, a tick, and some time more
	)
	f := capability[ensemble.LogStaller](t, c)
	node, err := c.Leader(t.Context())
	must(t, err)
	watcher := c.connect(t)
	defer watcher.Close()
	c.write(t, "/owners", "x")
	for range sessions {
		owner, cut := c.connectCut(t)
		c.await(t, "an ephemeral", func() bool {
			_, err := owner.Create("/owners/n-", nil, zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
			return err == nil
		})
		cut()
		owner.Close()
	}
	left := func() int {
		names, _, err := watcher.Children("/owners")
		if err != nil {
			return sessions
		}
		return len(names)
	}
	must(t, f.StallLog(t.Context(), node))
	must(t, f.StallLog(t.Context(), node))
	stalled := time.Now()
	c.await(t, "their timeout", func() bool { return left() < sessions || time.Since(stalled) > expired })
	if n := left(); n != sessions {
		t.Errorf("while the log stalled, got %d of %d sessions left, want all", n, sessions)
	}
	must(t, f.FlowLog(t.Context(), node))
	must(t, f.FlowLog(t.Context(), node))
	flowed := time.Now()
	c.await(t, "the end of all sessions", func() bool { return left() == 0 })
	if took := time.Since(flowed); took > 3*time.Second {
		t.Errorf("the sessions ended %v after the log resumed, want at most 3s because they had expired before", took)
	}
	c.ready(t)
}

// The function `needs` skips the test if the ensemble was started without support for the step.
func needs(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ensemble.ErrUnable) {
		t.Skip(err)
	}
	must(t, err)
}

// tryWrite creates a znode at path, or gives up after a second.
func (c contract) tryWrite(t *testing.T, path string) {
	conn := c.connect(t)
	stop := time.AfterFunc(time.Second, conn.Close)
	defer stop.Stop()
	defer conn.Close()
	conn.Create(path, []byte(strings.Repeat("x", 100_000)), 0, zk.WorldACL(zk.PermAll))
}

func (c contract) versions(t *testing.T) {
	u, k := capability[ensemble.Upgrader](t, c), capability[ensemble.Killer](t, c)
	node := c.follower(t)
	first := u.Version(node)
	err := u.SetVersion(t.Context(), node, zkversion.Oldest)
	if errors.Is(err, ensemble.ErrUnable) {
		t.Skip(err)
	}
	if err == nil {
		t.Error("SetVersion of a running node: got no error, want one")
	}
	if err := u.SetVersion(t.Context(), node, "0.1"); !errors.Is(err, ensemble.ErrUnable) {
		t.Errorf("SetVersion to a version that is not in Config: got error %v, want %v", err, ensemble.ErrUnable)
	}
	for i, version := range []string{zkversion.Oldest, first, zkversion.Oldest, first} {
		path := fmt.Sprintf("/kept-by-version-%d", i)
		c.write(t, path, "x")
		must(t, k.Kill(t.Context(), node))
		must(t, u.SetVersion(t.Context(), node, version))
		if now := u.Version(node); now != version {
			t.Errorf("after SetVersion of node %d: got version %q, want %q", node, now, version)
		}
		must(t, k.Start(t.Context(), node))
		c.ready(t)
		want := cmp.Or(version, zkversion.Default)
		if s, err := c.ask(c.Servers()[node]); err != nil || !zkversion.Is(s.Version, want) {
			t.Errorf("node %d reports version %q (%v), want %s", node, s.Version, err, want)
		}
		conn := c.connect(t, c.Servers()[node])
		c.await(t, "a read of "+path, func() bool {
			_, _, err := conn.Get(path)
			return err == nil
		})
		conn.Close()
	}
}
