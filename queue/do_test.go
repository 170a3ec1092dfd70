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

// The function `claimed` puts an item and claims it. It also returns a context that has ended.
func claimed(t *testing.T, q *queue.Queue[string]) (c *queue.Claim[string], ended context.Context) {
	t.Helper()
	recipetest.Check(t, q.Put(t.Context(), "a"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	return recipetest.Must(q.Claim(t.Context())), ended
}

// Release gives the item back even if the context of the call has ended. Regression: Release gave
// the item back in some runs and not in others.
//
// Covers Q15.
func TestReleaseWithAnEndedContextReleases(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		for range 30 {
			c, ended := claimed(t, q)
			err := c.Release(ended)
			// On a busy machine the release can be confirmed before Release waits for it.
			wrong := err != nil && (!errors.Is(err, context.Canceled) || session.OutcomeOf(err) != session.Indeterminate)
			if wrong || c.Context().Err() == nil {
				t.Fatalf("Release: got %v, outcome %v, claim %v, want %v, outcome %v, an ended claim", err, session.OutcomeOf(err), c.Context().Err(), context.Canceled, session.Indeterminate)
			}
			synctest.Wait()
			if _, err := q.TryTake(t.Context()); err != nil {
				t.Fatalf("TryTake after Release: got %v, want the item", err)
			}
		}
	})
}

// If the context of an Ack or Reject has ended, the call always fails, and the claim continues.
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
					t.Fatalf("%s: got %v, outcome %v, claim %v, want outcome %v and no end of the claim", name, err, session.OutcomeOf(err), c.Context().Err(), session.Failed)
				}
			}
		}
		recipetest.Check(t, c.Ack(t.Context()))
	})
}

type requestID struct{}

var errOwn = errors.New("own")

// The function `left` returns the items that remain in the queue and in its dead letters. It checks
// that no ephemeral znode of a claim or handle remains.
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

// Do ends the claim according to the result of its function, whether or not the caller's context
// has ended meanwhile.
//
// Covers Q14.
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
						want = context.Canceled // the Ack is not confirmed yet
						if session.OutcomeOf(err) != session.Indeterminate {
							t.Errorf("outcome: got %v, want %v", session.OutcomeOf(err), session.Indeterminate)
						}
					}
					if !errors.Is(err, want) || cancelled && c.want != nil && errors.Is(err, context.Canceled) || inner.Err() == nil {
						t.Errorf("Do: got %v, want %v; inner context: got %v, want an error", err, want, inner.Err())
					}
					items, dead := left(t, w, q)
					if !slices.Equal(items, c.items) || !slices.Equal(dead, c.dead) {
						t.Errorf("items left: got %q, want %q; dead letters: got %q, want %q", items, c.items, dead, c.dead)
					}
				})
			})
		}
	}
}

// The context that Do passes to its function has the values and the deadline of the caller's
// context, and ends with it. The claim continues until the function returns.
//
// Covers Q14.
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
				t.Errorf("inner context: deadline %v, want %v; value %v, want 7; error %v, want none", got, want, ctx.Value(requestID{}), ctx.Err())
			}
			time.AfterFunc(time.Second, func() { cancel(errDown) })
			<-ctx.Done()
			if c.Context().Err() != nil {
				t.Errorf("claim: ended with %v, want it to continue", context.Cause(c.Context()))
			}
			return context.Cause(ctx)
		})
		if err != errDown {
			t.Errorf("Do: got %v, want %v", err, errDown)
		}
		if err := q.Do(ctx, nil); !errors.Is(err, errDown) {
			t.Errorf("next Do: got %v, want %v", err, errDown)
		}
		if items, _ := left(t, w, q); len(items) != 1 {
			t.Errorf("items left: got %q, want one", items)
		}
	})
}

// If the claim is lost during Do, the error of Do wraps the cause of the loss. It does not wrap
// context.Canceled, even if the function of Do returns that error.
//
// Covers Q14.
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
							t.Errorf("cause of the inner context: got %v, want %v", got, c.want)
						}
						return result
					})
					if !errors.Is(err, c.want) || errors.Is(err, context.Canceled) || result == errOwn && !errors.Is(err, errOwn) {
						t.Errorf("Do of a function that returned %v: got %v, want %v", result, err, c.want)
					}
					client.Close()
					w.NothingLeft()
				})
			})
		}
	}
}

// If the function of Do panics, the item is given back.
//
// Covers Q14.
func TestPanickingConsumerGivesBack(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		func() {
			defer func() {
				if got := recover(); got != errOwn {
					t.Errorf("recovered: got %v, want %v", got, errOwn)
				}
			}()
			_ = q.Do(t.Context(), func(context.Context, *queue.Claim[string]) error { panic(errOwn) })
		}()
		if items, _ := left(t, w, q); len(items) != 1 {
			t.Errorf("items left: got %q, want one", items)
		}
	})
}

// The map `results` contains, for each item, the error that the function of Do returns.
var results = map[string]error{"acked": nil, "given back": errOwn, "rejected": queue.ErrReject}

// doEach puts one item for each entry of `results`, and calls Do as many times. Then it checks
// where the items are. It reports whether Do returned an unexpected error.
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
		if !errors.Is(err, results[item]) || results[item] == nil && err != nil {
			failed = true
			t.Logf("Do for the item %q: got error %v, want %v", item, err, results[item])
		}
	}
	settle()
	rest, dead := drain(t, other), drain(t, other.DeadLetters())
	for item, result := range results {
		err, called := errs[item]
		inRest, inDead := slices.Contains(rest, item), slices.Contains(dead, item)
		switch {
		case inRest && inDead:
			t.Errorf("item %q is in the queue and in the dead letters, want it in one of them", item)
		case !called && !inRest:
			t.Errorf("item %q is gone although Do called no function for it, want it in the queue", item)
		case result == errOwn && !inRest, result == queue.ErrReject && !inRest && !inDead:
			t.Errorf("item %q: in the queue %v, in the dead letters %v, want it in the queue, or in the dead letters if it was rejected, because the function returned %q; Do returned error %v",
				item, inRest, inDead, result, err)
		case called && result == nil && (err == nil && inRest || inDead || session.OutcomeOf(err) == session.Failed && !inRest):
			t.Errorf("item %q: in the queue %v, in the dead letters %v, want it acked, because the function returned nil and Do returned error %v", item, inRest, inDead, err)
		}
	}
	return failed
}

// Do neither loses nor duplicates an item, whichever request or reply is lost. The place of each
// item agrees with the result of its function and with the error of Do.
//
// Covers Q8, Q11, Q14.
func TestDoAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		q, s := newQueue(tr.World, queue.Options[string]{})
		other, _ := newQueue(tr.World, queue.Options[string]{})
		tr.Strike(s)
		if failed := doEach(t, t.Context(), q, other, func() { settle(tr) }); failed && !tr.Loses() {
			t.Error("Do: a call failed although its session lives: see above")
		}
	})
}

// Do neither loses nor duplicates an item, at whichever moment its context ends. The place of each
// item agrees with the result of its function and with the error of Do.
//
// Covers Q8, Q11, Q14.
func TestCancelledDoEndsTheClaim(t *testing.T) {
	recipetest.CancelledAtEveryMoment(t, func(ctx context.Context, t *testing.T, w *recipetest.World, s *recipetest.Client) {
		other, _ := newQueue(w, queue.Options[string]{})
		doEach(t, ctx, queue.New(s.Session, path, queue.Options[string]{}), other, func() { settle(nil) })
	})
}

// Close removes the handle's znodes even if the context of the call has ended.
//
// Covers Q8.
func TestCloseWithAnEndedContextCloses(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, client := newQueue(w, queue.Options[string]{})
		c, ended := claimed(t, q)
		recipetest.Check(t, c.Ack(t.Context()))
		if err := q.Close(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Close: got %v, want nil or %v", err, context.Canceled)
		}
		synctest.Wait()
		if marks := w.Ephemerals(path); len(marks) > 0 {
			t.Errorf("ephemeral znodes left: got %v, want none", marks)
		}
		if err := q.Put(t.Context(), "b"); !errors.Is(err, queue.ErrClosed) || client.Err() != nil {
			t.Errorf("Put: got %v, want %v; session: %v", err, queue.ErrClosed, client.Err())
		}
	})
}
