package counter_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

type world = recipetest.World

// expect fails the test unless a call returned want and no error.
func expect[V comparable](t *testing.T, what string, got V, err error, want V) {
	t.Helper()
	if got != want || err != nil {
		t.Errorf("%s: got %v, %v, want %v", what, got, err, want)
	}
}

// The section Cost of the package's documentation states which requests a call needs. This test
// checks them.
func TestRequestsOfEachCall(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c, other := w.Client(), w.Client()
		n, o := counter.New(c.Session, path, counter.Options{}), counter.New(other.Session, path, counter.Options{})
		calls := func(what, want string, call func() (int64, error), value int64) {
			t.Helper()
			got, err := call()
			expect(t, what, got, err, value)
			c.Expect(t, what, want)
		}
		add := func(delta int64) func() (int64, error) {
			return func() (int64, error) { return n.Add(t.Context(), delta) }
		}
		calls("get of none", "getData", func() (int64, error) { return n.Get(t.Context()) }, 0)
		calls("first add", "exists create createContainer create create getData multi", add(5), 5)
		calls("add", "multi", add(-2), 3)
		recipetest.Must(o.Add(t.Context(), 100))
		other.Requests()
		calls("add after another's", "multi getData multi", add(1), 104)
		calls("get", "getData", func() (int64, error) { return n.Get(t.Context()) }, 104)
		swapped, err := n.CompareAndSet(t.Context(), 104, 8)
		expect(t, "compare and set", swapped, err, true)
		c.Expect(t, "compare and set", "multi")
		swapped, err = n.CompareAndSet(t.Context(), 104, 9)
		expect(t, "compare and set of another value", swapped, err, false)
		c.Expect(t, "compare and set of another value", "getData")
		recipetest.Check(t, n.Set(t.Context(), 1))
		c.Expect(t, "set", "multi")
		recipetest.Check(t, n.Close(t.Context()))
		recipetest.Check(t, o.Close(t.Context()))
		w.NothingLeft()
	})
}

// Many goroutines add through one handle. Each gets the value after its own add, and all of them
// together need few requests.
//
// Covers C3.
func TestAddsOfOneHandleAreOneWrite(t *testing.T) {
	const adds = 200
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		c.Count()
		w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
		var calls sync.WaitGroup
		add := func(value *int64) {
			calls.Go(func() {
				var err error
				if *value, err = n.Add(t.Context(), 2); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		values := make([]int64, adds)
		for i := range values {
			add(&values[i])
		}
		calls.Wait()
		c.Expect(t, "adds", "multi multi")
		for i, value := range values {
			if want := int64(3 + 2*i); value != want {
				t.Fatalf("result %d is %d, want %d", i, value, want)
			}
		}
	})
}

// A call that overflows does not affect the other calls of its batch.
//
// Covers C3, C4.
func TestCallThatFailsByItselfFailsAlone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		n := counter.New(w.Client().Session, path, counter.Options{})
		recipetest.Check(t, n.Set(t.Context(), math.MaxInt64-20))
		var calls sync.WaitGroup
		for i := range 10 {
			calls.Go(func() {
				if value, err := n.Add(t.Context(), 1); err != nil {
					t.Errorf("Add next to calls that overflow: got %d, %v; want no error", value, err)
				}
				if i%2 == 0 {
					if value, err := n.Add(t.Context(), 100); !errors.Is(err, counter.ErrOverflow) || session.OutcomeOf(err) != session.Failed {
						t.Errorf("Add of 100: got %d, %v; want %v (%v)", value, err, counter.ErrOverflow, session.Failed)
					}
				}
			})
		}
		calls.Wait()
		value, err := n.Get(t.Context())
		expect(t, "get", value, err, math.MaxInt64-10)
	})
}

// After another client's write, a server or the handle may still have the old value. So a majority
// confirms the value before Get returns it, and before a call decides that it writes nothing.
//
// Covers C2, C4.
func TestAnswerThatChangesNothingIsConfirmed(t *testing.T) {
	calls := map[string]struct {
		before, then int64
		call         func(ctx context.Context, n *counter.Counter) error
	}{
		"get": {5, 6, func(ctx context.Context, n *counter.Counter) error {
			if value, err := n.Get(ctx); value != 6 || err != nil {
				return fmt.Errorf("Get: got %d, error %v; want 6", value, err)
			}
			return nil
		}},
		"compare and set": {5, 6, func(ctx context.Context, n *counter.Counter) error {
			if swapped, err := n.CompareAndSet(ctx, 6, 7); !swapped || err != nil {
				return fmt.Errorf("CompareAndSet: got %v, error %v; want true", swapped, err)
			}
			return nil
		}},
		"overflow": {math.MaxInt64, 6, func(ctx context.Context, n *counter.Counter) error {
			if value, err := n.Add(ctx, 1); value != 7 || err != nil {
				return fmt.Errorf("Add: got %d, error %v; want 7", value, err)
			}
			return nil
		}},
	}
	for name, c := range calls {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/used=%v", name, used), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *world) {
					behind, other := w.Behind()
					n, o := counter.New(behind.Session, path, counter.Options{}), counter.New(other.Session, path, counter.Options{})
					recipetest.Check(t, o.Set(t.Context(), c.before))
					if used {
						recipetest.Check(t, n.Set(t.Context(), c.before))
					}
					recipetest.Check(t, o.Set(t.Context(), c.then))
					if err := c.call(t.Context(), n); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// A call whose context has ended sends nothing.
//
// Covers C5.
func TestEndedContextChangesNoCounter(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, call := range map[string]func() error{
			"Add":           func() error { _, err := n.Add(ended, 1); return err },
			"CompareAndSet": func() error { _, err := n.CompareAndSet(ended, 0, 1); return err },
			"Set":           func() error { return n.Set(ended, 1) },
			"Get":           func() error { _, err := n.Get(ended); return err },
		} {
			if err := call(); session.OutcomeOf(err) != session.Failed || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v (%v), want %v (%v)", name, err, session.OutcomeOf(err), context.Canceled, session.Failed)
			}
			c.Expect(t, name, "")
		}
	})
}

// If a caller gives up during an outage, its call is not applied after the outage, even on a handle
// that knew the value before the outage.
//
// Covers C5.
func TestCallGivenUpDuringAnOutageIsNotAppliedLater(t *testing.T) {
	for _, used := range []bool{false, true} {
		recipetest.Run(t, func(t *testing.T, w *world) {
			c := w.Client()
			n := counter.New(c.Session, path, counter.Options{})
			if used {
				recipetest.Must(n.Add(t.Context(), 5))
			}
			for i := range w.Servers() {
				w.Kill(i)
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := n.Add(ctx, 1); session.OutcomeOf(err) != session.Failed || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("used %v: got %v (%v), want %v (%v)", used, err, session.OutcomeOf(err), context.DeadlineExceeded, session.Failed)
			}
			for i := range w.Servers() {
				w.Start(i)
			}
			recipetest.Must(n.Add(t.Context(), 10))
			want := int64(10)
			if used {
				want = 15
			}
			value, err := n.Get(t.Context())
			expect(t, "get", value, err, want)
		})
	}
}

// Add, CompareAndSet and Set fail and change nothing if the data of the znode are not a number in
// the handle's format, or if the znode is ephemeral. An ephemeral znode cannot have a child, so the
// handle cannot create its own znode.
//
// Covers C7.
func TestOtherDataAreNotOverwritten(t *testing.T) {
	nodes := map[string]struct {
		mode   session.Mode
		data   string
		format counter.Format
	}{
		"text":      {session.Persistent, "name: web", counter.Decimal},
		"digits":    {session.Persistent, "123", counter.BigEndian},
		"ephemeral": {session.Ephemeral, "", counter.Decimal},
	}
	for name, node := range nodes {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *world) {
				recipetest.Must(w.Admin().Create(t.Context(), "/n", []byte(node.data), node.mode))
				n := counter.New(w.Client().Session, "/n", counter.Options{Format: node.format})
				for name, call := range map[string]func() error{
					"Add":           func() error { _, err := n.Add(t.Context(), 1); return err },
					"CompareAndSet": func() error { _, err := n.CompareAndSet(t.Context(), 0, 1); return err },
					"Set":           func() error { return n.Set(t.Context(), 1) },
				} {
					err := call()
					if !errors.Is(err, counter.ErrFormat) && !errors.Is(err, session.ErrNoChildrenForEphemerals) || session.OutcomeOf(err) != session.Failed {
						t.Errorf("%s: got %v (%v), want %v or %v (%v)",
							name, err, session.OutcomeOf(err), counter.ErrFormat, session.ErrNoChildrenForEphemerals, session.Failed)
					}
				}
				value := recipetest.Must(w.Admin().Get(t.Context(), "/n"))
				if string(value.Data) != node.data || value.Stat.Version != 0 {
					t.Errorf("data: got %q in version %d, want %q in version 0", value.Data, value.Stat.Version, node.data)
				}
			})
		})
	}
}

// In this test another program has replaced the data of a counter. A handle that knew the old value
// does not overwrite the new data.
//
// Covers C7.
func TestSpoiltDataAreNotOverwritten(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		n := counter.New(w.Client().Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		recipetest.Must(w.Admin().Set(t.Context(), path, []byte("?"), session.AnyVersion))
		if err := n.Set(t.Context(), 1); !errors.Is(err, counter.ErrFormat) {
			t.Errorf("Set: got %v, want %v", err, counter.ErrFormat)
		}
		if _, err := n.Get(t.Context()); !errors.Is(err, counter.ErrFormat) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Get: got %v (%v), want %v (%v)", err, session.OutcomeOf(err), counter.ErrFormat, session.Failed)
		}
		recipetest.Must(w.Admin().Set(t.Context(), path, []byte("41"), session.AnyVersion))
		value, err := n.Add(t.Context(), 1)
		expect(t, "add", value, err, 42)
	})
}

// In this test a counter is deleted and created again. A handle has read the old znode. The new
// znode has the same version as the old one, but another value. So the handle must read the value
// again.
//
// Covers C1, C2.
func TestRecreatedCounterIsReadAgain(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		version := recipetest.Must(w.Admin().Get(t.Context(), path)).Stat.Version
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		recipetest.Must(w.Admin().Create(t.Context(), path, nil, session.Persistent))
		for range version {
			recipetest.Must(w.Admin().Set(t.Context(), path, []byte("100"), session.AnyVersion))
		}
		value, err := n.Add(t.Context(), 1)
		expect(t, "add", value, err, 101)
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		value, err = n.Add(t.Context(), 7)
		expect(t, "add to a deleted counter", value, err, 7)
		if stat := recipetest.Must(w.Admin().Exists(t.Context(), path)); stat.EphemeralOwner != 0 {
			t.Errorf("ephemeral owner of the counter: got %#x, want 0, which means a persistent znode",
				stat.EphemeralOwner)
		}
	})
}

// In this test the handle's znode is deleted after a reply was lost. Nobody can know what was
// applied, so the outcome is Indeterminate, and the next call works.
//
// Covers C1.
func TestDeletedLedgerAfterALostReply(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		ledger := w.Nodes(path)[0]
		w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: zktest.CloseBeforeReply})
		w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
		time.AfterFunc(time.Second, func() { recipetest.Check(t, w.Admin().Delete(t.Context(), ledger, session.AnyVersion)) })
		if _, err := n.Add(t.Context(), 10); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("Add: got %v (%v), want the outcome %v", err, session.OutcomeOf(err), session.Indeterminate)
		}
		value, err := n.Add(t.Context(), 100)
		expect(t, "add", value, err, 111)
	})
}

// If a server refuses the write, the error says that nothing was written.
//
// Covers C1.
func TestRefusedWriteIsNotCounted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		recipetest.Check(t, w.Admin().SetACL(t.Context(), path, session.WorldACL(session.PermRead), session.AnyVersion))
		for name, call := range map[string]func() error{
			"Add": func() error { _, err := n.Add(t.Context(), 1); return err },
			"Set": func() error { return n.Set(t.Context(), 1) },
		} {
			if err := call(); !errors.Is(err, session.ErrNoAuth) || session.OutcomeOf(err) != session.Failed {
				t.Errorf("%s: got %v (%v), want %v (%v)", name, err, session.OutcomeOf(err), session.ErrNoAuth, session.Failed)
			}
		}
		value, err := n.Get(t.Context())
		expect(t, "get", value, err, 1)
	})
}

// If the counter exists, the session needs no permission to create znodes in the counter's
// directory.
func TestCounterInADirectoryOfOthers(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		recipetest.Must(w.Admin().Create(t.Context(), "/theirs", nil, session.Persistent))
		recipetest.Must(w.Admin().Create(t.Context(), "/theirs/n", []byte("8"), session.Persistent))
		recipetest.Check(t, w.Admin().SetACL(t.Context(), "/theirs", session.WorldACL(session.PermRead), session.AnyVersion))
		n := counter.New(w.Client().Session, "/theirs/n", counter.Options{})
		value, err := n.Add(t.Context(), 1)
		expect(t, "add", value, err, 9)
		none := counter.New(w.Client().Session, "/theirs/none", counter.Options{})
		if _, err := none.Add(t.Context(), 1); !errors.Is(err, session.ErrNoAuth) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Add: got %v (%v), want %v (%v)", err, session.OutcomeOf(err), session.ErrNoAuth, session.Failed)
		}
	})
}

// A new counter has empty data. Regression: a new counter had null data until its first write.
// Kazoo's Counter cannot read null data.
func TestNewCounterHasEmptyData(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		n := counter.New(w.Client().Session, path, counter.Options{})
		swapped, err := n.CompareAndSet(t.Context(), 5, 6)
		expect(t, "compare and set", swapped, err, false)
		if node, err := w.Admin().Get(t.Context(), path); node.Data == nil || len(node.Data) > 0 || err != nil {
			t.Errorf("got %#v, %v, want empty data", node.Data, err)
		}
	})
}

// In this test a create is refused after the missing parents were created. None of these parents
// remains, although servers before 3.10 keep a container that never had a child.
//
// Covers C6.
func TestRefusedCreateLeavesNoDirectory(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		c.Refuse(recipetest.Refusal{Op: "create", Path: "/a/b/n", Skip: 1, Code: wire.QuotaExceeded})
		if _, err := counter.New(c.Session, "/a/b/n", counter.Options{}).Add(t.Context(), 1); !errors.Is(err, session.ErrQuota) {
			t.Errorf("Add: got %v, want %v", err, session.ErrQuota)
		}
		time.Sleep(time.Minute)
		if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/a")); stat != nil {
			t.Errorf("directories left: got /a with %v, want none", w.Nodes("/a"))
		}
	})
}

// Close deletes the handle's znode and can be repeated. Later calls fail with ErrClosed.
//
// Covers C6.
func TestClosedCounter(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		added := make(chan error)
		go func() {
			_, err := n.Add(t.Context(), 1)
			added <- err
		}()
		synctest.Wait()
		recipetest.Check(t, <-added)
		for range 2 {
			recipetest.Check(t, n.Close(t.Context()))
		}
		if _, err := n.Add(t.Context(), 1); !errors.Is(err, counter.ErrClosed) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Add: got %v (%v), want %v (%v)",
				err, session.OutcomeOf(err), counter.ErrClosed, session.Failed)
		}
		if _, err := n.Get(t.Context()); !errors.Is(err, counter.ErrClosed) {
			t.Errorf("Get: got %v, want %v", err, counter.ErrClosed)
		}
		w.NothingLeft()
		if nodes := w.Nodes(path); len(nodes) > 0 {
			t.Errorf("znodes left: got %v, want none", nodes)
		}
	})
}

// Calls in progress at the end of the session return the session's error, and nothing blocks.
//
// Covers C1, C5.
func TestSessionLossDuringCalls(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		c.Before("multi", func() { c.Lose() })
		if _, err := n.Add(t.Context(), 1); !errors.Is(err, session.ErrLost) {
			t.Errorf("Add during the loss: got %v, want %v", err, session.ErrLost)
		}
		if _, err := n.Add(t.Context(), 1); !errors.Is(err, session.ErrLost) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Add after the loss: got %v (%v), want %v (%v)", err, session.OutcomeOf(err), session.ErrLost, session.Failed)
		}
		if err := n.Close(t.Context()); !errors.Is(err, session.ErrLost) {
			t.Errorf("Close: got %v, want %v", err, session.ErrLost)
		}
		w.NothingLeft()
	})
}

// After many small changes by many handles, the sum is exact.
//
// Covers C2.
func TestManyHandlesContend(t *testing.T) {
	const handles, adds = 8, 25
	recipetest.Run(t, func(t *testing.T, w *world) {
		var calls sync.WaitGroup
		for range handles {
			n := counter.New(w.Client().Session, path, counter.Options{})
			calls.Go(func() {
				for range adds {
					if _, err := n.Add(t.Context(), 1); err != nil {
						t.Error(err)
					}
				}
			})
		}
		calls.Wait()
		recipetest.Check(t, recipe.ReadBarrier(t.Context(), w.Admin().Session, path))
		if value := recipetest.Must(w.Admin().Get(t.Context(), path)); string(value.Data) != fmt.Sprint(handles*adds) {
			t.Errorf("got %q, want %d", value.Data, handles*adds)
		}
	})
}
