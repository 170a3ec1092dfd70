// Package engine defines the parts of a session that package recipe needs and that no other package
// may use. Package session implements these parts. Package recipe documents the methods of
// [Engine].
package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// An Engine is the internal interface of one session.
type Engine interface {
	// NewID returns 128 random bits in hexadecimal.
	NewID() ID
	// Enter must be called before the start of each goroutine for which Close waits. It returns
	// false if the session is over. Otherwise the goroutine must call Leave at its end.
	Enter() bool
	Leave()
	Detach(f func(ctx context.Context) error) <-chan error
	// Create calls Session.Create and records its requests in t.
	Create(ctx context.Context, path string, data []byte, mode int32, t *Trace) (string, error)
	// Rooted returns an error if the chroot is missing.
	Rooted(ctx context.Context) error
	Hold(n Node) Hold
	NewWatches() Watches
	Acquire(ctx context.Context, name, path string) (context.Context, func(error))
	Put(ctx context.Context, path string) (context.Context, func(error))
	Waits(ctx context.Context, path string, token int64)
	Origin(ctx context.Context) string
	Fits(ops any) error // ops is a []session.Op, which this package cannot name
}

// An ID is 128 random bits in hexadecimal.
type ID [32]byte

// A Node is a znode that the session created.
type Node struct {
	Path  string
	Czxid int64
}

// Is reports whether n is the znode at the path n.Path. The argument `stat` is the stat of the
// znode at this path, or nil if there is no znode. If n.Czxid is 0, every znode at the path counts
// as n.
func (n Node) Is(stat *zk.Stat) bool {
	return stat != nil && (n.Czxid == 0 || stat.Czxid == n.Czxid)
}

// Name returns the last part of the znode's path.
func (n Node) Name() string {
	_, name := znode.Split(n.Path)
	return name
}

// A Trace records the requests of one call. Call Init first. The session calls Begin and Replied.
type Trace struct {
	written   chan struct{}
	begun     atomic.Bool
	zxid      atomic.Int64
	abandoned atomic.Bool
}

// Init makes t the trace of a call that has not begun.
func (t *Trace) Init() { t.written = make(chan struct{}) }

// Written returns a channel that is closed once the first request was written.
func (t *Trace) Written() <-chan struct{} { return t.written }

// Begin is called before each request is written. For the first request it returns the channel to
// close after the write. For later requests it returns nil.
func (t *Trace) Begin() chan struct{} {
	if t.begun.Swap(true) {
		return nil
	}
	return t.written
}

// Replied records the zxid of a reply without an error.
func (t *Trace) Replied(zxid int64) { t.zxid.Store(zxid) }

// Zxid returns the zxid of the last reply without an error.
func (t *Trace) Zxid() int64 { return t.zxid.Load() }

// Abandon abandons the call. Requests that have not been written yet are never written.
func (t *Trace) Abandon() { t.abandoned.Store(true) }

// Abandoned reports whether Abandon was called.
func (t *Trace) Abandoned() bool { return t.abandoned.Load() }

// A Hold is a grant, a term or a claim that the session has under its lease, or waits for.
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

// Watches is a set of watches on znodes. One goroutine waits for the events of all of them.
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
