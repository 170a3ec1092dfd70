package line

import (
	"bytes"
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// With Line.Delay every exclusive one that is served leaves its mark in the
// directory's data, and takes it away in the transaction in which it leaves.
// So a mark whose node is gone says that its owner vanished: its session
// expired, or somebody deleted the node. Who is served next then waits, as its
// deeds may still be under way. The wait begins when it is first seen, since
// no server tells when a node went.
//
// Chubby's lock-delay is the model; there the server keeps the time.

// outlast waits for the delay if the last exclusive one vanished.
func (l *Line) outlast(ctx context.Context, c *Claim) error {
	dir, err := l.Session.Get(ctx, l.Dir)
	if err != nil {
		return err
	}
	name, _, _ := bytes.Cut(dir.Data, []byte(" "))
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
	// The next one need not wait again; if this fails it waits in vain.
	l.Session.Set(ctx, l.Dir, nil, dir.Stat.Version)
	return context.Cause(ctx)
}
