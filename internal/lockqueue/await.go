package lockqueue

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A waiting is the wait of one contender for another. Which watches it needs depends on how the
// other contender uses the data of its node:
//
//   - If the other leaves a release mark, and its data does not change before that, its data is
//     watched. A change means that the other left after it was served. A deletion means that the
//     other left before it was served, or vanished.
//   - If the other leaves a release mark, and its data may change while it is served, the first
//     change means that the other is served. A second watch waits for the deletion.
//   - If the other leaves no release mark, because it is shared or belongs to another library, only
//     the deletion is watched. Its data is ignored.
//
// An ephemeral node has no children, so a watch on its children fires only on deletion. The watches
// are set by reads that fail if the node is gone, and not by exists, so that no watch remains in
// that case.
type waiting struct {
	queue  *Queue
	me     Contender
	other  Contender
	path   string // path of the other's node
	served bool   // the other is known to have been served

	data, gone <-chan zk.Event // nil while not watched
	watches    []*session.Watch
}

// await waits until other is no longer before me. It reports whether other is known to have been
// served. In that case the contenders before other are gone too.
func (l *Queue) await(ctx context.Context, c *Place, me, other Contender) (served bool, err error) {
	w := &waiting{queue: l, me: me, other: other, path: znode.Join(l.Dir, other.Name)}
	defer w.stop()
	for over := false; ; {
		if over, err = w.watch(ctx); over || err != nil {
			return w.served, err
		}
		select {
		case event := <-w.data:
			over, err = w.changed(event)
		case event := <-w.gone:
			over, err = w.left(event)
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-c.Context().Done():
			err = context.Cause(c.Context())
		}
		if over || err != nil {
			return w.served, err
		}
	}
}

// watch sets the watches that are needed and missing. It reports whether the wait is over.
func (w *waiting) watch(ctx context.Context) (over bool, err error) {
	signs, changes := w.queue.Naming.leavesMark(w.other), w.queue.Naming.changes(w.other)
	if signs && w.data == nil && !w.served {
		value, watch, err := w.queue.Session.GetWatch(ctx, w.path)
		if err != nil {
			return isNoNode(err), unlessNoNode(err)
		}
		w.data, w.watches = watch.C, append(w.watches, watch)
		recipe.TraceWait(ctx, w.queue.Session, w.path, value.Stat.Czxid)
		w.served = w.queue.Naming.Changed(w.other, value.Stat.Version)
		if w.served && w.me.Kind == Shared {
			return true, nil
		}
	}
	if (!signs || changes && w.me.Kind == Exclusive) && w.gone == nil {
		listing, watch, err := w.queue.Session.ChildrenWatch(ctx, w.path)
		if err != nil {
			w.readReleaseMark()
			return isNoNode(err), unlessNoNode(err)
		}
		w.gone, w.watches = watch.C, append(w.watches, watch)
		recipe.TraceWait(ctx, w.queue.Session, w.path, listing.Stat.Czxid)
	}
	return false, nil
}

// changed handles an event of the data watch.
func (w *waiting) changed(event zk.Event) (over bool, err error) {
	w.data = nil
	switch event.Type {
	case zk.EventNodeDataChanged:
		w.served = true
		return w.gone == nil, nil
	case zk.EventNodeDeleted:
		return true, nil
	}
	return false, event.Err
}

// left handles an event of the deletion watch.
func (w *waiting) left(event zk.Event) (over bool, err error) {
	w.gone = nil
	if event.Type == zk.EventNodeDeleted {
		w.readReleaseMark()
		return true, nil
	}
	return false, event.Err
}

// readReleaseMark checks whether the other left a release mark. The event of the mark arrives
// before the event of the deletion.
func (w *waiting) readReleaseMark() {
	select {
	case event := <-w.data:
		w.served = w.served || event.Type == zk.EventNodeDataChanged
	default:
	}
}

func (w *waiting) stop() {
	for _, watch := range w.watches {
		watch.Stop()
	}
}

// try returns the result for a contender that does not wait. Only a reader can succeed: it passes a
// writer that was downgraded.
func (l *Queue) try(ctx context.Context, c *Place, r Request, me, other Contender) error {
	if me.Kind == Exclusive || !l.Naming.changes(other) {
		return ErrBusy
	}
	value, err := l.Session.Get(ctx, znode.Join(l.Dir, other.Name))
	if err != nil && !isNoNode(err) {
		return err
	}
	if err != nil || !l.Naming.Changed(other, value.Stat.Version) {
		return ErrBusy
	}
	return l.serve(ctx, c, r, true)
}

func isNoNode(err error) bool { return errors.Is(err, zk.ErrNoNode) }

func unlessNoNode(err error) error {
	if isNoNode(err) {
		return nil
	}
	return err
}
