package lock

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/session"
)

// A Mutex is a lock that one contender holds at a time. It uses the recipe "Locks" of ZooKeeper's
// documentation, in which each contender watches the contender ahead of it.
type Mutex struct {
	queue *lockqueue.Queue
	label string
}

// NewMutex returns the lock at path, and makes no request. Processes that use the same path contend
// for the same lock. If path or an option is invalid, each call fails with session.ErrInvalid.
func NewMutex(s *session.Session, path string, o Options) *Mutex {
	return &Mutex{queue: newQueue(s, path, o), label: o.Label}
}

// Lock waits for the lock. If ctx ends first, or on any other error, nothing is held and no znode
// remains.
func (m *Mutex) Lock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.queue, m.request(false))
}

// TryLock is like Lock, but fails with ErrLocked where Lock would wait for another contender. It
// still waits for the server's answers. If a holder vanished, it also waits for Options.Delay.
func (m *Mutex) TryLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.queue, m.request(true))
}

func (m *Mutex) request(try bool) lockqueue.Request {
	return lockqueue.Request{Name: lockSuffix, Data: []byte(m.label), Try: try}
}

// Contenders lists the holder of the lock and the contenders that wait for it, in order.
func (m *Mutex) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.queue)
}

// WhoBlocks lists the contenders that the contender with the given znode waits for.
func (m *Mutex) WhoBlocks(ctx context.Context, node string) ([]Contender, error) {
	return whoBlocks(ctx, m.queue, node)
}
