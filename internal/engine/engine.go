// Package engine is what package recipe needs of a session and no other package may
// use. Package session implements it; its methods are documented in package recipe.
package engine

import (
	"context"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// An Engine is the inside of one session.
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
	Acquire(ctx context.Context, name, path string) (context.Context, func(error))
	Put(ctx context.Context, path string) (context.Context, func(error))
	Waits(ctx context.Context, path string, token int64)
	Origin(ctx context.Context) string
	Fits(ops any) error // a []session.Op, which this package cannot name
}

// A Node is a znode that the session created.
type Node struct {
	Path  string
	Czxid int64
}

// Is reports whether the node on n's path that has the stat is n.
func (n Node) Is(stat *zk.Stat) bool {
	return stat != nil && (n.Czxid == 0 || stat.Czxid == n.Czxid)
}

// Name is the last part of the node's path.
func (n Node) Name() string {
	_, name := znode.Split(n.Path)
	return name
}

// A Creation is a protected create under way.
type Creation interface {
	Sent(ctx context.Context)
	Wait(ctx context.Context) (Node, error)
	Abandon()
}

// A Hold is a claim under the session's lease.
type Hold interface {
	Grant(ctx context.Context) error
	Expect()
	Context() context.Context
	Deadline() time.Time
	End(cause error) bool
	Bind(ctx context.Context) context.Context
	Unbind(ctx context.Context) (context.Context, context.CancelFunc)
	OnEnd(f func(cause error))
	Describe(name string, token int64, origin string)
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

// Fired is a watch that fired and is gone.
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
