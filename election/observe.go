package election

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// A Leader is what others know of a term. Nobody leads where Epoch is zero.
type Leader struct {
	Epoch   Epoch
	Path    string // of its node
	Session int64
	Value   []byte // Options.Label, or what Term.Proclaim was given last
}

// Leader returns who leads the election, as far as the server asked knows: Sync
// first to be sure of what was before.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	o := &observer{lockQueue: e.queue}
	defer o.stop()
	leader, err := o.look(ctx)
	if err != nil {
		return Leader{}, fmt.Errorf("election: leader of %s: %w", e.queue.Dir, err)
	}
	return leader, nil
}

// Observe gives who leads the election and then each change: another leader,
// another value, or that nobody leads. It ends with ctx or with the session, and
// then gives the cause as the error.
//
// An observer watches the leader's node and lists the candidates only when
// that is gone.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		o := &observer{lockQueue: e.queue}
		defer o.stop()
		for {
			leader, err := o.look(ctx)
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

// An observer knows the candidates as they were listed last, the leader first.
// Its watch is on the leader's node, or where nobody leads on the directory.
type observer struct {
	lockQueue *lockqueue.Queue
	queue     []lockqueue.Contender
	watch     *session.Watch
	told      bool
	last      Leader
}

// look finds the leader and watches it.
//
// Whoever was behind the leader when they were listed leads next if it is
// still there: nobody can have come before it. If it is gone too, the list is
// too old to go on with.
func (o *observer) look(ctx context.Context) (Leader, error) {
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

// list lists the candidates. If there are none the directory is watched.
func (o *observer) list(ctx context.Context) (err error) {
	if o.queue, err = o.lockQueue.Contenders(ctx); err != nil || len(o.queue) > 0 {
		return err
	}
	for {
		listing, w, err := o.lockQueue.Session.ChildrenWatch(ctx, o.lockQueue.Dir)
		if err == nil {
			o.watch, o.queue = w, o.lockQueue.Naming.Queue(listing.Names)
		}
		if !errors.Is(err, session.ErrNoNode) {
			return err
		}
		stat, w, err := o.lockQueue.Session.ExistsWatch(ctx, o.lockQueue.Dir)
		if err != nil {
			return err
		}
		if stat == nil {
			o.watch = w
			return nil
		}
		w.Stop() // it tells nothing of children
	}
}

// read reads the leader's node and watches it.
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

// isNews reports whether the leader is other than the last, and keeps it.
func (o *observer) isNews(leader Leader) bool {
	news := !o.told || leader.Epoch != o.last.Epoch || !bytes.Equal(leader.Value, o.last.Value)
	o.told, o.last = true, leader
	return news
}

// await waits for the event of what is watched.
func (o *observer) await(ctx context.Context) error {
	_, err := o.watch.Wait(ctx)
	return err
}

func (o *observer) stop() {
	if o.watch != nil {
		o.watch.Stop()
	}
}
