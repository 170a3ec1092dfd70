// Package engine defines the parts of a session that package recipe needs and that no other package
// may use. Package session implements them. Package recipe documents the methods.
package engine

import (
	"context"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// An Engine is the internal interface of one session.
type Engine interface {
	NewID() string
	Detach(f func(ctx context.Context) error) <-chan error
	ReadBarrier(ctx context.Context, path string) error
	CreateParents(ctx context.Context, path string) error
	WithParents(ctx context.Context, path string, create func(ctx context.Context) error) error
	Start(dir, suffix string, data []byte, mode int32) Creation
	Remove(ctx context.Context, n Node) error
	RemoveFound(find func(ctx context.Context) (Node, error)) <-chan error
	Hold(n Node) Hold
	NewWatches() Watches
	Fits(ops any) error // ops is a []session.Op, which this package cannot name
}

// A Node is a znode that the session created.
type Node struct {
	Path  string
	Czxid int64
}

// Is reports whether the node at n's path with the given stat is n.
func (n Node) Is(stat *zk.Stat) bool {
	return stat != nil && (n.Czxid == 0 || stat.Czxid == n.Czxid)
}

// Name returns the last part of the node's path.
func (n Node) Name() string {
	_, name := znode.Split(n.Path)
	return name
}

// A Creation is a protected create in progress.
type Creation interface {
	Sent(ctx context.Context)
	Wait(ctx context.Context) (Node, error)
	Abandon()
}

// A Hold is a grant under the session's lease.
type Hold interface {
	Grant(ctx context.Context) error
	Expect()
	Context() context.Context
	Deadline() time.Time
	End(cause error) bool
	Bind(ctx context.Context) context.Context
	Unbind(ctx context.Context) (context.Context, context.CancelFunc)
	OnEnd(f func(cause error))
}

// Watches are watches that one goroutine waits for together.
type Watches interface {
	Get(ctx context.Context, path string) ([]byte, *zk.Stat, error)
	Exists(ctx context.Context, path string) (*zk.Stat, error)
	Children(ctx context.Context, path string) ([]string, *zk.Stat, error)
	Wait(ctx context.Context) ([]Fired, error)
	Drop(path string, children bool)
	Stop()
}

// Fired is a watch that has fired and no longer exists.
type Fired struct {
	Path     string
	Children bool
	Type     zk.EventType
}

// A Ref gives a session its engine. A session embeds it under an unexported name.
type Ref struct{ inside Engine }

// NewRef returns a Ref to e.
func NewRef(e Engine) Ref { return Ref{e} }

func (r Ref) engine() Engine { return r.inside }

// Of returns the engine of a *session.Session.
func Of(s interface{ engine() Engine }) Engine { return s.engine() }
