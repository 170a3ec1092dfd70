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
	// Delay is the time for which no contender is served after an exclusive one vanished; see
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
	Gate bool   // only a place in the queue: it needs no lease, and survives a lapse of the lease
}

// Join joins the queue and waits for its turn. If Join returns an error, its znode is gone, or the
// session removes it before the session closes.
//
// If there is no other contender, Join costs one round trip: it requests the list right after it
// has sent the create, and the server answers the two requests in order.
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
	// c was alone if the list contains only its znode. A list of length 1 does not prove this:
	// after a repeated create, the one znode can be that of another contender.
	c.leaveOps = l.leaveOps(c, slices.Equal(listing.Names, []string{node.Name()}))
	return c, nil
}

// leaveOps returns the ops that go with the deletion of a served znode; see Place.Leave. A
// contender that was alone when it joined leaves no release mark, because its successor has no
// other contender before it, and needs no new list anyway. With Queue.Delay, the ops must clear the
// mark of the delay even then.
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

// wait returns nil when it is the turn of c and the lease stands.
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
		// No contender can join before me. So no new list is needed if I waited for the only
		// contender before me, or if the contender that I waited for had been served.
		if served || d.Ahead == 1 {
			return l.serve(ctx, c, r, served)
		}
		listErr = l.Session.Retry(ctx, func(ctx context.Context) (err error) {
			children, err = l.list(ctx)
			return err
		})
	}
}

// The method `serve` is called when it is the turn of c. If `left` is true, the last exclusive
// contender is known to have left or to have been downgraded, so that no delay is needed.
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

// Contenders lists the contenders in the order of the queue. The caller need not have joined it.
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
