package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Items are taken in the order of their puts, even if they are in several segments. Drained
// segments are deleted.
//
// Covers Q4.
func TestOrderOverManySegments(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p, _ := newQueue(w, queue.Options[string]{})
		q, _ := newQueue(w, queue.Options[string]{})
		want := numbers(0, 900)
		for _, item := range want {
			recipetest.Check(t, p.Put(t.Context(), item))
		}
		if n := recipetest.Must(q.Len(t.Context())); n != len(want) {
			t.Errorf("Len: got %d, want %d", n, len(want))
		}
		var got []string
		for len(got) < len(want) {
			got = append(got, recipetest.Must(q.TakeBatch(t.Context(), 100))...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("items: got %q, want %q", got, want)
		}
		drain(t, q)
		if left := w.Nodes(path + "/items"); len(left) != 2 {
			t.Errorf("znodes left of drained segments: got %v, want the level and its open segment",
				left)
		}
	})
}

// Two consumers take items in turns, and get them in the order of the puts, although each takes
// only a part of a znode's items at a time.
//
// Covers Q3, Q4.
func TestConsumersInTurnsKeepTheOrder(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, _ := newQueue(w, queue.Options[string]{})
		b, _ := newQueue(w, queue.Options[string]{})
		want := numbers(0, 200)
		for part := range slices.Chunk(want, 50) {
			recipetest.Check(t, a.Put(t.Context(), part...))
		}
		var got []string
		for i := 0; len(got) < len(want); i++ {
			q := []*queue.Queue[string]{a, b}[i%2]
			got = append(got, recipetest.Must(q.TakeBatch(t.Context(), 1+i%7))...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("items: got %q, want %q", got, want)
		}
	})
}

// If many consumers wait, a put makes at most two of them send requests: the first waiter and the
// next waiter. In the queues of other libraries, every consumer watches the whole list, so each put
// wakes all consumers.
//
// Covers Q6.
func TestPutWakesOneOfManyWaiters(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		const waiters = 20
		p, _ := newQueue(w, queue.Options[string]{})
		got := make(chan string, waiters)
		var waiting []*recipetest.Client
		for range waiters {
			q, s := newQueue(w, queue.Options[string]{})
			waiting = append(waiting, s)
			go func() {
				item, _ := q.Take(t.Context())
				got <- item
			}()
		}
		synctest.Wait()
		recipetest.Check(t, p.Put(t.Context(), "first"))
		<-got
		synctest.Wait()
		for _, s := range waiting {
			s.Requests()
		}
		recipetest.Check(t, p.Put(t.Context(), "a"))
		<-got
		busy := 0
		for _, s := range waiting {
			if s.Count() > 0 {
				busy++
			}
		}
		if busy > 2 {
			t.Errorf("waiters that a put wakes: got %d of %d, want at most 2, the first and the next", busy, waiters)
		}
		items := numbers(0, waiters-2)
		recipetest.Check(t, p.Put(t.Context(), items...))
		for range items {
			<-got
		}
	})
}

// Put, TakeBatch, ClaimBatch and Ack send as many requests for an item as doc.go says.
//
// Covers Q6.
func TestRequestsPerItem(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), numbers(0, 10)...))
		s.Count()
		const batches = 20
		for i := range batches {
			recipetest.Check(t, q.Put(t.Context(), numbers(i*50, 50)...))
		}
		if n := s.Count(); n != batches {
			t.Errorf("requests to put %d batches: got %d, want %d", batches, n, batches)
		}
		recipetest.Must(q.TakeBatch(t.Context(), 10)) // lists the segment and creates the ledger znode
		s.Count()
		for range batches {
			if items := recipetest.Must(q.TakeBatch(t.Context(), 50)); len(items) != 50 {
				t.Errorf("TakeBatch: got %d items, want 50", len(items))
			}
		}
		if asked := s.Requests(); len(strings.Fields(asked)) != 2*batches || strings.Contains(asked, "getChildren") {
			t.Errorf("requests to take %d batches: got %s, want two for each and no list", batches, asked)
		}
		for i := range batches {
			recipetest.Check(t, q.Put(t.Context(), numbers(i*50, 50)...))
		}
		c := recipetest.Must(q.ClaimBatch(t.Context(), 50))
		recipetest.Check(t, c[0].Ack(t.Context()))
		s.Count()
		c = recipetest.Must(q.ClaimBatch(t.Context(), 50))
		if n := s.Count(); n > 4 {
			t.Errorf("requests to claim 50 items: got %d, want at most 4", n)
		}
		// While the first Ack is in progress, the other Acks wait and form one batch.
		w.Inject(zktest.Rule{Op: "multi", Fate: zktest.DelayReply, Delay: time.Millisecond})
		done := make(chan error, len(c))
		for _, c := range c {
			go func() { done <- c.Ack(t.Context()) }()
		}
		for range c {
			recipetest.Check(t, <-done)
		}
		if n := s.Count(); n != 2 {
			t.Errorf("requests to ack 50 items: got %d, want 2", n)
		}
	})
}

// Many consumers share a queue, and each item is delivered to exactly one consumer. For comparison,
// in CURATOR-605 two consumers get the same item.
//
// Covers Q1, Q3.
func TestManyConsumersShareEachItemOnce(t *testing.T) {
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprintf("relaxed=%v", relaxed), func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				p, _ := newQueue(w, queue.Options[string]{})
				want := numbers(0, 300)
				got := make(chan string)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				const consumers = 5
				for i := range consumers {
					q, _ := newQueue(w, queue.Options[string]{Prefetch: 1 + i*3, Relaxed: relaxed})
					go func() {
						for item, err := range q.Items(ctx) {
							if err == nil {
								got <- item
							}
						}
						done <- struct{}{}
					}()
				}
				go func() {
					for part := range slices.Chunk(want, 7) {
						recipetest.Check(t, p.Put(t.Context(), part...))
					}
				}()
				var all []string
				for range want {
					all = append(all, <-got)
				}
				cancel()
				for range consumers {
					<-done
				}
				slices.Sort(all)
				if !slices.Equal(all, want) {
					t.Errorf("items: got %q, want %q", all, want)
				}
			})
		})
	}
}

// When a loop ends, or when its body takes too long, the items that the loop has not reached are
// given back.
//
// Covers Q8.
func TestLoopGivesBackWhatItDidNotGetTo(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{Prefetch: 10})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), numbers(0, 10)...))
		for _, err := range q.Items(t.Context()) {
			recipetest.Check(t, err)
			break
		}
		synctest.Wait()
		if rest := drain(t, other); !slices.Equal(rest, numbers(1, 9)) {
			t.Errorf("items left by Items: got %q, want %q", rest, numbers(1, 9))
		}
		recipetest.Check(t, q.Put(t.Context(), numbers(0, 10)...))
		for c, err := range q.Claims(t.Context()) {
			recipetest.Check(t, err)
			recipetest.Check(t, c.Ack(t.Context()))
			break
		}
		synctest.Wait()
		if rest := drain(t, other); !slices.Equal(rest, numbers(1, 9)) {
			t.Errorf("items left by Claims: got %q, want %q", rest, numbers(1, 9))
		}
		// A loop whose body takes long does not keep items from other consumers.
		recipetest.Check(t, q.Put(t.Context(), numbers(0, 10)...))
		for _, err := range q.Items(t.Context()) {
			recipetest.Check(t, err)
			time.Sleep(2 * recipetest.Timeout)
			if rest := drain(t, other); !slices.Equal(rest, numbers(1, 9)) {
				t.Errorf("items left while the body runs: got %q, want %q", rest, numbers(1, 9))
			}
			break
		}
	})
}

// When the session of a claimer expires, the claim ends, and a waiting consumer claims the item.
//
// Covers Q7, Q11.
func TestItemOfDeadClaimerIsClaimedAgain(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, s := newQueue(w, queue.Options[string]{})
		b, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, a.Put(t.Context(), "x"))
		first := recipetest.Must(a.Claim(t.Context()))
		if _, err := b.TryTake(t.Context()); !errors.Is(err, queue.ErrEmpty) {
			t.Errorf("TryTake of a claimed item: got %v, want %v", err, queue.ErrEmpty)
		}
		got := make(chan *queue.Claim[string], 1)
		go func() { got <- recipetest.Must(b.Claim(t.Context())) }()
		synctest.Wait()
		recipetest.Check(t, w.Expire(s.ID()))
		second := <-got
		if second.Value() != "x" || second.Attempt() != 2 || second.Token() <= first.Token() {
			t.Errorf("second claim: got %q, attempt %d, token %d, want %q, attempt 2, a token above %d", second.Value(), second.Attempt(), second.Token(), "x", first.Token())
		}
		<-first.Context().Done()
		if err := first.Ack(t.Context()); session.OutcomeOf(err) != session.Failed {
			t.Errorf("Ack of a lost claim: got %v, outcome %v, want outcome %v",
				err, session.OutcomeOf(err), session.Failed)
		}
		recipetest.Check(t, second.Ack(t.Context()))
	})
}

// A claim ends when its time (Options.ClaimFor) is up. Extend postpones this end. After the end,
// another consumer gets the item, and Ack and Extend fail.
//
// Covers Q7, Q8.
func TestClaimEndsWithItsTime(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{ClaimFor: time.Minute})
		b, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		c := recipetest.Must(q.Claim(t.Context()))
		time.Sleep(50 * time.Second)
		recipetest.Check(t, c.Extend(time.Minute))
		time.Sleep(50 * time.Second)
		if c.Context().Err() != nil {
			t.Errorf("extended claim: ended with %v, want it to continue", context.Cause(c.Context()))
		}
		if item := recipetest.Must(b.Take(t.Context())); item != "x" || !errors.Is(context.Cause(c.Context()), queue.ErrClaimExpired) {
			t.Errorf("Take: got %q, want %q; cause of the claim's context: got %v, want %v", item, "x", context.Cause(c.Context()), queue.ErrClaimExpired)
		}
		if err := c.Ack(t.Context()); !errors.Is(err, queue.ErrClaimExpired) {
			t.Errorf("Ack: got %v, want %v", err, queue.ErrClaimExpired)
		}
		if err := c.Extend(time.Minute); !errors.Is(err, queue.ErrClaimExpired) {
			t.Errorf("Extend: got %v, want %v", err, queue.ErrClaimExpired)
		}
	})
}

// If Extend is called at the moment when the claim's time is up, either Extend fails or the claim
// continues.
func TestExtensionAtTheLastMomentHolds(t *testing.T) {
	const claimFor = 3 * time.Second
	extended := 0
	for range 50 {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			q, _ := newQueue(w, queue.Options[string]{ClaimFor: claimFor})
			recipetest.Check(t, q.Put(t.Context(), "x"))
			c := recipetest.Must(q.Claim(t.Context()))
			err := make(chan error, 1)
			time.AfterFunc(claimFor, func() { err <- c.Extend(time.Minute) })
			if <-err != nil {
				return
			}
			extended++
			synctest.Wait()
			if cause := context.Cause(c.Context()); cause != nil {
				t.Errorf("extended claim: ended with %v, want it to continue", cause)
			}
		})
	}
	t.Logf("Extend succeeded %d times of 50", extended)
}

// When another client has deleted a claim, the claim can be neither extended nor acked.
func TestRevokedClaimIsNotExtended(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{ClaimFor: time.Hour})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		c := recipetest.Must(q.Claim(t.Context()))
		time.Sleep(recipetest.Timeout) // until the session watches the claim's znode
		for _, node := range w.Nodes(path + "/items") {
			if strings.HasSuffix(node, "/c") {
				recipetest.Check(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
			}
		}
		synctest.Wait()
		if err := c.Extend(time.Hour); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Extend: got %v, want %v", err, session.ErrRevoked)
		}
		if err := c.Ack(t.Context()); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Ack: got %v, want %v", err, session.ErrRevoked)
		}
	})
}

// In this test, another client deletes a claim, and the session detects this during an Ack. The
// claim's context must not end before the Ack returns, because the Ack itself may have deleted the
// claim. But Extend must fail at once. The Ack fails too, and the item stays in the queue.
//
// Covers Q10.
func TestAckOfARevokedClaim(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{ClaimFor: time.Hour})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		c := recipetest.Must(q.Claim(t.Context()))
		time.Sleep(recipetest.Timeout) // the claim's znode is watched now
		var node string
		for _, n := range w.Nodes(path + "/items") {
			if strings.HasSuffix(n, "/c") {
				node = n
			}
		}
		// A heartbeat also checks the claim's znode. So the test needs a time without heartbeats,
		// from the deletion below until the call of Extend. Therefore wait for a heartbeat: the
		// next heartbeat is sent at least a second later, which is after the call of Extend.
		beat := w.Inject(zktest.Rule{Op: "multi", Path: node, Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Millisecond})
		for begun := time.Now(); beat.Fired() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > recipetest.Timeout {
				t.Fatal("no heartbeat checked the claim's znode in a session timeout")
			}
		}
		slow := w.Inject(zktest.Rule{Op: "multi", Path: path + "/marks/*", Session: s.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
		w.Inject(zktest.Rule{Op: "exists", Path: node, Session: s.ID(), Fate: zktest.DelayReply, Delay: 400 * time.Millisecond})
		recipetest.Check(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
		time.Sleep(200 * time.Millisecond) // now the session waits for the reply to its `exists`
		acked := make(chan error, 1)
		go func() { acked <- c.Ack(t.Context(), session.CreateOp{Path: "/effect"}) }()
		time.Sleep(400 * time.Millisecond)
		if slow.Fired() != 1 || c.Context().Err() != nil {
			t.Errorf("got %d transactions in progress and the claim ended with %v, want one and the claim held", slow.Fired(), context.Cause(c.Context()))
		}
		if err := c.Extend(time.Hour); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Extend: got %v, want %v", err, session.ErrRevoked)
		}
		if err := <-acked; !errors.Is(err, session.ErrRevoked) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Ack: got %v, outcome %v, want %v, outcome %v", err, session.OutcomeOf(err), session.ErrRevoked, session.Failed)
		}
		synctest.Wait()
		if cause := context.Cause(c.Context()); !errors.Is(cause, session.ErrRevoked) {
			t.Errorf("the claim's context ended with %v, want %v", cause, session.ErrRevoked)
		}
		if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/effect")); stat != nil {
			t.Errorf("/effect after the failed Ack: got %+v, want no znode", stat)
		}
		if n := recipetest.Must(queue.New(w.Client().Session, path, queue.Options[string]{}).Len(t.Context())); n != 1 {
			t.Errorf("got %d items in the queue, want 1", n)
		}
	})
}

// If an Ack has deleted the claim and its reply is lost, the session must not count this deletion
// as a revocation by another client.
//
// Covers Q10.
func TestAckSeesItsOwnDeletion(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{ClaimFor: time.Hour})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		c := recipetest.Must(q.Claim(t.Context()))
		time.Sleep(recipetest.Timeout) // the claim's znode is watched now
		slow := w.Inject(zktest.Rule{Op: "multi", Path: path + "/marks/*", Session: s.ID(), Fate: zktest.CloseBeforeReply})
		recipetest.Check(t, c.Ack(t.Context(), session.CreateOp{Path: "/effect"}))
		synctest.Wait()
		if cause := context.Cause(c.Context()); !errors.Is(cause, queue.ErrNotClaimed) || slow.Fired() != 1 {
			t.Errorf("the claim's context ended with %v after %d lost replies, want %v after 1", cause, slow.Fired(), queue.ErrNotClaimed)
		}
		if n := recipetest.Must(queue.New(w.Client().Session, path, queue.Options[string]{}).Len(t.Context())); n != 0 {
			t.Errorf("got %d items in the queue, want none", n)
		}
	})
}

// An Ack has the data that the caller passed, even if the caller stops waiting and changes the
// buffer before the Ack is sent again.
func TestDataOfAnAckThatWasGivenUp(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		c := recipetest.Must(q.Claim(t.Context()))
		w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Count: 8, Fate: zktest.CloseBeforeRequest})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		data := []byte("before")
		if err := c.Ack(ctx, session.CreateOp{Path: "/done", Data: data}); session.OutcomeOf(err) != session.Indeterminate {
			t.Fatalf("Ack: got %v, outcome %v, want outcome %v",
				err, session.OutcomeOf(err), session.Indeterminate)
		}
		copy(data, "after!")
		recipetest.Check(t, q.Close(t.Context()))
		if done := recipetest.Must(s.Get(t.Context(), "/done")); string(done.Data) != "before" {
			t.Errorf("stored data: got %q, want %q", done.Data, "before")
		}
	})
}

// If one of the ops of an Ack fails, none of them is applied, and the claim continues.
//
// Covers Q10.
func TestAckAndItsEffectAreOneTransaction(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		c := recipetest.Must(q.Claim(t.Context()))
		err := c.Ack(t.Context(), session.CreateOp{Path: "/done"}, session.CreateOp{Path: "/none/y"})
		part := (*session.MultiError)(nil)
		if session.OutcomeOf(err) != session.Failed || !errors.As(err, &part) || part.Index != 1 {
			t.Errorf("Ack: got %v, outcome %v, want a MultiError of op 1", err, session.OutcomeOf(err))
		}
		if c.Context().Err() != nil || slices.Contains(w.Nodes("/"), "/done") {
			t.Errorf("after a failed Ack: claim ended with %v, znodes %v, want a claim and no /done",
				context.Cause(c.Context()), w.Nodes("/"))
		}
		recipetest.Check(t, c.Ack(t.Context(), session.CreateOp{Path: "/done"}))
		if !slices.Contains(w.Nodes("/"), "/done") {
			t.Errorf("after an Ack: znodes %v, want /done", w.Nodes("/"))
		}
	})
}

// An item is moved to the dead letters after MaxAttempts claims, or if it does not decode.
//
// Covers Q11.
func TestDeadLetters(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{MaxAttempts: 2})
		raw := queue.New(w.Client().Session, path, queue.Options[[]byte]{Codec: queue.Bytes()})
		recipetest.Check(t, q.Put(t.Context(), "poison", "good"))
		for attempt := 1; attempt <= 2; attempt++ {
			c := recipetest.Must(q.Claim(t.Context()))
			if c.Value() != "poison" || c.Attempt() != attempt {
				t.Fatalf("Claim: got %q, attempt %d, want %q, attempt %d", c.Value(), c.Attempt(), "poison", attempt)
			}
			recipetest.Check(t, c.Release(t.Context()))
			if attempt == 1 {
				// The consumer gets the next item before it gets the released item again.
				g := recipetest.Must(q.Claim(t.Context()))
				recipetest.Check(t, g.Release(t.Context()))
			}
		}
		recipetest.Check(t, raw.Put(t.Context(), []byte("{not JSON")))
		c := recipetest.Must(q.Claim(t.Context()))
		if c.Value() != "good" {
			t.Errorf("Claim: got %q, want %q", c.Value(), "good")
		}
		recipetest.Check(t, c.Ack(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := q.Claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Claim: got error %v, want %v", err, context.DeadlineExceeded)
		}
		recipetest.Check(t, raw.Put(t.Context(), []byte("{nor this")))
		if _, err := q.Take(t.Context()); !errors.As(err, new(*queue.DecodeError)) {
			t.Errorf("Take: got %v, want a DecodeError", err)
		}
		dead := drainBytes(t, raw.DeadLetters())
		slices.Sort(dead)
		if !slices.Equal(dead, []string{`"poison"`, "{nor this", "{not JSON"}) {
			t.Errorf("dead letters: got %q, want %q", dead, []string{`"poison"`, "{nor this", "{not JSON"})
		}
	})
}

func drainBytes(t *testing.T, q *queue.Queue[[]byte]) (items []string) {
	for {
		item, err := q.TryTake(t.Context())
		if errors.Is(err, queue.ErrEmpty) {
			return items
		}
		recipetest.Check(t, err)
		items = append(items, string(item))
	}
}

// Items of a smaller priority number are taken first, even if they were put later.
//
// Covers Q12.
func TestPriorities(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{Priorities: 3})
		recipetest.Check(t, q.PutPriority(t.Context(), 2, "c1", "c2"))
		recipetest.Check(t, q.PutPriority(t.Context(), 1, "b1"))
		recipetest.Check(t, q.PutPriority(t.Context(), 0, "a1"))
		if item := recipetest.Must(q.Peek(t.Context())); item != "a1" {
			t.Errorf("Peek: got %q, want %q", item, "a1")
		}
		got := []string{recipetest.Must(q.Take(t.Context())), recipetest.Must(q.Take(t.Context())), recipetest.Must(q.Take(t.Context()))}
		recipetest.Check(t, q.Put(t.Context(), "a2"))
		got = append(got, drain(t, q)...)
		if !slices.Equal(got, []string{"a1", "b1", "c1", "a2", "c2"}) {
			t.Errorf("items: got %q, want %q", got, []string{"a1", "b1", "c1", "a2", "c2"})
		}
		woken := make(chan string, 1)
		go func() { woken <- recipetest.Must(q.Take(t.Context())) }()
		synctest.Wait()
		recipetest.Check(t, q.PutPriority(t.Context(), 2, "late"))
		if item := <-woken; item != "late" {
			t.Errorf("Take that waited: got %q, want %q", item, "late")
		}
	})
}

// If the queue is full, TryPut fails with ErrFull, and Put waits until there is room.
//
// Covers Q9.
func TestFullQueueRefusesOrBlocks(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p, _ := newQueue(w, queue.Options[string]{Limit: 10})
		q, _ := newQueue(w, queue.Options[string]{})
		for i := range 10 {
			recipetest.Check(t, p.TryPut(t.Context(), fmt.Sprint(i)))
		}
		if err := p.TryPut(t.Context(), "more"); !errors.Is(err, queue.ErrFull) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("TryPut to a full queue: got %v, outcome %v, want %v", err, session.OutcomeOf(err), queue.ErrFull)
		}
		if err := p.Put(t.Context(), numbers(0, 11)...); !errors.Is(err, queue.ErrFull) {
			t.Errorf("Put of more items than the limit: got %v, want %v", err, queue.ErrFull)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Put(ctx, "late"); !errors.Is(err, context.DeadlineExceeded) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Put to a full queue: got %v, outcome %v, want %v", err, session.OutcomeOf(err), context.DeadlineExceeded)
		}
		done := make(chan error, 2)
		for range 2 {
			go func() { done <- p.Put(t.Context(), "waited") }()
		}
		synctest.Wait()
		if n := recipetest.Must(q.Len(t.Context())); n != 10 {
			t.Errorf("Len: got %d, want 10", n)
		}
		for range 2 {
			recipetest.Must(q.Take(t.Context()))
			recipetest.Check(t, <-done)
		}
		if n := recipetest.Must(q.Len(t.Context())); n != 10 {
			t.Errorf("Len: got %d, want 10", n)
		}
	})
}

// A producer that waits for room is woken when a consumer takes an item, even if the item's segment
// was opened while the producer was setting its watches. Regression: the producer did not watch
// such a segment.
func TestRoomInASegmentOpenedDuringListen(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		full, s := newQueue(w, queue.Options[string]{Limit: 2})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, other.Put(t.Context(), "kept"))
		recipetest.Must(other.Claim(t.Context())) // keeps the segment from being drained
		putAndTake(t, other, inSegment-2)
		recipetest.Check(t, other.Put(t.Context(), "last of the segment"))
		// The producer lists the segment once to count its items, and then again to watch it.
		slow := w.Inject(zktest.Rule{Op: "getChildren2", Path: path + "/items/0/*", Session: s.ID(), Skip: 1, Fate: zktest.DelayRequest, Delay: time.Second})
		result := make(chan error, 1)
		go func() { result <- full.Put(t.Context(), "x") }()
		synctest.Wait()
		if slow.Fired() != 1 {
			t.Fatalf("delayed %d lists of the segment, want 1", slow.Fired())
		}
		recipetest.Must(other.Take(t.Context()))
		recipetest.Check(t, other.Put(t.Context(), "first of the next"))
		time.Sleep(time.Minute)
		if len(result) > 0 {
			t.Fatalf("Put to a full queue: got %v, want it to wait", <-result)
		}
		recipetest.Must(other.Take(t.Context()))
		select {
		case err := <-result:
			recipetest.Check(t, err)
		case <-time.After(time.Minute):
			t.Error("Put: still waits a minute after an item was taken")
		}
	})
}

// A producer that puts for the first time gets only its share of the free room. Regression: such a
// producer took all the free room.
//
// Covers Q9.
func TestSecondProducerSharesTheRoom(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		first, _ := newQueue(w, queue.Options[string]{Limit: 10})
		second, _ := newQueue(w, queue.Options[string]{Limit: 10})
		for range 2 {
			recipetest.Check(t, first.TryPut(t.Context(), "a"))
		}
		recipetest.Check(t, second.TryPut(t.Context(), "b")) // sees room for eight items
		for range 8 {
			// This producer counted the items when it was the only producer. So its share is all
			// the room that was free then.
			recipetest.Check(t, first.TryPut(t.Context(), "a"))
		}
		n := 1
		for second.TryPut(t.Context(), "b") == nil {
			n++
		}
		if n != 4 {
			t.Errorf("items of the second producer: got %d, want 4, half of the room", n)
		}
	})
}

// Close ends the calls that wait, and removes the handle's znodes. All later calls fail with
// ErrClosed.
//
// Covers Q5, Q8.
func TestCloseEndsWaitersAndRemovesNodes(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		recipetest.Must(q.Take(t.Context()))
		end := make(chan error, 1)
		go func() {
			_, err := q.Take(t.Context())
			end <- err
		}()
		synctest.Wait()
		recipetest.Check(t, q.Close(t.Context()))
		recipetest.Check(t, q.Close(t.Context()))
		if err := <-end; !errors.Is(err, queue.ErrClosed) {
			t.Errorf("waiting Take: got %v, want %v", err, queue.ErrClosed)
		}
		_, errLen := q.Len(t.Context())
		_, errPeek := q.Peek(t.Context())
		_, errTake := q.TryTake(t.Context())
		for name, err := range map[string]error{
			"put":         q.Put(t.Context(), "y"),
			"put at once": q.PutAt(t.Context(), time.Now(), "y"),
			"put later":   q.PutAt(t.Context(), time.Now().Add(time.Hour), "y"),
			"length":      errLen,
			"peek":        errPeek,
			"take":        errTake,
		} {
			if !errors.Is(err, queue.ErrClosed) || session.OutcomeOf(err) != session.Failed {
				t.Errorf("%s: got %v, outcome %v, want %v", name, err, session.OutcomeOf(err), queue.ErrClosed)
			}
		}
		synctest.Wait()
		for _, dir := range []string{"/marks", "/waiters"} {
			if left := w.Nodes(path + dir); len(left) > 0 {
				t.Errorf("znodes left below %s: got %v, want none", dir, left)
			}
		}
	})
}

// Each delayed item is delivered once, at its time or at most two seconds later.
//
// Covers Q13.
func TestDelayedItemsComeWhenDue(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		b, _ := newQueue(w, queue.Options[string]{})
		start := time.Now()
		put := func(d time.Duration, items ...string) {
			recipetest.Check(t, q.PutAt(t.Context(), start.Add(d), items...))
		}
		put(2*time.Hour, "later")
		put(time.Hour, "soon", "and this")
		put(-time.Hour, "now")
		if item := recipetest.Must(q.TryTake(t.Context())); item != "now" {
			t.Errorf("TryTake: got %q, want %q", item, "now")
		}
		if _, err := q.TryTake(t.Context()); !errors.Is(err, queue.ErrEmpty) {
			t.Errorf("TryTake before an item is due: got %v, want %v", err, queue.ErrEmpty)
		}
		for _, want := range []struct {
			item string
			at   time.Duration
		}{{"soon", time.Hour}, {"and this", time.Hour}, {"later", 2 * time.Hour}} {
			item := recipetest.Must(b.Take(t.Context())) // waits until the item is due
			if d := time.Since(start); item != want.item || d < want.at || d > want.at+2*time.Second {
				t.Errorf("Take: got %q after %v, want %q after %v to %v", item, d, want.item, want.at, want.at+2*time.Second)
			}
		}
		// Two consumers move these delayed items to the queue, but each item is moved once.
		// Consumers move delayed items even if they do not wait.
		put(3*time.Hour, numbers(0, 100)...)
		time.Sleep(time.Until(start.Add(3*time.Hour)) + time.Second)
		recipetest.Check(t, q.Put(t.Context(), "busy"))
		got := append(drain(t, q), drain(t, b)...)
		slices.Sort(got)
		if !slices.Equal(got, append([]string{"busy"}, numbers(0, 100)...)) {
			t.Errorf("items: got %q, want busy and 100 numbers", got)
		}
		if left := w.Nodes(path + "/delayed"); len(left) > 0 {
			t.Errorf("slots left: got %v, want none", left)
		}
	})
}

// Items stay in the order of their puts, even if a producer has not noticed that another producer
// has filled the segment and opened the next one. The late producer must put its item in the new
// segment.
//
// Covers Q4.
func TestOrderOfProducersAcrossSegments(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, _ := newQueue(w, queue.Options[string]{})
		b, _ := newQueue(w, queue.Options[string]{})
		want := numbers(0, 302)
		recipetest.Check(t, a.Put(t.Context(), want[0]))
		for _, item := range want[1:301] {
			recipetest.Check(t, b.Put(t.Context(), item))
		}
		recipetest.Check(t, a.Put(t.Context(), want[301]))
		if got := drain(t, a); !slices.Equal(got, want) {
			t.Errorf("items: got %q, want %q", got, want)
		}
	})
}

// Items stay in the order of their puts, even if a producer is two segments behind. In this test,
// the producer has filled a segment, and another producer has then filled the next two. The first
// of these two segments was drained and deleted. Regression: the late producer created the deleted
// segment again.
//
// Covers Q4.
func TestOrderOfAProducerTwoSegmentsBehind(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		behind, _ := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		for range inSegment { // so that the producer knows that the segment is full
			recipetest.Check(t, behind.Put(t.Context(), "x"))
		}
		for range 2 * inSegment {
			recipetest.Check(t, other.Put(t.Context(), "x"))
		}
		for range 3*inSegment - 1 {
			recipetest.Must(other.Take(t.Context()))
		}
		if nodes := w.Nodes(path + "/items/0"); len(nodes) != 2 {
			t.Fatalf("segments: got %q, want 2", nodes)
		}
		recipetest.Check(t, other.Put(t.Context(), "first"))
		recipetest.Check(t, behind.Put(t.Context(), "second"))
		recipetest.Check(t, other.Put(t.Context(), "third"))
		if got, want := drain(t, other), []string{"x", "first", "second", "third"}; !slices.Equal(got, want) {
			t.Errorf("items: got %q, want %q", got, want)
		}
	})
}
