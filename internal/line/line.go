package line

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// ErrExhausted means that the numbers of a line's directory are nearly used
// up: ZooKeeper counts in 32 bits. Delete the directory while nobody waits.
var ErrExhausted = errors.New("sequence numbers of the directory are used up")

// ErrBusy is TryJoin's answer when somebody is before one.
var ErrBusy = errors.New("held by somebody else")

// ErrReleased is the cause with which a place's context ends on Leave.
var ErrReleased = errors.New("released")

// A Line is a directory of ephemeral sequential nodes that are served in the
// order of their numbers.
type Line struct {
	Session *session.Session
	Dir     string
	Naming  Naming
}

// A Request is how to join a line.
type Request struct {
	Name string // of own nodes: <id>-<Name>-<number>
	Kind Kind
	Data []byte // shown to the other contenders
	Try  bool   // do not wait, but fail with ErrBusy
}

// Join queues and waits for its turn. On an error, whichever, no node of the
// call remains, or the session removes it before it closes.
//
// Alone in the line it costs one round trip: the list is asked for as soon as
// the create was sent, and the server answers the two in order.
func (l *Line) Join(ctx context.Context, r Request) (*Place, error) {
	creation := l.Session.StartProtected(l.Dir, r.Name, r.Data, session.EphemeralSequential)
	creation.Sent(ctx)
	listing, listErr := l.Session.Children(ctx, l.Dir)
	node, err := creation.Wait(ctx)
	if err != nil {
		return nil, err
	}
	p := &Place{line: l, kind: r.Kind, data: r.Data, hold: l.Session.Hold(node), turn: make(chan struct{}, 1)}
	if err := l.wait(ctx, p, r, listing.Names, listErr); err != nil {
		p.hold.End(err)
		p.remove()
		return nil, err
	}
	p.served = true
	return p, nil
}

// wait returns nil when it is the turn of p and the lease stands.
func (l *Line) wait(ctx context.Context, p *Place, r Request, children []string, listErr error) error {
	me, err := l.place(p, r)
	if err != nil {
		return err
	}
	for {
		if listErr != nil && !errors.Is(listErr, zk.ErrNoNode) {
			return listErr
		}
		d := l.Naming.Decide(me, children)
		if !d.Present {
			if d, err = l.again(ctx, p, me); err != nil {
				return err
			}
		}
		if d.Served() {
			return p.hold.Grant(ctx)
		}
		if r.Try {
			return ErrBusy
		}
		released, err := l.await(ctx, p, d.Last())
		if err != nil {
			return err
		}
		// Nobody can come before me any more. So if the one that is gone was
		// the only one, or had been served itself, it is my turn, and there
		// is no need to look again.
		if released || len(d.Blockers) == 1 {
			return p.hold.Grant(ctx)
		}
		children, listErr = l.list(ctx)
	}
}

func (l *Line) place(p *Place, r Request) (Contender, error) {
	name := p.hold.Node().Name()
	_, seq, ok := znode.ParseSeq(name)
	if !ok {
		return Contender{}, fmt.Errorf("server named a sequential node %q", name)
	}
	if seq.NearWrap() {
		return Contender{}, fmt.Errorf("%w: %s", ErrExhausted, p.hold.Node().Path)
	}
	return Contender{Name: name, Kind: r.Kind, Seq: seq}, nil
}

// again decides by a list that was asked for after the node was made: if it
// does not show the node, somebody deleted it.
func (l *Line) again(ctx context.Context, p *Place, me Contender) (Decision, error) {
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

func (l *Line) list(ctx context.Context) ([]string, error) {
	listing, err := l.Session.Children(ctx, l.Dir)
	return listing.Names, err
}

// await waits until c has left, and reports whether it is known to have been
// served before, so that nobody before it is left either.
//
// GetW, not ExistsW: where c is gone already, no watch remains.
func (l *Line) await(ctx context.Context, p *Place, c Contender) (released bool, err error) {
	for {
		_, w, err := l.Session.GetW(ctx, znode.Join(l.Dir, c.Name))
		if errors.Is(err, zk.ErrNoNode) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		select {
		case event := <-w.C:
			switch {
			case event.Type == zk.EventNodeDeleted:
				return false, nil
			case event.Err != nil:
				return false, event.Err
			case event.Type == zk.EventNodeDataChanged && c.signs():
				return true, nil
			}
		case <-ctx.Done():
			w.Stop()
			return false, context.Cause(ctx)
		case <-p.hold.Context().Done():
			w.Stop()
			return false, context.Cause(p.hold.Context())
		}
	}
}

// Queue lists the contenders, first come first, without joining them.
func (l *Line) Queue(ctx context.Context) ([]Contender, error) {
	children, err := l.list(ctx)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	return l.Naming.Queue(children), err
}
