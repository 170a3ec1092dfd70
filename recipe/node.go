package recipe

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// A Node is a znode that a session created.
type Node struct {
	Path string
	// Czxid is the zxid of the transaction that created the node. A node that is created later has
	// a larger Czxid, over the whole life of the ensemble. 0 means that the Czxid is unknown. In
	// this case, no later node has the same path.
	Czxid int64
}

// Name is the last part of the node's path.
func (n Node) Name() string { return engine.Node(n).Name() }

// Is reports whether a node at n's path with the given stat is n and not a later node. A nil stat
// means that there is no node.
func (n Node) Is(stat *session.Stat) bool { return engine.Node(n).Is(stat) }

// A Creation is a protected create in progress.
type Creation struct {
	s      *session.Session
	trace  *engine.Trace
	dir    string
	prefix string // beginning of the node's name: identifier and kind
	data   []byte
	mode   session.Mode

	done chan struct{} // closed when node and err are set
	node Node
	err  error

	mu      sync.Mutex
	parents []string // the parents that were created for it
}

// StartProtected begins to create a sequential node in dir and returns at once. The name of the
// node is <id>-<kind>-<number>. The id is unique, so after a lost reply the session finds the node
// if it was created. Therefore the node is created once or not at all. Missing parents of the node
// are created.
//
// Call Wait to bind the creation to a context.
func StartProtected(s *session.Session, dir, kind string, data []byte, mode session.Mode) *Creation {
	return StartSuffixed(s, dir, kind+"-", data, mode)
}

// StartSuffixed is like StartProtected, but the name of the node is <id>-<suffix><number>. The
// suffix can be one that another library recognizes.
func StartSuffixed(s *session.Session, dir, suffix string, data []byte, mode session.Mode) *Creation {
	c := &Creation{
		s: s, trace: engine.NewTrace(), dir: dir, prefix: NewID(s) + "-" + suffix, data: bytes.Clone(data), mode: mode,
		done: make(chan struct{}),
	}
	if !engine.Of(s).Go(c.run) {
		c.err = requestError("create", dir, session.Failed, s.Err())
		close(c.done)
	}
	return c
}

// CreateProtected is StartProtected and Wait. If ctx has ended, it sends no request, and the
// outcome of the error is Failed.
func CreateProtected(ctx context.Context, s *session.Session, dir, kind string, data []byte, mode session.Mode) (Node, error) {
	if ctx.Err() != nil {
		return Node{}, requestError("create", dir, session.Failed, context.Cause(ctx))
	}
	return StartProtected(s, dir, kind, data, mode).Wait(ctx)
}

// Sent waits until the request was written to the server, or until the creation or ctx ended. The
// answer to a later request includes the node, if the node is created at all.
func (c *Creation) Sent(ctx context.Context) {
	select {
	case <-c.trace.Written():
	case <-c.done:
	case <-ctx.Done():
	}
}

// Wait waits for the node. If ctx ends first, Wait returns an error, and the session deletes the
// node as soon as it is found. Session.Close waits for this deletion. So no node remains, unless
// the session ends before the deletion and the node is not ephemeral.
func (c *Creation) Wait(ctx context.Context) (Node, error) {
	select {
	case <-c.done:
		return c.node, c.err
	case <-ctx.Done():
	}
	c.Abandon()
	return Node{}, requestError("create", c.prefix, session.Indeterminate, context.Cause(ctx))
}

// Abandon gives up the creation. If its request has not been written yet, it never will be. If the
// node was created, it is deleted.
func (c *Creation) Abandon() {
	c.trace.Abandon()
	Detach(c.s, func(ctx context.Context) error {
		select {
		case <-c.done:
		case <-time.After(c.s.Timeout() / 4): // shorter than the wait of Close; the answer may never come
			c.removeParents()
			<-c.done // closed at the end of the session at the latest
		}
		if c.err != nil {
			return nil
		}
		return Remove(ctx, c.s, c.node)
	})
}

// made records the parents that were created for the node.
func (c *Creation) made(parents []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parents = slices.Clone(parents)
}

// removeParents deletes the parents that were created for the node, except those in use.
func (c *Creation) removeParents() {
	c.mu.Lock()
	parents := c.parents
	c.mu.Unlock()
	removeParents(c.s, parents)
}

// run creates the node, however often the connection is lost. It returns at the end of the session
// at the latest. It also returns if the creation is abandoned, because no further request is sent
// then.
func (c *Creation) run() {
	defer close(c.done)
	life := c.s.Context()
	c.err = Once(life, c.s, c.dir, func(ctx context.Context) error {
		return withParents(ctx, c.s, znode.Join(c.dir, c.prefix), c.made, c.create)
	}, func(ctx context.Context) (found bool, err error) {
		c.node, err = c.find(ctx)
		return c.node.Path != "", err
	})
	if c.err != nil && life.Err() == nil && session.OutcomeOf(c.err) == session.Indeterminate {
		// The node may exist: only the search for it has failed.
		RemoveFound(c.s, func(ctx context.Context) (Node, error) {
			if err := ReadBarrier(ctx, c.s, c.dir); err != nil {
				return Node{}, err
			}
			return c.find(ctx)
		})
	}
}

// create makes one attempt. The zxid of the reply is the node's czxid, because servers apply and
// answer transactions one after the other (docs/decisions/0001-lease.md).
func (c *Creation) create(ctx context.Context) error {
	path, err := engine.Of(c.s).Create(ctx, znode.Join(c.dir, c.prefix), c.data, int32(c.mode), c.trace)
	if err == nil {
		c.node = Node{Path: path, Czxid: c.trace.Zxid()}
	}
	return err
}

// find searches for the node by its prefix. An ephemeral node counts only if this session owns it.
func (c *Creation) find(ctx context.Context) (Node, error) {
	listing, err := c.s.Children(ctx, c.dir)
	if errors.Is(err, session.ErrNoNode) {
		return Node{}, nil
	}
	if err != nil {
		return Node{}, err
	}
	for _, name := range listing.Names {
		if !strings.HasPrefix(name, c.prefix) {
			continue
		}
		path := znode.Join(c.dir, name)
		stat, err := c.s.Exists(ctx, path)
		if err != nil {
			return Node{}, err
		}
		if stat == nil || c.mode&session.Ephemeral != 0 && stat.EphemeralOwner != c.s.ID() {
			continue
		}
		return Node{Path: path, Czxid: stat.Czxid}, nil
	}
	return Node{}, nil
}

func requestError(op, path string, outcome session.Outcome, err error) error {
	return &session.RequestError{Op: op, Path: path, Outcome: outcome, Err: err}
}
