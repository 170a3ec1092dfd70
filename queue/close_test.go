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
	"github.com/zkcoord/zkcoord/zktest"
)

// If the queue is closed within a loop, the loop gives back the items that it has not reached.
//
// Covers Q8.
func TestCloseGivesBackWhatALoopDidNotGetTo(t *testing.T) {
	for _, claims := range []bool{false, true} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			q, _ := newQueue(w, queue.Options[string]{Prefetch: 8})
			other, _ := newQueue(w, queue.Options[string]{})
			recipetest.Check(t, q.Put(t.Context(), numbers(0, 5)...))
			if claims {
				for c, err := range q.Claims(t.Context()) {
					if errors.Is(err, queue.ErrClosed) {
						break
					}
					recipetest.Check(t, err)
					recipetest.Check(t, q.Close(t.Context()))
					recipetest.Check(t, c.Ack(t.Context()))
				}
			} else {
				for _, err := range q.Items(t.Context()) {
					if errors.Is(err, queue.ErrClosed) {
						break
					}
					recipetest.Check(t, err)
					recipetest.Check(t, q.Close(t.Context()))
				}
			}
			synctest.Wait()
			if got := drain(t, other); !slices.Equal(got, numbers(1, 4)) {
				t.Errorf("claims=%v: items left: got %q, want %q", claims, got, numbers(1, 4))
			}
		})
	}
}

// A claim continues after its handle is closed. The claimed item is still given back when the
// claim's time is up.
//
// Covers Q11.
func TestClaimOutlivesClose(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{ClaimFor: time.Second})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), numbers(0, 3)...))
		acked := recipetest.Must(q.Claim(t.Context()))
		recipetest.Must(q.Claim(t.Context()))
		rejected := recipetest.Must(q.Claim(t.Context()))
		recipetest.Check(t, q.Close(t.Context()))
		recipetest.Check(t, acked.Ack(t.Context()))
		recipetest.Check(t, rejected.Reject(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		item, err := other.Take(ctx)
		recipetest.Check(t, err)
		if item != "item-000001" {
			t.Errorf("Take: got %q, want %q", item, "item-000001")
		}
		recipetest.Check(t, other.Close(t.Context()))
		synctest.Wait() // q removes its ledger znode after the last claim was given back
		if left := w.Nodes(path + "/marks"); len(left) > 0 {
			t.Errorf("ledger znodes left by closed queues: got %v, want none", left)
		}
	})
}

// A claim of a closed queue ends when the session of the claim ends. Then a consumer that is
// waiting for an item gets the claimed item.
//
// Covers Q6, Q11.
func TestItemOfAClosedQueueIsOfferedWhenItsSessionEnds(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		s := w.Client()
		q := queue.New(s.Session, path, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		recipetest.Must(q.Claim(t.Context()))
		recipetest.Check(t, q.Close(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		time.AfterFunc(time.Second, func() { w.Expire(s.ID()) })
		_, err := other.Take(ctx)
		recipetest.Check(t, err)
	})
}

// If a handle is closed during a call, the call still succeeds, even if Close does not wait for the
// call because the context of Close has ended. In this test, Close is called when the other call
// still has to move an item that is due, or to read the queue again. Regression: the call failed
// with ErrClosed.
func TestCloseFailsNoCallInProgress(t *testing.T) {
	calls := map[string]struct {
		run  func(ctx context.Context, q *queue.Queue[string]) (string, error)
		slow zktest.Rule // delays one of the call's requests, but not the last one
	}{
		"take": {
			func(ctx context.Context, q *queue.Queue[string]) (string, error) { return q.TryTake(ctx) },
			zktest.Rule{Op: "getData", Path: path + "/delayed/*/*"},
		},
		"claim": {
			func(ctx context.Context, q *queue.Queue[string]) (string, error) {
				c, err := q.Claim(ctx)
				if err != nil {
					return "", err
				}
				return c.Value(), c.Ack(ctx)
			},
			zktest.Rule{Op: "getData", Path: path + "/delayed/*/*"},
		},
		"peek": {
			func(ctx context.Context, q *queue.Queue[string]) (string, error) { return q.Peek(ctx) },
			zktest.Rule{Op: "create", Path: path + "/marks/*"},
		},
	}
	for name, call := range calls {
		for _, ended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ended=%v", name, ended), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, s := newQueue(w, queue.Options[string]{})
					other, _ := newQueue(w, queue.Options[string]{})
					if name == "peek" {
						recipetest.Check(t, other.Put(t.Context(), "x"))
					} else {
						recipetest.Check(t, other.PutAt(t.Context(), time.Now().Add(time.Second), "x"))
						time.Sleep(3 * time.Second)
					}
					recipetest.Check(t, other.Close(t.Context())) // removes its ledger znodes
					rule := call.slow
					rule.Session, rule.Fate, rule.Delay = s.ID(), zktest.DelayReply, time.Second
					slow := w.Inject(rule)
					result := make(chan string, 1)
					go func() {
						item, err := call.run(t.Context(), q)
						if err != nil {
							item = err.Error()
						}
						result <- item
					}()
					synctest.Wait()
					if slow.Fired() != 1 {
						t.Fatalf("delayed %d replies, want 1", slow.Fired())
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					want := error(nil)
					if ended {
						want = context.Canceled
						cancel()
					}
					if err := q.Close(ctx); !errors.Is(err, want) {
						t.Errorf("Close: got %v, want %v", err, want)
					}
					synctest.Wait()
					if done := len(result) > 0; done == ended {
						t.Errorf("call had returned when Close returned: got %v, want %v", done, !ended)
					}
					if item := <-result; item != "x" {
						t.Errorf("call: got %q, want %q", item, "x")
					}
					if err := q.Put(t.Context(), "y"); !errors.Is(err, queue.ErrClosed) {
						t.Errorf("Put after Close: got %v, want %v", err, queue.ErrClosed)
					}
					synctest.Wait()
					if left := w.Ephemerals(path); len(left) > 0 {
						t.Errorf("ephemeral znodes left: got %v, want none", left)
					}
				})
			})
		}
	}
}
