package lockqueue

import (
	"bytes"
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// If Queue.Delay is set, every exclusive contender writes the transaction mark when it is served.
// The transaction mark is the data that every transaction of an exclusive place sets (see
// Place.guard). It is not the release mark. The contender clears the transaction mark in the
// transaction in which it departs.
//
// If the mark remains but the contender's znode is gone, the contender vanished: its session ended,
// or a client deleted the znode. (For an exception, see leaveTries.) Requests of the vanished
// contender may still be in progress. So the next contender waits for the delay before it is
// served. The delay begins when the next contender reads the mark, because no server reports when a
// znode was deleted.
//
// With Queue.Delay, the transaction mark is the data of a persistent znode in the directory.
// Without Queue.Delay, it is the data of the directory itself. The directory is a container, which
// the servers delete when it is empty. So a mark in its data can be lost when no contender is left.
//
// The model is the lock-delay of Chubby, but there the server measures the time.

// markName is the name of the mark's znode in the directory.
const markName = "delay"

// The method `marks` returns the path of the znode for the mark of an exclusive place. Each
// transaction of the place leaves its mark in the data of this znode; see Place.guard.
func (l *Queue) marks() string {
	if l.Delay > 0 {
		return znode.Join(l.Dir, markName)
	}
	return l.Dir
}

// The method `mark` writes the mark of c. It calls c.Txn without ops, because every Txn of an
// exclusive place writes the mark. If the mark's znode does not exist, `mark` creates it first.
func (l *Queue) mark(ctx context.Context, c *Place) error {
	for {
		_, err := c.Txn(ctx)
		if !isNoNode(err) {
			return err
		}
		if err := recipe.Ensure(ctx, l.Session, c.marks, nil, session.Persistent); err != nil {
			return err
		}
	}
}

// outlast waits for the delay if the last exclusive contender vanished.
func (l *Queue) outlast(ctx context.Context, c *Place) error {
	mark, err := l.Session.Get(ctx, l.marks())
	if err != nil {
		return unlessNoNode(err)
	}
	name, _, _ := bytes.Cut(mark.Data, []byte(" "))
	if _, marked := l.Naming.Parse(string(name)); !marked {
		return nil
	}
	node, err := l.Session.Exists(ctx, znode.Join(l.Dir, string(name)))
	if err != nil || node != nil { // a znode that exists belongs to a writer that was downgraded
		return err
	}
	timer := time.NewTimer(l.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.Context().Done():
		return context.Cause(c.Context())
	}
	// Clear the mark, so that the next contender need not wait for the delay again. If this fails,
	// the next contender waits although nobody vanished.
	l.Session.Set(ctx, l.marks(), nil, mark.Stat.Version)
	return context.Cause(ctx)
}
