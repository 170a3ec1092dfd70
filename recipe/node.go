package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// A Node is a znode that a session created.
type Node struct {
	Path string
	// Czxid is the transaction that created the node. It grows over the whole ensemble
	// for ever. It is 0 if it is not known and the path is never used again.
	Czxid int64
}

// Name is the last part of the node's path.
func (n Node) Name() string { return engine.Node(n).Name() }

// A Creation is a protected create under way.
type Creation struct{ inside engine.Creation }

// StartProtected begins to create a sequential node in dir, named <id>-<kind>-<number>
// with an id of its own by which it is found again when a reply is lost: so it is made
// once, or not at all. It returns at once. The parents of the node are made if need be.
//
// It is Wait that binds the creation to a context.
func StartProtected(s *session.Session, dir, kind string, data []byte, mode session.Mode) *Creation {
	return StartSuffixed(s, dir, kind+"-", data, mode)
}

// StartSuffixed is StartProtected for names that end, before the number, like those of
// another library: <id>-<suffix><number>.
func StartSuffixed(s *session.Session, dir, suffix string, data []byte, mode session.Mode) *Creation {
	return &Creation{engine.Of(s).Start(dir, suffix, data, int32(mode))}
}

// CreateProtected is StartProtected and Wait. If ctx has ended, no request is made, and
// the outcome of the error is Failed.
func CreateProtected(ctx context.Context, s *session.Session, dir, kind string, data []byte, mode session.Mode) (Node, error) {
	if ctx.Err() != nil {
		return Node{}, &session.RequestError{Op: "create", Path: dir, Outcome: session.Failed, Err: context.Cause(ctx)}
	}
	return StartProtected(s, dir, kind, data, mode).Wait(ctx)
}

// Sent waits until the request was written to the server, the creation ended, or ctx
// did. A request that is made afterwards is answered with the node in view, if it is made
// at all.
func (c *Creation) Sent(ctx context.Context) { c.inside.Sent(ctx) }

// Wait waits for the node. If ctx ends first, the caller gets an error, and the session
// deletes the node as soon as it is known; Close waits for that. So no node remains,
// unless the session ends before it was deleted and the node is not ephemeral.
func (c *Creation) Wait(ctx context.Context) (Node, error) {
	node, err := c.inside.Wait(ctx)
	return Node(node), err
}

// Abandon gives the creation up. If its request was not written yet, it never will be;
// if the node was made, it is deleted.
func (c *Creation) Abandon() { c.inside.Abandon() }

// Remove deletes a node of this session for certain: it retries where the error is
// session.Transient. It succeeds if the node is already gone, and leaves a node that
// another client has since created at the same path. It can fail only if ctx or the
// session ends first, the node has children, or the server refuses the deletion for good,
// because of the directory's ACL for example.
func Remove(ctx context.Context, s *session.Session, n Node) error {
	return engine.Of(s).Remove(ctx, engine.Node(n))
}

// RemoveFound deletes, as detached work, the node that find finds, if there is one. It
// retries find until the session ends where the error is session.Transient: a server that
// is overloaded may refuse to show the node, for instance. At any other error it gives up
// after one session timeout: an administrator may be changing an ACL just then. The
// channel gets nil when the node is gone, or the error.
func RemoveFound(s *session.Session, find func(ctx context.Context) (Node, error)) <-chan error {
	return engine.Of(s).RemoveFound(func(ctx context.Context) (engine.Node, error) {
		n, err := find(ctx)
		return engine.Node(n), err
	})
}
