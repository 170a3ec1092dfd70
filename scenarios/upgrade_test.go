package scenarios

import (
	"cmp"
	"context"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// The function `upgraded` returns the scenarios that run through a rolling upgrade.
func upgraded() []harness.Scenario {
	return []harness.Scenario{LockFaults(), Election(), QueueClaims(), Watch()}
}

// In this test, the scenarios that `upgraded` returns run on a model of an ensemble. The servers of
// the model are upgraded and downgraded during each run. All these runs are valid.
//
// On real servers, the test of a single scenario can run through an upgrade, for example with:
//
//	go test ./scenarios -run '^TestWatch$' -faults rolling-upgrade
func TestScenariosRunThroughAnUpgradeVirtualTime(t *testing.T) {
	for _, s := range upgraded() {
		t.Run(s.Name, func(t *testing.T) {
			r := upgrade(t, s, 1, false)
			if r.Verdict != checker.Valid {
				t.Errorf("run through an upgrade: got %v, want %v:\n%s", r.Verdict, checker.Valid, r.Summary())
			}
		})
	}
}

// In this test the upgraded nodes do not list the oldest contender of a lock, as if they had
// forgotten its ephemeral znode. Two clients then hold the lock although both behave correctly.
func TestAForgottenEphemeralIsFoundVirtualTime(t *testing.T) {
	for seed := range uint64(5) {
		r := upgrade(t, LockFaults(), seed, true)
		one, _ := r.Of("lock/no-overlap")
		if r.Verdict == checker.Invalid && one.Verdict == checker.Invalid {
			t.Logf("seed %d: %s", seed, one.Reason)
			return
		}
		t.Logf("seed %d: %v, lock/no-overlap %v", seed, r.Verdict, one.Verdict)
	}
	t.Error("nodes forget an ephemeral: got no run of 5 with lock/no-overlap violated, want one")
}

// The function `upgrade` runs s on a model of an ensemble that is upgraded and later downgraded.
func upgrade(t *testing.T, s harness.Scenario, seed uint64, forgets bool) (r *harness.Result) {
	t.Helper()
	s, names := With(s, "rolling-upgrade", "rolling-downgrade")
	o := VirtualOptions(s, seed)
	o.Faults, o.Time = names, time.Minute
	o.Plan = harness.Plan{
		{Fault: "rolling-upgrade", Target: "all", At: 5 * time.Second, For: 9 * time.Second},
		{Fault: "rolling-downgrade", Target: "all", At: 35 * time.Second, For: 9 * time.Second},
	}
	start := o.Ensemble
	o.Ensemble = func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
		if config.Version != zkversion.Oldest {
			t.Errorf("got version %q at the start of the ensemble, want the oldest, %q",
				config.Version, zkversion.Oldest)
		}
		e, err := start(ctx, config)
		if err != nil {
			return nil, err
		}
		u := &upgradable{Ensemble: e.(*embedded.Ensemble), forgets: forgets}
		for i := range e.Servers() {
			u.versions = append(u.versions, config.VersionOf(i))
		}
		return u, nil
	}
	virtual.Test(t, func(t *testing.T) {
		var err error
		if r, err = harness.Run(t.Context(), s, o); err != nil {
			t.Fatalf("%s with seed %d: %v", s.Name, seed, err)
		}
	})
	for _, e := range r.History.Events {
		if e.Kind == history.Fault && e.Op == history.FaultStop && (e.Error != "" || !strings.Contains(e.Result, "became ZooKeeper")) {
			t.Errorf("seed %d: %s on %s: got result %q and error %q, want one with %q and no error",
				seed, e.Object, e.Node, e.Result, e.Error, "became ZooKeeper")
		}
	}
	return r
}

// upgradable is an embedded ensemble whose nodes report a version.
type upgradable struct {
	*embedded.Ensemble
	forgets bool // nodes of the default version hide the oldest contender of a lock from clients

	mu       sync.Mutex
	versions []string
}

func (u *upgradable) Version(node int) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.versions[node]
}

func (u *upgradable) SetVersion(_ context.Context, node int, version string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.versions[node] = version
	return nil
}

func (u *upgradable) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := u.Ensemble.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	version := u.Version(slices.Index(u.Servers(), address))
	return &versionedConn{Conn: conn, version: version, forgets: u.forgets && version == zkversion.Default}, nil
}

// versionedConn rewrites a server's replies: it replaces the version, and may remove a znode from
// lists of children.
type versionedConn struct {
	net.Conn
	version string
	forgets bool

	mu    sync.Mutex
	word  bool // the request was a four-letter word, not a request of a session
	lists map[int32]wire.Op

	rest []byte // bytes still to be read
}

func (c *versionedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if string(b) == "srvr" {
		c.word = true
	} else if h, _, err := wire.CutRequest(b[min(4, len(b)):]); err == nil && (h.Op == wire.OpGetChildren || h.Op == wire.OpGetChildren2) {
		if c.lists == nil {
			c.lists = map[int32]wire.Op{}
		}
		c.lists[h.Xid] = h.Op
	}
	c.mu.Unlock()
	return c.Conn.Write(b)
}

var versionLine = regexp.MustCompile(`Zookeeper version: [^\n,]*`)

func (c *versionedConn) Read(b []byte) (n int, err error) {
	c.mu.Lock()
	word := c.word
	c.mu.Unlock()
	switch {
	case len(c.rest) > 0:
	case word:
		var text []byte
		if text, err = io.ReadAll(c.Conn); len(text) == 0 {
			return 0, cmp.Or(err, io.EOF)
		}
		c.rest = versionLine.ReplaceAll(text, []byte("Zookeeper version: "+c.version))
	case !c.forgets:
		return c.Conn.Read(b)
	default:
		frame, err := wire.ReadFrame(c.Conn, nil, 0)
		if err != nil {
			return 0, err
		}
		c.rest = c.forget(frame)
	}
	n = copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// The method `forget` returns a frame, preceded by its length. If the frame is a list of children,
// `forget` first removes the oldest contender of a lock from the list.
func (c *versionedConn) forget(frame []byte) []byte {
	whole := append(frameLength(len(frame)), frame...)
	h, body, err := wire.CutReply(frame)
	c.mu.Lock()
	op := c.lists[h.Xid]
	delete(c.lists, h.Xid)
	c.mu.Unlock()
	if err != nil || op == 0 || h.Err != 0 {
		return whole
	}
	var list wire.GetChildren2Response
	var reply wire.Record = &list
	plain := wire.Strings{}
	if op == wire.OpGetChildren {
		reply = &plain
	}
	if _, err := wire.Decode(body, reply); err != nil {
		return whole
	}
	list.Children, plain.Strings = withoutOldest(list.Children), withoutOldest(plain.Strings)
	return wire.AppendFrame(nil, &h, reply)
}

func frameLength(n int) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

func withoutOldest(names []string) []string {
	oldest := ""
	number := func(name string) string { return name[max(0, len(name)-10):] }
	for _, name := range names {
		if strings.Contains(name, "-lock-") && (oldest == "" || number(name) < number(oldest)) {
			oldest = name
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == oldest })
}
