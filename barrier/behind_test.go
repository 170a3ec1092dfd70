package barrier_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/faulttest"
	"github.com/zkcoord/zkcoord/session"
)

// What a leader answers to sync is not the last word (ZOOKEEPER-1675).
//
// Covers B1.
func TestWaitAtAServerThatIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, e *ensemble) {
		behind, other := e.Behind()
		check(t, barrier.New(other, path).Set(t.Context()))
		end := make(chan error, 1)
		go func() { end <- barrier.New(behind, path).Wait(t.Context()) }()
		if err, ok := within(end, patience); ok {
			t.Fatalf("passed a barrier that is set: %v", err)
		}
		check(t, barrier.New(other, path).Remove(t.Context()))
		check(t, <-end)
	})
}

// Covers B2.
func TestRemoveAtAServerThatIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, e *ensemble) {
		behind, other := e.Behind()
		b := barrier.New(other, path)
		check(t, b.Set(t.Context()))
		end := make(chan error, 1)
		go func() { end <- b.Wait(t.Context()) }()
		synctest.Wait()
		check(t, barrier.New(behind, path).Remove(t.Context()))
		if err, ok := within(end, patience); !ok || err != nil {
			t.Errorf("passed %v: %v", ok, err)
		}
	})
}

// Covers D1.
func TestSizeIsReadAtAMajority(t *testing.T) {
	bubble(t, func(t *testing.T, e *ensemble) {
		s, _ := e.Open()
		enter(t.Context(), 3, s)
		synctest.Wait()
		check(t, s.Close())
		behind, other := e.Behind()
		for _, p := range append(faulttest.Znodes(t, other, path), path) {
			check(t, other.Delete(t.Context(), p, session.AnyVersion))
		}
		enter(t.Context(), 2, other)
		synctest.Wait()
		en := <-enter(t.Context(), 2, behind)
		if errors.Is(en.err, barrier.ErrSize) {
			t.Errorf("error %v", en.err)
		}
	})
}
