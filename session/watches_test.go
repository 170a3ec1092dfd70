package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/zktest"
)

func openInBubble(t *testing.T) *Session {
	t.Helper()
	e := zktest.Start(t)
	s, err := Open(t.Context(), Options{Servers: e.Servers(), Dial: e.DialContext, Timeout: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Wait returns the watches of a set that have fired. A watch fires only once: for a later change,
// another read must set the watch again. If several reads have set the same watch before a change,
// Wait still returns the change only once.
//
// Covers S6.
func TestWatchFiresOnceForEachRead(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := openInBubble(t)
		w := s.newWatches()
		defer w.Stop()
		if _, _, err := w.Get(t.Context(), "/a"); !errors.Is(err, zk.ErrNoNode) {
			t.Fatalf("Get of a missing znode: got %v, want %v", err, zk.ErrNoNode)
		}
		if len(w.waits) != 0 || len(s.watches.watches) != 0 {
			t.Errorf("a Get of a missing znode left %d watches in the set and %d in the session, want none",
				len(w.waits), len(s.watches.watches))
		}
		for range 2 {
			if stat, err := w.Exists(t.Context(), "/a"); stat != nil || err != nil {
				t.Fatalf("Exists of a missing znode: got %+v, %v; want none, nil", stat, err)
			}
		}
		s.Create(t.Context(), "/a", nil, Persistent)
		expectFired(t, w, "[{/a false EventNodeCreated}]")
		w.Get(t.Context(), "/a")
		w.Children(t.Context(), "/a")
		s.Create(t.Context(), "/a/b", nil, Persistent)
		s.Set(t.Context(), "/a", nil, AnyVersion)
		s.Set(t.Context(), "/a", nil, AnyVersion)
		synctest.Wait()
		expectFired(t, w, "[{/a true EventNodeChildrenChanged} {/a false EventNodeDataChanged}]")
		w.Get(t.Context(), "/a")
		w.Drop("/a", false)
		s.Set(t.Context(), "/a", nil, AnyVersion)
		synctest.Wait()
		if len(w.fired) != 0 || len(w.waits) != 0 || len(s.watches.watches) != 0 {
			t.Errorf("a dropped watch is left: got %d fired, %d in the set and %d in the session, want none",
				len(w.fired), len(w.waits), len(s.watches.watches))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		cancel(why)
		if _, err := w.Wait(ctx); !errors.Is(err, why) {
			t.Errorf("Wait: got %v, want %v", err, why)
		}
		w.Get(t.Context(), "/a")
		s.Close()
		if _, err := w.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Wait after Close: got %v, want %v", err, ErrClosed)
		}
	})
}

func expectFired(t *testing.T, w *watchSet, want string) {
	t.Helper()
	fired, err := w.Wait(t.Context())
	if got := fmt.Sprint(fired); got != want || err != nil {
		t.Errorf("fired: got %v, %v; want %v", got, err, want)
	}
}

// A session keeps nothing for a stopped set of watches. go-zookeeper would keep every watch until
// it fires.
//
// Covers S6.
func TestTenThousandStoppedWatchesLeaveNothing(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := openInBubble(t)
		for i := range 5000 {
			w := s.newWatches()
			w.Exists(t.Context(), fmt.Sprintf("/%d", i))
			w.Children(t.Context(), "/")
			w.Stop()
			if len(w.waits) != 0 {
				t.Fatal("a stopped set has watches left, want none")
			}
		}
		s.watches.mu.Lock()
		defer s.watches.mu.Unlock()
		if len(s.watches.watches) != 0 {
			t.Errorf("got %d watches left, want none", len(s.watches.watches))
		}
	})
}

// If the context of a Wait ends, the next Wait returns the watches that fired.
//
// Covers S6.
func TestWaitThatEndsKeepsWhatFired(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		for range 20 { // repeated, because `select` chooses randomly among ready channels
			w := s.newWatches()
			w.Exists(t.Context(), "/a")
			s.Create(t.Context(), "/a", nil, Persistent)
			synctest.Wait()
			over, cancel := context.WithCancel(t.Context())
			cancel()
			w.Wait(over)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if fired, err := w.Wait(ctx); err != nil || len(fired) != 1 {
				t.Errorf("fired: got %v, %v; want one", fired, err)
			}
			cancel()
			w.Stop()
			s.Delete(t.Context(), "/a", AnyVersion)
		}
	})
}

// If two reads of one path are in progress and the caller gives up one of them, the watch of the
// other read remains.
//
// Covers S6.
func TestReadThatFailsLeavesTheWatchOfAnother(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		s.Create(t.Context(), "/a", nil, Persistent)
		w := s.newWatches()
		defer w.Stop()
		slow := e.Inject(zktest.Rule{Op: "getData", Fate: zktest.DelayReply, Delay: time.Second})
		impatient, cancel := context.WithCancel(t.Context())
		go w.Get(impatient, "/a")
		read := make(chan error, 1)
		go func() {
			_, _, err := w.Get(t.Context(), "/a")
			read <- err
		}()
		synctest.Wait()
		if slow.Fired() != 1 {
			t.Errorf("delayed replies: got %d, want 1", slow.Fired())
		}
		cancel()
		must(t, <-read)
		s.Set(t.Context(), "/a", nil, AnyVersion)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if fired, err := w.Wait(ctx); err != nil {
			t.Errorf("Wait: got %v, %v; want an event", fired, err)
		}
	})
}
