package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// A handle's server may answer reads from an old state. Even a leader can do so (ZOOKEEPER-1675),
// because it may be deposed, or behind its own followers. Nevertheless each call must act on what
// another client has put, taken or deleted before the call.
//
// Each case runs with a new handle and with a used handle. A new handle first creates its ledger
// znode, and the server answers this write only after it has caught up. A used handle has its
// ledger znode already.
//
// Covers Q5, Q9, Q12.
func TestServerThatIsBehind(t *testing.T) {
	type pair struct{ behind, other *queue.Queue[string] }
	cases := map[string]struct {
		before func(t *testing.T, q pair) // runs while no server lags
		then   func(t *testing.T, q pair, remake func(less int))
	}{
		"empty": {nil, func(t *testing.T, q pair, _ func(int)) {
			recipetest.Check(t, q.other.Put(t.Context(), "a"))
			if v, err := q.behind.TryTake(t.Context()); err != nil || v != "a" {
				t.Errorf("TryTake: got %q, %v, want %q", v, err, "a")
			}
		}},
		"empty before the queue was made again": {nil, func(t *testing.T, q pair, remake func(int)) {
			remake(1) // after the next put, the new queue has the same versions as the old one
			recipetest.Check(t, q.other.Put(t.Context(), "a"))
			if v, err := q.behind.TryTake(t.Context()); err != nil || v != "a" {
				t.Errorf("TryTake: got %q, %v, want %q", v, err, "a")
			}
		}},
		"peek": {nil, func(t *testing.T, q pair, _ func(int)) {
			recipetest.Check(t, q.other.Put(t.Context(), "a"))
			if v, err := q.behind.Peek(t.Context()); err != nil || v != "a" {
				t.Errorf("Peek: got %q, %v, want %q", v, err, "a")
			}
		}},
		"peek at a taken item": {
			func(t *testing.T, q pair) { recipetest.Check(t, q.behind.Put(t.Context(), "a")) },
			func(t *testing.T, q pair, _ func(int)) {
				recipetest.Must(q.other.Take(t.Context()))
				if v, err := q.behind.Peek(t.Context()); !errors.Is(err, queue.ErrEmpty) {
					t.Errorf("Peek: got %q, %v, want %v", v, err, queue.ErrEmpty)
				}
			}},
		"peek at a deleted item": {
			func(t *testing.T, q pair) { recipetest.Check(t, q.behind.Put(t.Context(), "old")) },
			func(t *testing.T, q pair, remake func(int)) {
				remake(0) // the new item has the same name as the old one
				recipetest.Check(t, q.other.Put(t.Context(), "new"))
				if v, err := q.behind.Peek(t.Context()); err != nil || v != "new" {
					t.Errorf("Peek: got %q, %v, want %q", v, err, "new")
				}
			}},
		"length": {nil, func(t *testing.T, q pair, _ func(int)) {
			recipetest.Check(t, q.other.Put(t.Context(), "a"))
			if n, err := q.behind.Len(t.Context()); err != nil || n != 1 {
				t.Errorf("Len: got %d, %v, want 1", n, err)
			}
		}},
		"limit": {nil, func(t *testing.T, q pair, _ func(int)) {
			recipetest.Check(t, q.other.Put(t.Context(), "a", "b"))
			if err := q.behind.TryPut(t.Context(), "c"); !errors.Is(err, queue.ErrFull) {
				t.Errorf("TryPut to a full queue: got %v, want %v", err, queue.ErrFull)
			}
		}},
		"priority": {
			func(t *testing.T, q pair) { recipetest.Check(t, q.behind.PutPriority(t.Context(), 1, "later")) },
			func(t *testing.T, q pair, _ func(int)) {
				recipetest.Check(t, q.other.Put(t.Context(), "first"))
				if v, err := q.behind.Take(t.Context()); err != nil || v != "first" {
					t.Errorf("Take: got %q, %v, want %q", v, err, "first")
				}
			}},
		"priority of a claim": {
			func(t *testing.T, q pair) { recipetest.Check(t, q.behind.PutPriority(t.Context(), 1, "later")) },
			func(t *testing.T, q pair, _ func(int)) {
				recipetest.Check(t, q.other.Put(t.Context(), "first"))
				c, err := q.behind.Claim(t.Context())
				recipetest.Check(t, err)
				if c.Value() != "first" {
					t.Errorf("Claim: got a claim of %q, want one of %q", c.Value(), "first")
				}
			}},
	}
	for name, c := range cases {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/used=%v", name, used), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					leader := w.Leader()
					behind, other := w.Client(w.On(leader)), w.Client(w.On((leader+1)%3))
					o := queue.Options[string]{Priorities: 2}
					if name == "limit" {
						o.Limit = 2
					}
					q := pair{queue.New(behind.Session, path, o), queue.New(other.Session, path, o)}
					recipetest.Check(t, q.other.Put(t.Context(), "warm"))
					recipetest.Must(q.other.Take(t.Context()))
					if used { // the handle has listed each priority and has all its ledger znodes
						recipetest.Check(t, q.behind.PutPriority(t.Context(), 1, "warm"))
						recipetest.Must(q.behind.Take(t.Context()))
						recipetest.Check(t, q.behind.PutPriority(t.Context(), 1, "warm"))
						recipetest.Check(t, recipetest.Must(q.behind.Claim(t.Context())).Ack(t.Context()))
						recipetest.Check(t, q.other.Put(t.Context(), "warm"))
						recipetest.Must(q.behind.Peek(t.Context()))
						recipetest.Must(q.behind.Take(t.Context()))
					}
					if c.before != nil {
						c.before(t, q)
					}
					w.Lag(leader, 2*time.Second)
					c.then(t, q, func(less int) {
						// Delete the queue and repeat the puts and takes, so that the new queue
						// gets the versions and names of the old one. Omit `less` puts of priority
						// 0, and their takes: the case itself makes these puts later.
						recipetest.Check(t, other.DeleteAll(t.Context(), path))
						n := 1
						if used {
							n++
						}
						for range n - less {
							recipetest.Check(t, q.other.Put(t.Context(), "warm"))
							recipetest.Must(q.other.Take(t.Context()))
						}
						for i := 1; used && i <= 2; i++ {
							recipetest.Check(t, q.other.PutPriority(t.Context(), 1, "warm"))
							recipetest.Must(q.other.Take(t.Context()))
						}
					})
				})
			})
		}
	}
}

// TryTake must find an item that a put has just stored in a new segment, although the consumer's
// server lags and does not show this put. A put that opens a new segment does not change the
// version of the segment that was open before. So TryTake must not rely on this version alone. If
// `later` is true, the queue also has an item with a larger priority number.
//
// Covers Q5, Q12.
func TestServerThatIsBehindASegment(t *testing.T) {
	for _, later := range []bool{false, true} {
		t.Run(fmt.Sprintf("later=%v", later), func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				leader := w.Leader()
				o := queue.Options[string]{Priorities: 2}
				behind := queue.New(w.Client(w.On(leader)).Session, path, o)
				other := queue.New(w.Client(w.On((leader+1)%3)).Session, path, o)
				for range inSegment {
					recipetest.Check(t, other.Put(t.Context(), "warm"))
					recipetest.Must(other.Take(t.Context()))
				}
				recipetest.Check(t, behind.PutPriority(t.Context(), 1, "warm"))
				recipetest.Must(behind.Take(t.Context()))
				if later {
					recipetest.Check(t, behind.PutPriority(t.Context(), 1, "later"))
				}
				w.Lag(leader, 2*time.Second)
				recipetest.Check(t, other.Put(t.Context(), "first"))
				if v, err := behind.TryTake(t.Context()); err != nil || v != "first" {
					t.Errorf("TryTake: got %q, %v, want %q", v, err, "first")
				}
			})
		})
	}
}

// tryTake starts a TryTake. The channel receives the item, or the text of the error.
func tryTake(t *testing.T, q *queue.Queue[string]) <-chan string {
	got := make(chan string, 1)
	go func() {
		item, err := q.TryTake(t.Context())
		if err != nil {
			item = err.Error()
		}
		got <- item
	}()
	return got
}

// TryTake does not fail with ErrEmpty if the queue was never empty during the call. In this test,
// TryTake makes two reads. Between the reads, a producer puts an item in the next segment, and a
// consumer takes the last item of the old segment. TryTake must return the item of the next
// segment.
//
// Covers Q5.
func TestEmptyIsOneMoment(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		for i := range inSegment - 1 {
			recipetest.Check(t, other.Put(t.Context(), numbers(i, 1)...))
			recipetest.Must(other.Take(t.Context()))
		}
		recipetest.Check(t, other.Put(t.Context(), "last of the segment"))
		slow := w.Inject(zktest.Rule{Op: "getChildren2", Path: path + "/items/0/*", Session: s.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
		got := tryTake(t, q)
		synctest.Wait()
		if slow.Fired() != 1 {
			t.Fatalf("delayed %d lists of a segment, want 1", slow.Fired())
		}
		recipetest.Check(t, other.Put(t.Context(), "first of the next"))
		recipetest.Must(other.Take(t.Context()))
		if v := <-got; v != "first of the next" {
			t.Errorf("TryTake: got %q, want %q", v, "first of the next")
		}
	})
}

// Four goroutines share a handle, and the queue has four items of different priorities. Each
// goroutine gets an item, and none gets ErrEmpty, although the goroutines share transactions and
// each transaction takes items of only one priority.
//
// Covers Q5.
func TestSharedHandleIsNotEmptyForTheSecond(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{Priorities: 4})
		for p := range 4 {
			recipetest.Check(t, q.PutPriority(t.Context(), p, numbers(p, 1)...))
		}
		w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
		results := make(chan error, 4)
		for range 4 {
			go func() {
				_, err := q.TryTake(t.Context())
				results <- err
			}()
		}
		for range 4 {
			recipetest.Check(t, <-results)
		}
	})
}

// A relaxed consumer finds an item although another consumer has just taken an item from the znode
// that the relaxed consumer is about to read. The remaining items are then in a znode with another
// name.
//
// Covers Q5.
func TestRelaxedConsumerFindsTheRest(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{Relaxed: true})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, other.Put(t.Context(), numbers(0, 4)...))
		slow := w.Inject(zktest.Rule{Op: "getData", Path: path + "/items/0/*/*", Session: s.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
		got := tryTake(t, q)
		synctest.Wait()
		if slow.Fired() != 1 {
			t.Fatalf("delayed %d reads of a znode, want 1", slow.Fired())
		}
		recipetest.Must(other.Take(t.Context()))
		if v := <-got; !slices.Contains(numbers(1, 3), v) {
			t.Errorf("TryTake: got %q, want one of %q", v, numbers(1, 3))
		}
	})
}

// A Take that ends while it waits has the outcome Failed: it has taken no item.
//
// Covers Q3.
func TestTakeThatEndsWhileItWaitsHasFailed(t *testing.T) {
	ends := map[string]func(t *testing.T, s *recipetest.Client, q *queue.Queue[string], cancel func()){
		"cancelled": func(_ *testing.T, _ *recipetest.Client, _ *queue.Queue[string], cancel func()) { cancel() },
		"lost":      func(_ *testing.T, s *recipetest.Client, _ *queue.Queue[string], _ func()) { s.Lose() },
		"closed": func(t *testing.T, _ *recipetest.Client, q *queue.Queue[string], _ func()) {
			recipetest.Check(t, q.Close(t.Context()))
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, s := newQueue(w, queue.Options[string]{})
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error)
				go func() {
					_, err := q.Take(ctx)
					result <- err
				}()
				synctest.Wait()
				end(t, s, q, cancel)
				if err := <-result; session.OutcomeOf(err) != session.Failed {
					t.Errorf("Take: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.Failed)
				}
			})
		})
	}
}

// Several callers share a transaction, and one of them requests math.MaxInt items. Regression: the
// total number of requested items overflowed an int, and no caller got an item.
//
// Covers Q5.
func TestRequestForAllItemsAmongOthers(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "first"))
		for range 600 {
			recipetest.Check(t, q.Put(t.Context(), "x"))
		}
		w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
		first := tryTake(t, q)
		synctest.Wait()
		all := make(chan []string, 1)
		go func() { all <- recipetest.Must(q.TakeBatch(t.Context(), math.MaxInt)) }()
		synctest.Wait()
		last := tryTake(t, q)
		if a, b := <-first, <-last; a != "first" || b != "x" {
			t.Errorf("TryTake: got %q and %q, want %q and %q", a, b, "first", "x")
		}
		if n := len(<-all); n < 100 {
			t.Errorf("TakeBatch: got %d items, want at least 100", n)
		}
	})
}
