package recipetest

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Timeout is the session timeout of the clients.
const Timeout = 6 * time.Second

// A World is an ensemble of servers, with a client of its own: see Admin.
type World struct {
	*zktest.Ensemble
	t     *testing.T
	admin *Client

	mu       sync.Mutex
	injected []injected
}

// The type `injected` is a fault that a test has injected.
type injected struct {
	what  string
	fired func() int
}

// Run runs f in a bubble with a new world. Its three servers behave like ZooKeeper 3.8, in which an
// event has no zxid. So a client that has received the event of a change does not know the change's
// zxid, and can move to a server that has not applied this change.
func Run(t *testing.T, f func(t *testing.T, w *World)) {
	t.Helper()
	RunOn(t, zktest.Options{Version: zktest.V38, MaxClientConns: -1}, f)
}

// RunOn is like Run, with options for the ensemble.
func RunOn(t *testing.T, opts zktest.Options, f func(t *testing.T, w *World)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		w := &World{Ensemble: zktest.Start(t, opts), t: t}
		w.admin = w.Client()
		f(t, w)
		w.checkInjected()
	})
}

// Inject activates a rule. The test fails if the rule selects no request, because without the fault
// the test proves nothing. If a rule need not select a request, use Ensemble.Inject.
func (w *World) Inject(r zktest.Rule) *zktest.Injection {
	in := w.Ensemble.Inject(r)
	w.mustFire(fmt.Sprintf("rule %+v", r), in.Fired)
	return in
}

func (w *World) mustFire(what string, fired func() int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.injected = append(w.injected, injected{what, fired})
}

// checkInjected fails the test if a fault has selected no request so far.
func (w *World) checkInjected() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.injected {
		if i.fired() == 0 {
			w.t.Errorf("the %s selected no request, want at least one", i.what)
		}
	}
}

// Admin returns the client that a test uses to inspect and change znodes. It is none of the clients
// under test.
func (w *World) Admin() *Client { return w.admin }

// Client opens a session. The session is closed at the end of the test.
func (w *World) Client(options ...func(*session.Options)) *Client {
	w.t.Helper()
	c := &Client{world: w}
	opts := session.Options{Servers: w.Servers(), Timeout: Timeout, Dial: c.dial(w.DialContext)}
	for _, o := range options {
		o(&opts)
	}
	s, err := session.Open(context.Background(), opts)
	if err != nil {
		w.t.Fatal(err)
	}
	c.Session = s
	w.t.Cleanup(func() { s.Close() })
	synctest.Wait()
	c.Requests()
	return c
}

// On returns an option that makes a session use only one server.
func (w *World) On(server int) func(*session.Options) {
	return func(o *session.Options) { o.Servers = w.Servers()[server : server+1] }
}

// OnFollower returns a client that is connected to the follower with the index `at` and can move
// only to the follower with the index `other`.
func (w *World) OnFollower() (c *Client, at, other int) {
	at, other = (w.Leader()+1)%3, (w.Leader()+2)%3
	c = w.Client(func(o *session.Options) { o.Servers = []string{w.Servers()[at], w.Servers()[other]} })
	if c.Server() != w.Servers()[at] {
		at, other = other, at
	}
	return c, at, other
}

// Behind returns a client of the leader and a client of a follower. From now on, the leader applies
// committed transactions later than its followers. The leader answers a sync before it has applied
// these transactions.
func (w *World) Behind() (behind, other *Client) {
	w.t.Helper()
	leader := w.Leader()
	behind, other = w.Client(w.On(leader)), w.Client(w.On((leader+1)%len(w.Servers())))
	w.Lag(leader, 2*time.Second)
	return behind, other
}

// Nodes returns all znodes below path, sorted. If the leader lags and serves the client of Admin,
// the list may be outdated.
func (w *World) Nodes(path string) []string {
	w.t.Helper()
	if err := w.admin.Sync(w.t.Context(), "/"); err != nil {
		w.t.Fatal(err)
	}
	listing, err := w.admin.Children(w.t.Context(), path)
	if err != nil {
		return nil
	}
	var all []string
	for _, name := range listing.Names {
		child := znode.Join(path, name)
		all = append(append(all, child), w.Nodes(child)...)
	}
	slices.Sort(all)
	return all
}

// Ephemerals returns the ephemeral znodes below path.
func (w *World) Ephemerals(path string) []string {
	w.t.Helper()
	return slices.DeleteFunc(w.Nodes(path), func(node string) bool {
		stat, err := w.admin.Exists(w.t.Context(), node)
		return err != nil || stat == nil || stat.EphemeralOwner == 0
	})
}

var watchCount = regexp.MustCompile(`zk_watch_count\t(\d+)`)

// Watches returns the number of watches at all servers.
func (w *World) Watches() int {
	w.t.Helper()
	total := 0
	for _, server := range w.Servers() {
		conn, err := w.DialContext(w.t.Context(), "tcp", server)
		if err != nil {
			continue // the server is down
		}
		io.WriteString(conn, "mntr") // not "wchs", which does not count watches on children
		answer, _ := io.ReadAll(conn)
		conn.Close()
		m := watchCount.FindSubmatch(answer)
		if m == nil {
			w.t.Fatalf("mntr returned %q, want zk_watch_count in it", answer)
		}
		var n int
		fmt.Sscan(string(m[1]), &n)
		total += n
	}
	return total
}

// NothingLeft waits long enough for sessions to delete what they no longer need. It fails the test
// if an ephemeral znode or a watch remains.
func (w *World) NothingLeft() {
	w.t.Helper()
	time.Sleep(Timeout) // the session removes watches with the next frame that it sends
	synctest.Wait()
	if left := w.Ephemerals("/"); len(left) > 0 {
		w.t.Errorf("left behind: %s, want no ephemeral znodes", strings.Join(left, " "))
	}
	if n := w.Watches(); n > 0 {
		w.t.Errorf("got %d watches, want none", n)
	}
}

// Within calls f with a context that ends after d of virtual time. It fails the test if f returns
// an error.
func (w *World) Within(d time.Duration, what string, f func(ctx context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := f(ctx); err != nil {
		w.t.Errorf("%s: got error %v, want nil", what, err)
	}
}

// Check fails the test if err is not nil.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Must returns value. It panics if err is not nil.
func Must[V any](value V, err error) V {
	if err != nil {
		panic(err)
	}
	return value
}
