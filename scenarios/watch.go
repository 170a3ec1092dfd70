package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
)

// Watch has clients that create, set and delete a few znodes. Other clients follow these znodes
// with streams of package watch, in one session after another. The last client sets single watches.
func Watch() harness.Scenario {
	return harness.Scenario{
		Name:       "watch",
		Claim:      "Whatever happens to connections, servers and sessions, a watcher reports states in order, misses no deletion and recreation, and converges to the final state.",
		Guarantees: []string{"W2", "W3", "W4", "W5", "W6"},
		Clients:    5,
		Workload:   watchWorkload(dataChanges, existsW),
		Faults:     faults("session,link,kill,pause,rolling-restart,partition"),
		Checkers: []checker.Checker{checker.WatchEventBeforeData(),
			checker.WatchStatesInOrder(),
			checker.WatchOneEventEach(),
			checker.WatchFinalStateReported(),
			checker.WatchNoEventWithoutCause(meddled()),
			checker.IfExercised(checker.WatchRecreationReported()), checker.WatchOneEndEach()},
		Guards: []checker.Checker{statesTold(100)},
		Mutants: []harness.Mutant{{
			Name:     "version-only",
			Report:   "CURATOR-391: only the version is compared, so a znode that was deleted and recreated appears unchanged",
			Violates: []string{"watch/final-state-reported", "watch/recreation-reported"},
			Workload: watchWorkload(versionOnly, existsW),
		}, {
			Name:     "unwatched",
			Report:   "kazoo#151, #218: watches are not restored after the connection was lost",
			Violates: []string{"watch/final-state-reported"},
			Faults:   []string{"link-reset"},
			Workload: watchWorkload(unwatched, existsW),
		}, {
			Name:     "late-events",
			Report:   "fdb-zk#3: events and replies arrive on two paths, so a read shows a change before its event arrives",
			Violates: []string{"watch/event-before-data"},
			Workload: watchWorkload(dataChanges, through(lateEvents)),
		}, {
			Name:     "doubled-events",
			Report:   "kazoo#63: each reconnect registers the watcher once more",
			Violates: []string{"watch/one-event-each"},
			Faults:   []string{"link-reset"},
			Workload: watchWorkload(dataChanges, through(doubledEvents)),
		}, {
			Name:     "connection-events",
			Report:   "node-zkplus#20, avout#10: an event of the connection is taken for an event of the znode",
			Violates: []string{"watch/no-event-without-cause"},
			Faults:   []string{"link-reset"},
			Workload: watchWorkload(dataChanges, through(connectionEvents)),
		}, {
			Name:     "silent-end",
			Report:   "CURATOR-377: watches of an ended session never fire, not even to report the end",
			Violates: []string{"watch/one-end-each"},
			Faults:   []string{"session-close"},
			Workload: watchWorkload(dataChanges, through(silentEnd)),
		}},
	}
}

// statesTold requires that watchers reported n states.
func statesTold(n int) checker.Checker {
	return checker.AtLeast("run/states-reported", n, "states reported to watchers", func(h *history.History) (found int) {
		for i := range h.Events {
			if e := &h.Events[i]; e.Kind == history.Watch && e.Op == checker.WatchState {
				found++
			}
		}
		return found
	})
}

// A dataStream returns the changes that a watcher observes in the session s. A call with the next
// session continues after the last change that the previous session reported.
type dataStream func(ctx context.Context, s *session.Session) iter.Seq2[watch.DataChange, error]

func dataChanges(path string) dataStream { return watch.NewData(path).Changes }

// watchWorkload returns the workload. Clients 0 and 1 change the znodes that all other clients
// watch. The last client sets single watches with `register`. The clients between them use the
// streams that `open` returns.
func watchWorkload(open func(path string) dataStream, register registrar) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		var paths []string
		for i := range 3 {
			paths = append(paths, znode.Join(env.Root(), fmt.Sprintf("node-%d", i)))
		}
		var mu sync.Mutex
		var rounds atomic.Int32              // number of watches set
		var changers atomic.Int32            // clients that still change znodes
		watchers := make(map[int][]*watcher) // client id -> the client's watchers, which outlive its sessions
		of := func(c *harness.Client) []*watcher {
			mu.Lock()
			defer mu.Unlock()
			if watchers[c.ID] == nil {
				for _, path := range paths {
					watchers[c.ID] = append(watchers[c.ID], &watcher{c: c, path: path, stream: open(path)})
				}
			}
			return watchers[c.ID]
		}
		return harness.Workload{
			Work: func(ctx context.Context, c *harness.Client) error {
				s, err := c.Open(ctx, session.Options{Timeout: sessionTimeout})
				if err != nil {
					return err
				}
				defer s.Close()
				switch last := len(env.Clients()) - 1; {
				case c.ID < 2:
					changers.Add(1)
					defer changers.Add(-1)
					return changeNodes(ctx, c, s, paths)
				case c.ID == last:
					return lookOut(ctx, c, s, paths, register, &rounds)
				}
				_, err = c.Do(ctx, history.Event{Op: watchOp, Object: env.Root()}, func(ctx context.Context) (history.Event, error) {
					return history.Event{}, watchNodes(ctx, c, s, of(c), &changers)
				})
				return err
			},
			Final: func(ctx context.Context, env *harness.Env) error {
				for _, c := range env.Clients() {
					for _, w := range of(c) {
						w.end()
					}
				}
				return final(ctx, env, func(s *session.Session) error { return finalStates(ctx, env, s, paths) })
			},
		}
	}
}

// changeNodes repeatedly changes a random path.
func changeNodes(ctx context.Context, c *harness.Client, s *session.Session, paths []string) error {
	l := ledger{s: s, path: znode.Join(c.Env().Root(), fmt.Sprintf("ledger-%d", c.ID))}
	for c.Next(ctx) {
		path := paths[c.Rand.IntN(len(paths))]
		create, remove := session.CreateOp{Path: path}, session.DeleteOp{Path: path, Version: session.AnyVersion}
		ops := map[string][]session.Op{
			checker.OpCreate:   {create},
			checker.OpDelete:   {remove},
			checker.OpSetValue: {session.SetOp{Path: path, Version: session.AnyVersion}},
			checker.OpRecreate: {remove, create}, // no server ever shows that the znode is missing
		}
		op := slices.Sorted(maps.Keys(ops))[c.Rand.IntN(len(ops))]
		c.Do(ctx, history.Event{Op: op, Object: path}, func(ctx context.Context) (history.Event, error) {
			zxid, err := l.apply(ctx, ops[op])
			return history.Event{Zxid: zxid}, err
		})
		if s.Err() != nil {
			return s.Err()
		}
		c.Pause(ctx, upTo(50*time.Millisecond)(c))
	}
	return nil
}

// A ledger is a znode of one client. The client writes this znode in the transaction of each change
// that it makes. So the ledger shows the change's zxid, and whether the change was applied.
type ledger struct {
	s     *session.Session
	path  string
	entry int
}

// The method `apply` makes a change and returns its zxid. If the reply is lost, `apply` finds out
// whether the change was applied, provided that the session survives.
func (l *ledger) apply(ctx context.Context, ops []session.Op) (int64, error) {
	if l.entry == 0 {
		if _, err := l.s.Create(ctx, l.path, nil, session.Persistent); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return 0, harness.Failed(err)
		}
	}
	l.entry++
	entry := fmt.Sprintf("%x %d", l.s.ID(), l.entry)
	results, err := l.s.Multi(ctx, append(ops, session.SetOp{Path: l.path, Data: []byte(entry), Version: session.AnyVersion})...)
	if err == nil {
		return results[len(ops)].Stat.Mzxid, nil
	}
	for session.OutcomeOf(err) == session.Indeterminate && l.s.Err() == nil && ctx.Err() == nil {
		// A write comes first: its reply proves that every earlier request of this session has been
		// applied or never will be.
		if _, undone := l.s.Multi(ctx, session.CheckOp{Path: l.path, Version: session.AnyVersion}); undone != nil {
			times.Sleep(ctx, 20*time.Millisecond)
			continue
		}
		now, unread := l.s.Get(ctx, l.path)
		switch {
		case unread != nil:
			times.Sleep(ctx, 20*time.Millisecond)
		case string(now.Data) == entry:
			return now.Stat.Mzxid, nil
		default:
			return 0, harness.Failed(err)
		}
	}
	return 0, err
}

// A watcher records the states of one stream.
type watcher struct {
	c      *harness.Client
	path   string
	stream dataStream

	ended error // why the stream ended; reset in the next session

	mu   sync.Mutex
	last history.Event
}

// watchOp is the name of the operation that is open while a client watches.
const watchOp = "watch"

// watchNodes continues the watchers in the session s.
func watchNodes(ctx context.Context, c *harness.Client, s *session.Session, watchers []*watcher, changers *atomic.Int32) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var streams errgroup.Group
	for _, w := range watchers {
		w.ended = nil
		streams.Go(func() error { return w.follow(watching, s) })
	}
	for c.Next(ctx) && s.Err() == nil {
		signOfLife(ctx, c, s)
		c.Pause(ctx, 100*time.Millisecond)
	}
	settle(ctx, s, watchers, changers)
	stop()
	err := streams.Wait()
	for _, w := range watchers {
		w.ended = s.Err()
	}
	return cmp.Or(s.Err(), err)
}

// signOfLife writes on behalf of a client that only watches, because some faults wait for a write.
func signOfLife(ctx context.Context, c *harness.Client, s *session.Session) {
	path := znode.Join(c.Env().Root(), fmt.Sprintf("alive-%d", c.ID))
	s.Create(ctx, path, nil, session.Ephemeral)
	s.Multi(ctx, session.CheckOp{Path: path, Version: session.AnyVersion})
}

func (w *watcher) follow(ctx context.Context, s *session.Session) error {
	for change, err := range w.stream(ctx, s) {
		switch {
		case err == nil:
			w.record(change)
		case ctx.Err() == nil:
			return err
		}
	}
	return nil
}

// The method `end` records that the stream ended with its session and that the client opened no
// other session.
func (w *watcher) end() {
	if w.ended != nil {
		w.c.Record(history.Event{Kind: history.Watch, Op: checker.WatchEnded, Object: w.path, Watch: 1, Error: w.ended.Error()})
	}
}

// The method `record` records a state that the watcher observed. A deletion gets the zxid of the
// previous state plus one, because the watcher does not learn the zxid of the deletion.
func (w *watcher) record(change watch.DataChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := history.Event{Kind: history.Watch, Op: checker.WatchState, Object: w.path, Arg: change.Kind.String(), Watch: 1}
	switch {
	case change.Stat != nil:
		e.Zxid, e.Token = change.Stat.Mzxid, change.Stat.Czxid
	case change.Kind != watch.Initial:
		e.Zxid = w.last.Zxid + 1
	}
	w.last = w.c.Record(e)
}

func (w *watcher) is(stat *zk.Stat) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stat == nil {
		return w.last.Token == 0
	}
	return w.last.Token == stat.Czxid && w.last.Zxid == stat.Mzxid
}

// The function `settle` waits until no client changes the znodes. Then it repeatedly compares, for
// each watcher, the last reported state with the current state. It stops when these states have
// been equal for a second. If this takes ten seconds, it gives up, and leaves the verdict to the
// checker.
func settle(ctx context.Context, s *session.Session, watchers []*watcher, changers *atomic.Int32) {
	const enough, poll, most = time.Second, 50 * time.Millisecond, 10 * time.Second
	for changers.Load() > 0 && s.Err() == nil && ctx.Err() == nil {
		times.Sleep(ctx, poll)
	}
	end := time.Now().Add(most)
	for same := time.Duration(0); same < enough && time.Now().Before(end) && s.Err() == nil; same += poll {
		for _, w := range watchers {
			if s.Sync(ctx, w.path) != nil {
				return
			}
			if stat, err := s.Exists(ctx, w.path); err != nil || !w.is(stat) {
				same = 0
			}
		}
		times.Sleep(ctx, poll)
	}
}

// finalStates records the state of each path after all clients have stopped.
func finalStates(ctx context.Context, env *harness.Env, s *session.Session, paths []string) error {
	for _, path := range paths {
		if err := s.Sync(ctx, path); err != nil {
			return err
		}
		stat, err := s.Exists(ctx, path)
		if err != nil {
			return err
		}
		e := history.Event{Kind: history.Fact, Op: checker.FactFinal, Object: path, Client: history.Nobody, Process: history.Nobody}
		if stat != nil {
			e.Zxid, e.Token = stat.Mzxid, stat.Czxid
		}
		env.Recorder().Record(e)
	}
	return nil
}

// versionOnly returns a stream that reports a change only if the znode's version differs from the
// version in the last report.
func versionOnly(path string) dataStream {
	inner := watch.NewData(path)
	version, told := int32(-1), false // -1 means no znode
	return func(ctx context.Context, s *session.Session) iter.Seq2[watch.DataChange, error] {
		return func(yield func(watch.DataChange, error) bool) {
			for c, err := range inner.Changes(ctx, s) {
				now := int32(-1)
				if c.Stat != nil {
					now = c.Stat.Version
				}
				if err == nil && told && now == version {
					continue
				}
				version, told = now, true
				if c.Kind == watch.Recreated {
					c.Kind = watch.Changed
				}
				if !yield(c, err) {
					return
				}
			}
		}
	}
}

// The function `unwatched` returns a stream that reports no more changes in a session once that
// session has lost its connection.
func unwatched(path string) dataStream {
	inner := watch.NewData(path)
	return func(ctx context.Context, s *session.Session) iter.Seq2[watch.DataChange, error] {
		return untilSuspended(ctx, s, inner.Changes(ctx, s))
	}
}

// untilSuspended returns a sequence of the values of inner. Once the session has lost its
// connection, the sequence yields only errors.
func untilSuspended[T any](ctx context.Context, s *session.Session, inner iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		var listener sync.WaitGroup
		defer listener.Wait()
		defer stop()
		var gone atomic.Bool
		listener.Go(func() {
			for state := range s.States(ctx) {
				if state == session.Suspended {
					gone.Store(true)
				}
			}
		})
		for c, err := range inner {
			if (err != nil || !gone.Load()) && !yield(c, err) {
				return
			}
		}
	}
}
