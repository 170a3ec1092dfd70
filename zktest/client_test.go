package zktest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/zktest"
)

type silent struct{}

func (silent) Printf(string, ...any) {}

// connect opens a session with go-zookeeper, which tries the given server first. The function
// returns when the session is established.
func connect(t *testing.T, e *zktest.Ensemble, server int, timeout time.Duration) *zk.Conn {
	t.Helper()
	conn, events, err := zk.Connect(e.Servers(), timeout, zk.WithDialer(e.Dialer),
		zk.WithHostProvider(e.HostProvider(server)), zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for ev := range events {
		if ev.State == zk.StateHasSession {
			return conn
		}
	}
	t.Fatal("the session was not established")
	return nil
}

var open = zk.WorldACL(zk.PermAll)

// The function `both` runs a test twice. The first run is in memory and in a bubble, which ends a
// test that hangs. The second run is over TCP and on the real clock.
func both(t *testing.T, opts zktest.Options, f func(t *testing.T, e *zktest.Ensemble)) {
	t.Run("bubble", func(t *testing.T) {
		virtual.Test(t, func(t *testing.T) { f(t, zktest.Start(t, opts)) })
	})
	t.Run("tcp", func(t *testing.T) {
		opts := opts
		opts.TCP = true
		f(t, zktest.Start(t, opts))
	})
}

func TestGoZookeeperOperations(t *testing.T) {
	both(t, zktest.Options{TTLNodes: true}, func(t *testing.T, e *zktest.Ensemble) {
		c := connect(t, e, 1, 10*time.Second)
		must := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: got error %v, want nil", what, err)
			}
		}
		name, err := c.Create("/a", []byte("1"), 0, open)
		must("create /a", err)
		if name != "/a" {
			t.Errorf("created %q, want /a", name)
		}
		_, err = c.Create("/a", nil, 0, open)
		if err != zk.ErrNodeExists {
			t.Errorf("second create: got %v, want ErrNodeExists", err)
		}
		if _, err := c.Create("/x/y", nil, 0, open); err != zk.ErrNoNode {
			t.Errorf("create without parent: got %v, want ErrNoNode", err)
		}
		data, st, err := c.Get("/a")
		must("get /a", err)
		if string(data) != "1" || st.Version != 0 || st.Czxid == 0 || st.Czxid != st.Mzxid {
			t.Errorf("get: got %q, stat %+v; want 1, version 0 and the czxid as mzxid", data, st)
		}
		st, err = c.Set("/a", []byte("22"), 0)
		must("set /a", err)
		if st.Version != 1 || st.DataLength != 2 {
			t.Errorf("set: got stat %+v, want version 1 and 2 bytes", st)
		}
		if _, err = c.Set("/a", nil, 0); err != zk.ErrBadVersion {
			t.Errorf("set with an old version: got %v, want ErrBadVersion", err)
		}
		for i := range 3 {
			name, err := c.Create("/a/s-", nil, zk.FlagSequence|zk.FlagEphemeral, open)
			must("create /a/s-", err)
			if want := fmt.Sprintf("/a/s-%010d", i); name != want {
				t.Errorf("created %q, want %q", name, want)
			}
		}
		kids, st, err := c.Children("/a")
		must("children of /a", err)
		slices.Sort(kids)
		if len(kids) != 3 || st.NumChildren != 3 || st.Cversion != 3 {
			t.Errorf("children: got %v, stat %+v; want 3 children and cversion 3", kids, st)
		}
		if err := c.Delete("/a", -1); err != zk.ErrNotEmpty {
			t.Errorf("delete of a parent: got %v, want ErrNotEmpty", err)
		}
		must("delete a child of /a", c.Delete("/a/"+kids[0], -1))
		_, err = c.Create("/a/"+kids[1]+"/x", nil, 0, open)
		if err != zk.ErrNoChildrenForEphemerals {
			t.Errorf("child of an ephemeral znode: got %v, want ErrNoChildrenForEphemerals", err)
		}
		ok, st, err := c.Exists("/a/" + kids[1])
		must("exists", err)
		if !ok || st.EphemeralOwner != c.SessionID() {
			t.Errorf("exists: got %v, stat %+v; want true, owned by the session", ok, st)
		}
		_, err = c.Sync("/a")
		must("sync", err)
		_, err = c.CreateContainer("/c", nil, zk.FlagContainer, open)
		must("create container /c", err)
		_, err = c.CreateTTL("/t", nil, zk.FlagTTL, open, time.Minute)
		must("create /t with a TTL", err)
		res, err := c.Multi(&zk.CheckVersionRequest{Path: "/a", Version: 1},
			&zk.CreateRequest{Path: "/m", Acl: open}, &zk.SetDataRequest{Path: "/m", Data: []byte("x"), Version: 0},
			&zk.DeleteRequest{Path: "/m", Version: 1})
		must("multi", err)
		if len(res) != 4 || res[1].String != "/m" || res[2].Stat.Version != 1 {
			t.Errorf("multi: got %+v, want 4 results, the second /m and the third with version 1",
				res)
		}
		res, err = c.Multi(&zk.CreateRequest{Path: "/m", Acl: open}, &zk.DeleteRequest{Path: "/none", Version: 1},
			&zk.DeleteRequest{Path: "/a", Version: 1})
		if err != zk.ErrNoNode {
			t.Errorf("failed multi: got %+v, error %v; want ErrNoNode", res, err)
		}
		if ok, _, _ := c.Exists("/m"); ok {
			t.Error("/m exists: a part of a failed multi was applied, want none")
		}
	})
}

func TestWatchesFireOnce(t *testing.T) {
	both(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		a, b := connect(t, e, 0, 10*time.Second), connect(t, e, 1, 10*time.Second)
		_, _, created, err := a.ExistsW("/w")
		if err != nil {
			t.Fatalf("watch /w: got error %v, want nil", err)
		}
		_, _, kids, _ := a.ChildrenW("/")
		mustCreate(t, b, "/w", 0)
		if ev := <-created; ev.Type != zk.EventNodeCreated || ev.Path != "/w" {
			t.Errorf("got %+v, want NodeCreated of /w", ev)
		}
		if ev := <-kids; ev.Type != zk.EventNodeChildrenChanged || ev.Path != "/" {
			t.Errorf("got %+v, want NodeChildrenChanged of /", ev)
		}
		_, _, changed, _ := a.GetW("/w")
		b.Set("/w", []byte("x"), -1)
		if ev := <-changed; ev.Type != zk.EventNodeDataChanged {
			t.Errorf("got %+v, want NodeDataChanged", ev)
		}
		_, _, gone, _ := a.GetW("/w")
		b.Delete("/w", -1)
		if ev := <-gone; ev.Type != zk.EventNodeDeleted {
			t.Errorf("got %+v, want NodeDeleted", ev)
		}
	})
}

func TestExpireTakesTheEphemerals(t *testing.T) {
	both(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		a, b := connect(t, e, 1, 10*time.Second), connect(t, e, 0, 10*time.Second)
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		_, _, gone, err := b.ExistsW("/e")
		if err != nil {
			t.Fatalf("watch /e: got error %v, want nil", err)
		}
		if err := e.Expire(a.SessionID()); err != nil {
			t.Fatal(err)
		}
		select {
		case ev := <-gone:
			if ev.Type != zk.EventNodeDeleted {
				t.Errorf("the watch on /e got %+v, want NodeDeleted", ev)
			}
		case <-time.After(time.Minute):
			t.Error("the watch on /e got no event within a minute of Expire, want NodeDeleted")
		}
	})
}

// Regression: Dialer failed at once if the timeout was 0. For net.DialTimeout, 0 means that there
// is no timeout.
func TestDialerWithoutTimeout(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		e := zktest.Start(t, zktest.Options{TCP: tcp})
		nc, err := e.Dialer("tcp", e.Servers()[0], 0)
		if err != nil {
			t.Errorf("dial with timeout 0, over TCP: %t: got error %v, want none", tcp, err)
			continue
		}
		nc.Close()
		if nc, err := e.Dialer("tcp", e.Servers()[0], -1); err == nil {
			nc.Close()
			t.Errorf("dial with timeout -1ns, over TCP: %t: got no error, want a timeout", tcp)
		}
	}
}
