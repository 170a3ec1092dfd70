package barrier_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// Wait blocks if the barrier is set, even if the waiter's server does not show the barrier yet. In
// this test, that server is the leader, which has committed the transaction of Set but has not
// applied it. A sync would not help: the leader answers a sync before it has applied all that it
// has committed (ZOOKEEPER-1675).
//
// Covers B1.
func TestWaitAtAServerThatIsBehind(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		behind, other := w.Behind()
		check(t, barrier.New(other.Session, path).Set(t.Context()))
		end := make(chan error, 1)
		go func() { end <- barrier.New(behind.Session, path).Wait(t.Context()) }()
		if err, ok := within(end, patience); ok {
			t.Fatalf("Wait passed a barrier that is set: error %v", err)
		}
		check(t, barrier.New(other.Session, path).Remove(t.Context()))
		check(t, <-end)
	})
}

// Remove removes a barrier that is set, even if the remover's server does not show the barrier yet.
// The waiters continue.
//
// Covers B2.
func TestRemoveAtAServerThatIsBehind(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		behind, other := w.Behind()
		b := barrier.New(other.Session, path)
		check(t, b.Set(t.Context()))
		end := make(chan error, 1)
		go func() { end <- b.Wait(t.Context()) }()
		synctest.Wait()
		check(t, barrier.New(behind.Session, path).Remove(t.Context()))
		if err, ok := within(end, patience); !ok || err != nil {
			t.Errorf("after Remove: Wait returned in time: %v, error %v; want true and no error", ok, err)
		}
	})
}

// If a Double was deleted and created again with another size, a member with the new size does not
// fail with ErrSize, although its server still shows the old size.
//
// Covers D1.
func TestSizeIsReadAtAMajority(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := w.Client()
		enter(t.Context(), 3, s)
		synctest.Wait()
		check(t, s.Close())
		behind, other := w.Behind()
		for _, p := range append(w.Nodes(path), path) {
			check(t, other.Delete(t.Context(), p, session.AnyVersion))
		}
		enter(t.Context(), 2, other)
		synctest.Wait()
		en := <-enter(t.Context(), 2, behind)
		if errors.Is(en.err, barrier.ErrSize) {
			t.Errorf("Enter: got error %v, want no ErrSize", en.err)
		}
	})
}
