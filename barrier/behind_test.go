package barrier_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// The waiter's server is the leader. It has committed Set, but has not applied it yet. Wait blocks
// nevertheless. A sync would not be enough: the leader answers a sync without waiting until it has
// applied what it has committed (ZOOKEEPER-1675).
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

// A barrier was deleted and created again with another size. A member with the new size does not
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
