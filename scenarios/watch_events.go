package scenarios

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// A registrar reads path and sets a watch with the read. Its goroutines end with ctx.
type registrar func(ctx context.Context, s *session.Session, path string) (*zk.Stat, <-chan zk.Event, error)

// existsW uses the session's own watch.
func existsW(ctx context.Context, s *session.Session, path string) (*zk.Stat, <-chan zk.Event, error) {
	stat, w, err := s.ExistsWatch(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	return stat, w.C, nil
}

// A lookout has one watch on its path at a time, in one session, and reads that path.
type lookout struct {
	c        *harness.Client
	path     string
	register registrar

	zxid   int64 // of the last read; if the znode is deleted, the zxid is only known to be later than that of the previous state
	gone   bool
	round  int32 // of the current watch
	events <-chan zk.Event
}

// lookOut keeps a watch on each path and reads the paths in between. At the end it waits until the
// end of the session has ended each watch.
func lookOut(ctx context.Context, c *harness.Client, s *session.Session, paths []string, register registrar, rounds *atomic.Int32) error {
	registered, stop := context.WithCancel(ctx)
	defer stop()
	var lookouts []*lookout
	for _, path := range paths {
		lookouts = append(lookouts, &lookout{c: c, path: path, register: register})
	}
	defer func() {
		s.Close()
		for _, l := range lookouts {
			l.awaitEnd()
		}
	}()
	for c.Next(ctx) && s.Err() == nil {
		for _, l := range lookouts {
			l.heed()
			l.stand(registered, s, rounds)
			l.read(ctx, s)
		}
		signOfLife(ctx, c, s)
		c.Pause(ctx, upTo(50*time.Millisecond)(c))
	}
	for round := 0; round < 20 && s.Err() == nil; round++ { // the last change is reported soon, or a read shows that it was not
		for _, l := range lookouts {
			l.heed()
			l.stand(registered, s, rounds)
			s.Sync(ctx, l.path)
			l.read(ctx, s)
		}
		wait(ctx, 50*time.Millisecond)
	}
	return s.Err()
}

// The method saw records the result of a read and returns its version.
func (l *lookout) saw(stat *zk.Stat) int64 {
	switch {
	case stat != nil:
		l.zxid, l.gone = stat.Mzxid, false
	case !l.gone && l.zxid > 0:
		l.zxid, l.gone = l.zxid+1, true
	}
	return l.zxid
}

func (l *lookout) record(op string, e history.Event) {
	e.Kind, e.Op, e.Object, e.Watch = history.Watch, op, l.path, l.round
	l.c.Record(e)
}

// stand sets a watch unless there is one. A watch can fire before the read that sets it has
// returned. It may then have reported the state of that read, so it is treated as if it had not
// been set.
func (l *lookout) stand(ctx context.Context, s *session.Session, rounds *atomic.Int32) {
	if l.events != nil {
		return
	}
	stat, events, err := l.register(ctx, s, l.path)
	if err != nil {
		return
	}
	version := l.saw(stat)
	if len(events) > 0 {
		return
	}
	l.events, l.round = events, rounds.Add(1)
	l.record(checker.WatchSet, history.Event{Zxid: version, Session: s.ID()})
}

// heed records the events that have arrived.
func (l *lookout) heed() {
	for l.events != nil {
		select {
		case ev, open := <-l.events:
			l.tell(ev, open)
		default:
			return
		}
	}
}

func (l *lookout) tell(ev zk.Event, open bool) {
	switch {
	case !open:
		l.events = nil
	case ev.Type == zk.EventNotWatching:
		l.record(checker.WatchEnded, history.Event{Error: ev.Err.Error()})
	default:
		l.record(checker.WatchFired, history.Event{Arg: ev.Type.String()})
	}
}

// read records a read after the events that arrived before its reply.
func (l *lookout) read(ctx context.Context, s *session.Session) {
	l.c.Do(ctx, history.Event{Op: checker.OpRead, Object: l.path}, func(ctx context.Context) (e history.Event, err error) {
		stat, err := s.Exists(ctx, l.path)
		l.heed()
		if err == nil {
			e.Zxid = l.saw(stat)
		}
		return e, err
	})
}

// awaitEnd waits up to two seconds until each watch has ended. An ended session must end its
// watches at once.
func (l *lookout) awaitEnd() {
	late := time.NewTimer(2 * time.Second)
	defer late.Stop()
	for l.events != nil {
		select {
		case ev, open := <-l.events:
			l.tell(ev, open)
		case <-late.C:
			return
		}
	}
}

// The function through passes the events of a watch through f, which may drop or add events.
func through(f func(ctx context.Context, s *session.Session, in <-chan zk.Event, out chan<- zk.Event)) registrar {
	return func(ctx context.Context, s *session.Session, path string) (*zk.Stat, <-chan zk.Event, error) {
		stat, in, err := existsW(ctx, s, path)
		if err != nil {
			return nil, nil, err
		}
		out := make(chan zk.Event, 2)
		ctx, stop := context.WithCancel(ctx)
		go func() {
			defer stop()
			f(ctx, s, in, out)
		}()
		return stat, out, nil
	}
}

// lateEvents delivers events later than replies.
func lateEvents(ctx context.Context, _ *session.Session, in <-chan zk.Event, out chan<- zk.Event) {
	defer close(out)
	for ev := range in {
		wait(ctx, 100*time.Millisecond)
		out <- ev
	}
}

// doubledEvents delivers each event twice after the connection was lost.
func doubledEvents(ctx context.Context, s *session.Session, in <-chan zk.Event, out chan<- zk.Event) {
	defer close(out)
	lost := suspended(ctx, s)
	for ev := range in {
		out <- ev
		select {
		case <-lost:
			out <- ev
		default:
		}
	}
}

// connectionEvents takes a lost connection for a change.
func connectionEvents(ctx context.Context, s *session.Session, in <-chan zk.Event, out chan<- zk.Event) {
	defer close(out)
	select {
	case ev := <-in:
		out <- ev
	case <-suspended(ctx, s):
		out <- zk.Event{Type: zk.EventNodeDataChanged}
	case <-ctx.Done():
	}
}

// silentEnd does not report that the session has ended.
func silentEnd(_ context.Context, _ *session.Session, in <-chan zk.Event, out chan<- zk.Event) {
	if ev := <-in; ev.Type != zk.EventNotWatching {
		out <- ev
		close(out)
	}
}

// suspended returns a channel that is closed when s loses its connection, unless ctx ends first.
func suspended(ctx context.Context, s *session.Session) <-chan struct{} {
	lost := make(chan struct{})
	go func() {
		for state := range s.States(ctx) {
			if state == session.Suspended {
				close(lost)
				return
			}
		}
	}()
	return lost
}
