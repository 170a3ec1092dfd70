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

// expect fails the test unless a call returned want.
func expect[V comparable](t *testing.T, what string, got V, err error, want V) {
	t.Helper()
	if got != want || err != nil {
		t.Errorf("%s: got %v, %v, want %v", what, got, err, want)
	}
}

// The page about the cost says how many requests a call needs.
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

// Each of many goroutines gets the value after its own add, for few requests.
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

// Covers C3, C4. One call that overflows does not take the others of its batch with it.
func TestCallThatFailsByItselfFailsAlone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		n := counter.New(w.Client().Session, path, counter.Options{})
		recipetest.Check(t, n.Set(t.Context(), math.MaxInt64-20))
		var calls sync.WaitGroup
		for i := range 10 {
			calls.Go(func() {
				if value, err := n.Add(t.Context(), 1); err != nil {
					t.Errorf("%d, %v", value, err)
				}
				if i%2 == 0 {
					if value, err := n.Add(t.Context(), 100); !errors.Is(err, counter.ErrOverflow) || session.OutcomeOf(err) != session.Failed {
						t.Errorf("%d, %v", value, err)
					}
				}
			})
		}
		calls.Wait()
		value, err := n.Get(t.Context())
		expect(t, "get", value, err, math.MaxInt64-10)
	})
}

// What a server, or the handle, knew before another client's write is not the last word.
//
// Covers C2, C4.
func TestAnswerThatChangesNothingIsConfirmed(t *testing.T) {
	calls := map[string]struct {
		before, then int64
		call         func(ctx context.Context, n *counter.Counter) error
	}{
		"get": {5, 6, func(ctx context.Context, n *counter.Counter) error {
			if value, err := n.Get(ctx); value != 6 || err != nil {
				return fmt.Errorf("got %d, %w", value, err)
			}
			return nil
		}},
		"compare and set": {5, 6, func(ctx context.Context, n *counter.Counter) error {
			if swapped, err := n.CompareAndSet(ctx, 6, 7); !swapped || err != nil {
				return fmt.Errorf("got %v, %w", swapped, err)
			}
			return nil
		}},
		"overflow": {math.MaxInt64, 6, func(ctx context.Context, n *counter.Counter) error {
			if value, err := n.Add(ctx, 1); value != 7 || err != nil {
				return fmt.Errorf("got %d, %w", value, err)
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

// Covers C5. A call whose context has ended sends nothing.
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
				t.Errorf("%s: got %v, %v", name, err, session.OutcomeOf(err))
			}
			c.Expect(t, name, "")
		}
	})
}

// A caller that gives up during an outage is not counted when the servers are back, on a handle that
// knew the value before too.
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
				t.Errorf("used %v: got %v, %v", used, err, session.OutcomeOf(err))
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

// Covers C7.
func TestWhatIsNoCounterIsNotOverwritten(t *testing.T) {
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
						t.Errorf("%s: got %v", name, err)
					}
				}
				value := recipetest.Must(w.Admin().Get(t.Context(), "/n"))
				if string(value.Data) != node.data || value.Stat.Version != 0 {
					t.Errorf("got %q in version %d", value.Data, value.Stat.Version)
				}
			})
		})
	}
}

// A counter whose data another program has spoilt is not overwritten by a handle that knew the value.
//
// Covers C7.
func TestSpoiltDataAreNotOverwritten(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		n := counter.New(w.Client().Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		recipetest.Must(w.Admin().Set(t.Context(), path, []byte("?"), session.AnyVersion))
		if err := n.Set(t.Context(), 1); !errors.Is(err, counter.ErrFormat) {
			t.Errorf("Set: %v", err)
		}
		if _, err := n.Get(t.Context()); !errors.Is(err, counter.ErrFormat) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Get: %v, %v", err, session.OutcomeOf(err))
		}
		recipetest.Must(w.Admin().Set(t.Context(), path, []byte("41"), session.AnyVersion))
		value, err := n.Add(t.Context(), 1)
		expect(t, "add", value, err, 42)
	})
}

// A counter that was deleted and made again has the version that a handle has read, and another value.
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
			t.Errorf("the counter was made again as a container")
		}
	})
}

// The handle's znode was deleted after a reply was lost: nobody knows what was applied, so the error
// says so, and the next call goes on.
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
			t.Errorf("got %v, %v", err, session.OutcomeOf(err))
		}
		value, err := n.Add(t.Context(), 100)
		expect(t, "add", value, err, 111)
	})
}

// A server that refuses the write says that nothing was written.
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
				t.Errorf("%s: got %v, %v", name, err, session.OutcomeOf(err))
			}
		}
		value, err := n.Get(t.Context())
		expect(t, "get", value, err, 1)
	})
}

// The directory may be one that the session cannot create in, if the counter exists.
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
			t.Errorf("got %v, %v", err, session.OutcomeOf(err))
		}
	})
}

// Bug: until its first write, a counter had null data, which kazoo's Counter cannot read.
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

// A create that is refused when the directories have been made leaves none of them, which servers
// before 3.10 keep.
//
// Covers C6.
func TestRefusedCreateLeavesNoDirectory(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		c.Refuse(recipetest.Refusal{Op: "create", Path: "/a/b/n", Skip: 1, Code: wire.QuotaExceeded})
		if _, err := counter.New(c.Session, "/a/b/n", counter.Options{}).Add(t.Context(), 1); !errors.Is(err, session.ErrQuota) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
		if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/a")); stat != nil {
			t.Errorf("left behind: /a and %v", w.Nodes("/a"))
		}
	})
}

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
			t.Errorf("Add: got %v", err)
		}
		if _, err := n.Get(t.Context()); !errors.Is(err, counter.ErrClosed) {
			t.Errorf("Get: got %v", err)
		}
		w.NothingLeft()
		if nodes := w.Nodes(path); len(nodes) > 0 {
			t.Errorf("left behind: %v", nodes)
		}
	})
}

// Covers C1, C5. What is in progress when the session ends is reported, and nothing blocks.
func TestSessionLossDuringCalls(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		c := w.Client()
		n := counter.New(c.Session, path, counter.Options{})
		recipetest.Must(n.Add(t.Context(), 1))
		c.Before("multi", func() { c.Lose() })
		if _, err := n.Add(t.Context(), 1); !errors.Is(err, session.ErrLost) {
			t.Errorf("got %v", err)
		}
		if _, err := n.Add(t.Context(), 1); !errors.Is(err, session.ErrLost) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("got %v, %v", err, session.OutcomeOf(err))
		}
		if err := n.Close(t.Context()); !errors.Is(err, session.ErrLost) {
			t.Errorf("Close: %v", err)
		}
		w.NothingLeft()
	})
}

// With nothing but small changes of many handles, the sum is exact.
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
