package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `fired` waits for the event of w.
func fired(t *testing.T, w *Watch) zk.Event {
	t.Helper()
	select {
	case ev := <-w.C:
		if _, more := <-w.C; more {
			t.Error("got a second event of one watch, want one")
		}
		return ev
	case <-time.After(time.Minute):
		t.Fatal("got no event within a minute")
		return zk.Event{}
	}
}

// Wait returns when the event arrives, when the context ends, or when the session ends.
//
// Covers S5, S6.
func TestWaitEndsWithEventContextOrSession(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		watch := func() *Watch {
			_, w, err := s.ExistsWatch(t.Context(), "/a")
			must(t, err)
			return w
		}
		w := watch()
		_, err := s.Create(t.Context(), "/a", nil, Persistent)
		must(t, err)
		if ev, err := w.Wait(t.Context()); err != nil || ev.Type != EventNodeCreated || ev.Path != "/a" {
			t.Errorf("Wait: got %+v, %v; want the creation of /a", ev, err)
		}
		if ev, err := w.Wait(t.Context()); err == nil {
			t.Errorf("second Wait: got %+v and no error, want an error", ev)
		}
		enough := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, enough)
		defer cancel()
		if _, err := watch().Wait(ctx); err != enough {
			t.Errorf("Wait with an ended context: got %v, want %v", err, enough)
		}
		if n := len(s.watches.watches); n != 0 {
			t.Errorf("got %d watches after the context ended, want none", n)
		}
		w = watch()
		must(t, s.Close())
		if ev, err := w.Wait(t.Context()); !errors.Is(err, ErrClosed) || ev.Type != EventNotWatching {
			t.Errorf("Wait after the session ended: got %+v, %v; want %v with %v", ev, err, EventNotWatching, ErrClosed)
		}
	})
}

// The function `silent` fails the test if w has fired.
func silent(t *testing.T, w *Watch) {
	t.Helper()
	synctest.Wait()
	select {
	case ev := <-w.C:
		t.Errorf("the watch fired: %+v, want no event", ev)
	default:
	}
}

func TestWatchesFireOnWhatTheyWatch(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		ctx := t.Context()
		expect := func(w *Watch, err error, f func() error, want zk.EventType) {
			t.Helper()
			must(t, err)
			silent(t, w)
			must(t, f())
			if ev := fired(t, w); ev.Type != want || ev.Path != "/w" {
				t.Errorf("got the event %+v, want %v on /w", ev, want)
			}
		}
		create := func(path string) func() error {
			return func() error { _, err := s.Create(ctx, path, nil, Persistent); return err }
		}
		set := func() error { _, err := s.Set(ctx, "/w", nil, AnyVersion); return err }
		remove := func() error { return s.Delete(ctx, "/w", AnyVersion) }

		_, w, err := s.ExistsWatch(ctx, "/w")
		expect(w, err, create("/w"), zk.EventNodeCreated)
		_, w, err = s.ExistsWatch(ctx, "/w")
		expect(w, err, set, zk.EventNodeDataChanged)
		_, w, err = s.GetWatch(ctx, "/w")
		expect(w, err, set, zk.EventNodeDataChanged)
		_, w, err = s.ChildrenWatch(ctx, "/w")
		expect(w, err, create("/w/c"), zk.EventNodeChildrenChanged)
		_, w, err = s.ChildrenWatch(ctx, "/w")
		expect(w, err, func() error { return s.Delete(ctx, "/w/c", AnyVersion) }, zk.EventNodeChildrenChanged)
		_, data, err := s.GetWatch(ctx, "/w")
		must(t, err)
		_, w, err = s.ChildrenWatch(ctx, "/w")
		expect(w, err, remove, zk.EventNodeDeleted)
		if ev := fired(t, data); ev.Type != zk.EventNodeDeleted {
			t.Errorf("data watch: got %+v, want a deletion", ev)
		}
		for name, err := range map[string]error{
			"getW":      func() error { _, _, err := s.GetWatch(ctx, "/w"); return err }(),
			"childrenW": func() error { _, _, err := s.ChildrenWatch(ctx, "/w"); return err }(),
		} {
			if !errors.Is(err, zk.ErrNoNode) {
				t.Errorf("%s of a missing znode: got %v, want %v", name, err, zk.ErrNoNode)
			}
		}
		if len(s.watches.watches) != 0 {
			t.Errorf("got %d watches left, want none", len(s.watches.watches))
		}
	})
}

// A session keeps nothing for a stopped watch. go-zookeeper would keep a channel for each call
// until the znode changes.
//
// Covers S6.
func TestStoppedWatchesLeaveNothing(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		for i := range 10_000 {
			path := fmt.Sprintf("/w%d", i%100)
			_, w, err := s.ExistsWatch(t.Context(), path)
			must(t, err)
			w.Stop()
			w.Stop()
		}
		for i := range 1000 { // also with a context that ends meanwhile
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			if _, w, err := s.ExistsWatch(ctx, fmt.Sprintf("/c%d", i)); err == nil {
				w.Stop()
			}
		}
		time.Sleep(s.Timeout()) // removals are sent with the next frame, at the latest with a ping
		if n := mntr(t, e, "watch_count"); n != 0 || len(s.watches.watches) != 0 || len(s.watches.removals) != 0 || len(s.tap.inflight) != 0 {
			t.Errorf("got %d watches at the servers, %d in the client, %d removals queued and %d requests in progress, want none", n, len(s.watches.watches), len(s.watches.removals), len(s.tap.inflight))
		}
	})
}

// All watches of a session on one path share one watch at the server. The server keeps the shared
// watch until the session has stopped the last of its watches on the path.
//
// Covers S6.
func TestWatchesOnOnePathShareTheServers(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		ws := make([]*Watch, 100)
		for i := range ws {
			_, w, err := s.ExistsWatch(t.Context(), "/w")
			must(t, err)
			ws[i] = w
		}
		if n := mntr(t, e, "watch_count"); n != 1 {
			t.Errorf("got %d watches at the server, want 1", n)
		}
		for _, w := range ws[:99] {
			w.Stop()
		}
		must(t, s.Sync(t.Context(), "/"))
		if n := mntr(t, e, "watch_count"); n != 1 {
			t.Errorf("got %d watches at the server after all but one were stopped, want 1", n)
		}
		_, err := s.Create(t.Context(), "/w", nil, Persistent)
		must(t, err)
		if ev := fired(t, ws[99]); ev.Type != zk.EventNodeCreated {
			t.Errorf("got the event %+v, want a creation", ev)
		}
		for _, w := range ws[:99] {
			silent(t, w)
		}
	})
}

// The session requests the removal of a watch again if the server was too busy. Regression: the
// watch stayed at the server until its znode changed.
//
// Covers S6.
func TestRefusedRemovalIsRepeated(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		busy := e.Inject(zktest.Rule{Op: "removeWatches", Count: 4, Fate: zktest.ThrottleRequest})
		for _, path := range []string{"/a", "/b"} {
			_, w, err := s.ExistsWatch(t.Context(), path)
			must(t, err)
			w.Stop()
		}
		time.Sleep(time.Minute)
		if n := mntr(t, e, "watch_count"); n != 0 || busy.Fired() != 4 {
			t.Errorf("got %d watches at the servers after %d refusals, want none after 4", n, busy.Fired())
		}
	})
}

// In this test one watch is stopped while another one is set on the same path. The removal of the
// first watch must not remove the second.
//
// Covers S6.
func TestRemovalDoesNotTakeTheNextWatch(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		for i := range 500 {
			path := fmt.Sprintf("/w%d", i)
			_, old, err := s.ExistsWatch(t.Context(), path)
			must(t, err)
			next := make(chan *Watch)
			go func() {
				_, w, err := s.ExistsWatch(t.Context(), path)
				must(t, err)
				next <- w
			}()
			go old.Stop()
			w := <-next
			_, err = s.Create(t.Context(), path, nil, Persistent)
			must(t, err)
			if ev := fired(t, w); ev.Type != zk.EventNodeCreated {
				t.Fatalf("got the event %+v, want a creation", ev)
			}
		}
	})
}

// A watch survives a reconnect, and also fires for a change that was made while there was no
// connection. Other client libraries lost watches on a reconnect (kazoo#151, #218), or did not
// report changes that were made meanwhile (CURATOR-391).
//
// Covers S6.
func TestWatchesSurviveReconnectsWithoutAGap(t *testing.T) {
	for _, moved := range []bool{false, true} {
		inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
			servers := []int{0}
			if moved {
				servers = []int{0, 1, 2}
			}
			s, other := open(t, on(e, servers...)), open(t, on(e, 1, 2))
			defer s.Close()
			defer other.Close()
			ctx := t.Context()
			for _, path := range []string{"/changed", "/deleted", "/parent", "/same", "/recreated"} {
				_, err := other.Create(ctx, path, nil, Persistent)
				must(t, err)
			}
			must(t, s.Sync(ctx, "/"))
			exists := func(path string) *Watch {
				_, w, err := s.ExistsWatch(ctx, path)
				must(t, err)
				return w
			}
			_, parent, err := s.ChildrenWatch(ctx, "/parent")
			must(t, err)
			_, same, err := s.GetWatch(ctx, "/same")
			must(t, err)
			changed, deleted, created, missing, recreated := exists("/changed"), exists("/deleted"), exists("/created"), exists("/missing"), exists("/recreated")
			stopped := exists("/stopped")

			i := slices.Index(e.Servers(), s.Server())
			e.Kill(i)
			defer e.Start(i)
			if !moved {
				time.AfterFunc(time.Second, func() { e.Start(i) })
			}
			synctest.Wait()
			stopped.Stop()
			for {
				_, err := other.Set(ctx, "/changed", nil, AnyVersion)
				if err == nil {
					break
				}
				if other.Err() != nil || !Transient(err) { // a repetition would fail too, without end
					t.Fatalf("moved %v: Set failed with %v, and the session's error is %v; want a transient error until Set succeeds", moved, err, other.Err())
				}
			}
			must(t, other.Delete(ctx, "/deleted", AnyVersion))
			must(t, other.Delete(ctx, "/recreated", AnyVersion))
			for _, path := range []string{"/created", "/parent/c", "/recreated"} {
				_, err := other.Create(ctx, path, nil, Persistent)
				must(t, err)
			}
			for w, want := range map[*Watch]zk.EventType{
				changed: zk.EventNodeDataChanged, deleted: zk.EventNodeDeleted, created: zk.EventNodeCreated,
				parent: zk.EventNodeChildrenChanged, recreated: zk.EventNodeDataChanged,
			} {
				if ev := fired(t, w); ev.Type != want && !(w == recreated && ev.Type == zk.EventNodeDeleted) {
					t.Errorf("moved %v: got the event %+v, want %v", moved, ev, want)
				}
			}
			must(t, s.Sync(ctx, "/"))
			silent(t, same)
			silent(t, missing)
			_, err = other.Set(ctx, "/same", nil, AnyVersion)
			must(t, err)
			_, err = other.Create(ctx, "/missing", nil, Persistent)
			must(t, err)
			if a, b := fired(t, same), fired(t, missing); a.Type != zk.EventNodeDataChanged || b.Type != zk.EventNodeCreated {
				t.Errorf("moved %v: got the events %+v and %+v, want a change of data and a creation",
					moved, a, b)
			}
			synctest.Wait() // an event is delivered before its watch is forgotten
			if len(s.watches.watches) != 0 {
				t.Errorf("got %d watches left, want none", len(s.watches.watches))
			}
		})
	}
}

// When a session is lost, each of its watches gets an event with the cause and with the path that
// the caller used.
//
// Covers S6.
func TestWatchesEndWithTheSession(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.Chroot = "/app"
		must(t, func() error {
			s := open(t, on(e))
			defer s.Close()
			makeParents(t, s, "/app/x")
			return nil
		}())
		s := open(t, opts)
		defer s.Close()
		_, a, err := s.ExistsWatch(t.Context(), "/a")
		must(t, err)
		_, b, err := s.ChildrenWatch(t.Context(), "/")
		must(t, err)
		lose(t, e, s)
		for w, path := range map[*Watch]string{a: "/a", b: "/", s.watches.watch("/late", false): "/late"} {
			if ev := fired(t, w); ev.Type != zk.EventNotWatching || !errors.Is(ev.Err, ErrLost) || ev.Path != path {
				t.Errorf("got the event %+v, want %v of %s with %v",
					ev, zk.EventNotWatching, path, ErrLost)
			}
			w.Stop()
		}
	})
}

// On a new connection, the session sets all of its watches again. If there are many, it needs
// several requests, because the size of a request is limited.
//
// Covers S6.
func TestManyWatchesAreSetAgainInSeveralRequests(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		const n = 3000
		ws := make([]*Watch, n)
		path := func(i int) string { return fmt.Sprintf("/w%0200d", i) }
		for i := range ws {
			_, w, err := s.ExistsWatch(t.Context(), path(i))
			must(t, err)
			ws[i] = w
		}
		sets := e.Inject(zktest.Rule{Op: "setWatches", Count: -1, Fate: zktest.DelayRequest})
		e.ElectLeader(follower(e))
		time.Sleep(10 * time.Second)
		must(t, s.Sync(t.Context(), "/"))
		if got := mntr(t, e, "watch_count"); got != n || sets.Fired() < 4 {
			t.Errorf("got %d watches after %d requests to set them, want %d after at least 4", got, sets.Fired(), n)
		}
		for i := 0; i < n; i += 500 {
			_, err := s.Create(t.Context(), path(i), nil, Persistent)
			must(t, err)
			fired(t, ws[i])
		}
	})
}

// A read after an event shows the change that the event reports. In this test, the server that sent
// an event fails, and the next server has not applied the change yet. In ZooKeeper 3.9 the event
// has a zxid, so the next server refuses the session until it has applied that zxid. In 3.8 the
// event has no zxid, so the session sends a quorum write before the read.
//
// Covers S6.
func TestNoReadIsOlderThanAnEvent(t *testing.T) {
	for version, writes := range map[zktest.Version]int64{zktest.V38: 1, zktest.V39: 0} {
		inBubble(t, zktest.Options{Version: version}, func(t *testing.T, e *zktest.Ensemble) {
			s, network, fresh, _ := afterAnEvent(t, e)
			defer s.Close()
			e.Kill(fresh)
			v, err := s.Get(t.Context(), "/a")
			must(t, err)
			if string(v.Data) != "new" {
				t.Errorf("%s: a read after the event returned %q, want \"new\"", version, v.Data)
			}
			if got := network.catchUps.Load(); got != writes {
				t.Errorf("%s: got %d quorum writes after the reconnect, want %d", version, got, writes)
			}
		})
	}
}

// afterAnEvent returns a session that has received the event of a change of /a from the server
// `fresh`. The session's other server, `behind`, has not applied the change yet.
func afterAnEvent(t *testing.T, e *zktest.Ensemble) (s *Session, network *tapped, fresh, behind int) {
	t.Helper()
	leader := e.Leader()
	fresh, behind = (leader+1)%3, (leader+2)%3
	network = &tapped{dial: e.DialContext}
	opts := on(e, fresh, behind)
	opts.Dial = network.DialContext
	s = open(t, opts)
	if s.Server() != e.Servers()[fresh] {
		fresh, behind = behind, fresh
	}
	other := open(t, on(e, leader))
	defer other.Close()
	other.Create(t.Context(), "/a", []byte("old"), Persistent)
	time.Sleep(time.Second)
	_, w, err := s.GetWatch(t.Context(), "/a")
	must(t, err)
	e.Lag(behind, 5*time.Second)
	time.Sleep(15 * time.Second)
	other.Set(t.Context(), "/a", []byte("new"), AnyVersion)
	<-w.C
	return s, network, fresh, behind
}

// This test is like TestNoReadIsOlderThanAnEvent, but the next server is too busy for the quorum
// write. Regression: the session read nevertheless, and got the state from before the event.
//
// Covers S6.
func TestNoReadFollowsARefusedCatchUp(t *testing.T) {
	inBubble(t, zktest.Options{Version: zktest.V38}, func(t *testing.T, e *zktest.Ensemble) {
		s, network, fresh, behind := afterAnEvent(t, e)
		defer s.Close()
		busy := e.Inject(zktest.Rule{Op: "multi", Server: behind + 1, Session: s.ID(), Count: 2, Fate: zktest.ThrottleRequest})
		e.Kill(fresh)
		v, err := s.Get(t.Context(), "/a")
		must(t, err)
		if refused, writes := busy.Fired(), network.catchUps.Load(); string(v.Data) != "new" || refused == 0 || writes < 2 {
			t.Errorf("read after the event: got %q after %d quorum writes and %d refusals, want \"new\" after at least 2 and 1", v.Data, writes, refused)
		}
	})
}

// In this test one transaction fires two watches, and the connection is lost between the two
// events. The session must still get the second event, although it has already received the
// transaction's zxid with the first event (in ZooKeeper 3.9).
//
// Covers S6.
func TestAnEventHidesNoOtherOfItsTransaction(t *testing.T) {
	for _, version := range []zktest.Version{zktest.V38, zktest.V39} {
		inBubble(t, zktest.Options{Version: version}, func(t *testing.T, e *zktest.Ensemble) {
			network := &tapped{dial: e.DialContext}
			opts := on(e)
			opts.Dial = network.DialContext
			s, other := open(t, opts), open(t, on(e))
			defer s.Close()
			defer other.Close()
			ctx := t.Context()
			for _, path := range []string{"/p", "/p/c"} {
				_, err := other.Create(ctx, path, nil, Persistent)
				must(t, err)
			}
			catchUp(t, s)
			_, parent, err := s.ChildrenWatch(ctx, "/p")
			must(t, err)
			_, child, err := s.ExistsWatch(ctx, "/p/c")
			must(t, err)
			network.cutAfterEvent.Store(true)
			must(t, other.Delete(ctx, "/p/c", AnyVersion))
			if a, b := fired(t, child), fired(t, parent); a.Type != zk.EventNodeDeleted || b.Type != zk.EventNodeChildrenChanged {
				t.Errorf("%s: got %+v and %+v, want a deletion and a change of children", version, a, b)
			}
			if network.cutAfterEvent.Load() {
				t.Errorf("%s: no connection was cut after an event, so the test proved nothing", version)
			}
		})
	}
}

// A tapped is a network that counts the quorum writes at the start of connections, and can cut a
// connection after an event.
type tapped struct {
	dial          func(ctx context.Context, network, address string) (net.Conn, error)
	catchUps      atomic.Int64 // quorum writes at the start of a connection
	cutAfterEvent atomic.Bool
}

func (n *tapped) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := n.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &wireTap{Conn: c, on: n}, nil
}

// A wireTap is a connection of a tapped network.
type wireTap struct {
	net.Conn
	on     *tapped
	unread []byte
	cut    bool
}

func (c *wireTap) Write(frames []byte) (int, error) {
	for rest := frames; len(rest) >= 8; rest = rest[4+binary.BigEndian.Uint32(rest):] {
		if int32(binary.BigEndian.Uint32(rest[4:])) == xidCatchUp {
			c.on.catchUps.Add(1)
		}
	}
	return c.Conn.Write(frames)
}

func (c *wireTap) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		if c.cut {
			c.Close()
			return 0, io.EOF
		}
		c.unread = make([]byte, 4)
		if _, err := io.ReadFull(c.Conn, c.unread); err != nil {
			return 0, err
		}
		c.unread = append(c.unread, make([]byte, binary.BigEndian.Uint32(c.unread))...)
		if _, err := io.ReadFull(c.Conn, c.unread[4:]); err != nil {
			return 0, err
		}
		event := int32(binary.BigEndian.Uint32(c.unread[4:])) == wire.XidNotification
		c.cut = event && c.on.cutAfterEvent.CompareAndSwap(true, false)
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}
