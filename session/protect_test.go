package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/zktest"
)

// children lists dir on a session of its own, after a sync; nil if there is no dir.
func children(t *testing.T, e *zktest.Ensemble, dir string) []string {
	t.Helper()
	s := open(t, on(e))
	defer s.Close()
	must(t, s.readBarrier(t.Context(), "/"))
	listing, err := s.Children(t.Context(), dir)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		t.Fatal(err)
	}
	return listing.Names
}

// A lost reply to a create left an ephemeral node behind that blocked every
// later contender (samuel/go-zookeeper#229).
//
// Covers S3.
func TestProtectedCreateMakesOneNodeWhateverIsLost(t *testing.T) {
	for _, servers := range []string{"same", "other", "lagging"} {
		for fate, name := range map[zktest.Fate]string{
			zktest.CloseBeforeRequest: "request", zktest.CloseBeforeReply: "reply", zktest.DelayReply: "late", zktest.DelayRequest: "held",
		} {
			for count := 1; count <= 3; count++ {
				t.Run(fmt.Sprintf("%s/%s/%d", servers, name, count), func(t *testing.T) {
					inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
						opts := on(e)
						if servers == "same" {
							opts = on(e, follower(e))
						}
						s := open(t, opts)
						defer s.Close()
						must(t, s.createParents(t.Context(), "/q/x"))
						if servers == "lagging" {
							for i, address := range e.Servers() {
								if address != s.Server() { // where it goes next
									e.Lag(i, 2*time.Second)
								}
							}
						}
						injection := e.Inject(zktest.Rule{Op: "create", Count: count, Fate: fate, Delay: 3 * time.Second})
						node, err := s.createProtected(t.Context(), "/q", "lock", nil, EphemeralSequential)
						must(t, err)
						must(t, s.readBarrier(t.Context(), "/"))
						listing, err := s.Children(t.Context(), "/q")
						must(t, err)
						if len(listing.Names) != 1 || listing.Names[0] != node.Name() {
							t.Fatalf("made %v, have %q", listing.Names, node.Name())
						}
						stat, err := s.Exists(t.Context(), node.Path)
						must(t, err)
						if stat.Czxid != node.Czxid || stat.EphemeralOwner != s.ID() {
							t.Errorf("node has czxid %#x and owner %#x; want %#x and %#x", stat.Czxid, stat.EphemeralOwner, node.Czxid, s.ID())
						}
						if injection.Fired() == 0 {
							t.Error("nothing was lost")
						}
					})
				})
			}
		}
	}
}

// An item was adopted although it belonged to the session before, and went
// with that (CURATOR-498, CURATOR-604).
//
// Covers S3.
func TestProtectedCreateAdoptsNoNodeOfALostSession(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		var down atomic.Bool
		opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return e.DialContext(ctx, network, address)
		}
		s := open(t, opts)
		defer s.Close()
		must(t, s.createParents(t.Context(), "/q/x"))
		e.Inject(zktest.Rule{Op: "create", Fate: zktest.CloseBeforeReply})
		down.Store(true)
		create := s.startSuffixed("/q", "lock-", nil, EphemeralSequential)
		synctest.Wait()
		must(t, e.Expire(s.ID()))
		down.Store(false)
		node, err := create.Wait(t.Context())
		if !errors.Is(err, ErrLost) || node.Path != "" {
			t.Fatalf("create on a lost session: %v, %v", node, err)
		}
		if !errors.Is(s.Err(), ErrLost) {
			t.Errorf("session ended with %v", s.Err())
		}
		if names := children(t, e, "/q"); len(names) != 0 {
			t.Errorf("left %v", names)
		}
	})
}

// Cancelled acquires left their node in 94 of 200 tries (Shopify/zk), and for
// good (kazoo#732, CURATOR-45).
//
// Covers S3, S5.
func TestCancelledCreateLeavesNoNode(t *testing.T) {
	for _, mode := range []Mode{EphemeralSequential, PersistentSequential} {
		for fate := range map[zktest.Fate]bool{zktest.DelayRequest: true, zktest.DelayReply: true, zktest.CloseBeforeReply: true, zktest.CloseBeforeRequest: true} {
			for _, after := range []time.Duration{0, time.Millisecond, time.Second} {
				inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
					s := open(t, on(e))
					must(t, s.createParents(t.Context(), "/q/x"))
					e.Inject(zktest.Rule{Op: "create", Fate: fate, Delay: 2 * time.Second})
					ctx, cancel := context.WithTimeout(t.Context(), after)
					defer cancel()
					node, err := s.createProtected(ctx, "/q", "lock", nil, mode)
					want := Indeterminate
					if after == 0 { // no request was made
						want = Failed
					}
					if err == nil { // in time
						must(t, s.remove(t.Context(), node))
					} else if !errors.Is(err, context.DeadlineExceeded) || OutcomeOf(err) != want {
						t.Errorf("create: %v", err)
					}
					must(t, s.Close()) // waits for the clean-up
					if names := children(t, e, "/q"); len(names) != 0 {
						t.Errorf("mode %d, fate %d, cancelled after %v: left %v", mode, fate, after, names)
					}
				})
			}
		}
	}
}

// Clean-up that gave up after one session timeout left the node to a session
// that lived on.
//
// Covers S3.
func TestCleanUpOutlastsALongOutage(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.Abandon = -1
		s := open(t, opts)
		defer s.Close()
		must(t, s.createParents(t.Context(), "/q/x"))
		ctx, cancel := context.WithCancel(t.Context())
		e.Inject(zktest.Rule{Op: "create", Fate: zktest.DelayRequest, Delay: time.Second})
		create := s.startSuffixed("/q", "lock-", nil, EphemeralSequential)
		synctest.Wait()
		outage := e.Inject(zktest.Rule{Op: "delete", Count: -1, Fate: zktest.CloseBeforeRequest})
		cancel()
		create.Wait(ctx)
		time.Sleep(5 * s.Timeout())
		outage.Remove()
		time.Sleep(5 * time.Second)
		if names := children(t, e, "/q"); len(names) != 0 || outage.Fired() == 0 {
			t.Errorf("left %v after %d attempts to delete it", names, outage.Fired())
		}
	})
}

// Two programs with the same seed give their nodes the same names.
//
// Covers S3.
func TestLookUpTakesNoNodeOfAnotherSession(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s, other := open(t, on(e)), open(t, on(e))
		defer s.Close()
		defer other.Close()
		must(t, s.createParents(t.Context(), "/q/x"))
		path, err := other.Create(t.Context(), "/q/same-lock-", nil, EphemeralSequential)
		must(t, err)
		node, err := s.find(t.Context(), "/q", "same-lock-", EphemeralSequential)
		if err != nil || node.Path != "" {
			t.Errorf("took %v: %v", node, err)
		}
		if node, err = other.find(t.Context(), "/q", "same-lock-", EphemeralSequential); err != nil || node.Path != path {
			t.Errorf("took %v: %v", node, err)
		}
	})
}

// Covers S3.
func TestRemoveSparesTheNextOwnersNode(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		a, b := open(t, on(e)), open(t, on(e))
		defer a.Close()
		defer b.Close()
		_, err := a.Create(t.Context(), "/one", nil, Ephemeral)
		must(t, err)
		stat, err := a.Exists(t.Context(), "/one")
		must(t, err)
		node := engine.Node{Path: "/one", Czxid: stat.Czxid}

		e.Inject(zktest.Rule{Op: "delete", Fate: zktest.CloseBeforeReply})
		e.Inject(zktest.Rule{Op: "multi", Session: a.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
		removed := make(chan error, 1)
		go func() { removed <- a.remove(t.Context(), node) }()
		synctest.Wait()
		_, err = b.Create(t.Context(), "/one", nil, Ephemeral)
		must(t, err)
		must(t, <-removed)
		if stat, err := b.Exists(t.Context(), "/one"); err != nil || stat == nil || stat.EphemeralOwner != b.ID() {
			t.Errorf("the next owner's node: %v, %v", stat, err)
		}
	})
}

// The reply to the deletion is lost, and the next server does not know of it yet: it
// shows the node that is gone. Meanwhile another session has made its own.
//
// Covers S3.
func TestRemoveSparesTheNextOwnersNodeAtAServerThatLags(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		a, b := open(t, on(e, (e.Leader()+1)%3, (e.Leader()+2)%3)), open(t, on(e, e.Leader()))
		defer a.Close()
		defer b.Close()
		_, err := a.Create(t.Context(), "/one", nil, Ephemeral)
		must(t, err)
		stat, err := a.Exists(t.Context(), "/one")
		must(t, err)
		for i, address := range e.Servers() {
			if address != a.Server() && i != e.Leader() { // where it goes next
				e.Lag(i, 5*time.Second)
			}
		}
		lost := e.Inject(zktest.Rule{Op: "delete", Session: a.ID(), Fate: zktest.CloseBeforeReply})
		e.Inject(zktest.Rule{Op: "exists", Session: a.ID(), Fate: zktest.DelayReply, Delay: time.Second}) // the other comes meanwhile
		removed := make(chan error, 1)
		go func() { removed <- a.remove(t.Context(), engine.Node{Path: "/one", Czxid: stat.Czxid}) }()
		for {
			if _, err = b.Create(t.Context(), "/one", nil, Ephemeral); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		must(t, <-removed)
		if stat, err := b.Exists(t.Context(), "/one"); err != nil || stat == nil || stat.EphemeralOwner != b.ID() {
			t.Errorf("the next owner's node: %v, %v", stat, err)
		}
		if lost.Fired() != 1 {
			t.Error("no reply was lost")
		}
	})
}

func TestMissingChrootFailsCreates(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.Chroot = "/nowhere"
		s := open(t, opts)
		defer s.Close()
		for _, dir := range []string{"/", "/a", "/a/b"} {
			_, err := s.createProtected(t.Context(), dir, "lock", nil, EphemeralSequential)
			if !errors.Is(err, zk.ErrNoNode) {
				t.Errorf("create in %s: %v", dir, err)
			}
			if err := s.createParents(t.Context(), znode.Join(dir, "x")); !errors.Is(err, zk.ErrNoNode) || OutcomeOf(err) != Failed {
				t.Errorf("parents of a node in %s: %v", dir, err)
			}
		}
	})
}

func TestProtectedNamesAreRepeatableFromASeed(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		var names [2]string
		for i := range names {
			opts := on(e)
			opts.Rand = strings.NewReader(strings.Repeat("0123456789abcdef", 64))
			s := open(t, opts)
			names[i] = s.newID()
			must(t, s.Close())
		}
		if names[0] != names[1] || len(names[0]) != 32 {
			t.Errorf("names %q", names)
		}
	})
}

func TestCleanupOnAnEndedSessionIsNotRun(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		must(t, s.Close())
		s.life.detach(func(context.Context) error { t.Error("run"); return nil })
		synctest.Wait()
	})
}

// Covers S7.
func TestCloseWaitsForCleanUpWithABound(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		for _, took := range []time.Duration{time.Second, time.Hour} {
			s := open(t, on(e))
			bound := s.Timeout() / 3
			finished := false
			s.life.detach(func(ctx context.Context) error {
				err := sleep(ctx, took)
				finished = err == nil
				return err
			})
			start := time.Now()
			must(t, s.Close())
			if d := time.Since(start); d > bound || finished != (took < bound) || d < min(took, bound) {
				t.Errorf("clean-up of %v: Close took %v, finished: %v", took, d, finished)
			}
		}
	})
}
