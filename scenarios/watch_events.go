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

// A registrar reads path and sets a watch with it. What it starts ends with ctx.
type registrar func(ctx context.Context, s *session.Session, path string) (*zk.Stat, <-chan zk.Event, error)

// existsW is the session's own watch.
func existsW(ctx context.Context, s *session.Session, path string) (*zk.Stat, <-chan zk.Event, error) {
	stat, w, err := s.ExistsWatch(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	return stat, w.C, nil
}

// A lookout has one watch on its path at a time, in one session, and reads what
// it watches.
type lookout struct {
	c        *harness.Client
	path     string
	register registrar

	zxid   int64 // of what was last read; of a deletion only is known that it came later
	gone   bool
	round  int32 // of the watch that stands
	events <-chan zk.Event
}

// lookOut keeps a watch on each path, reads them in between, and sees to it that
// the end of the session ends each.
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
	for round := 0; round < 20 && s.Err() == nil; round++ { // what was changed last is told of soon, or a read says that it was not
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

// saw notes what a read gave, and returns its version.
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

// stand sets a watch unless one stands. One that has fired when its own read is
// answered may have told of what that read shows: it is as if it had not been set.
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

// heed records the events that have come.
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

// read records a read, behind the events that came before its answer.
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

// awaitEnd waits for what a session that has ended tells a watch: that is to come
// at once, and two seconds are enough.
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

// through has f hand on the events of a watch, or not.
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

// lateEvents come on another path than answers, and behind them.
func lateEvents(ctx context.Context, _ *session.Session, in <-chan zk.Event, out chan<- zk.Event) {
	defer close(out)
	for ev := range in {
		wait(ctx, 100*time.Millisecond)
		out <- ev
	}
}

// doubledEvents is registered twice once the connection was lost.
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

// silentEnd tells nobody that the session is over.
func silentEnd(_ context.Context, _ *session.Session, in <-chan zk.Event, out chan<- zk.Event) {
	if ev := <-in; ev.Type != zk.EventNotWatching {
		out <- ev
		close(out)
	}
}

// suspended is closed when s loses its connection, unless ctx ends first.
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
