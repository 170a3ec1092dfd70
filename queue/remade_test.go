package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// If a client deletes the queue and creates it again, a handle continues with the new queue.
// Regression: a handle gave out items that it had read from the old queue, and deleted the new
// items with the same names.
//
// Covers Q1, Q3, Q8.
func TestHandleOutlivesItsQueue(t *testing.T) {
	take := func(ctx context.Context, q *queue.Queue[string]) (string, error) { return q.TryTake(ctx) }
	claim := func(ctx context.Context, q *queue.Queue[string]) (string, error) {
		c, err := q.Claim(ctx)
		if err != nil {
			return "", err
		}
		return c.Value(), c.Ack(ctx)
	}
	for name, get := range map[string]func(context.Context, *queue.Queue[string]) (string, error){"take": take, "claim": claim} {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprint(name, warm), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, s := newQueue(w, queue.Options[string]{})
					other, _ := newQueue(w, queue.Options[string]{})
					for i := range 5 {
						recipetest.Check(t, other.Put(t.Context(), fmt.Sprint("old", i)))
					}
					if warm {
						for range 3 {
							recipetest.Must(get(t.Context(), q))
						}
					} else { // the handle lists and reads the queue before it is deleted
						w.Inject(zktest.Rule{Op: "create", Path: path + "/marks/*", Session: s.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
						w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
					}
					time.AfterFunc(time.Second, func() {
						recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
						for i := range 5 {
							recipetest.Check(t, other.Put(t.Context(), fmt.Sprint("new", i)))
						}
					})
					if warm {
						time.Sleep(2 * time.Second)
					}
					var got []string
					for range 5 {
						item, err := get(t.Context(), q)
						recipetest.Check(t, err)
						got = append(got, item)
					}
					slices.Sort(got)
					if !slices.Equal(got, []string{"new0", "new1", "new2", "new3", "new4"}) {
						t.Errorf("items: got %q, want new0 to new4", got)
					}
				})
			})
		}
	}
}

// createSegment creates a segment that no producer has reached yet. For example, a tool that
// restores a deleted queue can do this.
func createSegment(t *testing.T, w *recipetest.World, number int) {
	t.Helper()
	_, err := w.Admin().Create(t.Context(), fmt.Sprintf("%s/items/0/%010d", path, number), nil, session.Persistent)
	recipetest.Check(t, err)
}

// The queue works as usual if another client has created the segment that follows the open segment.
//
// Covers Q5, Q6.
func TestQueueGoesOnWhereALaterSegmentIsThere(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p, _ := newQueue(w, queue.Options[string]{})
		q, s := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, p.Put(t.Context(), "first"))
		createSegment(t, w, 1)
		recipetest.Check(t, func() error { _, err := q.TryTake(t.Context()); return err }())
		w.Within(time.Minute, "TryTake", func(ctx context.Context) error {
			if _, err := q.TryTake(ctx); !errors.Is(err, queue.ErrEmpty) {
				return fmt.Errorf("got error %v, want %w", err, queue.ErrEmpty)
			}
			return nil
		})
		got := make(chan string, 1)
		go func() { got <- recipetest.Must(q.Take(t.Context())) }()
		synctest.Wait()
		s.Requests()
		time.Sleep(time.Minute)
		if n := s.Count(); n > 10 {
			t.Fatalf("requests of a waiting Take in a minute: got %d, want at most 10", n)
		}
		recipetest.Check(t, p.Put(t.Context(), "second"))
		select {
		case item := <-got:
			if item != "second" {
				t.Errorf("Take: got %q, want %q", item, "second")
			}
		case <-time.After(time.Minute):
			t.Fatal("Take: still waits a minute after the put")
		}
		var want []string
		w.Within(time.Minute, "Put", func(ctx context.Context) error {
			want = numbers(0, 600)
			for _, item := range want {
				if err := p.Put(ctx, item); err != nil {
					return err
				}
			}
			return nil
		})
		if items := drain(t, q); !slices.Equal(items, want) {
			t.Errorf("items: got %q, want %q", items, want)
		}
	})
}

// A put that opens the next segment wakes a waiting consumer, even if another client has already
// created that segment. Regression: such a put and all later puts woke no waiting consumer: no
// watch fired, because the put created no child of the level.
//
// Covers Q6.
func TestPutInASegmentThatIsThereWakes(t *testing.T) {
	type consumer func(ctx context.Context, q *queue.Queue[string]) ([]string, error)
	waits := map[string]consumer{
		"take": func(ctx context.Context, q *queue.Queue[string]) ([]string, error) {
			item, err := q.Take(ctx)
			return []string{item}, err
		},
		"batch": func(ctx context.Context, q *queue.Queue[string]) ([]string, error) { return q.TakeBatch(ctx, 9) },
		"loop": func(ctx context.Context, q *queue.Queue[string]) ([]string, error) {
			for item, err := range q.Items(ctx) {
				return []string{item}, err
			}
			return nil, nil
		},
		"claim": func(ctx context.Context, q *queue.Queue[string]) ([]string, error) {
			c, err := q.Claim(ctx)
			if err != nil {
				return nil, err
			}
			return []string{c.Value()}, c.Ack(ctx)
		},
	}
	puts := map[string]func(ctx context.Context, q *queue.Queue[string], item string) error{
		"put": func(ctx context.Context, q *queue.Queue[string], item string) error { return q.Put(ctx, item) },
		"delayed": func(ctx context.Context, q *queue.Queue[string], item string) error {
			return q.PutAt(ctx, time.Now().Add(2*time.Second), item)
		},
	}
	for who, wait := range waits {
		for how, put := range puts {
			t.Run(who+"/"+how, func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					p, _ := newQueue(w, queue.Options[string]{Priorities: 2})
					putAndTake(t, p, inSegment)
					createSegment(t, w, 1)
					const waiters = 3
					got := make(chan []string, waiters)
					for range waiters {
						q, _ := newQueue(w, queue.Options[string]{Priorities: 2})
						go func() {
							items, err := wait(t.Context(), q)
							recipetest.Check(t, err)
							got <- items
						}()
					}
					synctest.Wait()
					for _, item := range numbers(0, waiters) {
						recipetest.Check(t, put(t.Context(), p, item))
						checkWoken(t, got, item)
					}
				})
			})
		}
	}
}

// inSegment is the number of puts that fill a segment.
const inSegment = 256

// putAndTake puts n items and takes each of them.
func putAndTake(t *testing.T, q *queue.Queue[string], n int) {
	t.Helper()
	for range n {
		recipetest.Check(t, q.Put(t.Context(), "x"))
		recipetest.Must(q.Take(t.Context()))
	}
}

// checkWoken checks that a waiting consumer gets the item within ten seconds.
func checkWoken(t *testing.T, got <-chan []string, item string) {
	t.Helper()
	select {
	case items := <-got:
		if !slices.Equal(items, []string{item}) {
			t.Errorf("items: got %q, want %q", items, item)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: a consumer still waits ten seconds after the put", item)
	}
}

// In this test, another client has already created the next segment. While consumer A sets its
// watches, a producer opens that segment with a put, and consumer B takes the item. Then the next
// put must wake A.
//
// Covers Q6.
func TestSegmentThatIsThereIsOpenedDuringListen(t *testing.T) {
	for _, between := range []string{"marks", "delayed"} {
		t.Run(between, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				p, _ := newQueue(w, queue.Options[string]{})
				q, s := newQueue(w, queue.Options[string]{})
				recipetest.Check(t, p.Put(t.Context(), "kept"))
				recipetest.Must(p.Claim(t.Context())) // keeps the segment from being drained
				putAndTake(t, p, inSegment-1)
				createSegment(t, w, 1)
				// This call lists the delayed items, to find those that are due. The consumer makes
				// such a list at most once a second. So the next list of the delayed items is the
				// one that the consumer requests while it sets its watches.
				if _, err := q.TryTake(t.Context()); !errors.Is(err, queue.ErrEmpty) {
					t.Fatalf("TryTake: got %v, want %v", err, queue.ErrEmpty)
				}
				slow := w.Inject(zktest.Rule{Op: "getChildren2", Path: path + "/" + between, Session: s.ID(), Fate: zktest.DelayRequest, Delay: time.Second / 2})
				got := make(chan []string, 1)
				go func() {
					item, err := q.Take(t.Context())
					recipetest.Check(t, err)
					got <- []string{item}
				}()
				synctest.Wait()
				if slow.Fired() != 1 {
					t.Fatalf("delayed %d lists of %s, want 1", slow.Fired(), between)
				}
				recipetest.Check(t, p.Put(t.Context(), "first"))
				recipetest.Must(p.Take(t.Context()))
				time.Sleep(time.Minute)
				recipetest.Check(t, p.Put(t.Context(), "second"))
				checkWoken(t, got, "second")
			})
		})
	}
}

// A consumer does not create a segment that the queue has not reached yet. In this test, the open
// segment does not exist, so a consumer is about to create it. Meanwhile the queue is deleted and
// created again, and segment 0 is the open segment of the new queue.
//
// Covers Q6.
func TestSegmentOfADeletedQueueIsNotMade(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p, _ := newQueue(w, queue.Options[string]{})
		for _, item := range numbers(0, 300) {
			recipetest.Check(t, p.Put(t.Context(), item))
		}
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path+"/items/0/0000000001"))
		q, s := newQueue(w, queue.Options[string]{})
		slow := w.Inject(zktest.Rule{Op: "multi", Path: path + "/items/0", Session: s.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
		got := tryTake(t, q)
		synctest.Wait()
		if slow.Fired() != 1 {
			t.Fatalf("delayed %d transactions, want 1", slow.Fired())
		}
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		recipetest.Check(t, p.Put(t.Context(), "new"))
		if item := <-got; item != "new" {
			t.Errorf("TryTake: got %q, want %q", item, "new")
		}
		if nodes := w.Nodes(path + "/items/0"); len(nodes) != 1 {
			t.Errorf("segments: got %q, want one", nodes)
		}
	})
}

// If a queue is deleted and created again, a claim on an item of the old queue cannot end a claim
// on an item of the new queue. In this test, both items have the same name, and the claimer of the
// old item has not noticed the deletion when it calls Ack, Reject or Release. Regression: this call
// ended the claim on the new item.
//
// Covers Q7, Q10.
func TestClaimOnADeletedQueueEndsNoOther(t *testing.T) {
	for name, end := range map[string]func(context.Context, *queue.Claim[string]) error{
		"ack":     func(ctx context.Context, c *queue.Claim[string]) error { return c.Ack(ctx) },
		"reject":  func(ctx context.Context, c *queue.Claim[string]) error { return c.Reject(ctx) },
		"release": func(ctx context.Context, c *queue.Claim[string]) error { return c.Release(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, _ := newQueue(w, queue.Options[string]{})
				other, _ := newQueue(w, queue.Options[string]{})
				recipetest.Check(t, q.Put(t.Context(), "old"))
				old := recipetest.Must(q.Claim(t.Context()))
				recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
				recipetest.Check(t, other.Put(t.Context(), "new"))
				c := recipetest.Must(other.Claim(t.Context()))
				if err := end(t.Context(), old); session.OutcomeOf(err) != session.Failed || !errors.Is(err, session.ErrRevoked) {
					t.Errorf("end of the old claim: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.ErrRevoked)
				}
				synctest.Wait()
				recipetest.Check(t, c.Ack(t.Context()))
			})
		})
	}
}

// In this test, a consumer is about to delete a drained segment when the queue is deleted and
// created again. The open segment of the new queue has the same name. The consumer must not delete
// this open segment. Otherwise the segment would be created again and its sequence numbers would
// begin at 0 again, so names that consumers have read could be used twice.
//
// Covers Q1.
func TestOpenSegmentOfAQueueMadeAnewIsNotDeleted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		for _, item := range numbers(0, 300) {
			recipetest.Check(t, other.Put(t.Context(), item))
		}
		drained := path + "/items/0/0000000000"
		for range 256 {
			recipetest.Must(other.Take(t.Context()))
		}
		slow := w.Inject(zktest.Rule{Op: "multi", Path: path + "/items/0", Session: s.ID(), Fate: zktest.DelayRequest, Delay: time.Second})
		got := tryTake(t, q)
		synctest.Wait()
		if slow.Fired() != 1 {
			t.Fatalf("delayed %d transactions, want 1", slow.Fired())
		}
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
		recipetest.Check(t, other.Put(t.Context(), "new"))
		recipetest.Must(other.Take(t.Context()))
		made := recipetest.Must(w.Admin().Exists(t.Context(), drained))
		<-got
		recipetest.Check(t, other.Put(t.Context(), "newer"))
		if now := recipetest.Must(w.Admin().Exists(t.Context(), drained)); now == nil || now.Czxid != made.Czxid {
			t.Errorf("open segment: got %v, want the one with czxid %#x", now, made.Czxid)
		}
	})
}

// An item of a deleted queue is not put back in a new queue. In this test, the queue is deleted,
// created again and filled before the transaction that puts the item back arrives. Regression: the
// item of the old queue was put in the new queue.
//
// Covers Q1, Q3.
func TestItemIsNotGivenBackToANewQueue(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, other.Put(t.Context(), "warm"))
		// Create the handle's ledger znodes.
		recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Ack(t.Context()))
		recipetest.Check(t, other.Put(t.Context(), "old"))
		w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := q.Take(ctx); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("Take: got %v, outcome %v, want outcome %v",
				err, session.OutcomeOf(err), session.Indeterminate)
		}
		s.Before("multi", func() {
			recipetest.Check(t, w.Admin().DeleteAll(t.Context(), path))
			recipetest.Check(t, other.Put(t.Context(), "new"))
		})
		time.Sleep(5 * time.Second)
		if got := drain(t, other); !slices.Equal(got, []string{"new"}) {
			t.Errorf("items: got %q, want %q", got, "new")
		}
	})
}
