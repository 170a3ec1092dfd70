package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// A Contender holds a lock or waits for it.
type Contender struct {
	Path    string // path of its znode
	Label   string
	Session int64 // ID of its session
	Shared  bool  // it is a reader
	Holds   bool  // it holds the lock, according to the server that answered
}

// The function `contenders` lists the contenders in a lock queue, in order. It omits a contender
// whose znode is deleted before its data are read.
func contenders(ctx context.Context, l *lockqueue.Queue) ([]Contender, error) {
	queue, err := l.Contenders(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock: list contenders of %s: %w", l.Dir, err)
	}
	list := make([]Contender, 0, len(queue))
	writers := 0
	for _, c := range queue {
		path := znode.Join(l.Dir, c.Name)
		value, err := l.Session.Get(ctx, path)
		if err != nil && !errors.Is(err, session.ErrNoNode) {
			return nil, fmt.Errorf("lock: read contender %s: %w", path, err)
		}
		if err != nil {
			continue
		}
		shared := c.Kind == lockqueue.Shared || l.Naming.Changed(c, value.Stat.Version)
		if !shared {
			writers++
		}
		list = append(list, Contender{
			Path: path, Label: string(value.Data), Session: value.Stat.EphemeralOwner,
			Shared: shared, Holds: len(list) == 0 || shared && writers == 0,
		})
	}
	return list, nil
}

func whoBlocks(ctx context.Context, l *lockqueue.Queue, node string) ([]Contender, error) {
	list, err := contenders(ctx, l)
	if err != nil {
		return nil, err
	}
	me := slices.IndexFunc(list, func(c Contender) bool { return c.Path == node })
	if me < 0 {
		return nil, fmt.Errorf("lock: list contenders that block %s: %w", node, session.ErrNoNode)
	}
	return slices.DeleteFunc(list[:me:me], func(c Contender) bool { return c.Shared && list[me].Shared }), nil
}
