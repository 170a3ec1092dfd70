package bench

import (
	"context"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
	"github.com/zkcoord/zkcoord/zktest"
)

var growthFlag = flag.Bool("growth", false, "measure all sizes of TestGrowth and print the table")

// A growth says how the cost of an operation depends on a size n, such as the number of clients.
type growth struct {
	operation string
	unit      string // what n counts
	sizes     []int  // values of n; without the flag -growth, only the first is measured
	measure   func(*growthWorld, int)

	// The formulas for the cost of one operation.
	requests, writes, bytes linear
}

// A linear is a function constant + slope*n.
type linear struct{ constant, slope float64 }

func (l linear) at(n int) float64 { return l.constant + l.slope*float64(n) }

func (l linear) String() string {
	var terms []string
	if l.constant != 0 || l.slope == 0 {
		terms = append(terms, figure(l.constant))
	}
	if l.slope == 1 {
		terms = append(terms, "n")
	} else if l.slope != 0 {
		terms = append(terms, figure(l.slope)+" n")
	}
	return strings.Join(terms, " + ")
}

// The method `near` reports whether `got` differs by at most 3 % from the formula's value for n.
func (l linear) near(got float64, n int) bool {
	return math.Abs(got-l.at(n)) <= 0.03*l.at(n)
}

var growths = []growth{
	{
		operation: "acquire and release, 10 clients at each lock", unit: "clients", sizes: []int{20, 100, 1_000, 10_000},
		measure: manyLocks, requests: linear{3.97, 0}, writes: linear{2, 0}, bytes: linear{1_287, 0},
	},
	{
		operation: "join the queue of one lock", unit: "contenders", sizes: []int{10, 100, 1_000, 5_000},
		measure: joinLock, requests: linear{3, 0}, writes: linear{1, 0}, bytes: linear{450, 52},
	},
	{
		operation: "hand one lock over", unit: "contenders", sizes: []int{10, 100, 1_000, 5_000},
		measure: handLockOver, requests: linear{1, 0}, writes: linear{1, 0}, bytes: linear{368, 0},
	},
	{
		operation: "put 1,000 items", unit: "items in the queue", sizes: []int{10_000, 100_000, 1_000_000},
		measure: putItems, requests: linear{1, 0}, writes: linear{1, 0}, bytes: linear{103_499, 0},
	},
	{
		operation: "take 1,000 items", unit: "items in the queue", sizes: []int{20_000, 100_000, 1_000_000},
		measure: takeItems, requests: linear{17.26, 0}, writes: linear{1.06, 0}, bytes: linear{105_024, 0},
	},
	{
		operation: "take one item", unit: "items in the queue", sizes: []int{10_000, 100_000, 1_000_000},
		measure: takeSingleItems, requests: linear{1.02, 0}, writes: linear{1, 0}, bytes: linear{3_776, 0},
	},
	{
		operation: "join a group that one client follows", unit: "members", sizes: []int{50, 500, 5_000},
		measure: joinGroup, requests: linear{3, 0}, writes: linear{1, 0}, bytes: linear{713, 59},
	},
	{
		operation: "leave a group that one client follows", unit: "members", sizes: []int{50, 500, 5_000},
		measure: leaveGroup, requests: linear{2, 0}, writes: linear{1, 0}, bytes: linear{196, 59},
	},
	{
		operation: "read the members of a group", unit: "members", sizes: []int{50, 500, 5_000},
		measure: readGroup, requests: linear{1, 1}, writes: linear{0, 0}, bytes: linear{115, 330},
	},
	{
		operation: "read a tree and watch it", unit: "znodes", sizes: []int{1_000, 10_000, 100_000},
		measure: readTree, requests: linear{2, 2}, writes: linear{0, 0}, bytes: linear{0, 366},
	},
	{
		operation: "learn of a change in a tree", unit: "znodes", sizes: []int{1_000, 10_000, 100_000},
		measure: changeTree, requests: linear{2, 0}, writes: linear{1, 0}, bytes: linear{507, 0},
	},
	{
		operation: "delete a tree", unit: "znodes", sizes: []int{1_000, 10_000, 100_000},
		measure: deleteTree, requests: linear{3, 0.006}, writes: linear{2, 0.005}, bytes: linear{0, 56.5},
	},
}

// TestGrowth counts the requests, writes and bytes of operations, on simulated servers and in
// virtual time. It compares the counts with formulas and with docs/performance.md. If a count
// differs, correct the mistake that caused it, or adapt the formula and the document. Measuring all
// sizes takes several minutes:
//
//	go test ./internal/bench -run Growth -growth -v -timeout 1h
func TestGrowth(t *testing.T) {
	doc, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range growths {
		t.Run(strings.ReplaceAll(g.operation, ",", ""), func(t *testing.T) {
			sizes := g.sizes
			if !*growthFlag {
				sizes = sizes[:1]
			}
			for _, n := range sizes {
				recipetest.RunOn(t, zktest.Options{Seed: 1, MaxClientConns: -1}, func(t *testing.T, w *recipetest.World) {
					world := &growthWorld{World: w, t: t}
					g.measure(world, n)
					row := g.row(t, n, world)
					t.Log(row)
					if !strings.Contains(string(doc), row+"\n") {
						t.Errorf("docs/performance.md does not have the row\n%s", row)
					}
				})
			}
		})
	}
}

// The method `row` compares the counts with the formulas, and returns the row of the table in
// docs/performance.md.
func (g growth) row(t *testing.T, n int, w *growthWorld) string {
	cells := []string{"", g.operation, thousands(float64(n)) + " " + g.unit}
	var formulas []string
	for _, c := range []struct {
		name  string
		count int
		want  linear
	}{{"requests", w.requests, g.requests}, {"writes", w.writes, g.writes}, {"bytes", w.bytes, g.bytes}} {
		got := float64(c.count) / float64(w.operations)
		if !c.want.near(got, n) {
			t.Errorf("%s with %d %s: got %s %s, want %s, which is %s", g.operation, n, g.unit, figure(got), c.name, figure(c.want.at(n)), c.want)
		}
		cells = append(cells, figure(got))
		formulas = append(formulas, c.want.String())
	}
	cells = append(cells, strings.Join(formulas, "; "), "")
	return strings.TrimSpace(strings.Join(cells, " | "))
}

// The function `figure` formats x. From 100 on, the text has no decimals. Below 0.1, it has two
// significant digits. Otherwise it has at most two decimals.
func figure(x float64) string {
	switch {
	case x >= 100:
		return thousands(math.Round(x))
	case x < 0.1:
		return fmt.Sprintf("%.2g", x)
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".")
}

func thousands(x float64) string {
	digits := fmt.Sprintf("%.0f", x)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// A growthWorld counts the requests, the writes and the bytes of its clients. It leaves out the
// requests for which recipetest.IsRenewal returns true, such as heartbeats and read barriers.
type growthWorld struct {
	*recipetest.World
	t *testing.T

	mu                      sync.Mutex
	requests, writes, bytes int
	operations              int
}

// The method `count` sets the counts to zero and begins to count.
func (w *growthWorld) count() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests, w.writes, w.bytes, w.operations = 0, 0, 0, 0
}

// The method `counted` ends the count. The parameter is the number of operations since the call of
// `count`.
func (w *growthWorld) counted(operations int) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.operations = operations
}

// The method `add` counts one frame of a client or of a server, unless the count has ended.
func (w *growthWorld) add(size int, request, write bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.operations > 0 {
		return
	}
	w.bytes += size
	if request {
		w.requests++
	}
	if write {
		w.writes++
	}
}

// The method `sessions` opens n sessions. MaxRequest is small, because each session allocates a
// buffer of that size.
func (w *growthWorld) sessions(n int) []*session.Session {
	all := make([]*session.Session, n)
	for i := range all {
		s, err := session.Open(context.Background(), session.Options{
			Servers: w.Servers()[i%3 : i%3+1], Dial: w.dial, Timeout: 30 * time.Second, MaxRequest: 1 << 17,
		})
		recipetest.Check(w.t, err)
		w.t.Cleanup(func() { s.Close() })
		all[i] = s
	}
	return all
}

func (w *growthWorld) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := w.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &growthConn{Conn: conn, world: w}, nil
}

// A growthConn counts the frames of one connection.
type growthConn struct {
	net.Conn
	world             *growthWorld
	out, in           wire.Frames
	greeted, answered bool
	renewals          sync.Map // xids of renewals; neither they nor their replies are counted
}

func (c *growthConn) Write(p []byte) (int, error) {
	err := c.out.Feed(p, func(f wire.Frame) error {
		if !c.greeted { // the first frame of a connection has no header
			c.greeted = true
			return nil
		}
		h, body, err := wire.CutRequest(f.Head)
		switch {
		case err != nil:
			return err
		case recipetest.IsRenewal(h.Op, body):
			c.renewals.Store(h.Xid, true)
			return nil
		}
		c.world.add(4+f.Size, true, h.Op.IsCreate() || slices.Contains([]wire.Op{wire.OpDelete, wire.OpSetData, wire.OpMulti}, h.Op))
		return nil
	})
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *growthConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	bad := c.in.Feed(p[:n], func(f wire.Frame) error {
		if !c.answered {
			c.answered = true
			return nil
		}
		h, _, err := wire.CutReply(f.Head)
		if _, renewal := c.renewals.LoadAndDelete(h.Xid); err == nil && !renewal && h.Xid != wire.XidPing {
			c.world.add(4+f.Size, false, false)
		}
		return err
	})
	if bad != nil {
		return 0, bad
	}
	return n, err
}

// The method `all` calls f for each i below n, concurrently.
func (w *growthWorld) all(n int, f func(i int) error) {
	w.t.Helper()
	var work errgroup.Group
	for i := range n {
		work.Go(func() error { return f(i) })
	}
	recipetest.Check(w.t, work.Wait())
}

// The method `create` creates persistent znodes of 100 bytes each, 1,000 znodes in each
// transaction.
func (w *growthWorld) create(paths ...string) {
	for part := range slices.Chunk(paths, 1_000) {
		ops := make([]session.Op, len(part))
		for i, path := range part {
			ops[i] = session.CreateOp{Path: path, Data: make([]byte, 100)}
		}
		recipetest.Must(w.Admin().Multi(w.t.Context(), ops...))
	}
}

// manyLocks lets ten clients contend for each lock. Each client acquires and releases its lock
// three times.
func manyLocks(w *growthWorld, clients int) {
	const each, times = 10, 3
	paths := []string{"/locks"}
	for i := range clients / each {
		paths = append(paths, fmt.Sprintf("/locks/%04d", i))
	}
	w.create(paths...)
	sessions := w.sessions(clients)
	w.count()
	w.all(clients, func(i int) error {
		time.Sleep(time.Duration(i%each) * time.Microsecond) // sets the order in which they join
		m := lock.NewMutex(sessions[i], fmt.Sprintf("/locks/%04d", i/each), lock.Options{})
		for range times {
			g, err := m.Lock(w.t.Context())
			if err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
			if err := g.Unlock(w.t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	w.counted(clients * times)
}

// A crowd is the contenders of one lock. The first contender holds the lock.
type crowd struct {
	world  *growthWorld
	grants chan *lock.Grant
	over   atomic.Bool // set just before the sessions close; after that, a failed Lock is no error
}

// The function `gather` makes n contenders, each with its own session.
func gather(w *growthWorld, n int) *crowd {
	c := &crowd{world: w, grants: make(chan *lock.Grant, n+1)}
	w.create("/lock")
	for _, s := range w.sessions(n) {
		c.join(s)
	}
	return c
}

func (c *crowd) join(s *session.Session) {
	go func() {
		g, err := lock.NewMutex(s, "/lock", lock.Options{}).Lock(c.world.t.Context())
		if err != nil && !c.over.Load() {
			c.world.t.Error(err)
		}
		c.grants <- g
	}()
	synctest.Wait()
}

// handOver lets n contenders release the lock, one after another.
func (c *crowd) handOver(n int) {
	for range n {
		recipetest.Check(c.world.t, (<-c.grants).Unlock(c.world.t.Context()))
		synctest.Wait()
	}
}

func joinLock(w *growthWorld, contenders int) {
	c := gather(w, contenders-1)
	last := w.sessions(1)[0]
	w.count()
	c.join(last)
	w.counted(1)
	c.over.Store(true)
}

func handLockOver(w *growthWorld, contenders int) {
	c := gather(w, contenders)
	// Do not count the first release. It costs less, because its contender joined an empty queue
	// and therefore leaves no release mark.
	c.handOver(1)
	w.count()
	const times = 5
	c.handOver(times)
	w.counted(times)
	c.over.Store(true)
}

const together = 1_000 // items in one call of Put

func (w *growthWorld) queue() *queue.Queue[[]byte] {
	q := queue.New(w.sessions(1)[0], "/queue", queue.Options[[]byte]{Codec: queue.Bytes()})
	// Before the count begins, create the znodes that a queue creates only once.
	recipetest.Check(w.t, q.Put(w.t.Context(), []byte{0}))
	recipetest.Must(q.Take(w.t.Context()))
	return q
}

func (w *growthWorld) fill(q *queue.Queue[[]byte], items int) {
	batch := make([][]byte, together)
	for i := range batch {
		batch[i] = make([]byte, 100)
	}
	for range items / together {
		recipetest.Check(w.t, q.Put(w.t.Context(), batch...))
	}
}

func putItems(w *growthWorld, items int) {
	q := w.queue()
	w.count()
	w.fill(q, items)
	w.counted(items / together)
}

func takeItems(w *growthWorld, items int) {
	q := w.queue()
	w.fill(q, items)
	w.count()
	for range items / together {
		if got := recipetest.Must(q.TakeBatch(w.t.Context(), together)); len(got) != together {
			w.t.Fatalf("got %d items, want %d", len(got), together)
		}
	}
	w.counted(items / together)
}

func takeSingleItems(w *growthWorld, items int) {
	q := w.queue()
	w.fill(q, items)
	w.count()
	const single = 500
	for range single {
		recipetest.Must(q.Take(w.t.Context()))
	}
	w.counted(single)
}

// The method `members` lets n members join a group. It returns their memberships, and a handle of
// the group in another session.
func (w *growthWorld) members(n int) ([]*group.Membership, *group.Group) {
	sessions := w.sessions(2)
	g := group.New(sessions[0], "/group")
	all := make([]*group.Membership, n)
	for i := range all {
		all[i] = recipetest.Must(g.Join(w.t.Context(), fmt.Sprintf("member-%04d", i), make([]byte, 100)))
	}
	return all, group.New(sessions[1], "/group")
}

// The method `followed` counts the cost of f while another client follows the group.
func (w *growthWorld) followed(g *group.Group, f func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range g.Changes(ctx) {
		}
	}()
	w.count()
	f()
	w.counted(1)
	cancel()
	<-done
}

func joinGroup(w *growthWorld, members int) {
	_, g := w.members(members - 1)
	s := w.sessions(1)[0]
	w.followed(g, func() {
		recipetest.Must(group.New(s, "/group").Join(w.t.Context(), "member-last", make([]byte, 100)))
	})
}

func leaveGroup(w *growthWorld, members int) {
	all, g := w.members(members)
	w.followed(g, func() { recipetest.Check(w.t, all[0].Leave(w.t.Context())) })
}

func readGroup(w *growthWorld, members int) {
	_, g := w.members(members)
	w.count()
	recipetest.Must(g.Members(w.t.Context()))
	w.counted(1)
}

// The method `plant` creates n znodes below /tree: for each 1,000 of them, one directory with 999
// children. It returns the path of the last child.
func (w *growthWorld) plant(n int) (leaf string) {
	paths := []string{"/tree"}
	for i := range n / 1_000 {
		dir := fmt.Sprintf("/tree/%03d", i)
		paths = append(paths, dir)
		for j := range 999 {
			paths = append(paths, fmt.Sprintf("%s/node-%03d", dir, j))
		}
	}
	w.create(paths...)
	return paths[len(paths)-1]
}

// The method `copied` starts a client that keeps a copy of the tree. If `change` is nil, the method
// counts the cost of the client's first read of the whole tree. Otherwise the method calls `change`
// after that read, and counts the cost until the client has observed the change.
func (w *growthWorld) copied(change func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	s := w.sessions(1)[0]
	w.count()
	first := true
	for _, err := range watch.NewTree("/tree", watch.TreeOptions{}).Changes(ctx, s) {
		recipetest.Check(w.t, err)
		if change == nil || !first {
			break
		}
		first = false
		w.count()
		change()
	}
	w.counted(1)
}

func readTree(w *growthWorld, nodes int) {
	w.plant(nodes)
	w.copied(nil)
}

func changeTree(w *growthWorld, nodes int) {
	leaf := w.plant(nodes)
	other := w.sessions(1)[0]
	w.copied(func() { recipetest.Must(other.Set(w.t.Context(), leaf, make([]byte, 100), session.AnyVersion)) })
}

func deleteTree(w *growthWorld, nodes int) {
	w.plant(nodes)
	s := w.sessions(1)[0]
	w.count()
	recipetest.Check(w.t, s.DeleteAll(w.t.Context(), "/tree"))
	w.counted(1)
}
