package recipe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// inQueue runs f with a client in a world with a directory /q.
func inQueue(t *testing.T, f func(t *testing.T, w *recipetest.World, c *recipetest.Client), options ...func(*session.Options)) {
	t.Helper()
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		recipetest.Must(w.Admin().Create(t.Context(), "/q", nil, session.Persistent))
		f(t, w, w.Client(options...))
	})
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
					inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
						if servers == "same" {
							c = w.Client(w.On((w.Leader() + 1) % 3))
						}
						if servers == "lagging" {
							for i, address := range w.Servers() {
								if address != c.Server() { // where it goes next
									w.Lag(i, 2*time.Second)
								}
							}
						}
						injection := w.Inject(zktest.Rule{Op: "create", Session: c.ID(), Count: count, Fate: fate, Delay: 3 * time.Second})
						node := recipetest.Must(recipe.CreateProtected(t.Context(), c.Session, "/q", "lock", nil, session.EphemeralSequential))
						recipetest.Check(t, recipe.ReadBarrier(t.Context(), c.Session, "/"))
						listing := recipetest.Must(c.Children(t.Context(), "/q"))
						if len(listing.Names) != 1 || listing.Names[0] != node.Name() {
							t.Fatalf("made %v, have %q", listing.Names, node.Name())
						}
						stat := recipetest.Must(c.Exists(t.Context(), node.Path))
						if stat.Czxid != node.Czxid || stat.EphemeralOwner != c.ID() {
							t.Errorf("node has czxid %#x and owner %#x; want %#x and %#x", stat.Czxid, stat.EphemeralOwner, node.Czxid, c.ID())
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
	var down atomic.Bool
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		w.Inject(zktest.Rule{Op: "create", Fate: zktest.CloseBeforeReply})
		down.Store(true)
		create := recipe.StartProtected(c.Session, "/q", "lock", nil, session.EphemeralSequential)
		synctest.Wait()
		c.Lose()
		down.Store(false)
		node, err := create.Wait(t.Context())
		if !errors.Is(err, session.ErrLost) || node.Path != "" {
			t.Fatalf("create on a lost session: %v, %v", node, err)
		}
		if !errors.Is(c.Err(), session.ErrLost) {
			t.Errorf("session ended with %v", c.Err())
		}
		if names := w.Nodes("/q"); len(names) != 0 {
			t.Errorf("left %v", names)
		}
	}, func(o *session.Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return dial(ctx, network, address)
		}
	})
}

// Cancelled acquires left their node in 94 of 200 tries (Shopify/zk), and for
// good (kazoo#732, CURATOR-45).
//
// Covers S3, S5.
func TestCancelledCreateLeavesNoNode(t *testing.T) {
	for _, mode := range []session.Mode{session.EphemeralSequential, session.PersistentSequential} {
		for fate := range map[zktest.Fate]bool{zktest.DelayRequest: true, zktest.DelayReply: true, zktest.CloseBeforeReply: true, zktest.CloseBeforeRequest: true} {
			for _, after := range []time.Duration{0, time.Millisecond, time.Second} {
				inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
					w.Inject(zktest.Rule{Op: "create", Fate: fate, Delay: 2 * time.Second})
					ctx, cancel := context.WithTimeout(t.Context(), after)
					defer cancel()
					node, err := recipe.CreateProtected(ctx, c.Session, "/q", "lock", nil, mode)
					want := session.Indeterminate
					if after == 0 { // no request was made
						want = session.Failed
					}
					if err == nil { // in time
						recipetest.Check(t, recipe.Remove(t.Context(), c.Session, node))
					} else if !errors.Is(err, context.DeadlineExceeded) || session.OutcomeOf(err) != want {
						t.Errorf("create: %v", err)
					}
					recipetest.Check(t, c.Close()) // waits for the clean-up
					if names := w.Nodes("/q"); len(names) != 0 {
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
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		w.Inject(zktest.Rule{Op: "create", Fate: zktest.DelayRequest, Delay: time.Second})
		create := recipe.StartProtected(c.Session, "/q", "lock", nil, session.EphemeralSequential)
		synctest.Wait()
		outage := w.Inject(zktest.Rule{Op: "delete", Count: -1, Fate: zktest.CloseBeforeRequest})
		cancel()
		create.Wait(ctx)
		time.Sleep(5 * c.Timeout())
		outage.Remove()
		time.Sleep(5 * time.Second)
		if names := w.Nodes("/q"); len(names) != 0 || outage.Fired() == 0 {
			t.Errorf("left %v after %d attempts to delete it", names, outage.Fired())
		}
	}, func(o *session.Options) { o.Abandon = -1 })
}

// What is given up before it was written is never written, and leaves no parents.
//
// Covers S3, S4.
func TestAbandonedCreateIsNotTriedAgain(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		var create *recipe.Creation
		begun := make(chan struct{})
		w.Inject(zktest.Rule{Op: "create", Session: c.ID(), Skip: 2, Fate: zktest.CloseBeforeRequest}) // the parent is made by then
		c.At(3, func() { <-begun; create.Abandon() })
		create = recipe.StartProtected(c.Session, "/q", "lock", nil, session.EphemeralSequential)
		close(begun)
		if node, err := create.Wait(t.Context()); err == nil || session.OutcomeOf(err) != session.Failed {
			t.Errorf("given up: %v, %v", node, err)
		}
		recipetest.Check(t, c.Close())
		if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/q")); stat != nil {
			t.Error("left the parent")
		}
	})
}

// Two programs with the same seed give their nodes the same names.
//
// Covers S3.
func TestLookUpTakesNoNodeOfAnotherSession(t *testing.T) {
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		other := w.Client()
		path := recipetest.Must(other.Create(t.Context(), "/q/same-lock-", nil, session.EphemeralSequential))
		recipetest.Check(t, recipe.ReadBarrier(t.Context(), c.Session, "/"))
		node, err := recipe.Find(t.Context(), c.Session, "/q", "same-lock-", session.EphemeralSequential)
		if err != nil || node.Path != "" {
			t.Errorf("took %v: %v", node, err)
		}
		if node, err = recipe.Find(t.Context(), other.Session, "/q", "same-lock-", session.EphemeralSequential); err != nil || node.Path != path {
			t.Errorf("took %v: %v", node, err)
		}
	})
}

// The reply to the deletion is lost. Then the next owner makes its node on the path,
// before the look or, at a server that lags and shows the node that is gone, after it.
//
// Covers S3.
func TestRemoveSparesTheNextOwnersNode(t *testing.T) {
	for _, lag := range []time.Duration{0, 5 * time.Second} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			a, _, other := w.OnFollower()
			b := w.Client(w.On(w.Leader()))
			recipetest.Must(a.Create(t.Context(), "/one", nil, session.Ephemeral))
			node := recipe.Node{Path: "/one", Czxid: recipetest.Must(a.Exists(t.Context(), "/one")).Czxid}
			w.Lag(other, lag)
			lost := w.Inject(zktest.Rule{Op: "delete", Session: a.ID(), Fate: zktest.CloseBeforeReply})
			if lag == 0 {
				w.Inject(zktest.Rule{Op: "multi", Session: a.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
			}
			w.Inject(zktest.Rule{Op: "exists", Session: a.ID(), Fate: zktest.DelayReply, Delay: time.Second})
			removed := make(chan error, 1)
			go func() { removed <- recipe.Remove(t.Context(), a.Session, node) }()
			err := session.ErrNodeExists
			for tries := 0; err != nil && tries < 1000; tries++ {
				time.Sleep(time.Millisecond)
				_, err = b.Create(t.Context(), "/one", nil, session.Ephemeral)
			}
			recipetest.Check(t, err)
			recipetest.Check(t, <-removed)
			if stat, err := b.Exists(t.Context(), "/one"); err != nil || stat == nil || stat.EphemeralOwner != b.ID() {
				t.Errorf("lag of %v: the next owner's node: %v, %v", lag, stat, err)
			}
			if lost.Fired() != 1 {
				t.Error("no reply was lost")
			}
		})
	}
}

// A node whose deletion the server had no time for stayed for as long as the session.
// While it pauses somebody else may delete the node, and make another on its path.
//
// Covers S3.
func TestRemovalGoesOnWhereTheServerIsOverloaded(t *testing.T) {
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		make := func() recipe.Node {
			return recipetest.Must(recipe.CreateProtected(t.Context(), c.Session, "/q", "n", nil, session.EphemeralSequential))
		}
		first, second := make(), make()
		c.Refuse(recipetest.Refusal{Op: "delete", Path: first.Path, Count: 2, Code: wire.ThrottledOp})
		c.Refuse(recipetest.Refusal{Op: "exists", Path: first.Path, Count: 1, Code: wire.ThrottledOp})
		recipetest.Check(t, recipe.Remove(t.Context(), c.Session, first))
		c.Refuse(recipetest.Refusal{Op: "delete", Path: second.Path, Count: 1, Code: wire.ThrottledOp})
		time.AfterFunc(time.Millisecond, func() {
			recipetest.Check(t, w.Admin().Delete(t.Context(), second.Path, session.AnyVersion))
			recipetest.Must(w.Admin().Create(t.Context(), second.Path, nil, session.Ephemeral))
		})
		recipetest.Check(t, recipe.Remove(t.Context(), c.Session, second))
		if names := w.Nodes("/q"); len(names) != 1 || names[0] != second.Path {
			t.Errorf("left %v, want that of somebody else at %s", names, second.Path)
		}
	})
}

// An answer that proves nothing is looked up, and then is an error that is Failed.
func TestUnknownAnswerIsLookedUp(t *testing.T) {
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		c.Refuse(recipetest.Refusal{Op: "create", Path: "/q/*", Count: 1, Code: -999})
		node, err := recipe.CreateProtected(t.Context(), c.Session, "/q", "lock", nil, session.EphemeralSequential)
		if !errors.Is(err, session.ErrUnknown) || session.OutcomeOf(err) != session.Failed || node.Path != "" {
			t.Errorf("%v, %v", node, err)
		}
		c.Expect(t, "a create with an unknown answer", "create getChildren2")
	})
}

// Each failed TryLock of a lock that may not be read left a goroutine which
// looked for its node as long as the session lived.
func TestRemoveFoundGivesUpAtAFinalError(t *testing.T) {
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		refused := func(err error) error { return &session.RequestError{Outcome: session.Failed, Err: err} }
		calls := 0
		select {
		case err := <-recipe.RemoveFound(c.Session, func(context.Context) (recipe.Node, error) {
			calls++
			return recipe.Node{}, refused(session.ErrNoAuth)
		}):
			if calls < 2 || calls > 12 || !errors.Is(err, session.ErrNoAuth) {
				t.Errorf("%d calls, then %v", calls, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("still looking, after %d calls", calls)
		}
		// The server has no time for a while, then shows the node.
		path := recipetest.Must(c.Create(t.Context(), "/q/n", nil, session.Ephemeral))
		calls = 0
		err := <-recipe.RemoveFound(c.Session, func(context.Context) (recipe.Node, error) {
			if calls++; calls < 8 {
				return recipe.Node{}, refused(session.ErrThrottled)
			}
			return recipe.Node{Path: path}, nil
		})
		if stat := recipetest.Must(c.Exists(t.Context(), path)); stat != nil || calls != 8 || err != nil {
			t.Errorf("after %d calls the node is %v, %v", calls, stat, err)
		}
	})
}

func TestMissingChrootFailsCreates(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client(func(o *session.Options) { o.Chroot = "/nowhere" })
		for _, dir := range []string{"/", "/a", "/a/b"} {
			_, err := recipe.CreateProtected(t.Context(), c.Session, dir, "lock", nil, session.EphemeralSequential)
			if !errors.Is(err, session.ErrNoNode) {
				t.Errorf("create in %s: %v", dir, err)
			}
			if err := recipe.CreateParents(t.Context(), c.Session, znode.Join(dir, "x")); !errors.Is(err, session.ErrNoNode) || session.OutcomeOf(err) != session.Failed {
				t.Errorf("parents of a node in %s: %v", dir, err)
			}
		}
	})
}

// CURATOR-728, CURATOR-715: all parents exist, and in one of them the session may not create. Nothing has to be made, so nothing fails.
func TestParentsThatExistNeedNoPermission(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		owner := w.Client(func(o *session.Options) { o.Auth = []session.Auth{{Scheme: "digest", Data: []byte("admin:secret")}} })
		c := w.Client()
		adminOnly := append(session.WorldACL(session.PermRead), session.DigestACL(session.PermAll, "admin", "secret")...)
		recipetest.Must(owner.CreateACL(t.Context(), "/org", nil, session.Persistent, adminOnly))
		recipetest.Must(owner.CreateACL(t.Context(), "/org/app", nil, session.Persistent, session.WorldACL(session.PermAll)))
		recipetest.Check(t, recipe.CreateParents(t.Context(), c.Session, "/org/app/x"))
		recipetest.Check(t, recipe.CreateParents(t.Context(), c.Session, "/org/app/a/b/c"))
		if err := recipe.CreateParents(t.Context(), c.Session, "/org/other/x"); !errors.Is(err, session.ErrNoAuth) {
			t.Errorf("a parent that may not be made: %v", err)
		}
	})
}

// A leader answers the sync of its own client at once, without waiting for what
// followers have (CommitProcessor.needCommit, ZooKeeper 3.8).
//
// Covers S3.
func TestReadBarrierSeesWhatAnotherServerShowed(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		behind, first := w.Behind()
		path := recipetest.Must(first.Create(t.Context(), "/a-", nil, session.PersistentSequential))
		recipetest.Check(t, recipe.ReadBarrier(t.Context(), behind.Session, "/none"))
		if stat, err := behind.Exists(t.Context(), path); err != nil || stat == nil {
			t.Errorf("the leader does not show it: %v", err)
		}
		if err := recipe.ReadBarrier(t.Context(), behind.Session, "bad"); session.OutcomeOf(err) != session.Failed {
			t.Errorf("a bad path: %v", err)
		}
		recipetest.Check(t, behind.Close())
		if err := recipe.ReadBarrier(t.Context(), behind.Session, "/"); !errors.Is(err, session.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
