package lock_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
)

var ok = recipetest.Check

// The function `started` runs f in a goroutine. The returned channel receives the result of f.
func started[T any](f func() (T, error)) <-chan result[T] {
	c := make(chan result[T], 1)
	go func() {
		v, err := f()
		c <- result[T]{v, err}
	}()
	synctest.Wait()
	return c
}

type result[T any] struct {
	value T
	err   error
}

func (r result[T]) String() string { return fmt.Sprintf("%v, error %v", r.value, r.err) }

func (r result[T]) must(t *testing.T) T {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.value
}

// The function `arrived` returns the result of a call that has returned. It fails the test if the
// call still waits.
func arrived[T any](t *testing.T, c <-chan result[T]) T {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		return r.must(t)
	default:
		t.Fatal("the call still waits when all requests are answered, want its result by now")
		panic("unreachable")
	}
}

func waiting[T any](t *testing.T, c <-chan result[T]) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		t.Fatalf("the call returned %v; want it to wait", r)
	default:
	}
}

// The test checks the requests that each contender of a Mutex sends. A release wakes only the next
// contender, which then holds the lock without a further request. The contender behind it sends no
// request either.
//
// Covers L5.
func TestRequestsOfAMutex(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b, c := w.Client(), w.Client(), w.Client()
		mutex := func(c *recipetest.Client) *lock.Mutex { return lock.NewMutex(c.Session, "/lock", lock.Options{}) }
		// The first Lock creates the directory.
		ok(t, recipetest.Must(mutex(a).Lock(ctx)).Unlock(ctx))
		synctest.Wait()
		a.Requests()

		first := recipetest.Must(mutex(a).Lock(ctx))
		a.Expect(t, "uncontended", "create getChildren2")
		second := started(func() (*lock.Grant, error) { return mutex(b).Lock(ctx) })
		b.Expect(t, "waiting", "create getChildren2 getData")
		third := started(func() (*lock.Grant, error) { return mutex(c).Lock(ctx) })
		c.Expect(t, "waiting", "create getChildren2 getData")

		ok(t, first.Unlock(ctx))
		a.Expect(t, "release of a lone contender", "delete")
		g := arrived(t, second)
		b.Expect(t, "handed over", "")
		c.Expect(t, "not next", "")
		ok(t, g.Unlock(ctx))
		b.Expect(t, "release", "multi")
		g = arrived(t, third)
		c.Expect(t, "handed over, though two were ahead", "")
		ok(t, g.Unlock(ctx))
	})
}

// After a holder's session expired, its successor needs one list request.
//
// Covers L5.
func TestRequestsAfterAHolderVanished(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b, c := w.Client(), w.Client(), w.Client()
		mutex := func(c *recipetest.Client) *lock.Mutex { return lock.NewMutex(c.Session, "/lock", lock.Options{}) }
		first := recipetest.Must(mutex(a).Lock(ctx))
		second := started(func() (*lock.Grant, error) { return mutex(b).Lock(ctx) })
		third := started(func() (*lock.Grant, error) { return mutex(c).Lock(ctx) })
		ok(t, first.Unlock(ctx))
		arrived(t, second)
		c.Requests()
		b.Lose()
		g := arrived(t, third)
		c.Expect(t, "handed over", "getChildren2")
		ok(t, g.Unlock(ctx))
	})
}

// The departure of one writer lets all waiting readers in. The departure of the last reader lets a
// writer in.
//
// Covers L5.
func TestRequestsOfAnRWMutex(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b, c, d := w.Client(), w.Client(), w.Client(), w.Client()
		rw := func(c *recipetest.Client) *lock.RWMutex { return lock.NewRWMutex(c.Session, "/rw", lock.Options{}) }
		ok(t, recipetest.Must(rw(a).Lock(ctx)).Unlock(ctx))
		synctest.Wait()
		a.Requests()

		writer := recipetest.Must(rw(a).Lock(ctx))
		a.Expect(t, "uncontended writer", "create getChildren2")
		reader1 := started(func() (*lock.Grant, error) { return rw(b).RLock(ctx) })
		b.Expect(t, "waiting reader", "create getChildren2 getData")
		reader2 := started(func() (*lock.Grant, error) { return rw(c).RLock(ctx) })
		c.Expect(t, "waiting reader", "create getChildren2 getData")
		writer2 := started(func() (*lock.WriteGrant, error) { return rw(d).Lock(ctx) })
		d.Expect(t, "writer behind a reader", "create getChildren2 getChildren2")

		ok(t, writer.Unlock(ctx))
		a.Expect(t, "release", "delete")
		r1, r2 := arrived(t, reader1), arrived(t, reader2)
		b.Expect(t, "let in", "")
		c.Expect(t, "let in", "")
		d.Expect(t, "not next", "")
		ok(t, r1.Unlock(ctx))
		b.Expect(t, "reader's release", "delete")
		d.Expect(t, "one reader is left", "")
		ok(t, r2.Unlock(ctx))
		g := arrived(t, writer2)
		d.Expect(t, "next", "getChildren2")

		writer3 := started(func() (*lock.WriteGrant, error) { return rw(a).Lock(ctx) })
		a.Expect(t, "writer behind a writer", "create getChildren2 getData getChildren2")
		ok(t, g.Unlock(ctx))
		g = arrived(t, writer3)
		a.Expect(t, "writer after a writer", "")
		ok(t, g.Unlock(ctx))
	})
}
