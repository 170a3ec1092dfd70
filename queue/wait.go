package queue

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Consumers that find no item form a queue of waiters. Only the first waiter watches the items, so
// a put wakes one consumer. When that consumer has got an item, it leaves the queue of waiters,
// which wakes the next waiter. The queue of waiters decides only which consumer is woken, so it
// needs no lease.

// A waiter is a place in the queue of waiters.
type waiter struct {
	q    *raw
	kind string
	node recipe.Node
}

// awaitFirst joins the queue of waiters, and waits until all earlier waiters of the same kind have
// left. If it fails, it gives up its place.
func (q *raw) awaitFirst(ctx context.Context, kind string) (*waiter, error) {
	for {
		node, err := recipe.CreateProtected(ctx, q.s, q.waitersDir(), kind, nil, session.EphemeralSequential)
		if err != nil {
			return nil, err
		}
		w := &waiter{q, kind, node}
		first, err := w.await(ctx)
		if first {
			return w, nil
		}
		w.leave()
		if err != nil {
			return nil, err
		}
	}
}

// await returns true when w is the first waiter, and false if another client deleted the znode of
// w.
func (w *waiter) await(ctx context.Context) (first bool, err error) {
	naming := lockqueue.Naming{Exclusive: []string{"-" + w.kind + "-"}}
	me, ok := naming.Parse(w.node.Name())
	if !ok {
		return false, fmt.Errorf("queue: wait at %s: the server created a znode without a number", w.node.Path)
	}
	for {
		listing, err := w.q.s.Children(ctx, w.q.waitersDir())
		if err != nil && !errors.Is(err, session.ErrNoNode) {
			return false, err
		}
		d := naming.Decide(me, listing.Names)
		if !d.Present || d.Served() {
			return d.Present, nil
		}
		// Use GetWatch: unlike ExistsWatch, it leaves no watch if the znode is already gone.
		_, watch, err := w.q.s.GetWatch(ctx, znode.Join(w.q.waitersDir(), d.Last.Name))
		if errors.Is(err, session.ErrNoNode) {
			continue
		}
		if err != nil {
			return false, err
		}
		if err := waitAny(ctx, time.Time{}, watch); err != nil {
			return false, err
		}
	}
}

// The method `leave` gives up the place, which wakes the next waiter.
func (w *waiter) leave() {
	recipe.Detach(w.q.s, func(ctx context.Context) error { return recipe.Remove(ctx, w.q.s, w.node) })
}

// listen sets watches that fire when there may be an item: after a put in an open segment, a new
// segment, an item that was given back, or the end of a session with claims. It also sets a watch
// that fires when a slot of delayed items is created or deleted, because the time `due` may have
// changed then. After listen, the caller must try once more to get an item before it waits. If
// `due` is not zero, the caller must also try at that time.
//
// The first watch that listen sets is on the data of the znode at q.itemsDir. The op that the
// method `ring` returns sets this data. So the caller misses no transaction with this op. If the
// transaction is applied after the watch was set, the watch fires. If it was applied before that,
// all reads after the watch was set return its changes.
func (q *raw) listen(ctx context.Context) (watches []*session.Watch, due time.Time, err error) {
	defer func() {
		if err != nil {
			stop(watches)
			watches = nil
		}
	}()
	_, rung, err := q.s.ExistsWatch(ctx, q.itemsDir())
	if err != nil {
		return watches, due, err
	}
	watches = append(watches, rung)
	for level := range q.tails {
		dir := q.levelDir(level)
		level, err := q.listenChildren(ctx, &watches, dir)
		if err == nil && level.Stat != nil {
			_, err = q.listenChildren(ctx, &watches, segmentPath(dir, segment(level.Stat.Version)))
		}
		if err != nil {
			return watches, due, err
		}
	}
	if _, err := q.listenChildren(ctx, &watches, q.ledgersDir()); err != nil {
		return watches, due, err
	}
	delayed, err := q.listenChildren(ctx, &watches, q.delayedDir())
	if err != nil {
		return watches, due, err
	}
	if slots := sortedSlots(delayed.Names); len(slots) > 0 {
		due = time.Unix(slots[0].due, 0)
	}
	return watches, due, nil
}

// listenChildren adds a watch of the children of dir. If dir does not exist, this is a watch of its
// creation: see recipe.WatchChildren.
func (q *raw) listenChildren(ctx context.Context, watches *[]*session.Watch, dir string) (session.Listing, error) {
	listing, w, err := recipe.WatchChildren(ctx, q.s, dir)
	if err == nil {
		*watches = append(*watches, w)
	}
	return listing, err
}

func stop(watches []*session.Watch) {
	for _, w := range watches {
		w.Stop()
	}
}

// waitAny waits until one of the watches fires, or until the time `due` if `due` is not zero. It
// stops all watches.
func waitAny(ctx context.Context, due time.Time, watches ...*session.Watch) error {
	defer stop(watches)
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv}, // a nil channel is never ready
	}
	if !due.IsZero() {
		timer := time.NewTimer(time.Until(due))
		defer timer.Stop()
		cases[1].Chan = reflect.ValueOf(timer.C)
	}
	for _, w := range watches {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(w.C)})
	}
	switch i, value, _ := reflect.Select(cases); i {
	case 0:
		return context.Cause(ctx)
	case 1:
		return nil
	default:
		return value.Interface().(session.Event).Err
	}
}
