package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// drain takes all free items.
func drain(t *testing.T, q *queue.Queue[string]) (items []string) {
	t.Helper()
	for {
		item, err := q.TryTake(t.Context())
		if errors.Is(err, queue.ErrEmpty) {
			return items
		}
		recipetest.Check(t, err)
		items = append(items, item)
	}
}

// settle waits until detached work has ended, and until a lost session has expired.
func settle(tr *recipetest.Trial) {
	if tr != nil && tr.Loses() {
		time.Sleep(2 * recipetest.Timeout)
	}
	synctest.Wait()
}

// If a request or reply of Put is lost, the queue agrees with the outcome: it has the item once if
// the outcome is OK, not at all if the outcome is Failed, and at most once if the outcome is
// Indeterminate.
//
// Covers Q1, Q2, Q3.
func TestPutAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		tr.Strike(s)
		want := map[string]session.Outcome{}
		for _, items := range [][]string{{"a"}, numbers(0, 4)} {
			err := q.Put(t.Context(), items...)
			if err != nil && !tr.Loses() {
				t.Errorf("Put of %q: got %v, want no error", items, err)
			}
			for _, item := range items {
				want[item] = session.OutcomeOf(err)
			}
		}
		settle(tr)
		got := drain(t, other)
		for item, effect := range want {
			n := 0
			for _, it := range got {
				if it == item {
					n++
				}
			}
			if n > 1 || effect == session.OK && n != 1 || effect == session.Failed && n != 0 {
				t.Errorf("%s: Put was %v, and the queue has it %d times, want 1 if OK, 0 if Failed, else at most 1",
					item, effect, n)
			}
		}
	})
}

// If a request or reply of Take is lost, the items are still delivered in order, and none of them
// twice. An item is missing only if the outcome of a Take is Indeterminate. For comparison, kazoo's
// Queue.get loses the item when the reply to its delete is lost.
//
// Covers Q2, Q3.
func TestTakeAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		put := numbers(0, 5)
		recipetest.Check(t, other.Put(t.Context(), put[:3]...))
		recipetest.Check(t, other.Put(t.Context(), put[3:]...))
		tr.Strike(s)
		var got []string
		unknown := 0
		for range 4 {
			item, err := q.Take(t.Context())
			switch session.OutcomeOf(err) {
			case session.OK:
				got = append(got, item)
			case session.Indeterminate:
				unknown++
			}
			if err != nil && !tr.Loses() {
				t.Errorf("Take: got %v, want an item", err)
			}
		}
		settle(tr)
		rest := drain(t, other)
		all := slices.Concat(got, rest)
		slices.Sort(all)
		if n := len(slices.Compact(slices.Clone(all))); n != len(all) || n < 5-unknown {
			t.Errorf("taken %q, left %q, %d unknown, want each of %q once", got, rest, unknown, put)
		}
		if !slices.IsSorted(append(got, rest...)) {
			t.Errorf("taken %q, then %q, want the order %q", got, rest, put)
		}
	})
}

// If a request or reply of a waiting Take is lost, the consumer is still woken by a put, and no
// item is lost.
//
// Covers Q2, Q3, Q6.
func TestWaitingTakeAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{Priorities: 2})
		other, _ := newQueue(tr.World, queue.Options[string]{Priorities: 2})
		tr.Strike(s)
		type end struct {
			item string
			err  error
		}
		ends := make(chan end, 1)
		go func() {
			item, err := q.Take(t.Context())
			ends <- end{item, err}
		}()
		settle(tr)
		recipetest.Check(t, other.PutPriority(t.Context(), 1, "a"))
		var got end
		select {
		case got = <-ends:
		case <-time.After(2 * recipetest.Timeout):
			t.Fatalf("Take: still waits %v after the put", 2*recipetest.Timeout)
		}
		if got.err != nil && !tr.Loses() {
			t.Errorf("Take: got %v, want an item", got.err)
		}
		settle(tr)
		rest := drain(t, other)
		switch session.OutcomeOf(got.err) {
		case session.OK:
			if len(rest) > 0 {
				t.Errorf("items left after a successful Take: got %q, want none", rest)
			}
		case session.Failed:
			if len(rest) != 1 {
				t.Errorf("items left after a failed Take: got %q, want one", rest)
			}
		}
	})
}

// If a request or reply of TryTake is lost, TryTake still finds the item, and fails with ErrEmpty
// only if there is none.
//
// Covers Q2, Q3, Q5.
func TestTryTakeAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		tr.Strike(s)
		if _, err := q.TryTake(t.Context()); !errors.Is(err, queue.ErrEmpty) && !tr.Loses() {
			t.Errorf("TryTake of an empty queue: got %v, want %v", err, queue.ErrEmpty)
		}
		recipetest.Check(t, other.Put(t.Context(), "a"))
		if item, err := q.TryTake(t.Context()); item != "a" && !tr.Loses() || errors.Is(err, queue.ErrEmpty) {
			t.Errorf("TryTake: got %q, %v, want %q", item, err, "a")
		}
	})
}

// If a request or reply of Claim or Reject is lost, the item still exists once: in the queue or in
// the dead letters.
//
// Covers Q8, Q11.
func TestRejectAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		recipetest.Check(t, other.Put(t.Context(), "a"))
		tr.Strike(s)
		c, err := q.Claim(t.Context())
		if err == nil {
			err = c.Reject(t.Context())
		}
		if err != nil && !tr.Loses() {
			t.Errorf("Claim or Reject: got %v, want no error", err)
		}
		settle(tr)
		rest, dead := drain(t, other), drain(t, other.DeadLetters())
		if len(rest)+len(dead) != 1 || err == nil && len(dead) != 1 {
			t.Errorf("items left %q, dead letters %q after error %v, want the item once", rest, dead, err)
		}
	})
}

// If a request or reply of Claim, Ack or Release is lost, exactly one of two things is true for
// each item: it is still in the queue, or the ops of its Ack were applied. The outcome of the Ack
// says which, unless it is Indeterminate. For comparison, kazoo's LockingQueue.consume returned
// true although its transaction failed.
//
// Covers Q7, Q10, Q11.
func TestClaimAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		put := numbers(0, 4)
		recipetest.Check(t, other.Put(t.Context(), put[:3]...))
		recipetest.Check(t, other.Put(t.Context(), put[3:]...))
		tr.Strike(s)

		effects := map[string]session.Outcome{}
		work := func(act func(*queue.Claim[string]) error) {
			c, err := q.Claim(t.Context())
			if err == nil {
				err = act(c)
			}
			if err != nil && !tr.Loses() {
				t.Errorf("Claim or its end: got %v, want no error", err)
			}
		}
		ack := func(c *queue.Claim[string]) error {
			err := c.Ack(t.Context(), session.CreateOp{Path: "/app/" + c.Value()})
			effects[c.Value()] = session.OutcomeOf(err)
			return err
		}
		work(ack)
		work(func(c *queue.Claim[string]) error { return c.Release(t.Context()) })
		work(ack)
		work(ack)
		settle(tr)
		rest := drain(t, other)
		done := tr.Nodes("/app")
		for _, item := range put {
			acked, there := slices.Contains(done, "/app/"+item), slices.Contains(rest, item)
			if acked == there {
				t.Errorf("%s: effect stored %v, item in the queue %v, want exactly one", item, acked, there)
			}
			if e, ok := effects[item]; ok && (e == session.OK && !acked || e == session.Failed && acked) {
				t.Errorf("%s: Ack was %v, and its effect is stored: %v", item, e, acked)
			}
		}
	})
}

// A cancelled Take leaves no znode in the queue of waiters and loses no item. In CURATOR-45 and in
// Shopify/zk, a cancelled call leaves its znode behind.
//
// Covers Q8.
func TestCancelledTakeLeavesNothingAndLosesNothing(t *testing.T) {
	recipetest.CancelledAtEveryMoment(t, func(ctx context.Context, t *testing.T, w *recipetest.World, s *recipetest.Client) {
		q := queue.New(s.Session, path, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		done := make(chan int, 1)
		go func() {
			n := 0
			for range 3 {
				if _, err := q.Take(ctx); err == nil {
					n++
				}
			}
			done <- n
		}()
		synctest.Wait()
		recipetest.Check(t, other.Put(t.Context(), "a", "b"))
		recipetest.Check(t, other.Put(t.Context(), "c"))
		n := <-done
		settle(nil)
		if rest := drain(t, other); n+len(rest) != 3 {
			t.Errorf("taken %d, left %q, want 3 items together", n, rest)
		}
		for _, p := range w.Nodes(path) {
			if strings.Contains(p, "-take-") && strings.Contains(p, "/waiters/") {
				t.Errorf("znode left behind: %s", p)
			}
		}
	})
}

// An item is neither lost nor left claimed, at whichever moment the context of Claim ends.
//
// Covers Q8.
func TestCancelledClaimLeavesNothingClaimed(t *testing.T) {
	recipetest.CancelledAtEveryMoment(t, func(ctx context.Context, t *testing.T, w *recipetest.World, s *recipetest.Client) {
		q := queue.New(s.Session, path, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, other.Put(t.Context(), "a", "b"))
		recipetest.Check(t, other.Put(t.Context(), "c"))
		acked := 0
		for range 3 {
			if c, err := q.Claim(ctx); err == nil {
				recipetest.Check(t, c.Ack(t.Context()))
				acked++
			}
		}
		settle(nil)
		if rest := drain(t, other); acked+len(rest) != 3 {
			t.Errorf("acked %d, left %q, want 3 items together", acked, rest)
		}
	})
}

// If the context of a TakeBatch or ClaimBatch ends while its transaction is in progress, all items
// are given back.
//
// Covers Q3, Q8.
func TestCallCancelledWhileUnderWayGivesBack(t *testing.T) {
	calls := map[string]func(context.Context, *queue.Queue[string]) error{
		"take": func(ctx context.Context, q *queue.Queue[string]) error {
			_, err := q.TakeBatch(ctx, 2)
			return err
		},
		"claim": func(ctx context.Context, q *queue.Queue[string]) error {
			_, err := q.ClaimBatch(ctx, 2)
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, s := newQueue(w, queue.Options[string]{})
				other, _ := newQueue(w, queue.Options[string]{})
				recipetest.Check(t, other.Put(t.Context(), numbers(0, 3)...))
				slow := w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
				defer cancel()
				err := call(ctx, q)
				if slow.Fired() != 1 || session.OutcomeOf(err) != session.Indeterminate {
					t.Fatalf("%s: got %v, outcome %v, want %v; delayed %d replies, want 1", name, err, session.OutcomeOf(err), session.Indeterminate, slow.Fired())
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if rest := drain(t, other); !slices.Equal(rest, numbers(0, 3)) {
					t.Errorf("items left: got %q, want %q", rest, numbers(0, 3))
				}
			})
		})
	}
}

// A handle has one ledger znode of each kind: put, take and txn. unmark applies `fate` to the
// handle's next transaction that sets the ledger znode of the given kind. Then the handle sends the
// transaction again, but another client deletes the ledger znode before the transaction arrives.
func unmark(t *testing.T, w *recipetest.World, s *recipetest.Client, kind string, fate zktest.Fate) {
	t.Helper()
	var mark string
	for _, node := range w.Nodes(path + "/marks") {
		if strings.Contains(node, "-"+kind+"-") {
			mark = node
		}
	}
	w.Inject(zktest.Rule{Op: "multi", Path: mark, Session: s.ID(), Fate: fate})
	w.Inject(zktest.Rule{Op: "multi", Path: mark, Session: s.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
	time.AfterFunc(time.Second, func() { recipetest.Check(t, w.Admin().Delete(t.Context(), mark, session.AnyVersion)) })
}

// An item is put once, even if the reply to the put is lost and another client then deletes the
// handle's ledger znode. Regression: the handle put the item again with a new ledger znode, so the
// queue had the item twice.
//
// Covers Q2.
func TestItemIsPutOnceWhereTheMarkWasDeletedAfterALostReply(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "first"))
		unmark(t, w, s, "put", zktest.CloseBeforeReply)
		if err := q.Put(t.Context(), "second"); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("Put: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.Indeterminate)
		}
		recipetest.Check(t, q.Put(t.Context(), "third"))
		if got := drain(t, other); !slices.Equal(got, []string{"first", "second", "third"}) {
			t.Errorf("items: got %q, want %q", got, []string{"first", "second", "third"})
		}
	})
}

// An Ack does not report Failed if it was applied, even if its reply is lost and another client
// then deletes the handle's ledger znode. Regression: such an Ack returned ErrRevoked with the
// outcome Failed.
//
// Covers Q10.
func TestAckIsNotDeniedWhereTheMarkWasDeletedAfterALostReply(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "first", "second"))
		recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Ack(t.Context()))
		c := recipetest.Must(q.Claim(t.Context()))
		unmark(t, w, s, "txn", zktest.CloseBeforeReply)
		if err := c.Ack(t.Context()); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("Ack: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.Indeterminate)
		}
	})
}

// If the outcome of an Ack or Release is Indeterminate, the claim is over, and the item is given
// back if the transaction is not applied. Regression: the item stayed claimed while the session
// lived, although the claim's context had ended.
//
// Covers Q8, Q11.
func TestClaimIsOverWhateverComesOfACallThatWasGivenUp(t *testing.T) {
	none := session.SetOp{Path: "/app", Version: 99}
	calls := map[string]func(*testing.T, *recipetest.World, *recipetest.Client, *queue.Claim[string]) error{
		"ack that is refused later": func(t *testing.T, w *recipetest.World, s *recipetest.Client, c *queue.Claim[string]) error {
			w.Inject(zktest.Rule{Op: "multi", Path: path + "/marks/*", Session: s.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			return c.Ack(ctx, none)
		},
		"ack that did not arrive": func(t *testing.T, w *recipetest.World, s *recipetest.Client, c *queue.Claim[string]) error {
			unmark(t, w, s, "txn", zktest.CloseBeforeRequest)
			return c.Ack(t.Context())
		},
		"release that did not arrive": func(t *testing.T, w *recipetest.World, s *recipetest.Client, c *queue.Claim[string]) error {
			unmark(t, w, s, "txn", zktest.CloseBeforeRequest)
			return c.Release(t.Context())
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, s := newQueue(w, queue.Options[string]{})
				other, _ := newQueue(w, queue.Options[string]{})
				recipetest.Check(t, q.Put(t.Context(), "a", "b"))
				recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Ack(t.Context()))
				c := recipetest.Must(q.Claim(t.Context()))
				if err := call(t, w, s, c); session.OutcomeOf(err) != session.Indeterminate {
					t.Errorf("%s: got %v, outcome %v, want %v", name, err, session.OutcomeOf(err), session.Indeterminate)
				}
				if context.Cause(c.Context()) != queue.ErrNotClaimed {
					t.Errorf("cause of the claim's context: got %v, want %v", context.Cause(c.Context()), queue.ErrNotClaimed)
				}
				if err := c.Release(t.Context()); session.OutcomeOf(err) != session.Failed {
					t.Errorf("Release: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.Failed)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if rest := drain(t, other); !slices.Equal(rest, []string{"b"}) {
					t.Errorf("items left: got %q, want %q", rest, "b")
				}
			})
		})
	}
}

// Release returns even if an earlier Ack was never processed. In this test, the caller stops
// waiting for the Ack, and the session ends before a server processes it. Regression: a deferred
// Release never returned in this case.
//
// Covers Q8.
func TestReleaseBehindAnAckThatNeverRan(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		c := recipetest.Must(q.Claim(t.Context()))
		giveUp := func(what string, f func(ctx context.Context) error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
			defer cancel()
			if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want %v", what, err, context.DeadlineExceeded)
			}
		}
		w.Inject(zktest.Rule{Op: "getData", Path: "/slow", Fate: zktest.DelayRequest, Delay: time.Minute})
		// The requests of the Ack are processed only after this slow request of the same session.
		giveUp("Get of /slow", func(ctx context.Context) error {
			_, err := s.Get(ctx, "/slow")
			return err
		})
		giveUp("Ack", func(ctx context.Context) error { return c.Ack(ctx) })
		s.Lose()
		<-s.Done()
		w.Within(time.Second, "release", func(ctx context.Context) error {
			if err := c.Release(ctx); errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		})
	})
}

// A put can still be sent after the caller of Put has stopped waiting. The caller may reuse its
// buffer meanwhile, so the put must send a copy.
//
// Covers Q1.
func TestPutThatWasGivenUpDoesNotReadTheCallersBuffer(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		s := w.Client()
		q := queue.New(s.Session, path, queue.Options[[]byte]{Codec: queue.Bytes()})
		w.Inject(zktest.Rule{Op: "exists", Session: s.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		buffer := []byte("put")
		if err := q.Put(ctx, buffer); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("Put: got %v, outcome %v, want outcome %v",
				err, session.OutcomeOf(err), session.Indeterminate)
		}
		copy(buffer, "new")
		time.Sleep(time.Second)
		if got := drainBytes(t, q); !slices.Equal(got, []string{"put"}) {
			t.Errorf("items: got %q, want %q", got, "put")
		}
	})
}

// The type `garbled` is a function that serves as a codec. Its Decode calls the function and then
// fails.
type garbled func()

func (garbled) Encode(v string) ([]byte, error) { return []byte(v), nil }
func (g garbled) Decode([]byte) (string, error) { g(); return "", errors.New("garbled") }

// An item that does not decode is moved to the dead letters, even if the context of the Take or of
// the loop ends during Decode. Regression: the item was lost.
//
// Covers Q3, Q11.
func TestItemThatDoesNotDecodeIsKeptThoughTheCallerHasGone(t *testing.T) {
	calls := map[string]func(context.Context, *queue.Queue[string]) error{
		"take": func(ctx context.Context, q *queue.Queue[string]) error {
			_, err := q.Take(ctx)
			return err
		},
		"loop": func(ctx context.Context, q *queue.Queue[string]) error {
			for _, err := range q.Items(ctx) {
				return err
			}
			return nil
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				ctx, cancel := context.WithCancel(t.Context())
				q := queue.New(w.Client().Session, path, queue.Options[string]{Codec: garbled(cancel)})
				recipetest.Check(t, q.Put(ctx, "a"))
				if err := call(ctx, q); !errors.As(err, new(*queue.DecodeError)) {
					t.Errorf("got error %v, want a DecodeError", err)
				}
				synctest.Wait()
				bytes := queue.New(w.Client().Session, path, queue.Options[[]byte]{Codec: queue.Bytes()})
				if dead := drainBytes(t, bytes.DeadLetters()); !slices.Equal(dead, []string{"a"}) {
					t.Errorf("dead letters: got %q, want %q", dead, "a")
				}
			})
		})
	}
}

// If the context of a Take ends after the Take has deleted an item, the item is put back, even if
// other consumers have drained the item's segment meanwhile. But if a client has deleted the queue
// meanwhile, the item is not put back. Regression: when the queue was deleted, the handle retried
// without a pause, which blocked all other calls of the handle.
//
// Covers Q3, Q6.
func TestItemIsGivenBackUnlessTheQueueWasDeleted(t *testing.T) {
	remake := func(t *testing.T, w *recipetest.World, other *queue.Queue[string]) {
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		again := queue.New(w.Client().Session, path, queue.Options[string]{})
		recipetest.Check(t, again.Put(t.Context(), "new"))
	}
	cases := map[string]struct {
		segment   int // number of the segment that contains the item
		meanwhile func(t *testing.T, w *recipetest.World, other *queue.Queue[string])
		want      []string
	}{
		"drained": {0, func(t *testing.T, w *recipetest.World, other *queue.Queue[string]) {
			for range inSegment {
				recipetest.Check(t, other.Put(t.Context(), "x"))
				recipetest.Must(other.Take(t.Context()))
			}
			if _, err := other.TryTake(t.Context()); !errors.Is(err, queue.ErrEmpty) {
				t.Errorf("TryTake: got error %v, want %v", err, queue.ErrEmpty)
			}
			if nodes := w.Nodes(path + "/items/0"); len(nodes) != 1 {
				t.Errorf("segments: got %q, want the drained one to be deleted", nodes)
			}
		}, []string{"taken"}},
		"deleted": {0, func(t *testing.T, w *recipetest.World, _ *queue.Queue[string]) {
			recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		}, nil},
		"created again": {0, remake, []string{"new"}},
		"created again, with more to a node": {0, func(t *testing.T, w *recipetest.World, _ *queue.Queue[string]) {
			recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
			again := queue.New(w.Client().Session, path, queue.Options[string]{})
			recipetest.Check(t, again.Put(t.Context(), numbers(0, 3)...))
		}, numbers(0, 3)},
		"created again, with fewer segments": {1, remake, []string{"new"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, s := newQueue(w, queue.Options[string]{})
				other, _ := newQueue(w, queue.Options[string]{})
				for range c.segment * inSegment {
					recipetest.Check(t, other.Put(t.Context(), "x"))
					recipetest.Must(other.Take(t.Context()))
				}
				recipetest.Check(t, other.Put(t.Context(), "taken"))
				w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: 2 * time.Second})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := q.Take(ctx); session.OutcomeOf(err) != session.Indeterminate {
					t.Errorf("Take: got %v, outcome %v, want outcome %v",
						err, session.OutcomeOf(err), session.Indeterminate)
				}
				c.meanwhile(t, w, other)
				time.Sleep(2 * time.Second)
				w.Within(time.Minute, "take", func(ctx context.Context) error {
					for _, want := range c.want {
						if got, err := q.TryTake(ctx); got != want {
							t.Errorf("TryTake: got %q, %v, want %q", got, err, want)
						}
					}
					_, err := q.TryTake(ctx)
					if errors.Is(err, queue.ErrEmpty) {
						return nil
					}
					return err
				})
				if nodes := w.Nodes(path + "/items/0"); len(nodes) != 1 {
					t.Errorf("segments: got %q, want one", nodes)
				}
			})
		})
	}
}

// A delayed item is put once, even if the reply to the PutAt is lost and another client then
// deletes the handle's ledger znode. Regression: the handle put the item again with a new ledger
// znode, so the queue had the item twice.
//
// Covers Q2, Q13.
func TestDelayedItemIsPutOnceWhereTheMarkWasDeletedAfterALostReply(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		later := time.Now().Add(time.Minute)
		recipetest.Check(t, q.PutAt(t.Context(), later, "first"))
		unmark(t, w, s, "txn", zktest.CloseBeforeReply)
		if err := q.PutAt(t.Context(), later, "second"); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("PutAt: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.Indeterminate)
		}
		time.Sleep(2 * time.Minute)
		if got := drain(t, q); !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("items: got %q, want %q", got, []string{"first", "second"})
		}
	})
}

// No item stays claimed if another client deletes the handle's ledger znode right after the
// transaction that claims the item. Regression: Claim failed, and the item stayed claimed while the
// session lived.
//
// Covers Q8.
func TestClaimWhoseMarkIsDeletedBehindItLeavesNothingClaimed(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		slow := w.Inject(zktest.Rule{Op: "exists", Path: path + "/marks/*", Session: s.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
		time.AfterFunc(time.Second, func() {
			for _, mark := range w.Nodes(path + "/marks") {
				if strings.Contains(mark, "-take-") {
					recipetest.Check(t, w.Admin().Delete(t.Context(), mark, session.AnyVersion))
				}
			}
		})
		c, err := q.Claim(t.Context())
		if slow.Fired() != 1 {
			t.Fatalf("delayed %d reads of the ledger znode, want 1", slow.Fired())
		}
		if err == nil {
			recipetest.Check(t, c.Release(t.Context()))
		}
		time.Sleep(time.Second)
		if rest := drain(t, other); !slices.Equal(rest, []string{"a"}) {
			t.Errorf("items left: got %q, want %q; Claim: %v", rest, "a", err)
		}
	})
}

// If the context of a ClaimBatch ends, all items that it has claimed are free again, even if
// another client has deleted the claim on one of them. Regression: the other items stayed claimed
// until the session ended.
//
// Covers Q8.
func TestOtherClaimsAreGivenBackWhereOneIsGone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, other.Put(t.Context(), numbers(0, 5)...))
		w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: 2 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.ClaimBatch(ctx, 5); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("ClaimBatch: got %v, outcome %v, want outcome %v",
				err, session.OutcomeOf(err), session.Indeterminate)
		}
		for _, node := range w.Nodes(path + "/items") {
			if strings.HasSuffix(node, "/2.2-0000000000/c") {
				recipetest.Check(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if rest := drain(t, other); !slices.Equal(rest, numbers(0, 5)) {
			t.Errorf("items left: got %q, want %q", rest, numbers(0, 5))
		}
	})
}

// If one of several Acks that share a transaction is refused, the other Acks succeed. The index in
// the error of the refused Ack refers to the ops of that Ack.
//
// Covers Q10.
func TestRefusedAckAmongOthers(t *testing.T) {
	const acks = 4
	for bad := range acks {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, s := newQueue(w, queue.Options[string]{})
				recipetest.Check(t, q.Put(t.Context(), numbers(0, acks+1)...))
				claims := recipetest.Must(q.ClaimBatch(t.Context(), acks+1))
				// While this Ack is in progress, the other Acks wait and form one batch.
				slow := w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
				go func() { recipetest.Check(t, claims[acks].Ack(t.Context())) }()
				synctest.Wait()
				errs := make([]error, acks)
				s.Requests()
				var work sync.WaitGroup
				for i, c := range claims[:acks] {
					work.Go(func() {
						ops := []session.Op{session.CreateOp{Path: "/" + c.Value()}}
						if i == bad {
							ops = append(ops, session.CheckOp{Path: "/app", Version: 99})
						}
						errs[i] = c.Ack(t.Context(), ops...)
					})
					synctest.Wait() // keeps the order of the calls
				}
				work.Wait()
				if n := strings.Count(s.Requests(), "multi"); slow.Fired() != 1 || n != 2 {
					t.Errorf("transactions: got %d, want 2; delayed %d replies, want 1", n, slow.Fired())
				}
				for i, c := range claims[:acks] {
					there := slices.Contains(w.Nodes("/"), "/"+c.Value())
					if i != bad {
						if errs[i] != nil || !there {
							t.Errorf("Ack %d: got %v, its effect is stored: %v, want success", i, errs[i], there)
						}
						continue
					}
					part := (*session.MultiError)(nil)
					if !errors.As(errs[i], &part) || part.Index != 1 || part.Path != "/app" || session.OutcomeOf(errs[i]) != session.Failed {
						t.Errorf("refused Ack: got %v, outcome %v, want a MultiError of op 1 on /app", errs[i], session.OutcomeOf(errs[i]))
					}
					if there || c.Context().Err() != nil {
						t.Errorf("after a refused Ack: effect stored %v, claim ended with %v, want neither", there, context.Cause(c.Context()))
					}
					recipetest.Check(t, c.Ack(t.Context()))
				}
				if rest := drain(t, q); len(rest) > 0 {
					t.Errorf("items left: got %q, want none", rest)
				}
			})
		})
	}
}

// In this test, two Acks share a transaction, and both create /x. The servers refuse the second
// Ack, because the first Ack creates /x already. Then the first Ack fails too, for another reason,
// so /x does not exist. Therefore the second Ack must be sent again, and succeeds. Regression: the
// second Ack failed with the error that /x exists.
//
// Covers Q10.
func TestRefusedOverAnAckThatFails(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), numbers(0, 3)...))
		claims := recipetest.Must(q.ClaimBatch(t.Context(), 3))
		// While this Ack is in progress, the other two Acks wait and form one batch.
		slow := w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
		go func() { recipetest.Check(t, claims[2].Ack(t.Context())) }()
		synctest.Wait()
		s.Before("multi", func() { // before the transaction of both calls
			s.Before("multi", func() { // before the transaction of the first call alone
				recipetest.Must(w.Admin().Set(t.Context(), "/app", nil, session.AnyVersion))
			})
		})
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			first <- claims[0].Ack(t.Context(), session.CheckOp{Path: "/app", Version: 0}, session.CreateOp{Path: "/x"})
		}()
		synctest.Wait() // keeps the order of the calls
		go func() { second <- claims[1].Ack(t.Context(), session.CreateOp{Path: "/x"}) }()
		if err := <-first; slow.Fired() != 1 || !errors.Is(err, session.ErrBadVersion) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("first Ack: got %v, outcome %v, want %v; delayed %d replies, want 1", err, session.OutcomeOf(err), session.ErrBadVersion, slow.Fired())
		}
		if err, there := <-second, slices.Contains(w.Nodes("/"), "/x"); err != nil || !there {
			t.Errorf("second Ack: got %v, /x is stored: %v, want success", err, there)
		}
	})
}

// Each item is delivered exactly once, or at most once if the client loses its session. In this
// test, the reply to a request is lost, and the client moves to a lagging server, which does not
// have the result of the request yet.
//
// Covers Q2, Q3, Q7, Q10, Q11, Q13.
func TestLostReplyAndAServerThatLags(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		at, lags := (tr.Leader()+1)%3, (tr.Leader()+2)%3
		s := tr.Client(func(o *session.Options) {
			o.Servers = []string{tr.Servers()[at], tr.Servers()[lags]}
			// Without this option, the lease would lapse, because the lagging server would answer
			// each heartbeat too late.
			o.UnsafeHoldUntilLost = true
		})
		if s.Server() != tr.Servers()[at] {
			lags = at
		}
		q := queue.New(s.Session, path, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		tr.Lag(lags, 2*time.Second)
		recipetest.Check(t, other.Put(t.Context(), "a", "b"))
		time.Sleep(3 * time.Second)
		tr.Strike(s)
		times := map[string]int{}
		check := func(err error) {
			if err != nil && !tr.Loses() {
				t.Helper()
				t.Error(err)
			}
			// Wait until the lagging server has caught up: it refuses a client that has seen a
			// newer state than the server has.
			time.Sleep(3 * time.Second)
		}
		claim := func(end func(*queue.Claim[string]) error) {
			c, err := q.Claim(t.Context())
			if err == nil {
				err = end(c)
			}
			check(err)
		}
		check(q.Put(t.Context(), "c"))
		check(q.PutAt(t.Context(), time.Now().Add(time.Second), "d"))
		item, err := q.Take(t.Context())
		if err == nil {
			times[item]++
		}
		check(err)
		claim(func(c *queue.Claim[string]) error { return c.Release(t.Context()) })
		claim(func(c *queue.Claim[string]) error {
			return c.Ack(t.Context(), session.CreateOp{Path: "/app/" + c.Value()})
		})
		claim(func(c *queue.Claim[string]) error { return c.Reject(t.Context()) })
		settle(tr)
		for _, item := range append(drain(t, other), drain(t, other.DeadLetters())...) {
			times[item]++
		}
		for _, item := range []string{"a", "b", "c", "d"} {
			n := times[item]
			if slices.Contains(tr.Nodes("/app"), "/app/"+item) {
				n++
			}
			if n > 1 || n < 1 && !tr.Loses() {
				t.Errorf("%s: got it %d times, want once", item, n)
			}
		}
	})
}
