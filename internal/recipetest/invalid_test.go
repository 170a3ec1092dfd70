package recipetest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
)

type call func(ctx context.Context, s *session.Session) error

// The function `last` returns the error with which a stream ends.
func last[T any](stream func(yield func(T, error) bool)) (err error) {
	for _, err = range stream {
	}
	return err
}

// onPaths returns the calls on objects that are constructed with a path.
func onPaths(path string) map[string]call {
	type ctx = context.Context
	type s = *session.Session
	all := make(map[string]call)
	for name, f := range map[string]func(ctx, *lock.Mutex) error{
		"Lock":       func(c ctx, m *lock.Mutex) error { _, err := m.Lock(c); return err },
		"TryLock":    func(c ctx, m *lock.Mutex) error { _, err := m.TryLock(c); return err },
		"Do":         func(c ctx, m *lock.Mutex) error { return m.Do(c, nil) },
		"Contenders": func(c ctx, m *lock.Mutex) error { _, err := m.Contenders(c); return err },
		"WhoBlocks":  func(c ctx, m *lock.Mutex) error { _, err := m.WhoBlocks(c, "/x"); return err },
	} {
		all["lock: Mutex."+name] = func(c ctx, s s) error { return f(c, lock.NewMutex(s, path, lock.Options{})) }
	}
	for name, f := range map[string]func(ctx, *lock.RWMutex) error{
		"Lock":       func(c ctx, m *lock.RWMutex) error { _, err := m.Lock(c); return err },
		"RLock":      func(c ctx, m *lock.RWMutex) error { _, err := m.RLock(c); return err },
		"Contenders": func(c ctx, m *lock.RWMutex) error { _, err := m.Contenders(c); return err },
	} {
		all["lock: RWMutex."+name] = func(c ctx, s s) error { return f(c, lock.NewRWMutex(s, path, lock.Options{})) }
	}
	for name, f := range onSemaphores {
		all["lock: Semaphore."+name] = func(c ctx, s s) error { return f(c, lock.NewSemaphore(s, path, 1, lock.Options{})) }
	}
	for name, f := range onExclusives {
		all["lock: Exclusive."+name] = func(c ctx, s s) error { return f(c, lock.NewExclusive(s, path, lock.Options{})) }
	}
	all["lock: Multi.Lock"] = func(c ctx, s s) error {
		_, err := lock.NewMulti(s, []string{"/before", path}, lock.Options{}).Lock(c)
		return err
	}
	for name, f := range map[string]func(ctx, *election.Election) error{
		"Campaign": func(c ctx, e *election.Election) error { _, err := e.Campaign(c); return err },
		"Leader":   func(c ctx, e *election.Election) error { _, err := e.Leader(c); return err },
		"Run":      func(c ctx, e *election.Election) error { return e.Run(c, nil) },
		"Observe":  func(c ctx, e *election.Election) error { return last(e.Observe(c)) },
	} {
		all["election: "+name] = func(c ctx, s s) error { return f(c, election.New(s, path, election.Options{})) }
	}
	for name, f := range map[string]func(ctx, *group.Group) error{
		"Join":    func(c ctx, g *group.Group) error { _, err := g.Join(c, "me", nil); return err },
		"Members": func(c ctx, g *group.Group) error { _, err := g.Members(c); return err },
		"Changes": func(c ctx, g *group.Group) error { return last(g.Changes(c)) },
	} {
		all["group: "+name] = func(c ctx, s s) error { return f(c, group.New(s, path)) }
	}
	all["group: View.Keep"] = func(c ctx, s s) error { return group.NewView(path).Keep(c, s) }
	for name, f := range map[string]func(ctx, *barrier.Barrier) error{
		"Set":    func(c ctx, b *barrier.Barrier) error { return b.Set(c) },
		"Remove": func(c ctx, b *barrier.Barrier) error { return b.Remove(c) },
		"Wait":   func(c ctx, b *barrier.Barrier) error { return b.Wait(c) },
	} {
		all["barrier: "+name] = func(c ctx, s s) error { return f(c, barrier.New(s, path)) }
	}
	for name, f := range onCounters {
		all["counter: "+name] = func(c ctx, s s) error { return f(c, counter.New(s, path, counter.Options{})) }
	}
	all["barrier: Double.Enter"] = func(c ctx, s s) error { _, err := barrier.NewDouble(s, path, 2).Enter(c); return err }
	for name, f := range onQueues {
		all["queue: "+name] = func(c ctx, s s) error { return f(c, queue.New(s, path, queue.Options[int]{})) }
	}
	return all
}

var onSemaphores = map[string]func(context.Context, *lock.Semaphore) error{
	"Acquire":     func(c context.Context, m *lock.Semaphore) error { _, err := m.Acquire(c, 1); return err },
	"TryAcquire":  func(c context.Context, m *lock.Semaphore) error { _, err := m.TryAcquire(c, 1); return err },
	"Capacity":    func(c context.Context, m *lock.Semaphore) error { _, err := m.Capacity(c); return err },
	"SetCapacity": func(c context.Context, m *lock.Semaphore) error { return m.SetCapacity(c, 1) },
	"Contenders":  func(c context.Context, m *lock.Semaphore) error { _, err := m.Contenders(c); return err },
}

var onExclusives = map[string]func(context.Context, *lock.Exclusive) error{
	"Lock":    func(c context.Context, e *lock.Exclusive) error { _, err := e.Lock(c); return err },
	"TryLock": func(c context.Context, e *lock.Exclusive) error { _, err := e.TryLock(c); return err },
	"Holder":  func(c context.Context, e *lock.Exclusive) error { _, _, err := e.Holder(c); return err },
}

var onCounters = map[string]func(context.Context, *counter.Counter) error{
	"Add":           func(c context.Context, n *counter.Counter) error { _, err := n.Add(c, 1); return err },
	"Get":           func(c context.Context, n *counter.Counter) error { _, err := n.Get(c); return err },
	"Set":           func(c context.Context, n *counter.Counter) error { return n.Set(c, 1) },
	"CompareAndSet": func(c context.Context, n *counter.Counter) error { _, err := n.CompareAndSet(c, 0, 1); return err },
	"Close":         func(c context.Context, n *counter.Counter) error { return n.Close(c) },
}

var onQueues = map[string]func(context.Context, *queue.Queue[int]) error{
	"Put":                func(c context.Context, q *queue.Queue[int]) error { return q.Put(c, 1) },
	"TryPut":             func(c context.Context, q *queue.Queue[int]) error { return q.TryPut(c, 1) },
	"PutPriority":        func(c context.Context, q *queue.Queue[int]) error { return q.PutPriority(c, 0, 1) },
	"PutAt":              func(c context.Context, q *queue.Queue[int]) error { return q.PutAt(c, time.Now().Add(time.Hour), 1) },
	"Take":               func(c context.Context, q *queue.Queue[int]) error { _, err := q.Take(c); return err },
	"TryTake":            func(c context.Context, q *queue.Queue[int]) error { _, err := q.TryTake(c); return err },
	"TakeBatch":          func(c context.Context, q *queue.Queue[int]) error { _, err := q.TakeBatch(c, 2); return err },
	"Claim":              func(c context.Context, q *queue.Queue[int]) error { _, err := q.Claim(c); return err },
	"ClaimBatch":         func(c context.Context, q *queue.Queue[int]) error { _, err := q.ClaimBatch(c, 2); return err },
	"Do":                 func(c context.Context, q *queue.Queue[int]) error { return q.Do(c, nil) },
	"Items":              func(c context.Context, q *queue.Queue[int]) error { return last(q.Items(c)) },
	"Claims":             func(c context.Context, q *queue.Queue[int]) error { return last(q.Claims(c)) },
	"Len":                func(c context.Context, q *queue.Queue[int]) error { _, err := q.Len(c); return err },
	"Peek":               func(c context.Context, q *queue.Queue[int]) error { _, err := q.Peek(c); return err },
	"Close":              func(c context.Context, q *queue.Queue[int]) error { return q.Close(c) },
	"DeadLetters().Peek": func(c context.Context, q *queue.Queue[int]) error { _, err := q.DeadLetters().Peek(c); return err },
}

// onWatches returns the calls of package watch, which accept the root too.
func onWatches(path string) map[string]call {
	type ctx = context.Context
	type s = *session.Session
	value := func() *watch.Value[int] { return watch.NewValue(path, watch.ValueOptions[int]{}) }
	return map[string]call{
		"watch: Children":     func(c ctx, s s) error { return last(watch.NewChildren(path).Changes(c, s)) },
		"watch: ChildrenData": func(c ctx, s s) error { return last(watch.NewChildrenData(path).Changes(c, s)) },
		"watch: Data":         func(c ctx, s s) error { return last(watch.NewData(path).Changes(c, s)) },
		"watch: Node":         func(c ctx, s s) error { return last(watch.NewNode(path).Changes(c, s)) },
		"watch: Tree":         func(c ctx, s s) error { return last(watch.NewTree(path, watch.TreeOptions{}).Changes(c, s)) },
		"watch: Value":        func(c ctx, s s) error { return value().Keep(c, s) },
		"watch: Value.Changes": func(c ctx, _ s) error {
			return last(value().Changes(c))
		},
		"watch: Value.Update": func(c ctx, s s) error {
			_, err := value().Update(c, s, func(n int) (int, error) { return n, nil })
			return err
		},
	}
}

// If a path is invalid, no constructor panics, and each call fails with ErrInvalid and sends no
// request. Regression: barrier and queue panicked, and lock and election failed with different
// errors.
func TestInvalidPathIsAnErrorOfEachCall(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for _, path := range []string{"", "e", "/e/", "/a//e", "/a/../e", "/a\x00", "/a\U0001F600b"} {
			refused(t, c, fmt.Sprintf("path %q", path), onPaths(path))
			refused(t, c, fmt.Sprintf("path %q", path), onWatches(path))
		}
		refused(t, c, "the root", onPaths("/"))
	})
}

// The function `refused` checks that each call fails with ErrInvalid and sends no request.
func refused(t *testing.T, c *recipetest.Client, what string, calls map[string]call) {
	t.Helper()
	for name, f := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := f(ctx, c.Session)
		cancel()
		pkg, _, _ := strings.Cut(name, ":")
		if !errors.Is(err, session.ErrInvalid) || session.OutcomeOf(err) != session.Failed || !strings.HasPrefix(err.Error(), pkg+": ") {
			t.Errorf("%s, %s: got error %v with outcome %v, want an ErrInvalid of package %s with outcome %v", name, what, err, session.OutcomeOf(err), pkg, session.Failed)
		}
		c.Expect(t, name+", "+what, "")
	}
}

// A number that is out of its bounds is refused without a request. Regression: a semaphore capacity
// of -5 was stored and broke the semaphore for all clients. A call on a queue with 1e9 priorities
// did not return, and a round of 100,000 members could never open.
func TestNumbersOutOfBoundsAreRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for _, delay := range []time.Duration{-1, 25 * time.Hour, math.MaxInt64} {
			o := lock.Options{Delay: delay}
			refused(t, c, fmt.Sprintf("a delay of %v", delay), map[string]call{
				"lock: Mutex":   func(ctx context.Context, s *session.Session) error { return lock.NewMutex(s, "/a", o).Do(ctx, nil) },
				"lock: RWMutex": func(ctx context.Context, s *session.Session) error { return lock.NewRWMutex(s, "/a", o).RDo(ctx, nil) },
				"lock: Multi": func(ctx context.Context, s *session.Session) error {
					return lock.NewMulti(s, []string{"/a"}, o).Do(ctx, nil)
				},
			})
		}
		refused(t, c, "no paths", map[string]call{"lock: Multi": func(ctx context.Context, s *session.Session) error {
			return lock.NewMulti(s, nil, lock.Options{}).Do(ctx, nil)
		}})
		second := lock.Options{Delay: time.Second}
		refused(t, c, "a delay that it does not have", semaphores("/s", 1, second))
		refused(t, c, "a delay that it does not have", exclusives("/x", second))
		for _, capacity := range []int{-5, math.MinInt, math.MaxInt} {
			refused(t, c, fmt.Sprintf("a capacity of %d", capacity), semaphores("/s", capacity, lock.Options{}))
			refused(t, c, fmt.Sprintf("%d permits", capacity), map[string]call{
				"lock: Acquire": func(ctx context.Context, s *session.Session) error {
					_, err := lock.NewSemaphore(s, "/s", 1, lock.Options{}).Acquire(ctx, capacity)
					return err
				},
				"lock: SetCapacity": func(ctx context.Context, s *session.Session) error {
					return lock.NewSemaphore(s, "/s", 1, lock.Options{}).SetCapacity(ctx, capacity)
				},
			})
		}
		for _, size := range []int{0, -1, 100_000, math.MinInt, math.MaxInt} {
			refused(t, c, fmt.Sprintf("a round of %d", size), map[string]call{
				"barrier: Enter": func(ctx context.Context, s *session.Session) error {
					_, err := barrier.NewDouble(s, "/d", size).Enter(ctx)
					return err
				},
			})
		}
		for _, format := range []counter.Format{-1, 2} {
			refused(t, c, fmt.Sprintf("the format %d", format), map[string]call{
				"counter: Add": func(ctx context.Context, s *session.Session) error {
					_, err := counter.New(s, "/n", counter.Options{Format: format}).Add(ctx, 1)
					return err
				},
			})
		}
		for _, id := range []string{"", "a/b", "a\x00"} {
			refused(t, c, fmt.Sprintf("the id %q", id), map[string]call{
				"group: Join": func(ctx context.Context, s *session.Session) error {
					_, err := group.New(s, "/g").Join(ctx, id, nil)
					return err
				},
			})
		}
		refused(t, c, "a depth of -1", map[string]call{
			"watch: Tree.Changes": func(ctx context.Context, s *session.Session) error {
				return last(watch.NewTree("/", watch.TreeOptions{Depth: -1}).Changes(ctx, s))
			},
			"watch: Tree.Keep": func(ctx context.Context, s *session.Session) error {
				return watch.NewTree("/", watch.TreeOptions{Depth: -1}).Keep(ctx, s)
			},
		})
	})
}

func semaphores(path string, capacity int, o lock.Options) map[string]call {
	all := make(map[string]call)
	for name, f := range onSemaphores {
		all["lock: Semaphore."+name] = func(ctx context.Context, s *session.Session) error {
			return f(ctx, lock.NewSemaphore(s, path, capacity, o))
		}
	}
	return all
}

func exclusives(path string, o lock.Options) map[string]call {
	all := make(map[string]call)
	for name, f := range onExclusives {
		all["lock: Exclusive."+name] = func(ctx context.Context, s *session.Session) error {
			return f(ctx, lock.NewExclusive(s, path, o))
		}
	}
	return all
}

func TestNumbersOutOfBoundsOfQueuesAreRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for name, o := range map[string]queue.Options[int]{
			"1e9 priorities": {Priorities: 1e9}, "negative priorities": {Priorities: -1}, "negative limit": {Limit: math.MinInt},
			"negative prefetch": {Prefetch: -1}, "negative attempts": {MaxAttempts: -1}, "negative claims": {ClaimFor: -1},
		} {
			calls := make(map[string]call)
			for method, f := range onQueues {
				calls["queue: "+method] = func(ctx context.Context, s *session.Session) error { return f(ctx, queue.New(s, "/q", o)) }
			}
			refused(t, c, name, calls)
		}
		q := queue.New(c.Session, "/q", queue.Options[int]{Priorities: 1000})
		for _, n := range []int{0, -1, math.MinInt} {
			refused(t, c, fmt.Sprintf("up to %d items", n), map[string]call{
				"queue: TakeBatch":  func(ctx context.Context, _ *session.Session) error { _, err := q.TakeBatch(ctx, n); return err },
				"queue: ClaimBatch": func(ctx context.Context, _ *session.Session) error { _, err := q.ClaimBatch(ctx, n); return err },
			})
		}
		for _, priority := range []int{-1, 1000, math.MaxInt} {
			refused(t, c, fmt.Sprintf("priority %d", priority), map[string]call{
				"queue: PutPriority": func(ctx context.Context, _ *session.Session) error { return q.PutPriority(ctx, priority, 1) },
			})
		}
		refused(t, c, "the year 5001", map[string]call{"queue: PutAt": func(ctx context.Context, _ *session.Session) error {
			return q.PutAt(ctx, time.Date(5001, 1, 2, 0, 0, 0, 0, time.UTC), 1)
		}})
	})
}

func TestNumbersAtTheBoundsAreAccepted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c, ctx := w.Client(), t.Context()
		q := queue.New(c.Session, "/q", queue.Options[int]{Priorities: 1000, Prefetch: math.MaxInt, Limit: math.MaxInt, MaxAttempts: math.MaxInt, ClaimFor: math.MaxInt64})
		if err := q.PutPriority(ctx, 999, 1, 2, 3); err != nil {
			t.Fatal(err)
		}
		if err := q.PutAt(ctx, time.Date(4999, 12, 31, 0, 0, 0, 0, time.UTC), 4); err != nil {
			t.Fatal(err)
		}
		if got, err := q.TakeBatch(ctx, math.MaxInt); err != nil || len(got) != 3 {
			t.Errorf("TakeBatch: got %v, error %v; want 3 items", got, err)
		}
		if err := lock.NewMutex(c.Session, "/m", lock.Options{Delay: 24 * time.Hour}).Do(ctx, func(context.Context, *lock.Grant) error { return nil }); err != nil {
			t.Error(err)
		}
		grant, err := lock.NewSemaphore(c.Session, "/s", math.MaxInt32, lock.Options{}).Acquire(ctx, math.MaxInt32)
		if err != nil {
			t.Fatal(err)
		}
		if err := grant.Unlock(ctx); err != nil {
			t.Error(err)
		}
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := barrier.NewDouble(c.Session, "/d", 5000).Enter(bounded); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a round of 5000: got error %v, want it to wait for other members", err)
		}
	})
}
