package lockqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// ErrExhausted means that the sequence numbers of a lock queue's directory are nearly used up: they
// have only 32 bits. Packages lock and election return their own errors for it.
var ErrExhausted = errors.New("sequence numbers of the directory are used up")

// ErrBusy is the error of Join if Request.Try is set and the contender would have to wait.
var ErrBusy = errors.New("held by somebody else")

// errClosed is the cause with which a place's context ends on Close.
var errClosed = errors.New("closed")

// A Queue is a directory of ephemeral sequential znodes, one for each contender. The contenders are
// served in the order of the znodes' numbers.
type Queue struct {
	Session *session.Session
	Dir     string
	Name    string // of the recipe, for traces
	Naming  Naming
	// Delay is the time for which no contender is served after an exclusive contender vanished; see
	// delay.go. All users of the directory should have the same Delay.
	Delay time.Duration
	// Invalid is the error that the recipe's constructor found in its arguments. Join and
	// Contenders return it and send nothing.
	Invalid error
}

// A Request says how to join a lock queue.
type Request struct {
	Name string // the znode is named <id>-<Name><number>
	Kind Kind
	Data []byte // data of the znode, visible to the other contenders
	Try  bool   // do not wait, but fail with ErrBusy
	Gate bool   // only a queue position: it needs no lease, and survives a lapse of the lease
}

// Join adds a contender to the queue and waits for the contender's turn. If Join returns an error,
// the contender's znode is gone, or the session removes the znode before the session closes.
//
// If there is no other contender, Join costs one round trip: it requests the list of children right
// after it has sent the create request, and the server answers the two requests in order.
//
// If ctx has already ended, Join makes no request, because even a short-lived znode would delay
// other contenders.
func (l *Queue) Join(ctx context.Context, r Request) (*Place, error) {
	if l.Invalid != nil {
		return nil, l.Invalid
	}
	if ctx.Err() != nil {
		return nil, &session.RequestError{Op: "create", Path: l.Dir, Outcome: session.Failed, Err: context.Cause(ctx)}
	}
	creation := recipe.StartSuffixed(l.Session, l.Dir, r.Name, r.Data, session.EphemeralSequential)
	creation.Sent(ctx)
	listing, listErr := l.Session.Children(ctx, l.Dir)
	node, err := creation.Wait(ctx)
	if err != nil {
		return nil, err
	}
	c := NewPlace(l.Session, node, r.Data, 0)
	c.Describe(l.Name)
	if r.Kind == Exclusive {
		c.marks = l.marks()
	}
	if err := l.wait(ctx, c, r, listing.Names, listErr); err != nil {
		c.Abandon(ctx, err)
		return nil, err
	}
	// If the list contains only the znode of c, then c joined an empty queue. The length of the
	// list does not prove this. If the create was repeated, the list may be older than the znode of
	// c, and the only listed znode can belong to another contender.
	c.leaveOps = l.leaveOps(c, slices.Equal(listing.Names, []string{node.Name()}))
	return c, nil
}

// leaveOps returns the ops for the transaction in which c deletes its znode after c was served; see
// Place.Leave. These ops leave the release mark, unless c is shared or Naming.Silent is set; then
// leaveOps returns nil. With Queue.Delay, the ops also clear the transaction mark; see delay.go.
//
// The release mark shows that c was served, so that no contender was ahead of c. Therefore the next
// contender need not list the contenders again. If c was alone when it joined, the next contender
// need not do so even without a release mark, because c is the only contender ahead of it. In this
// case leaveOps returns nil too, unless Queue.Delay is set.
func (l *Queue) leaveOps(c *Place, alone bool) []session.Op {
	if c.marks == "" || l.Naming.Silent || alone && l.Delay == 0 {
		return nil
	}
	sign := session.SetOp{Path: c.Node().Path, Version: session.AnyVersion}
	if l.Delay == 0 {
		return []session.Op{sign}
	}
	return []session.Op{session.SetOp{Path: l.marks(), Version: session.AnyVersion}, sign}
}

// wait returns nil when it is the turn of c and, unless r.Gate is set, the lease stands.
func (l *Queue) wait(ctx context.Context, c *Place, r Request, children []string, listErr error) error {
	me, err := l.contender(c)
	if err != nil {
		return err
	}
	for {
		if listErr != nil && !errors.Is(listErr, zk.ErrNoNode) {
			return listErr
		}
		d := l.Naming.Decide(me, children)
		if !d.Present {
			if d, err = l.again(ctx, me); err != nil {
				return err
			}
		}
		if d.Served() {
			return l.serve(ctx, c, r, false)
		}
		if r.Try {
			return l.try(ctx, c, r, me, d.Last)
		}
		if d.Ahead == 1 && !r.Gate {
			c.hold.Expect()
		}
		served, err := l.await(ctx, c, me, d.Last)
		if err != nil {
			return err
		}
		// The wait for d.Last is over, and no contender can join ahead of `me`. So no new list is
		// needed in two cases:
		//
		//   - d.Last was the only contender ahead of `me`.
		//   - d.Last had been served. Then d.Last is exclusive, and an exclusive contender is
		//     served only if no other contender is ahead of it.
		if served || d.Ahead == 1 {
			return l.serve(ctx, c, r, served)
		}
		listErr = l.Session.Retry(ctx, func(ctx context.Context) (err error) {
			children, err = l.list(ctx)
			return err
		})
	}
}

// The method `serve` completes the join of c when it is the turn of c. If `left` is true, the last
// exclusive contender is known to have called Leave or Downgrade, so that no delay is needed.
func (l *Queue) serve(ctx context.Context, c *Place, r Request, left bool) error {
	if l.Delay > 0 && !left {
		if err := l.outlast(ctx, c); err != nil {
			return err
		}
	}
	if r.Gate {
		return nil
	}
	if err := c.Grant(ctx); err != nil {
		return err
	}
	if l.Delay > 0 && c.marks != "" {
		return l.mark(ctx, c)
	}
	return nil
}

// The method `contender` returns c as a Contender. It fails if the sequence numbers are nearly used
// up.
func (l *Queue) contender(c *Place) (Contender, error) {
	me, ok := l.Naming.Parse(c.Node().Name())
	if !ok {
		return me, fmt.Errorf("the server created a znode without a sequence number: %s", c.Node().Path)
	}
	if me.Seq.NearWrap() {
		return me, fmt.Errorf("%w: %s", ErrExhausted, c.Node().Path)
	}
	return me, nil
}

// The method `again` makes the decision for the contender `me` from a new list. If the znode of
// `me` is missing in this list too, another client has deleted it, and the error is ErrRevoked.
func (l *Queue) again(ctx context.Context, me Contender) (Decision, error) {
	children, err := l.list(ctx)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return Decision{}, err
	}
	d := l.Naming.Decide(me, children)
	if !d.Present {
		return d, session.ErrRevoked
	}
	return d, nil
}

func (l *Queue) list(ctx context.Context) ([]string, error) {
	listing, err := l.Session.Children(ctx, l.Dir)
	return listing.Names, err
}

// Contenders lists the contenders in the order of the queue. The caller need not be a contender.
func (l *Queue) Contenders(ctx context.Context) ([]Contender, error) {
	if l.Invalid != nil {
		return nil, l.Invalid
	}
	children, err := l.list(ctx)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	return l.Naming.Queue(children), err
}
