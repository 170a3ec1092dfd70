package lock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

type requestID struct{}

// held is the interface that all kinds of grants implement.
type held interface {
	Bind(ctx context.Context) context.Context
	Context() context.Context
	Deadline() time.Time
	Unlock(ctx context.Context) error
}

// The function `under` adapts a function of a test to the type of function that a Do calls.
func under[G held](f func(ctx context.Context, g held) error) func(context.Context, G) error {
	return func(ctx context.Context, g G) error { return f(ctx, g) }
}

// The map `dos` has the method Do of each kind of lock, by the name of its subtest.
var dos = map[string]func(ctx context.Context, s *session.Session, f func(ctx context.Context, g held) error) error{
	"Mutex": func(ctx context.Context, s *session.Session, f func(context.Context, held) error) error {
		return lock.NewMutex(s, "/lock", lock.Options{}).Do(ctx, under[*lock.Grant](f))
	},
	"writer": func(ctx context.Context, s *session.Session, f func(context.Context, held) error) error {
		return lock.NewRWMutex(s, "/lock", lock.Options{}).Do(ctx, under[*lock.WriteGrant](f))
	},
	"reader": func(ctx context.Context, s *session.Session, f func(context.Context, held) error) error {
		return lock.NewRWMutex(s, "/lock", lock.Options{}).RDo(ctx, under[*lock.Grant](f))
	},
	"Semaphore": func(ctx context.Context, s *session.Session, f func(context.Context, held) error) error {
		return lock.NewSemaphore(s, "/sem", 3, lock.Options{}).Do(ctx, 2, under[*lock.Grant](f))
	},
	"Multi": func(ctx context.Context, s *session.Session, f func(context.Context, held) error) error {
		return lock.NewMulti(s, []string{"/b", "/lock", "/a"}, lock.Options{}).Do(ctx, under[*lock.MultiGrant](f))
	},
	"Exclusive": func(ctx context.Context, s *session.Session, f func(context.Context, held) error) error {
		return lock.NewExclusive(s, "/node", lock.Options{}).Do(ctx, under[*lock.Grant](f))
	},
}

// eachDo runs a test for each kind of lock, each in its own world.
func eachDo(t *testing.T, test func(t *testing.T, w *recipetest.World, do func(context.Context, *session.Session, func(context.Context, held) error) error, name string)) {
	for name, do := range dos {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) { test(t, w, do, name) })
		})
	}
}

// free fails the test unless another client acquires the lock of the given name at once.
func free(t *testing.T, w *recipetest.World, name string) {
	t.Helper()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	undo, err := calls[name](ctx, w.Client().Session)
	if err != nil {
		t.Errorf("lock %s: got %v, want it to be free", name, err)
		return
	}
	ok(t, undo(ctx))
}

// The context of a grant does not have the values of the caller's context, and does not end with
// the caller's context. The contexts of Do and Bind have these values, and end with the caller's
// context.
func TestContextOfAGrantIsItsOwn(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), requestID{}, 7), time.Minute)
		defer cancel()
		g := recipetest.Must(mutexAt("/lock")(w.Client()).Lock(ctx))
		own := g.Context()
		cancel()
		if _, ok := own.Deadline(); ok || own.Value(requestID{}) != nil || own.Err() != nil {
			t.Errorf("context of the grant: got value %v, deadline %v, error %v, want none", own.Value(requestID{}), ok, own.Err())
		}
		ok(t, g.Unlock(t.Context()))
	})
}

// The context that Do passes to its function has the values and the deadline of the caller's
// context. It ends when the caller's context ends, for example because the program shuts down.
//
// Covers L9.
func TestWorkUnderALockIsTheCallers(t *testing.T) {
	eachDo(t, func(t *testing.T, w *recipetest.World, do func(context.Context, *session.Session, func(context.Context, held) error) error, name string) {
		errDown := errors.New("going down")
		timed, stop := context.WithTimeout(context.WithValue(t.Context(), requestID{}, 7), time.Minute)
		defer stop()
		ctx, cancel := context.WithCancelCause(timed)
		c := w.Client()
		var inner context.Context
		err := do(ctx, c.Session, func(ctx context.Context, _ held) error {
			inner = ctx
			want, _ := timed.Deadline()
			if got, _ := ctx.Deadline(); got != want || ctx.Value(requestID{}) != 7 || ctx.Err() != nil {
				t.Errorf("inner context: deadline %v, want %v; value %v, want 7; error %v, want none", got, want, ctx.Value(requestID{}), ctx.Err())
			}
			time.AfterFunc(time.Second, func() { cancel(errDown) })
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if err != errDown || context.Cause(inner) != errDown {
			t.Errorf("Do: got %v; cause of the inner context: got %v; want %v", err, context.Cause(inner), errDown)
		}
		free(t, w, name)
		w.NothingLeft()
	})
}

// When the function that Do called has returned or panicked, Do releases the lock, and the context
// of the function ends.
//
// Covers L9.
func TestDoReleases(t *testing.T) {
	eachDo(t, func(t *testing.T, w *recipetest.World, do func(context.Context, *session.Session, func(context.Context, held) error) error, name string) {
		c := w.Client()
		errOwn := errors.New("own")
		for _, want := range []error{nil, errOwn} {
			var inner context.Context
			err := do(t.Context(), c.Session, func(ctx context.Context, g held) error { inner = ctx; return want })
			if err != want || !errors.Is(context.Cause(inner), lock.ErrReleased) {
				t.Errorf("Do: got %v, want %v; cause of the inner context: got %v, want %v", err, want, context.Cause(inner), lock.ErrReleased)
			}
			free(t, w, name)
		}
		ok(t, do(t.Context(), c.Session, func(ctx context.Context, g held) error { return g.Unlock(ctx) }))
		func() {
			defer func() {
				if got := recover(); got != errOwn {
					t.Errorf("recovered: got %v, want %v", got, errOwn)
				}
			}()
			_ = do(t.Context(), c.Session, func(context.Context, held) error { panic(errOwn) })
		}()
		free(t, w, name)
		w.NothingLeft()
	})
}

// If the lock is lost during Do, the error says so. The loss is not mistaken for the end of the
// caller's context.
//
// Covers L9.
func TestLossDuringDoIsItsError(t *testing.T) {
	eachDo(t, func(t *testing.T, w *recipetest.World, do func(context.Context, *session.Session, func(context.Context, held) error) error, name string) {
		errOwn := errors.New("own")
		for _, result := range []error{nil, errOwn, context.Canceled} {
			c := w.Client()
			err := do(t.Context(), c.Session, func(ctx context.Context, _ held) error {
				time.AfterFunc(time.Second, c.Lose)
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), session.ErrLost) {
					t.Errorf("cause of the inner context: got %v, want %v", context.Cause(ctx), session.ErrLost)
				}
				return result
			})
			if !errors.Is(err, session.ErrLost) || errors.Is(err, context.Canceled) || result == errOwn && !errors.Is(err, errOwn) {
				t.Errorf("Do of a function that returned %v: got %v, want %v", result, err, session.ErrLost)
			}
		}
		w.NothingLeft()
	})
}

// When the lease lapses, a context that Bind returned, and each context derived from it, ends at
// the same moment as the grant. The end does not depend on another goroutine that must first be
// scheduled.
//
// Covers L9.
func TestBoundContextEndsBeforeAnotherIsGranted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		mutex := mutexAt("/lock")
		follower := (w.Leader() + 1) % 3
		a, b := w.Client(w.On(follower)), w.Client(w.On(w.Leader()))
		g := recipetest.Must(mutex(a).Lock(t.Context()))
		ctx, cancel := context.WithCancel(g.Bind(context.WithValue(t.Context(), requestID{}, 7)))
		defer cancel()
		next := started(func() (*lock.Grant, error) { return mutex(b).Lock(t.Context()) })
		time.Sleep(time.Second)
		w.Isolate(follower)
		<-g.Context().Done()
		lapsed := time.Now()
		other := (<-next).must(t)
		if cause := context.Cause(ctx); !errors.Is(cause, session.ErrLeaseLapsed) || !time.Now().After(lapsed) {
			t.Errorf("cause of the bound context: got %v, want %v; other client granted %v after the end, want later", cause, session.ErrLeaseLapsed, time.Since(lapsed))
		}
		ok(t, other.Unlock(t.Context()))
	})
}

// Lock detects a deadlock if its context comes from Do or Bind, and the caller already holds the
// lock. This is so even if the caller has since acquired a second lock.
func TestDeadlockIsFoundUnderDo(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		outer, inner := mutexAt("/outer")(c), mutexAt("/inner")(c)
		ok(t, outer.Do(t.Context(), func(ctx context.Context, _ *lock.Grant) error {
			return inner.Do(ctx, func(ctx context.Context, _ *lock.Grant) error {
				for path, m := range map[string]*lock.Mutex{"/outer": outer, "/inner": inner} {
					if _, err := m.Lock(ctx); !errors.Is(err, lock.ErrDeadlock) {
						t.Errorf("Lock of %s: got %v, want %v", path, err, lock.ErrDeadlock)
					}
				}
				return nil
			})
		}))
		both := lock.NewMulti(c.Session, []string{"/outer", "/inner"}, lock.Options{})
		ok(t, both.Do(t.Context(), func(ctx context.Context, _ *lock.MultiGrant) error {
			if err := inner.Do(ctx, nil); !errors.Is(err, lock.ErrDeadlock) {
				t.Errorf("Do: got %v, want %v", err, lock.ErrDeadlock)
			}
			return nil
		}))
	})
}

// A deferred grant.Unlock(ctx) releases the lock, no matter how ctx ended.
//
// Covers L10.
func TestUnlockWithAnEndedContextReleases(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				unlock := recipetest.Must(call(t.Context(), c.Session))
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				// On a busy machine the deletion can be confirmed before Unlock waits for it.
				if err := unlock(ctx); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Unlock: got %v, want %v or none", err, context.Canceled)
				}
				free(t, w, name)
				w.NothingLeft()
			})
		})
	}
}

// If no server answers, the session continues the release after Unlock has returned. Close waits
// for the release.
//
// Covers L10.
func TestUnlockGoesOnWhereNoServerAnswers(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		g := recipetest.Must(mutexAt("/lock")(c).Lock(t.Context()))
		for i := range w.Servers() {
			w.Pause(i)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Unlock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Unlock: got %v, want %v", err, context.DeadlineExceeded)
		}
		for i := range w.Servers() {
			w.Resume(i)
		}
		ok(t, c.Close())
		if left := w.Ephemerals("/lock"); len(left) > 0 {
			t.Errorf("znodes left: got %v, want none", left)
		}
	})
}

// A Do that is interrupted at any of its requests leaves no znode.
//
// Covers L4, L9.
func TestBrokenDoLeavesNoNode(t *testing.T) {
	for name, do := range dos {
		t.Run(name, func(t *testing.T) {
			recipetest.Call{Do: func(ctx context.Context, s *session.Session) (undo, error) {
				err := do(ctx, s, func(context.Context, held) error { return nil })
				return func(context.Context) error { return nil }, err
			}}.AtEachCrashPoint(t)
		})
	}
}
