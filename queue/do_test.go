package queue_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// claimed claims an item that is put, and returns a context that has ended.
func claimed(t *testing.T, q *queue.Queue[string]) (c *queue.Claim[string], ended context.Context) {
	t.Helper()
	recipetest.Check(t, q.Put(t.Context(), "a"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	return recipetest.Must(q.Claim(t.Context())), ended
}

// Covers Q15. defer claim.Release(ctx) is right however ctx ended. It chose by
// chance whether the item was given back.
func TestReleaseWithAnEndedContextReleases(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		for range 30 {
			c, ended := claimed(t, q)
			err := c.Release(ended)
			if !errors.Is(err, context.Canceled) || session.OutcomeOf(err) != session.Indeterminate || c.Context().Err() == nil {
				t.Fatalf("release: %v, outcome %v; claim %v", err, session.OutcomeOf(err), c.Context().Err())
			}
			synctest.Wait()
			if _, err := q.TryTake(t.Context()); err != nil {
				t.Fatalf("the item was not given back: %v", err)
			}
		}
	})
}

// A context that has ended refuses an Ack and a Reject each time, and the claim
// goes on.
func TestAckWithAnEndedContextIsRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		c, ended := claimed(t, q)
		for range 30 {
			for name, end := range map[string]func(context.Context) error{
				"ack":    func(ctx context.Context) error { return c.Ack(ctx) },
				"reject": c.Reject,
			} {
				if err := end(ended); session.OutcomeOf(err) != session.Failed || c.Context().Err() != nil {
					t.Fatalf("%s: %v, outcome %v; claim %v", name, err, session.OutcomeOf(err), c.Context().Err())
				}
			}
		}
		recipetest.Check(t, c.Ack(t.Context()))
	})
}

type requestID struct{}

var errOwn = errors.New("own")

// left is what the queue and its dead letters hold in the end. All that a claim
// needed is gone then.
func left(t *testing.T, w *recipetest.World, q *queue.Queue[string]) (items, dead []string) {
	t.Helper()
	synctest.Wait()
	for _, from := range []*queue.Queue[string]{q, q.DeadLetters()} {
		var got []string
		for {
			item, err := from.TryTake(t.Context())
			if errors.Is(err, queue.ErrEmpty) {
				break
			}
			recipetest.Check(t, err)
			got = append(got, item)
		}
		items, dead = dead, got
		recipetest.Check(t, from.Close(t.Context()))
	}
	w.NothingLeft()
	return items, dead
}

// Covers Q14. The claim ends as the function says, whether or not the caller's
// context has ended meanwhile.
func TestDoEndsTheClaimAsItsFunctionSays(t *testing.T) {
	reject := fmt.Errorf("no picture: %w", queue.ErrReject)
	for name, c := range map[string]struct {
		f           func(ctx context.Context, c *queue.Claim[string]) error
		want        error
		items, dead []string
	}{
		"nil":    {func(context.Context, *queue.Claim[string]) error { return nil }, nil, nil, nil},
		"error":  {func(context.Context, *queue.Claim[string]) error { return errOwn }, errOwn, []string{"a"}, nil},
		"reject": {func(context.Context, *queue.Claim[string]) error { return reject }, reject, nil, []string{"a"}},
		"own ack": {func(ctx context.Context, c *queue.Claim[string]) error {
			return c.Ack(ctx, session.CreateOp{Path: "/result"})
		}, nil, nil, nil},
		"own release": {func(ctx context.Context, c *queue.Claim[string]) error { return c.Release(ctx) }, nil, []string{"a"}, nil},
		"own reject":  {func(ctx context.Context, c *queue.Claim[string]) error { return c.Reject(ctx) }, nil, nil, []string{"a"}},
	} {
		for _, cancelled := range []bool{false, true} {
			if cancelled && strings.HasPrefix(name, "own") {
				continue
			}
			t.Run(fmt.Sprint(name, cancelled), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, _ := newQueue(w, queue.Options[string]{})
					recipetest.Check(t, q.Put(t.Context(), "a"))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var inner context.Context
					err := q.Do(ctx, func(ctx context.Context, claim *queue.Claim[string]) error {
						inner = ctx
						if cancelled {
							cancel()
						}
						return c.f(ctx, claim)
					})
					want := c.want
					if cancelled && want == nil {
						want = context.Canceled // it is not known to be acked yet
						if session.OutcomeOf(err) != session.Indeterminate {
							t.Errorf("outcome %v, want %v", session.OutcomeOf(err), session.Indeterminate)
						}
					}
					if !errors.Is(err, want) || cancelled && c.want != nil && errors.Is(err, context.Canceled) || inner.Err() == nil {
						t.Errorf("error %v, want %v; inner context %v", err, want, inner.Err())
					}
					items, dead := left(t, w, q)
					if !slices.Equal(items, c.items) || !slices.Equal(dead, c.dead) {
						t.Errorf("items %v, want %v; dead letters %v, want %v", items, c.items, dead, c.dead)
					}
				})
			})
		}
	}
}

// Covers Q14. A consumer stops on its own shutdown.
func TestWorkOnAnItemIsTheCallers(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		errDown := errors.New("going down")
		timed, stop := context.WithTimeout(context.WithValue(t.Context(), requestID{}, 7), time.Minute)
		defer stop()
		ctx, cancel := context.WithCancelCause(timed)
		err := q.Do(ctx, func(ctx context.Context, c *queue.Claim[string]) error {
			want, _ := timed.Deadline()
			if got, _ := ctx.Deadline(); got != want || ctx.Value(requestID{}) != 7 || ctx.Err() != nil {
				t.Errorf("deadline %v, want %v; value %v; err %v", got, want, ctx.Value(requestID{}), ctx.Err())
			}
			time.AfterFunc(time.Second, func() { cancel(errDown) })
			<-ctx.Done()
			if c.Context().Err() != nil {
				t.Errorf("the claim has ended: %v", context.Cause(c.Context()))
			}
			return context.Cause(ctx)
		})
		if err != errDown {
			t.Errorf("error %v, want %v", err, errDown)
		}
		if err := q.Do(ctx, nil); !errors.Is(err, errDown) {
			t.Errorf("the next call: %v, want %v", err, errDown)
		}
		if items, _ := left(t, w, q); len(items) != 1 {
			t.Errorf("items %v, want one", items)
		}
	})
}

// Covers Q14. What is lost meanwhile is in the error, and is not taken for the
// caller's own end.
func TestLossDuringDoIsItsError(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(ctx context.Context, w *recipetest.World, c *recipetest.Client)
		want error
	}{
		"session": {func(_ context.Context, _ *recipetest.World, c *recipetest.Client) { c.Lose() }, session.ErrLost},
		"node": {func(ctx context.Context, w *recipetest.World, _ *recipetest.Client) {
			recipetest.Check(t, w.Admin().DeleteAll(ctx, path))
		}, session.ErrRevoked},
		"time": {func(context.Context, *recipetest.World, *recipetest.Client) {}, queue.ErrClaimExpired},
	} {
		for _, result := range []error{nil, errOwn, context.Canceled} {
			t.Run(fmt.Sprint(name, result), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, client := newQueue(w, queue.Options[string]{ClaimFor: time.Minute})
					recipetest.Check(t, q.Put(t.Context(), "a"))
					err := q.Do(t.Context(), func(ctx context.Context, _ *queue.Claim[string]) error {
						time.AfterFunc(time.Second, func() { c.lose(t.Context(), w, client) })
						<-ctx.Done()
						if got := context.Cause(ctx); !errors.Is(got, c.want) {
							t.Errorf("cause of the inner context %v, want %v", got, c.want)
						}
						return result
					})
					if !errors.Is(err, c.want) || errors.Is(err, context.Canceled) || result == errOwn && !errors.Is(err, errOwn) {
						t.Errorf("%v after a function that returned %v, want %v", err, result, c.want)
					}
					client.Close()
					w.NothingLeft()
				})
			})
		}
	}
}

// Covers Q14. A consumer that panics gives the item back.
func TestPanickingConsumerGivesBack(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		func() {
			defer func() {
				if got := recover(); got != errOwn {
					t.Errorf("recovered %v, want %v", got, errOwn)
				}
			}()
			_ = q.Do(t.Context(), func(context.Context, *queue.Claim[string]) error { panic(errOwn) })
		}()
		if items, _ := left(t, w, q); len(items) != 1 {
			t.Errorf("items %v, want one", items)
		}
	})
}

// results are what the function of Do returns for each of the items put.
var results = map[string]error{"acked": nil, "given back": errOwn, "rejected": queue.ErrReject}

// doEach puts an item for each result, has Do called once for each, and looks at
// what is left of them.
func doEach(t *testing.T, ctx context.Context, q, other *queue.Queue[string], settle func()) (failed bool) {
	t.Helper()
	recipetest.Check(t, other.Put(t.Context(), slices.Sorted(maps.Keys(results))...))
	errs := make(map[string]error)
	for range results {
		item := ""
		err := q.Do(ctx, func(_ context.Context, c *queue.Claim[string]) error {
			item = c.Value()
			return results[item]
		})
		errs[item] = err
		failed = failed || !errors.Is(err, results[item]) || results[item] == nil && err != nil
	}
	settle()
	rest, dead := drain(t, other), drain(t, other.DeadLetters())
	for item, result := range results {
		err, called := errs[item]
		inRest, inDead := slices.Contains(rest, item), slices.Contains(dead, item)
		switch {
		case inRest && inDead:
			t.Errorf("%s: in the queue and in the dead letters", item)
		case !called && !inRest:
			t.Errorf("%s: no function was called for it, and it is gone", item)
		case result == errOwn && !inRest, result == queue.ErrReject && !inRest && !inDead:
			t.Errorf("%s: it is lost; error %v", item, err)
		case called && result == nil && (err == nil && inRest || inDead || session.OutcomeOf(err) == session.Failed && !inRest):
			t.Errorf("%s: in the queue %v, in the dead letters %v; error %v", item, inRest, inDead, err)
		}
	}
	return failed
}

// Covers Q8, Q11, Q14.
func TestDoAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		tr.Strike(s)
		if failed := doEach(t, t.Context(), q, other, func() { settle(tr) }); failed && !tr.Loses() {
			t.Error("a call failed although its session lives")
		}
	})
}

// Covers Q8, Q11, Q14.
func TestCancelledDoEndsTheClaim(t *testing.T) {
	recipetest.CancelledAtEveryMoment(t, func(ctx context.Context, t *testing.T, w *recipetest.World, s *recipetest.Client) {
		other, _ := newQueue(w, queue.Options[string]{})
		doEach(t, ctx, queue.New(s.Session, path, queue.Options[string]{}), other, func() { settle(nil) })
	})
}

// Covers Q8. Close removes the handle's nodes however its context ended.
func TestCloseWithAnEndedContextCloses(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, client := newQueue(w, queue.Options[string]{})
		c, ended := claimed(t, q)
		recipetest.Check(t, c.Ack(t.Context()))
		if err := q.Close(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("close: %v, want %v", err, context.Canceled)
		}
		synctest.Wait()
		if marks := w.Ephemerals(path); len(marks) > 0 {
			t.Errorf("left behind: %v", marks)
		}
		if err := q.Put(t.Context(), "b"); !errors.Is(err, queue.ErrClosed) || client.Err() != nil {
			t.Errorf("put: %v, want %v", err, queue.ErrClosed)
		}
	})
}
