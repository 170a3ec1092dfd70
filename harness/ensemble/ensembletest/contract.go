// Package ensembletest implements the contract of package ensemble as a test for every
// implementation.
package ensembletest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/netfault"
)

// The constant `patience` bounds each wait of the contract. Real servers elect a leader within a
// second or two. An isolated leader takes up to syncLimit ticks to resign.
const patience = 60 * time.Second

// The variable `steps` has the steps of the contract, in the order in which failures are easiest to
// understand. Each step except the last two leaves the ensemble ready and all nodes running.
var steps = []struct {
	name string
	run  func(contract, *testing.T)
}{
	{"IsAQuorumWithOneLeader", contract.quorum},
	{"AnAddressNamesOneNode", contract.addresses},
	{"DataSurviveARestartOfAll", contract.restartOfAll},
	{"AKilledLeaderIsReplaced", contract.killedLeader},
	{"APausedNodeAcceptsAndIsSilent", contract.pausedNode},
	{"AnIsolatedFollowerServesNoMore", contract.isolatedFollower},
	{"AnIsolatedLeaderIsReplaced", contract.isolatedLeader},
	{"ACutStandsOverARestart", contract.cutOverRestart},
	{"OneWayIsOneWay", contract.oneWay},
	{"AMendOfOneCutLeavesTheOther", contract.partialMend},
	{"ALossyLinkLosesPackets", contract.loss},
	{"AClockIsSetAndPutRight", contract.clock},
	{"AWipedNodeGetsEverythingAgain", contract.wiped},
	{"ATruncatedNodeGetsEverythingAgain", contract.truncated},
	{"AFullDiskStopsALeader", contract.fullDisk},
	{"TimersRunFast", contract.timers},
	{"ASequenceIsSet", contract.sequence},
	{"AStalledLogStallsTheExpiryOfSessions", contract.stalledLog},
	{"AKilledNodeComesBackAsAnotherVersion", contract.versions},
	{"FaultsAskedForTwiceAreNoErrors", contract.twice},
	{"NodesLog", contract.logs},
	{"TxnLogsTellWhatWasCommitted", contract.txnLogs},
	{"CloseIsFinal", contract.closed},
}

// Contract checks an ensemble of at least three nodes, and closes it. It skips the steps that the
// ensemble does not support.
func Contract(t *testing.T, e ensemble.Ensemble) {
	defer e.Close(context.Background())
	for _, step := range steps {
		if !t.Run(step.name, func(t *testing.T) { step.run(contract{e}, t) }) {
			return // The later steps would only repeat the failure.
		}
	}
}

// Steps runs each step of the contract in a subtest, on a separate ensemble. It is for ensembles
// that live in a testing/synctest bubble. Each subtest calls inBubble, which must start a new
// bubble, start an ensemble in this bubble, and call the function `step` with the bubble's test and
// the ensemble. The function `step` performs the step of the contract and closes the ensemble.
func Steps(t *testing.T, inBubble func(t *testing.T, step func(*testing.T, ensemble.Ensemble))) {
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, e ensemble.Ensemble) {
				defer e.Close(context.Background())
				step.run(contract{e}, t)
			})
		})
	}
}

type contract struct{ ensemble.Ensemble }

func (c contract) quorum(t *testing.T) {
	c.ready(t)
	if n := len(c.Servers()); n < 3 {
		t.Fatalf("got %d servers, want at least 3", n)
	}
	c.leader(t)
	if c.Kind() == "" {
		t.Error("got an empty kind, want a name")
	}
}

func (c contract) addresses(t *testing.T) {
	servers := c.Servers()
	if sorted := slices.Compact(slices.Sorted(slices.Values(servers))); len(sorted) != len(servers) {
		t.Errorf("got addresses %v, want a different one for each node", servers)
	}
	for _, address := range servers {
		if s, err := c.ask(address); err != nil || !s.Serves() {
			t.Errorf("%s: got %+v, %v; want a node that serves", address, s, err)
		}
	}
	if conn, err := c.DialContext(t.Context(), "tcp", "nowhere:1"); err == nil {
		conn.Close()
		t.Error("DialContext of an unknown address: got no error, want one")
	}
}

func (c contract) restartOfAll(t *testing.T) {
	k := capability[ensemble.Killer](t, c)
	c.write(t, "/survivor", "before")
	before := c.Servers()
	for node := range before {
		must(t, k.Kill(t.Context(), node))
	}
	for _, address := range before {
		if _, err := c.ask(address); err == nil {
			t.Errorf("killed node %s answers, want an error", address)
		}
	}
	if _, err := c.Leader(t.Context()); !errors.Is(err, ensemble.ErrNoLeader) {
		t.Errorf("Leader with all nodes killed: got error %v, want %v", err, ensemble.ErrNoLeader)
	}
	for node := range before {
		must(t, k.Start(t.Context(), node))
	}
	c.ready(t)
	if after := c.Servers(); !slices.Equal(before, after) {
		t.Errorf("got addresses %[2]v after the restart, want %[1]v", before, after)
	}
	if got := c.read(t, "/survivor"); got != "before" {
		t.Errorf("read %q after the restart, want \"before\"", got)
	}
}

func (c contract) killedLeader(t *testing.T) {
	k := capability[ensemble.Killer](t, c)
	old := c.leader(t)
	must(t, k.Kill(t.Context(), old))
	c.ready(t)
	if now := c.leader(t); now == old {
		t.Errorf("killed node %d leads, want another leader", old)
	}
	c.write(t, "/while-one-is-down", "x")
	must(t, k.Start(t.Context(), old))
	c.ready(t)
}

func (c contract) pausedNode(t *testing.T) {
	p := capability[ensemble.Pauser](t, c)
	node := c.follower(t)
	must(t, p.Pause(t.Context(), node))
	if s, err := c.ask(c.Servers()[node]); err == nil {
		t.Errorf("paused node %d answered %+v, want no answer", node, s)
	}
	c.ready(t)
	must(t, p.Resume(t.Context(), node))
	c.ready(t)
}

func (c contract) isolatedFollower(t *testing.T) {
	p := capability[ensemble.Partitioner](t, c)
	node := c.follower(t)
	must(t, p.Cut(t.Context(), c.around(node)...))
	c.await(t, fmt.Sprintf("node %d to notice that it is cut off", node), func() bool {
		s, err := c.ask(c.Servers()[node]) // Clients reach it in spite of the cut.
		return err == nil && !s.Serves()
	})
	c.write(t, "/while-one-is-cut-off", "x")
	c.bit(t)
	must(t, p.Mend(t.Context(), c.around(node)...))
	c.ready(t)
}

func (c contract) isolatedLeader(t *testing.T) {
	p := capability[ensemble.Partitioner](t, c)
	old := c.leader(t)
	must(t, p.Cut(t.Context(), c.around(old)...))
	c.await(t, fmt.Sprintf("a leader other than isolated node %d", old), func() bool {
		now, err := c.Leader(t.Context())
		return err == nil && now != old
	})
	must(t, p.Mend(t.Context()))
	c.ready(t)
}

func (c contract) cutOverRestart(t *testing.T) {
	p := capability[ensemble.Partitioner](t, c)
	k := capability[ensemble.Killer](t, c)
	node := c.follower(t)
	must(t, p.Cut(t.Context(), c.around(node)...))
	must(t, k.Kill(t.Context(), node))
	must(t, k.Start(t.Context(), node))
	c.await(t, fmt.Sprintf("node %d to run again", node), func() bool {
		_, err := c.ask(c.Servers()[node])
		return err == nil
	})
	// The node searches for a quorum now. One second is two ticks and several rounds of an
	// election. If the cut were incomplete, the node would join.
	for end := time.Now().Add(time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if s, err := c.ask(c.Servers()[node]); err == nil && s.Serves() {
			t.Fatalf("isolated node %d serves, want no quorum: %+v", node, s)
		}
	}
	must(t, p.Mend(t.Context()))
	c.ready(t)
}

// oneWay cuts the edge from the leader to one follower. The follower then receives nothing from the
// leader, so it must leave the quorum.
func (c contract) oneWay(t *testing.T) {
	p := capability[ensemble.Partitioner](t, c)
	leader, follower := c.leader(t), c.follower(t)
	must(t, p.Cut(t.Context(), ensemble.Edge{From: leader, To: follower}))
	c.await(t, fmt.Sprintf("node %d to leave the quorum", follower), func() bool {
		s, err := c.ask(c.Servers()[follower])
		return err == nil && !s.Serves()
	})
	c.bit(t)
	must(t, p.Mend(t.Context()))
	c.ready(t)
}

// partialMend isolates all three nodes with two cuts. The first cut isolates the node `other`. The
// second cut is between the nodes `leader` and `one`. Then partialMend restores only the edges of
// the first cut. The node `other` must then form a quorum with `leader` or with `one`. The nodes
// `leader` and `one` must not both serve, because the edges between them are still cut.
func (c contract) partialMend(t *testing.T) {
	p := capability[ensemble.Partitioner](t, c)
	leader, one := c.leader(t), c.follower(t)
	other := (one + 1) % len(c.Servers())
	serves := func(node int) bool {
		s, err := c.ask(c.Servers()[node])
		return err != nil || s.Serves()
	}
	must(t, p.Cut(t.Context(), c.around(other)...))
	must(t, p.Cut(t.Context(), ensemble.Edge{From: one, To: leader}, ensemble.Edge{From: leader, To: one}))
	c.await(t, "all nodes to be without a quorum", func() bool {
		return !serves(leader) && !serves(one) && !serves(other)
	})
	c.bit(t)
	must(t, p.Mend(t.Context(), c.around(other)...))
	together := fmt.Sprintf("node %d to serve together with node %d or %d", other, leader, one)
	c.await(t, together, func() bool { return serves(other) && (serves(leader) || serves(one)) })
	if serves(leader) && serves(one) {
		t.Errorf("nodes %d and %d both serve although the edges between them are cut, want at most one", leader, one)
	}
	must(t, p.Mend(t.Context()))
	c.ready(t)
}

func (c contract) twice(t *testing.T) {
	node := c.follower(t)
	if p, ok := c.Ensemble.(ensemble.Pauser); ok {
		for range 2 {
			must(t, p.Pause(t.Context(), node))
		}
		for range 2 {
			must(t, p.Resume(t.Context(), node))
		}
	}
	if k, ok := c.Ensemble.(ensemble.Killer); ok {
		if p, ok := c.Ensemble.(ensemble.Pauser); ok {
			must(t, p.Pause(t.Context(), node)) // A paused node can be killed too, and is not paused after the next start.
		}
		for range 2 {
			must(t, k.Kill(t.Context(), node))
		}
		for range 2 {
			must(t, k.Start(t.Context(), node))
		}
		if err := k.Kill(t.Context(), len(c.Servers())); err == nil {
			t.Error("Kill of a node that does not exist: got no error, want one")
		}
	}
	if p, ok := c.Ensemble.(ensemble.Partitioner); ok {
		must(t, p.Mend(t.Context()))
		must(t, p.Mend(t.Context()))
		if err := p.Cut(t.Context(), ensemble.Edge{From: 0, To: len(c.Servers())}); err == nil {
			t.Error("Cut of an edge that does not exist: got no error, want one")
		}
		if err := p.Mend(t.Context(), ensemble.Edge{From: 1, To: 1}); err == nil {
			t.Error("Mend of an edge that does not exist: got no error, want one")
		}
	}
	c.ready(t)
}

func (c contract) logs(t *testing.T) {
	l := capability[ensemble.Logs](t, c)
	for node := range c.Servers() {
		r, err := l.Logs(t.Context(), node)
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, errors.Join(err, r.Close()))
		if len(text) == 0 {
			t.Errorf("got an empty log of node %d, want one with lines", node)
		}
	}
	if _, err := l.Logs(t.Context(), len(c.Servers())); err == nil {
		t.Error("Logs of a node that does not exist: got no error, want one")
	}
}

func (c contract) closed(t *testing.T) {
	must(t, c.Close(t.Context()))
	must(t, c.Close(t.Context()))
	if err := c.Ready(t.Context()); !errors.Is(err, ensemble.ErrClosed) {
		t.Errorf("Ready after Close: got %v, want %v", err, ensemble.ErrClosed)
	}
	if _, err := c.Leader(t.Context()); !errors.Is(err, ensemble.ErrClosed) {
		t.Errorf("Leader after Close: got %v, want %v", err, ensemble.ErrClosed)
	}
	if _, err := c.DialContext(t.Context(), "tcp", c.Servers()[0]); !errors.Is(err, ensemble.ErrClosed) {
		t.Errorf("DialContext after Close: got %v, want %v", err, ensemble.ErrClosed)
	}
	if k, ok := c.Ensemble.(ensemble.Killer); ok {
		if err := k.Start(t.Context(), 0); !errors.Is(err, ensemble.ErrClosed) {
			t.Errorf("Start after Close: got %v, want %v", err, ensemble.ErrClosed)
		}
	}
}

// The function `capability` returns the ensemble as a value of the interface C. If the ensemble
// does not implement C, it skips the test.
func capability[C any](t *testing.T, c contract) C {
	t.Helper()
	able, ok := c.Ensemble.(C)
	if !ok {
		t.Skipf("the %s ensemble does not implement %T", c.Kind(), (*C)(nil))
	}
	return able
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c contract) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, c.Ready(ctx))
}

func (c contract) leader(t *testing.T) int {
	t.Helper()
	node, err := c.Leader(t.Context())
	must(t, err)
	return node
}

func (c contract) follower(t *testing.T) int {
	t.Helper()
	return (c.leader(t) + 1) % len(c.Servers())
}

func (c contract) ask(address string) (ensemble.Status, error) {
	return ensemble.Ask(context.Background(), c.DialContext, address)
}

// The method `around` lists the edges of a node, in both directions.
func (c contract) around(node int) []ensemble.Edge {
	var links []ensemble.Edge
	for other := range c.Servers() {
		if other != node {
			links = append(links, ensemble.Edge{From: node, To: other}, ensemble.Edge{From: other, To: node})
		}
	}
	return links
}

func (c contract) bit(t *testing.T) {
	t.Helper()
	d, ok := c.Ensemble.(ensemble.DropCounter)
	if !ok {
		return
	}
	if n, err := d.Dropped(t.Context()); err != nil || n == 0 {
		t.Errorf("got %d dropped packets, %v; want more than 0", n, err)
	}
}

func (c contract) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s, which did not happen", patience, what)
		}
		<-time.After(20 * time.Millisecond) // Poll the real server's state.
	}
}

func (c contract) write(t *testing.T, path, value string) {
	t.Helper()
	conn := c.connect(t)
	defer conn.Close()
	c.await(t, "a write of "+path, func() bool {
		_, err := conn.Create(path, []byte(value), 0, zk.WorldACL(zk.PermAll))
		return err == nil || errors.Is(err, zk.ErrNodeExists)
	})
}

func (c contract) read(t *testing.T, path string) (value string) {
	t.Helper()
	conn := c.connect(t)
	defer conn.Close()
	c.await(t, "a read of "+path, func() bool {
		b, _, err := conn.Get(path)
		value = string(b)
		return err == nil
	})
	return value
}

// The method `connect` returns a go-zookeeper client of the given servers, or of all servers if
// none is given.
func (c contract) connect(t *testing.T, servers ...string) *zk.Conn {
	t.Helper()
	conn, _ := c.connectCut(t, servers...)
	return conn
}

// connectCut is like connect, but also returns a function that cuts the client off. After that, no
// request of the client arrives, not even the one that closes the session.
func (c contract) connectCut(t *testing.T, servers ...string) (*zk.Conn, func()) {
	t.Helper()
	if len(servers) == 0 {
		servers = c.Servers()
	}
	l := netfault.New(c.DialContext)
	conn, _, err := zk.Connect(servers, 5*time.Second, zk.WithHostProvider(new(literal)), zk.WithLogInfo(false),
		zk.WithLogger(silent{}), zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return l.DialContext(ctx, network, address)
		}))
	must(t, err)
	return conn, func() { l.Refuse(true); l.Reset() }
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// The type `literal` returns addresses without resolving them, because only the ensemble can
// resolve them.
type literal struct {
	servers []string
	next    int
}

func (l *literal) Init(servers []string) error { l.servers = servers; return nil }
func (l *literal) Len() int                    { return len(l.servers) }
func (l *literal) Connected()                  {}

func (l *literal) Next() (server string, retryStart bool) {
	server = l.servers[l.next%len(l.servers)]
	l.next++
	return server, l.next%len(l.servers) == 0
}
