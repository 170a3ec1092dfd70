package lock_test

import (
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/coordtest"
	"github.com/zkcoord/zkcoord/lock"
)

// expect fails the test unless c has sent just these requests.
func expect(t *testing.T, c *coordtest.Client, what, want string) {
	t.Helper()
	synctest.Wait()
	if got := c.Requests(); got != want {
		t.Errorf("%s: sent %q, want %q", what, got, want)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// started calls f on a goroutine and returns what it gives.
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

func (r result[T]) must(t *testing.T) T {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.value
}

// arrived takes what has come already.
func arrived[T any](t *testing.T, c <-chan result[T]) T {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		return r.must(t)
	default:
		t.Fatal("not granted")
		panic("unreachable")
	}
}

func waiting[T any](t *testing.T, c <-chan result[T]) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		t.Fatalf("did not wait: %+v", r)
	default:
	}
}

// Covers L5. What a lock costs, in requests.
func TestRequestsOfAMutex(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		ctx := t.Context()
		a, b, c := w.Client(), w.Client(), w.Client()
		mutex := func(c *coordtest.Client) *lock.Mutex { return lock.NewMutex(c.Session, "/lock", lock.Options{}) }
		// The first makes the directory.
		ok(t, must[*lock.Grant](t)(mutex(a).Lock(ctx)).Unlock(ctx))
		synctest.Wait()
		a.Requests()

		first := must[*lock.Grant](t)(mutex(a).Lock(ctx))
		expect(t, a, "uncontended", "create getChildren2")
		second := started(func() (*lock.Grant, error) { return mutex(b).Lock(ctx) })
		expect(t, b, "waiting", "create getChildren2 getData")
		third := started(func() (*lock.Grant, error) { return mutex(c).Lock(ctx) })
		expect(t, c, "waiting", "create getChildren2 getData")

		ok(t, first.Unlock(ctx))
		expect(t, a, "release of who came alone", "delete")
		g := arrived(t, second)
		expect(t, b, "handed over", "")
		expect(t, c, "not next", "")
		ok(t, g.Unlock(ctx))
		expect(t, b, "release", "multi")
		g = arrived(t, third)
		expect(t, c, "handed over, though two were ahead", "")
		ok(t, g.Unlock(ctx))
	})
}

// Covers L5. An expired holder costs its successor one list.
func TestRequestsAfterAHolderVanished(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		ctx := t.Context()
		a, b, c := w.Client(), w.Client(), w.Client()
		mutex := func(c *coordtest.Client) *lock.Mutex { return lock.NewMutex(c.Session, "/lock", lock.Options{}) }
		first := must[*lock.Grant](t)(mutex(a).Lock(ctx))
		second := started(func() (*lock.Grant, error) { return mutex(b).Lock(ctx) })
		third := started(func() (*lock.Grant, error) { return mutex(c).Lock(ctx) })
		ok(t, first.Unlock(ctx))
		arrived(t, second)
		c.Requests()
		b.Lose()
		g := arrived(t, third)
		expect(t, c, "handed over", "getChildren2")
		ok(t, g.Unlock(ctx))
	})
}

// Covers L5. Readers are let in by one writer's going, a writer by the last
// reader's.
func TestRequestsOfAnRWMutex(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		ctx := t.Context()
		a, b, c, d := w.Client(), w.Client(), w.Client(), w.Client()
		rw := func(c *coordtest.Client) *lock.RWMutex { return lock.NewRWMutex(c.Session, "/rw", lock.Options{}) }
		ok(t, must[*lock.WriteGrant](t)(rw(a).Lock(ctx)).Unlock(ctx))
		synctest.Wait()
		a.Requests()

		writer := must[*lock.WriteGrant](t)(rw(a).Lock(ctx))
		expect(t, a, "uncontended writer", "create getChildren2")
		reader1 := started(func() (*lock.Grant, error) { return rw(b).RLock(ctx) })
		expect(t, b, "waiting reader", "create getChildren2 getData")
		reader2 := started(func() (*lock.Grant, error) { return rw(c).RLock(ctx) })
		expect(t, c, "waiting reader", "create getChildren2 getData")
		writer2 := started(func() (*lock.WriteGrant, error) { return rw(d).Lock(ctx) })
		expect(t, d, "writer behind a reader", "create getChildren2 getChildren2")

		ok(t, writer.Unlock(ctx))
		expect(t, a, "release", "delete")
		r1, r2 := arrived(t, reader1), arrived(t, reader2)
		expect(t, b, "let in", "")
		expect(t, c, "let in", "")
		expect(t, d, "not next", "")
		ok(t, r1.Unlock(ctx))
		expect(t, b, "reader's release", "delete")
		expect(t, d, "one reader is left", "")
		ok(t, r2.Unlock(ctx))
		g := arrived(t, writer2)
		expect(t, d, "next", "getChildren2")

		writer3 := started(func() (*lock.WriteGrant, error) { return rw(a).Lock(ctx) })
		expect(t, a, "writer behind a writer", "create getChildren2 getData getChildren2")
		ok(t, g.Unlock(ctx))
		g = arrived(t, writer3)
		expect(t, a, "writer after a writer", "")
		ok(t, g.Unlock(ctx))
	})
}
