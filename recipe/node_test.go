package recipe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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

// inQueue runs f with a client in a recipetest.World that has a directory /q.
func inQueue(t *testing.T, f func(t *testing.T, w *recipetest.World, c *recipetest.Client), options ...func(*session.Options)) {
	t.Helper()
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		recipetest.Must(w.Admin().Create(t.Context(), "/q", nil, session.Persistent))
		f(t, w, w.Client(options...))
	})
}

// A protected create makes exactly one znode, whichever request or reply is lost. In another
// library, a lost reply to a create left an ephemeral znode behind, which blocked every later
// contender (samuel/go-zookeeper#229).
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
								if address != c.Server() { // the client may connect to this server after a fault
									w.Lag(i, 2*time.Second)
								}
							}
						}
						injection := w.Inject(zktest.Rule{Op: "create", Session: c.ID(), Count: count, Fate: fate, Delay: 3 * time.Second})
						node := recipetest.Must(recipe.CreateProtected(t.Context(), c.Session, "/q", "lock", nil, session.EphemeralSequential))
						recipetest.Check(t, recipe.ReadBarrier(t.Context(), c.Session, "/"))
						listing := recipetest.Must(c.Children(t.Context(), "/q"))
						if len(listing.Names) != 1 || listing.Names[0] != node.Name() {
							t.Fatalf("the directory has %v, want only the returned znode %q",
								listing.Names, node.Name())
						}
						stat := recipetest.Must(c.Exists(t.Context(), node.Path))
						if stat.Czxid != node.Czxid || stat.EphemeralOwner != c.ID() {
							t.Errorf("the znode has czxid %#x and owner %#x; want %#x and %#x",
								stat.Czxid, stat.EphemeralOwner, node.Czxid, c.ID())
						}
						if injection.Fired() == 0 {
							t.Error("no request or reply was lost, so the test proved nothing")
						}
					})
				})
			}
		}
	}
}

// If the session is lost during a protected create, the create fails, and no znode remains. In
// another library, a contender took over a znode of its previous session, and lost this znode when
// that session expired (CURATOR-498, CURATOR-604).
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
			t.Fatalf("create on a lost session: got %v, %v; want %v", node, err, session.ErrLost)
		}
		if !errors.Is(c.Err(), session.ErrLost) {
			t.Errorf("the session ended with %v, want %v", c.Err(), session.ErrLost)
		}
		if names := w.Nodes("/q"); len(names) != 0 {
			t.Errorf("znodes left: got %v, want none", names)
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

// A protected create whose context ends leaves no znode. In other libraries, a cancelled acquire
// left its znode behind: in 94 of 200 tries (Shopify/zk), or forever (kazoo#732, CURATOR-45).
//
// Covers S3, S5.
func TestCancelledCreateLeavesNoNode(t *testing.T) {
	for _, mode := range []session.Mode{session.EphemeralSequential, session.PersistentSequential} {
		for fate := range map[zktest.Fate]bool{zktest.DelayRequest: true, zktest.DelayReply: true, zktest.CloseBeforeReply: true, zktest.CloseBeforeRequest: true} {
			for _, after := range []time.Duration{0, time.Millisecond, time.Second} {
				inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
					want := session.Failed
					if after > 0 { // otherwise no request is sent
						want = session.Indeterminate
						w.Inject(zktest.Rule{Op: "create", Fate: fate, Delay: 2 * time.Second})
					}
					ctx, cancel := context.WithTimeout(t.Context(), after)
					defer cancel()
					node, err := recipe.CreateProtected(ctx, c.Session, "/q", "lock", nil, mode)
					if err == nil { // the create succeeded in time
						recipetest.Check(t, recipe.Remove(t.Context(), c.Session, node))
					} else if !errors.Is(err, context.DeadlineExceeded) || session.OutcomeOf(err) != want {
						t.Errorf("mode %d, fate %d, cancelled after %v: got %v (%v), want %v (%v)",
							mode, fate, after, err, session.OutcomeOf(err), context.DeadlineExceeded, want)
					}
					if req := (*session.RequestError)(nil); err != nil && (!errors.As(err, &req) || req.Path != "/q") {
						t.Errorf("mode %d, fate %d, cancelled after %v: got the error %q, want one with the path /q",
							mode, fate, after, err)
					}
					recipetest.Check(t, c.Close()) // Close waits for the clean-up
					if names := w.Nodes("/q"); len(names) != 0 {
						t.Errorf("mode %d, fate %d, cancelled after %v: got znodes left %v, want none",
							mode, fate, after, names)
					}
				})
			}
		}
	}
}

// The session deletes the znode of a cancelled create, even if the deletion fails for several
// session timeouts. Regression: the session gave up after one session timeout, so the znode
// remained until the session ended.
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
			t.Errorf("znodes left after %d failed deletions: got %v, want none after at least 1",
				outage.Fired(), names)
		}
	}, func(o *session.Options) { o.Abandon = -1 })
}

// If a create is abandoned before an attempt writes its request to the connection, this request is
// never written, and no parents of the znode remain. In the case "after a lost connection", an
// earlier attempt has created the parent and has then lost its connection.
//
// Covers S3, S4.
func TestAbandonedCreateIsNotTriedAgain(t *testing.T) {
	for name, lost := range map[string]bool{"while the parent is created": false, "after a lost connection": true} {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				var create *recipe.Creation
				begun := make(chan struct{})
				abandon := func() { <-begun; create.Abandon() }
				if lost {
					w.Inject(zktest.Rule{Op: "create", Path: "/q/*", Session: c.ID(), Skip: 1, Fate: zktest.CloseBeforeRequest})
					c.Before("getChildren2", abandon) // the search for the znode
				} else {
					c.At(3, abandon) // the create of the parent
				}
				create = recipe.StartProtected(c.Session, "/q", "lock", nil, session.EphemeralSequential)
				close(begun)
				if node, err := create.Wait(t.Context()); err == nil || session.OutcomeOf(err) != session.Failed {
					t.Errorf("Wait of an abandoned create: got %v, %v, outcome %v; want an error, outcome %v",
						node, err, session.OutcomeOf(err), session.Failed)
				}
				recipetest.Check(t, c.Close())
				if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/q")); stat != nil {
					t.Error("the parent is left, want it to be deleted")
				}
			})
		})
	}
}

// If a create fails for good, the parents that an earlier attempt has created are deleted too. In
// this test, the earlier attempt loses its connection after it has created the parents.
func TestParentsOfAnEarlierAttemptAreDeleted(t *testing.T) {
	for _, fate := range []zktest.Fate{zktest.CloseBeforeRequest, zktest.CloseBeforeReply} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			c := w.Client()
			for _, rule := range []zktest.Rule{
				{Op: "createContainer", Path: "/a/b", Fate: fate},
				{Op: "create", Path: "/a/b/c", Skip: 1, Fate: zktest.CloseBeforeRequest},
				{Op: "create", Path: "/a/b/c", Skip: 1, Fate: zktest.ThrottleRequest},
			} {
				rule.Session = c.ID()
				w.Inject(rule)
			}
			if err := recipe.Ensure(t.Context(), c.Session, "/a/b/c", nil, session.Persistent); !errors.Is(err, session.ErrThrottled) {
				t.Errorf("fate %d: Ensure: got %v, want %v", fate, err, session.ErrThrottled)
			}
			recipetest.Check(t, c.Close())
			if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/a")); stat != nil {
				t.Errorf("fate %d: the parent /a is left with %d children, want it to be deleted",
					fate, stat.NumChildren)
			}
		})
	}
}

// The search for a created znode ignores an ephemeral znode of another session, even if the name of
// that znode has the same prefix. Two programs use the same names if their random generators have
// the same seed.
//
// Covers S3.
func TestFindTakesNoNodeOfAnotherSession(t *testing.T) {
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		other := w.Client()
		path := recipetest.Must(other.Create(t.Context(), "/q/same-lock-", nil, session.EphemeralSequential))
		recipetest.Check(t, recipe.ReadBarrier(t.Context(), c.Session, "/"))
		node, err := recipe.Find(t.Context(), c.Session, "/q", "same-lock-", session.EphemeralSequential)
		if err != nil || node.Path != "" {
			t.Errorf("Find: got %v, %v; want no znode, since another session owns it", node, err)
		}
		if node, err = recipe.Find(t.Context(), other.Session, "/q", "same-lock-", session.EphemeralSequential); err != nil || node.Path != path {
			t.Errorf("Find by the owner: got %v, %v; want %s", node, err, path)
		}
	})
}

// Remove does not delete the znode that the next owner has created at the same path. In this test,
// the reply to the deletion is lost. So Remove reads the path to find out whether its own znode
// still exists, but by then the next owner's znode is there.
//
// If lag is not 0, the session moves to a server that still shows the old znode. If Remove read
// without a read barrier, it would find the old znode and delete the path again.
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
				t.Errorf("lag of %v: the next owner's znode: got %+v, %v; want it to exist",
					lag, stat, err)
			}
			if lost.Fired() != 1 {
				t.Errorf("lag of %v: lost %d replies, want 1: the test proved nothing",
					lag, lost.Fired())
			}
		})
	}
}

// Remove retries if the server is too busy. But it must not delete a znode that another client
// creates at the path during the pause before the retry. Regression: Remove did not retry, so the
// znode remained until the session ended.
//
// Covers S3.
func TestRemovalIsRetriedOnAnOverloadedServer(t *testing.T) {
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
			t.Errorf("znodes left: got %v, want only that of the other client at %s",
				names, second.Path)
		}
	})
}

// If a server's answer does not prove whether the znode was created, the session searches for the
// znode. If there is no such znode, the outcome is Failed.
func TestUnknownAnswerIsSettledByARead(t *testing.T) {
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		c.Refuse(recipetest.Refusal{Op: "create", Path: "/q/*", Count: 1, Code: -999})
		node, err := recipe.CreateProtected(t.Context(), c.Session, "/q", "lock", nil, session.EphemeralSequential)
		if !errors.Is(err, session.ErrUnknown) || session.OutcomeOf(err) != session.Failed || node.Path != "" {
			t.Errorf("CreateProtected: got znode %q, error %v, outcome %v; want no znode, %v, outcome %v",
				node.Path, err, session.OutcomeOf(err), session.ErrUnknown, session.Failed)
		}
		c.Expect(t, "a create with an unknown answer", "create getChildren2")
	})
}

// RemoveFound gives up if its search fails with ErrNoAuth again and again, but not if the server is
// only too busy. Regression: each failed TryLock of an unreadable lock left a goroutine that
// searched for the znode of the TryLock until the session ended.
func TestRemoveFoundGivesUpAtAFinalError(t *testing.T) {
	inQueue(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client) {
		refused := func(err error) error { return &session.RequestError{Outcome: session.Failed, Err: err} }
		var searches atomic.Int64 // incremented by a goroutine of the session
		select {
		case err := <-recipe.RemoveFound(c.Session, func(context.Context) (recipe.Node, error) {
			searches.Add(1)
			return recipe.Node{}, refused(session.ErrNoAuth)
		}):
			if calls := searches.Load(); calls < 2 || calls > 12 || !errors.Is(err, session.ErrNoAuth) {
				t.Errorf("got %d calls, then %v; want 2 to 12, then %v", calls, err, session.ErrNoAuth)
			}
		case <-time.After(time.Minute):
			t.Fatalf("RemoveFound still searches after a minute and %d calls, want it to give up", searches.Load())
		}
		// The server is too busy for a while, then shows the znode.
		path := recipetest.Must(c.Create(t.Context(), "/q/n", nil, session.Ephemeral))
		calls := 0
		err := <-recipe.RemoveFound(c.Session, func(context.Context) (recipe.Node, error) {
			if calls++; calls < 8 {
				return recipe.Node{}, refused(session.ErrThrottled)
			}
			return recipe.Node{Path: path}, nil
		})
		if stat := recipetest.Must(c.Exists(t.Context(), path)); stat != nil || calls != 8 || err != nil {
			t.Errorf("got %d calls, error %v, the znode exists: %v; want 8 calls, no error, no znode",
				calls, err, stat != nil)
		}
	})
}

// A directory that is empty or ends with a slash is refused without a request. Regression: the
// create used a corrected path, but the search after a lost reply did not.
func TestInvalidDirectoryIsRefusedWithoutARequest(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		s := w.Client().Session
		for _, dir := range []string{"", "x", "/x/", "//"} {
			_, err := recipe.CreateProtected(t.Context(), s, dir, "kind", nil, session.Persistent)
			if !errors.Is(err, session.ErrInvalid) || session.OutcomeOf(err) != session.Failed {
				t.Errorf("directory %q: got %v (%v), want %v (%v)",
					dir, err, session.OutcomeOf(err), session.ErrInvalid, session.Failed)
			}
		}
		listing := recipetest.Must(s.Children(t.Context(), "/"))
		if slices.ContainsFunc(listing.Names, func(name string) bool { return strings.Contains(name, "kind") }) {
			t.Errorf("got %v in the root, want no new znode", listing.Names)
		}
	})
}

func TestMissingChrootFailsCreates(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client(func(o *session.Options) { o.Chroot = "/nowhere" })
		for _, dir := range []string{"/", "/a", "/a/b"} {
			_, err := recipe.CreateProtected(t.Context(), c.Session, dir, "lock", nil, session.EphemeralSequential)
			if !errors.Is(err, session.ErrNoNode) {
				t.Errorf("create in %s: got %v, want %v", dir, err, session.ErrNoNode)
			}
			if err := recipe.CreateParents(t.Context(), c.Session, znode.Join(dir, "x")); !errors.Is(err, session.ErrNoNode) || session.OutcomeOf(err) != session.Failed {
				t.Errorf("parents of a znode in %s: got %v (%v), want %v (%v)",
					dir, err, session.OutcomeOf(err), session.ErrNoNode, session.Failed)
			}
		}
	})
}

// CreateParents needs the permission to create znodes below a parent only if it has to create a
// znode there. In this test, the session lacks this permission for /org. CreateParents succeeds
// below /org/app, which exists, and fails below /org/other, which it would have to create. See
// CURATOR-728 and CURATOR-715.
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
			t.Errorf("a parent that must not be created: got %v, want %v", err, session.ErrNoAuth)
		}
	})
}

// A read after a read barrier shows all that another server showed before. A read after a Sync may
// show less: a leader answers the sync of its own client at once (CommitProcessor.needCommit,
// ZooKeeper 3.8). At this moment, the leader may not yet have applied transactions that its
// followers have applied.
//
// Covers S3.
func TestReadBarrierSeesWhatAnotherServerShowed(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		behind, first := w.Behind()
		path := recipetest.Must(first.Create(t.Context(), "/a-", nil, session.PersistentSequential))
		recipetest.Check(t, recipe.ReadBarrier(t.Context(), behind.Session, "/none"))
		if stat, err := behind.Exists(t.Context(), path); err != nil || stat == nil {
			t.Errorf("the znode on the leader after a read barrier: got %+v, %v; want it to exist",
				stat, err)
		}
		if err := recipe.ReadBarrier(t.Context(), behind.Session, "bad"); session.OutcomeOf(err) != session.Failed {
			t.Errorf("ReadBarrier on a bad path: got %v (%v), want an error (%v)",
				err, session.OutcomeOf(err), session.Failed)
		}
		recipetest.Check(t, behind.Close())
		if err := recipe.ReadBarrier(t.Context(), behind.Session, "/"); !errors.Is(err, session.ErrClosed) {
			t.Errorf("ReadBarrier after Close: got %v, want %v", err, session.ErrClosed)
		}
	})
}

// If the server refuses the search, RemoveFound repeats the search for one session timeout.
// RemoveFound counts this time from the first refusal, even if the server was overloaded for a
// longer time before this refusal.
func TestRemoveFoundWaitsForPermissionAfterAnOverload(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		begun, refused := time.Now(), false
		recipetest.Check(t, <-recipe.RemoveFound(c.Session, func(context.Context) (recipe.Node, error) {
			switch {
			case time.Since(begun) < 2*c.Timeout():
				return recipe.Node{}, session.ErrUnknown
			case !refused:
				refused = true
				return recipe.Node{}, session.ErrNoAuth
			}
			return recipe.Node{}, nil
		}))
		if !refused {
			t.Error("RemoveFound ended before the server refused the search")
		}
	})
}
