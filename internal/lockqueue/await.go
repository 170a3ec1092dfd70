package lockqueue

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A waiting is the wait of one contender, `me`, for another contender, `other`. The needed watches
// depend on how `other` uses the data of its znode:
//
//   - If `other` can change the data only by leaving a release mark, only the data is watched. A
//     change means that `other` was served and has departed. A deletion without a change has one of
//     three causes: `other` departed before it was served, `other` departed without a release mark,
//     or `other` vanished because its session ended or a client deleted its znode.
//   - If `other` may also change the data while it is served, the data is watched, but the first
//     change means only that `other` has been served. If `me` is exclusive, a second watch waits
//     for the deletion.
//   - If `other` leaves no release mark, for example because it is shared or belongs to another
//     library, only the deletion is watched.
//
// A watch for the deletion alone is a watch on the children of the znode: an ephemeral znode has no
// children, so this watch fires only on deletion. Both kinds of watch are set by reads, getData and
// getChildren, which set no watch if the znode is gone. An exists request would set a watch on the
// missing znode, and this watch would remain.
type waiting struct {
	queue  *Queue
	me     Contender
	other  Contender
	path   string // path of the znode of `other`
	served bool   // `other` is known to have been served

	data, gone <-chan zk.Event // nil while not watched
	watches    []*session.Watch
}

// await waits until `me` need not wait for `other` any more. The result `served` reports whether
// `other` is known to have been served; if so, the contenders ahead of `other` are gone too. If a
// server is too busy to set a watch, await retries, because an error would end the place.
func (l *Queue) await(ctx context.Context, c *Place, me, other Contender) (served bool, err error) {
	w := &waiting{queue: l, me: me, other: other, path: znode.Join(l.Dir, other.Name)}
	defer w.stop()
	for over := false; ; {
		if err = l.Session.Retry(ctx, func(ctx context.Context) (err error) {
			over, err = w.watch(ctx)
			return err
		}); over || err != nil {
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

// watch sets the needed watches that are not set yet. It reports whether the wait is over.
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
		if isNoNode(err) {
			w.readReleaseMark()
			return true, nil
		}
		if err != nil {
			return false, err
		}
		w.gone, w.watches = watch.C, append(w.watches, watch)
		recipe.TraceWait(ctx, w.queue.Session, w.path, listing.Stat.Czxid)
	}
	return false, nil
}

// The method `changed` handles an event of the data watch.
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

// The method `left` handles an event of the deletion watch.
func (w *waiting) left(event zk.Event) (over bool, err error) {
	w.gone = nil
	if event.Type == zk.EventNodeDeleted {
		w.readReleaseMark()
		return true, nil
	}
	return false, event.Err
}

// readReleaseMark checks, after the deletion of the znode, whether `other` left a release mark. The
// method does not wait, because the event of the mark arrives before the event of the deletion.
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

// The method `try` completes the join of `me`, or fails instead of waiting for `other`. It is for
// the case that Request.Try is set and `other` is ahead of `me`. The join succeeds only if `me` is
// a reader and `other` is a downgraded writer.
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
