package election

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Leader is the public part of a term. If Epoch is zero, there is no leader.
type Leader struct {
	Epoch   Epoch
	Path    string // path of its znode
	Session int64
	Value   []byte // Options.Label, or the last value of Term.Proclaim
}

// Leader returns the leader of the election, according to the server that answers. To include all
// earlier changes, call recipe.ReadBarrier first.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	o := &observer{lockQueue: e.queue}
	defer o.stop()
	leader, err := o.find(ctx)
	if err != nil {
		return Leader{}, fmt.Errorf("election: read leader of %s: %w", e.queue.Dir, err)
	}
	return leader, nil
}

// Observe returns an iterator over the leaders of the election. The iterator yields the present
// leader, and then each change: another leader, another value, or no leader. It ends when ctx or
// the session ends, or when a server refuses a request for good. The last pair that it yields has
// the cause as the error. A refusal that is session.Transient, for example by a server that is too
// busy, does not end the iterator.
//
// An observer lists the candidates once and watches the leader's znode. It lists the candidates
// again only when that znode is gone, or while there is no leader.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		o := &observer{lockQueue: e.queue}
		defer o.stop()
		for {
			var leader Leader
			err := e.queue.Session.Retry(ctx, func(ctx context.Context) (err error) {
				leader, err = o.find(ctx)
				return err
			})
			if err != nil {
				yield(Leader{}, fmt.Errorf("election: observe %s: %w", e.queue.Dir, err))
				return
			}
			if o.isNews(leader) && !yield(leader, nil) {
				return
			}
			if err := o.await(ctx); err != nil {
				yield(Leader{}, fmt.Errorf("election: observe %s: %w", e.queue.Dir, err))
				return
			}
		}
	}
}

// An observer remembers the candidates of its last list, with the leader first. It watches the
// leader's znode, or the directory if there is no leader.
type observer struct {
	lockQueue *lockqueue.Queue
	queue     []lockqueue.Contender
	watch     *session.Watch
	yielded   bool // whether the field `last` is valid
	last      Leader
}

// The method `find` returns the leader and watches the leader's znode.
//
// When the leader's znode is gone, the next candidate in the list leads if its znode still exists,
// because no other candidate can have joined ahead of the next one. If the znode of the next
// candidate is gone too, the list is too old, and find reads a new list.
func (o *observer) find(ctx context.Context) (Leader, error) {
	for missing := 0; ; missing++ {
		if len(o.queue) == 0 || missing > 1 {
			missing = 0
			if err := o.list(ctx); err != nil || len(o.queue) == 0 {
				return Leader{}, err
			}
		}
		leader, err := o.read(ctx, o.queue[0])
		if !errors.Is(err, session.ErrNoNode) {
			return leader, err
		}
		o.queue = o.queue[1:]
	}
}

// list lists the candidates. If there are none, it watches the directory.
func (o *observer) list(ctx context.Context) (err error) {
	if o.queue, err = o.lockQueue.Contenders(ctx); err != nil || len(o.queue) > 0 {
		return err
	}
	listing, w, err := recipe.WatchChildren(ctx, o.lockQueue.Session, o.lockQueue.Dir)
	if err == nil {
		o.watch, o.queue = w, o.lockQueue.Naming.Queue(listing.Names)
	}
	return err
}

// The method `read` reads and watches the znode of c. If the znode exists, c is the leader.
func (o *observer) read(ctx context.Context, c lockqueue.Contender) (Leader, error) {
	o.stop()
	path := znode.Join(o.lockQueue.Dir, c.Name)
	value, w, err := o.lockQueue.Session.GetWatch(ctx, path)
	if err != nil {
		return Leader{}, err
	}
	o.watch = w
	return Leader{Epoch: Epoch(value.Stat.Czxid), Path: path, Session: value.Stat.EphemeralOwner, Value: value.Data}, nil
}

// isNews reports whether the leader differs from the last one, and stores the leader.
func (o *observer) isNews(leader Leader) bool {
	news := !o.yielded || leader.Epoch != o.last.Epoch || !bytes.Equal(leader.Value, o.last.Value)
	o.yielded, o.last = true, leader
	return news
}

func (o *observer) await(ctx context.Context) error {
	_, err := o.watch.Wait(ctx)
	return err
}

func (o *observer) stop() {
	if o.watch != nil {
		o.watch.Stop()
	}
}
