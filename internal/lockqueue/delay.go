package lockqueue

import (
	"bytes"
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// With Line.Delay every exclusive one that is served leaves its mark, and takes it
// away in the transaction in which it leaves. So a mark whose node is gone says that its owner vanished: its session
// expired, or somebody deleted the node. Who is served next then waits, as its
// deeds may still be under way. The wait begins when it is first seen, since
// no server tells when a node went.
//
// The mark is the data of a persistent node in the directory. That of the directory
// itself would not do: a container is deleted, mark and all, once it is empty.
//
// Chubby's lock-delay is the model; there the server keeps the time.

// markName is what the mark's node is called in the directory.
const markName = "delay"

// marks is the node whose data takes the marks of transactions.
func (l *Queue) marks() string {
	if l.Delay > 0 {
		return znode.Join(l.Dir, markName)
	}
	return l.Dir
}

// mark leaves the mark of c, by a transaction of it. It makes the mark's node at the
// first use.
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

// outlast waits for the delay if the last exclusive one vanished.
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
	if err != nil || node != nil { // it is there: a writer that was downgraded
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
	// The next one need not wait again; if this fails it waits once more than needed.
	l.Session.Set(ctx, l.marks(), nil, mark.Stat.Version)
	return context.Cause(ctx)
}
