package lockqueue

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A waiting is one contender's wait for another. Which watches it needs
// depends on what the other's node tells by its data:
//
//   - It signs, and its data does not change before: the data is watched. A
//     change says that it left after it was served, a deletion that it left
//     unserved or vanished.
//   - It signs, and its data may change while it is served: the first change
//     says that it is served, and the deletion is watched for by itself.
//   - It does not sign, a shared one or one of another library: only the
//     deletion is watched for, whatever happens to its data.
//
// An ephemeral node has no children, so a watch on them fires on deletion
// only. Reads that fail where the node is gone, not exists, set the watches:
// then none remains.
type waiting struct {
	queue  *Queue
	me     Contender
	other  Contender
	path   string // of the other
	served bool   // the other is known to have been served

	data, gone <-chan zk.Event // nil while not watched
	watches    []*session.Watch
}

// await waits until other no longer stands before me, and reports whether it
// is known to have been served, so that nobody before it is left either.
func (l *Queue) await(ctx context.Context, c *Place, me, other Contender) (served bool, err error) {
	w := &waiting{queue: l, me: me, other: other, path: znode.Join(l.Dir, other.Name)}
	defer w.stop()
	for over := false; ; {
		if over, err = w.look(ctx); over || err != nil {
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

// look sets the watches that are needed and missing, and reports whether there
// is nothing to wait for.
func (w *waiting) look(ctx context.Context) (over bool, err error) {
	signs, changes := w.queue.Naming.leavesMark(w.other), w.queue.Naming.changes(w.other)
	if signs && w.data == nil && !w.served {
		value, watch, err := w.queue.Session.GetWatch(ctx, w.path)
		if err != nil {
			return isNoNode(err), unlessNoNode(err)
		}
		w.data, w.watches = watch.C, append(w.watches, watch)
		recipe.Waits(ctx, w.queue.Session, w.path, value.Stat.Czxid)
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
		recipe.Waits(ctx, w.queue.Session, w.path, listing.Stat.Czxid)
	}
	return false, nil
}

// changed takes the event of the data.
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

// left takes the event of the other's going.
func (w *waiting) left(event zk.Event) (over bool, err error) {
	w.gone = nil
	if event.Type == zk.EventNodeDeleted {
		w.readReleaseMark()
		return true, nil
	}
	return false, event.Err
}

// readReleaseMark looks whether the other signed: the event of that comes first.
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

// try answers a contender that does not wait: it passes a writer that was
// downgraded.
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
