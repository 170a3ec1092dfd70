package lockqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// ErrExhausted means that the numbers of a lock queue's directory are nearly used
// up: ZooKeeper counts in 32 bits. Packages lock and election return errors of
// their own for it.
var ErrExhausted = errors.New("sequence numbers of the directory are used up")

// ErrBusy is Join's answer to a Try when somebody is before one.
var ErrBusy = errors.New("held by somebody else")

// errClosed is the cause with which a place's context ends on Close.
var errClosed = errors.New("closed")

// A Queue is a directory of ephemeral sequential nodes that are served in the
// order of their numbers.
type Queue struct {
	Session *session.Session
	Dir     string
	Name    string // of the recipe, for traces
	Naming  Naming
	// Delay is for how long nobody is served after an exclusive one vanished
	// without leaving; see delay.go. All who use the directory should agree.
	Delay time.Duration
	// Invalid is why the recipe's constructor found the queue to be of no use. Join
	// and Contenders return it, and send nothing.
	Invalid error
}

// A Request is how to join a lock queue.
type Request struct {
	Name string // of own nodes: <id>-<Name><number>
	Kind Kind
	Data []byte // shown to the other contenders
	Try  bool   // do not wait, but fail with ErrBusy
	Gate bool   // only a place to stand: it needs no lease, and outlives a lapse of it
}

// Join queues and waits for its turn. On an error, whichever, no node of the
// call remains, or the session removes it before it closes.
//
// Alone in the lock queue it costs one round trip: the list is asked for as soon as
// the create was sent, and the server answers the two in order.
//
// If ctx has ended, no request is made: a node that is deleted at once would still
// be in the way of others meanwhile.
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
	c.leaveOps = l.leaveOps(c, len(listing.Names) == 1)
	return c, nil
}

// leaveOps is what goes with the deletion of a served node; see Claim.Leave. Who
// came to an empty line does without: whoever is next has nobody else before it,
// and needs no sign.
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
		// Nobody can come before me any more. So if the one that is gone was
		// the only one, or had been served itself, it is my turn, and there
		// is no need to look again.
		if served || d.Ahead == 1 {
			return l.serve(ctx, c, r, served)
		}
		children, listErr = l.list(ctx)
	}
}

// serve is called when it is the turn of c. Left says that the last exclusive
// one is known not to have vanished.
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

// contender is c as the others see it.
func (l *Queue) contender(c *Place) (Contender, error) {
	me, ok := l.Naming.Parse(c.Node().Name())
	if !ok {
		return me, fmt.Errorf("server named a sequential node %q", c.Node().Name())
	}
	if me.Seq.NearWrap() {
		return me, fmt.Errorf("%w: %s", ErrExhausted, c.Node().Path)
	}
	return me, nil
}

// again decides by a list that was asked for after the node was made: if it
// does not show the node, somebody deleted it.
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

// Contenders lists the contenders, first come first, without joining them.
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
