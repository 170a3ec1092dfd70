package scenarios

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/session"
)

// A registrar reads path and sets a watch with the read. Its goroutines end with ctx.
type registrar func(ctx context.Context, s *session.Session, path string) (*zk.Stat, <-chan zk.Event, error)

// existsW is the registrar without a mistake. It reads and sets the watch with s.ExistsWatch.
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

	zxid   int64 // of the state that was read last: see the method `saw`
	gone   bool
	round  int32 // number of the current watch
	events <-chan zk.Event
}

// lookOut keeps a watch on each path, and also reads the paths repeatedly. At the end it closes the
// session, and waits until each watch has ended.
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
	// Continue for a second after the work, so that the event of the last change can arrive. If the
	// event never arrives, a read in this loop still shows the change. The history then has this
	// read without an event before it, which checker.WatchEventBeforeData detects.
	for round := 0; round < 20 && s.Err() == nil; round++ {
		for _, l := range lookouts {
			l.heed()
			l.stand(registered, s, rounds)
			s.Sync(ctx, l.path)
			l.read(ctx, s)
		}
		times.Sleep(ctx, 50*time.Millisecond)
	}
	return s.Err()
}

// The method `saw` stores the state that a read returned, and returns the zxid of that state. The
// zxid of a deletion is unknown, so `saw` uses the zxid of the previous state plus one.
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

// The method `stand` sets a watch unless there is one. It sets the watch with a read. If the watch
// fires before this read returns, the event may report a change that the read already shows. So
// `stand` ignores a watch that has fired this early.
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

// The method `heed` records the events of the current watch that have arrived so far.
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

// The method `read` reads the znode. It first records the events that arrived before the reply, and
// then the read.
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

// awaitEnd waits up to two seconds for the end of the watch. The session has already ended, so the
// watch must end at once.
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

// The function `through` returns a registrar that passes the events of a watch through f. The
// function f can drop, delay or add events.
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

// lateEvents delivers each event 100 ms late, so that replies overtake it.
func lateEvents(ctx context.Context, _ *session.Session, in <-chan zk.Event, out chan<- zk.Event) {
	defer close(out)
	for ev := range in {
		times.Sleep(ctx, 100*time.Millisecond)
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

// connectionEvents treats a lost connection as a change.
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

// The function `suspended` returns a channel that is closed when s loses its connection, unless ctx
// ends first.
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
