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

// drain takes all there is and claimable, through a session of its own.
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

// settle waits until clean-up has ended, and the lost session has expired.
func settle(tr *recipetest.Trial) {
	if tr != nil && tr.Loses() {
		time.Sleep(2 * recipetest.Timeout)
	}
	synctest.Wait()
}

// An item put is there once if Put said so, not at all if it said Failed, and
// at most once otherwise.
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
				t.Errorf("put: %v", err)
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
				t.Errorf("%s: put %v, there %d times", item, effect, n)
			}
		}
	})
}

// kazoo's Queue.get loses the item when the reply to its delete is lost.
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
				t.Errorf("take: %v", err)
			}
		}
		settle(tr)
		rest := drain(t, other)
		all := append(got, rest...)
		slices.Sort(all)
		if n := len(slices.Compact(slices.Clone(all))); n != len(all) || n < 5-unknown {
			t.Errorf("taken %v, rest %v, %d unknown", got, rest, unknown)
		}
		if !slices.IsSorted(append(got, rest...)) {
			t.Errorf("out of order: %v, then %v", got, rest)
		}
	})
}

// Nor is anything lost, or anybody asleep, where the consumer had to wait.
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
			t.Fatal("asleep")
		}
		if got.err != nil && !tr.Loses() {
			t.Errorf("take: %v", got.err)
		}
		settle(tr)
		rest := drain(t, other)
		switch session.OutcomeOf(got.err) {
		case session.OK:
			if len(rest) > 0 {
				t.Errorf("taken, and %v left", rest)
			}
		case session.Failed:
			if len(rest) != 1 {
				t.Errorf("not taken, and %v left", rest)
			}
		}
	})
}

// Covers Q2, Q3, Q5.
func TestTryTakeAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		tr.Strike(s)
		if _, err := q.TryTake(t.Context()); !errors.Is(err, queue.ErrEmpty) && !tr.Loses() {
			t.Errorf("take: %v", err)
		}
		recipetest.Check(t, other.Put(t.Context(), "a"))
		if item, err := q.TryTake(t.Context()); item != "a" && !tr.Loses() || errors.Is(err, queue.ErrEmpty) {
			t.Errorf("took %q, %v", item, err)
		}
	})
}

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
			t.Errorf("reject: %v", err)
		}
		settle(tr)
		rest, dead := drain(t, other), drain(t, other.DeadLetters())
		if len(rest)+len(dead) != 1 || err == nil && len(dead) != 1 {
			t.Errorf("left %v, dead %v, error %v", rest, dead, err)
		}
	})
}

// kazoo's LockingQueue.consume said true though its transaction failed.
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
				t.Errorf("claim: %v", err)
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
				t.Errorf("%s: effect %v, still in the queue %v", item, acked, there)
			}
			if e, ok := effects[item]; ok && (e == session.OK && !acked || e == session.Failed && acked) {
				t.Errorf("%s: ack %v, effect %v", item, e, acked)
			}
		}
	})
}

// CURATOR-45, Shopify/zk: a cancelled call leaves its node behind.
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
			t.Errorf("%d taken, rest %v", n, rest)
		}
		for _, p := range w.Nodes(path) {
			if strings.Contains(p, "-take-") && strings.Contains(p, "/waiters/") {
				t.Errorf("left behind: %s", p)
			}
		}
	})
}

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
			t.Errorf("%d acked, rest %v", acked, rest)
		}
	})
}

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
					t.Fatalf("fired %d, error %v", slow.Fired(), err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if rest := drain(t, other); !slices.Equal(rest, numbers(0, 3)) {
					t.Errorf("rest %v", rest)
				}
			})
		})
	}
}

// unmark lets a fate strike the next transaction of a kind, and somebody delete
// the handle's mark before it is sent again.
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

// Put again under a new mark, an item was there twice.
//
// Covers Q2.
func TestItemIsPutOnceWhereTheMarkWasDeletedAfterALostReply(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "first"))
		unmark(t, w, s, "put", zktest.CloseBeforeReply)
		if err := q.Put(t.Context(), "second"); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("put: %v, %v", session.OutcomeOf(err), err)
		}
		recipetest.Check(t, q.Put(t.Context(), "third"))
		if got := drain(t, other); !slices.Equal(got, []string{"first", "second", "third"}) {
			t.Errorf("took %q", got)
		}
	})
}

// An Ack that was applied said Failed, and that the claim was revoked.
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
			t.Errorf("ack: %v, %v", session.OutcomeOf(err), err)
		}
	})
}

// The item of a call that was given up and then failed stayed claimed for as long
// as the session lived, though the caller had been told that the claim is over.
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
					t.Errorf("%v: %v", session.OutcomeOf(err), err)
				}
				if context.Cause(c.Context()) != queue.ErrNotClaimed {
					t.Errorf("the claim ended with %v", context.Cause(c.Context()))
				}
				if err := c.Release(t.Context()); session.OutcomeOf(err) != session.Failed {
					t.Errorf("release: %v", err)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if rest := drain(t, other); !slices.Equal(rest, []string{"b"}) {
					t.Errorf("left are %q", rest)
				}
			})
		})
	}
}

// A deferred Release hung for ever where the session had ended before what an
// Ack that was given up had begun could run.
//
// Covers Q8.
func TestReleaseBehindAnAckThatNeverRan(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		c := recipetest.Must(q.Claim(t.Context()))
		giveUp := func(f func(ctx context.Context) error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
			defer cancel()
			if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("not given up: %v", err)
			}
		}
		w.Inject(zktest.Rule{Op: "getData", Path: "/slow", Fate: zktest.DelayRequest, Delay: time.Minute})
		giveUp(func(ctx context.Context) error { _, err := s.Get(ctx, "/slow"); return err }) // clean-up comes behind it
		giveUp(func(ctx context.Context) error { return c.Ack(ctx) })
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

// A put that was given up before it was sent may be sent yet. The caller has the
// buffer back by then.
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
			t.Errorf("put: %v", err)
		}
		copy(buffer, "new")
		time.Sleep(time.Second)
		if got := drainBytes(t, q); !slices.Equal(got, []string{"put"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A garbled codec decodes nothing, and calls a hook first.
type garbled func()

func (garbled) Encode(v string) ([]byte, error) { return []byte(v), nil }
func (g garbled) Decode([]byte) (string, error) { g(); return "", errors.New("garbled") }

// A take, or a round of a loop, had an item that it could not decode and whose caller had gone: it was lost.
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
					t.Error(err)
				}
				synctest.Wait()
				bytes := queue.New(w.Client().Session, path, queue.Options[[]byte]{Codec: queue.Bytes()})
				if dead := drainBytes(t, bytes.DeadLetters()); !slices.Equal(dead, []string{"a"}) {
					t.Errorf("dead letters %q", dead)
				}
			})
		})
	}
}

// What was taken for a caller who has gone goes back to a segment that others
// have drained meanwhile, and nowhere if somebody has deleted the queue: it was
// tried without pause then, and who used the same handle had to wait.
//
// Covers Q3, Q6.
func TestItemIsGivenBackUnlessTheQueueWasDeleted(t *testing.T) {
	const inSegment = 256
	remake := func(t *testing.T, w *recipetest.World, other *queue.Queue[string]) {
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		again := queue.New(w.Client().Session, path, queue.Options[string]{})
		recipetest.Check(t, again.Put(t.Context(), "new"))
	}
	cases := map[string]struct {
		segment   int // that the item is in
		meanwhile func(t *testing.T, w *recipetest.World, other *queue.Queue[string])
		want      []string
	}{
		"drained": {0, func(t *testing.T, w *recipetest.World, other *queue.Queue[string]) {
			for range inSegment {
				recipetest.Check(t, other.Put(t.Context(), "x"))
				recipetest.Must(other.Take(t.Context()))
			}
			if _, err := other.TryTake(t.Context()); !errors.Is(err, queue.ErrEmpty) {
				t.Error(err)
			}
			if nodes := w.Nodes(path + "/items/0"); len(nodes) != 1 {
				t.Errorf("not drained: %q", nodes)
			}
		}, []string{"taken"}},
		"deleted": {0, func(t *testing.T, w *recipetest.World, _ *queue.Queue[string]) {
			recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		}, nil},
		"made anew": {0, remake, []string{"new"}},
		"made anew, with more to a node": {0, func(t *testing.T, w *recipetest.World, _ *queue.Queue[string]) {
			recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
			again := queue.New(w.Client().Session, path, queue.Options[string]{})
			recipetest.Check(t, again.Put(t.Context(), numbers(0, 3)...))
		}, numbers(0, 3)},
		"made anew, with less segments": {1, remake, []string{"new"}},
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
					t.Errorf("take: %v", err)
				}
				c.meanwhile(t, w, other)
				time.Sleep(2 * time.Second)
				w.Within(time.Minute, "take", func(ctx context.Context) error {
					for _, want := range c.want {
						if got, err := q.TryTake(ctx); got != want {
							t.Errorf("took %q, %v; want %q", got, err, want)
						}
					}
					_, err := q.TryTake(ctx)
					if errors.Is(err, queue.ErrEmpty) {
						return nil
					}
					return err
				})
				if nodes := w.Nodes(path + "/items/0"); len(nodes) != 1 {
					t.Errorf("left are %q", nodes)
				}
			})
		})
	}
}

// Put again under a new mark, a delayed item was there twice.
//
// Covers Q2, Q13.
func TestDelayedItemIsPutOnceWhereTheMarkWasDeletedAfterALostReply(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		later := time.Now().Add(time.Minute)
		recipetest.Check(t, q.PutAt(t.Context(), later, "first"))
		unmark(t, w, s, "txn", zktest.CloseBeforeReply)
		if err := q.PutAt(t.Context(), later, "second"); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("put: %v, %v", session.OutcomeOf(err), err)
		}
		time.Sleep(2 * time.Minute)
		if got := drain(t, q); !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("took %q", got)
		}
	})
}

// The call failed, and its item stayed claimed for as long as the session lived.
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
			t.Fatal("not asked for")
		}
		if err == nil {
			recipetest.Check(t, c.Release(t.Context()))
		}
		time.Sleep(time.Second)
		if rest := drain(t, other); !slices.Equal(rest, []string{"a"}) {
			t.Errorf("claim: %v; left are %q", err, rest)
		}
	})
}

// One of several that were claimed for a caller who had gone was deleted, and the
// others stayed claimed for as long as the session lived.
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
			t.Errorf("claim: %v", err)
		}
		for _, node := range w.Nodes(path + "/items") {
			if strings.HasSuffix(node, "/2.2-0000000000/c") {
				recipetest.Check(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if rest := drain(t, other); !slices.Equal(rest, numbers(0, 5)) {
			t.Errorf("left are %q", rest)
		}
	})
}

// Of calls that share a transaction one is refused. It does not take the others
// with it, and the error is of that one's ops.
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
				// While the last one is under way the others gather.
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
					synctest.Wait() // in this order
				}
				work.Wait()
				if n := strings.Count(s.Requests(), "multi"); slow.Fired() != 1 || n != 2 {
					t.Errorf("%d transactions", n)
				}
				for i, c := range claims[:acks] {
					there := slices.Contains(w.Nodes("/"), "/"+c.Value())
					if i != bad {
						if errs[i] != nil || !there {
							t.Errorf("ack %d: %v, its effect is there: %v", i, errs[i], there)
						}
						continue
					}
					part := (*session.MultiError)(nil)
					if !errors.As(errs[i], &part) || part.Index != 1 || part.Path != "/app" || session.OutcomeOf(errs[i]) != session.Failed {
						t.Errorf("refused ack: %v", errs[i])
					}
					if there || c.Context().Err() != nil {
						t.Errorf("refused, and its effect is there: %v; its claim: %v", there, context.Cause(c.Context()))
					}
					recipetest.Check(t, c.Ack(t.Context()))
				}
				if rest := drain(t, q); len(rest) > 0 {
					t.Errorf("left are %q", rest)
				}
			})
		})
	}
}

// The reply to a request is lost, and the server that the client moves to does not
// know yet what became of it.
//
// Covers Q2, Q3, Q7, Q10, Q11, Q13.
func TestLostReplyAndAServerThatLags(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		at, lags := (tr.Leader()+1)%3, (tr.Leader()+2)%3
		s := tr.Client(func(o *session.Options) {
			o.Servers = []string{tr.Servers()[at], tr.Servers()[lags]}
			o.UnsafeHoldUntilLost = true // no lease stands where each answer takes that long
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
			time.Sleep(3 * time.Second) // the server that lags takes the client only if it knows what that has seen
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
				t.Errorf("%s is there %d times", item, n)
			}
		}
	})
}
