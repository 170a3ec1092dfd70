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
	// Czxid is the zxid of the transaction that created the znode. Each later znode has a larger
	// Czxid, over the whole life of the ensemble. 0 means that the Czxid is unknown. Use 0 only if
	// no later znode can have the same path, because Is could not distinguish the two znodes.
	Czxid int64
}

// Name is the last part of the znode's path.
func (n Node) Name() string { return engine.Node(n).Name() }

// Is reports whether a znode at n's path with the given stat is n and not a later znode. A nil stat
// means that there is no znode.
func (n Node) Is(stat *session.Stat) bool { return engine.Node(n).Is(stat) }

// A Creation is a protected create in progress.
type Creation struct {
	s      *session.Session
	trace  engine.Trace
	dir    string
	path   string // of the znode, without the number that the server appends
	prefix string // the last name in path: identifier and kind
	data   []byte
	mode   session.Mode

	done chan struct{} // closed when the fields node and err are set
	node Node
	err  error

	mu      sync.Mutex
	parents []string // the parents that the current attempt has created
}

// StartProtected begins to create a sequential znode in dir, and returns at once. It also creates
// dir and the parents of dir if they are missing. Call Wait for the result.
//
// The name of the znode is <id>-<kind>-<number>. The id is unique, so after a lost reply the
// session can find the znode by its name. Therefore the znode is created once or not at all.
func StartProtected(s *session.Session, dir, kind string, data []byte, mode session.Mode) *Creation {
	return StartSuffixed(s, dir, kind+"-", data, mode)
}

// StartSuffixed is like StartProtected, but the name of the znode is <id>-<suffix><number>. The
// suffix can be one that another library recognizes.
func StartSuffixed(s *session.Session, dir, suffix string, data []byte, mode session.Mode) *Creation {
	id := engine.Of(s).NewID()
	parent := strings.TrimSuffix(dir, "/") // the check below allows a final slash only in the root
	c := &Creation{
		s: s, dir: dir, path: parent + "/" + string(id[:]) + "-" + suffix, data: bytes.Clone(data), mode: mode,
		done: make(chan struct{}),
	}
	c.trace.Init()
	c.prefix = c.path[len(parent)+1:]
	if err := znode.Check(dir); err != nil {
		c.err = requestError("create", dir, session.Failed, err)
		close(c.done)
		return c
	}
	if !engine.Of(s).Enter() {
		c.err = requestError("create", dir, session.Failed, s.Err())
		close(c.done)
		return c
	}
	go func() {
		defer engine.Of(s).Leave()
		c.run()
	}()
	return c
}

// CreateProtected calls StartProtected and then Wait. If ctx has already ended, CreateProtected
// sends no request, and the outcome of the error is Failed.
func CreateProtected(ctx context.Context, s *session.Session, dir, kind string, data []byte, mode session.Mode) (Node, error) {
	if ctx.Err() != nil {
		return Node{}, requestError("create", dir, session.Failed, context.Cause(ctx))
	}
	return StartProtected(s, dir, kind, data, mode).Wait(ctx)
}

// Sent waits until the request for the znode was written to the server, or until the creation or
// ctx has ended. If this request creates the znode, every list of dir that the session requests
// after Sent includes the znode. If the connection is lost, a list may miss the znode: the creation
// sends its request again, perhaps after the request for the list.
func (c *Creation) Sent(ctx context.Context) {
	select {
	case <-c.trace.Written():
	case <-c.done:
	case <-ctx.Done():
	}
}

// Wait waits for the znode. If ctx ends first, Wait returns an error, and the session deletes the
// znode as soon as it is found. Session.Close waits for this deletion. A znode remains only if the
// session ends before the deletion and the znode is not ephemeral.
func (c *Creation) Wait(ctx context.Context) (Node, error) {
	select {
	case <-c.done:
		return c.node, c.err
	case <-ctx.Done():
	}
	c.Abandon()
	return Node{}, requestError("create", c.dir, session.Indeterminate, context.Cause(ctx))
}

// Abandon gives up the creation. A request that has not been written yet is never written. If the
// znode was created, it is deleted.
func (c *Creation) Abandon() {
	c.trace.Abandon()
	Detach(c.s, func(ctx context.Context) error {
		select {
		case <-c.done:
		case <-time.After(c.s.Timeout() / 4):
			// The answer may never come, and Session.Close waits for this function, but for at most
			// a third of the session timeout. So remove the parents earlier, after a quarter.
			c.removeParents()
			<-c.done // closed at the end of the session at the latest
		}
		if c.err != nil {
			return nil
		}
		return Remove(ctx, c.s, c.node)
	})
}

// The method `made` records the parents that the current attempt has created.
func (c *Creation) made(parents []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parents = slices.Clone(parents)
}

// removeParents begins to delete, in the background, those parents that the current attempt has
// created and that are not in use.
func (c *Creation) removeParents() {
	c.mu.Lock()
	parents := c.parents
	c.mu.Unlock()
	removeParents(c.s, parents)
}

// run creates the znode, however often the connection is lost. It returns at the end of the session
// at the latest. After Abandon, the create is not sent again, so run returns after its current
// attempt.
func (c *Creation) run() {
	defer close(c.done)
	life := c.s.Context()
	c.err = Once(life, c.s, c.dir, func(ctx context.Context) error {
		return withParents(ctx, c.s, c.path, c.made, c.create)
	}, func(ctx context.Context) (found bool, err error) {
		c.node, err = c.find(ctx)
		return c.node.Path != "", err
	})
	if c.err != nil && life.Err() == nil && session.OutcomeOf(c.err) == session.Indeterminate {
		// The znode may exist: only the search for it has failed.
		RemoveFound(c.s, func(ctx context.Context) (Node, error) {
			if err := ReadBarrier(ctx, c.s, c.dir); err != nil {
				return Node{}, err
			}
			return c.find(ctx)
		})
	}
}

// The method `create` makes one attempt to create the znode. The reply has the zxid of the last
// transaction that the server has applied. This transaction is the create itself, because a server
// makes the reply to a write before it applies the next one (docs/decisions/0001-lease.md). So the
// zxid of the reply is the znode's czxid.
func (c *Creation) create(ctx context.Context) error {
	path, err := engine.Of(c.s).Create(ctx, c.path, c.data, int32(c.mode), &c.trace)
	if err == nil {
		c.node = Node{Path: path, Czxid: c.trace.Zxid()}
	}
	return err
}

// find searches for the znode by its prefix. An ephemeral znode counts only if this session owns
// it.
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
