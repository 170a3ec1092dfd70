package lock

import (
	"context"
	"fmt"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/session"
)

// An RWMutex is a lock that either one writer or any number of readers hold. It uses the recipe
// "Shared Locks" of ZooKeeper's documentation, in which each reader waits for the nearest writer
// before it. No contender overtakes another, so neither readers nor writers starve.
type RWMutex struct {
	queue *lockqueue.Queue
	label string
}

// NewRWMutex returns the lock at path. It makes no request. If path or an option is invalid, each
// call fails with session.ErrInvalid.
func NewRWMutex(s *session.Session, path string, o Options) *RWMutex {
	return &RWMutex{queue: newQueue(s, path, o), label: o.Label}
}

// A WriteGrant is the grant that the writer of an RWMutex holds.
type WriteGrant struct{ Grant }

// Downgrade makes the writer a reader, with the same znode, token and context. No other writer
// holds the lock in between. Readers that waited only for this writer are granted the lock too. If
// Downgrade fails, session.OutcomeOf reports whether the downgrade was applied. If the outcome is
// Indeterminate, assume that you hold only a read lock.
func (g *WriteGrant) Downgrade(ctx context.Context) error {
	if err := g.claim.Downgrade(ctx); err != nil {
		return fmt.Errorf("lock: downgrade %s: %w", g.Path(), err)
	}
	return nil
}

// Lock waits for the lock as a writer. If ctx ends first, or on any other error, nothing is held
// and no znode remains.
//
// A reader cannot be upgraded, because two readers that wait to become writers would wait for each
// other. Lock fails with ErrDeadlock if it is called with the context of a reader's grant.
func (m *RWMutex) Lock(ctx context.Context) (*WriteGrant, error) {
	return m.write(ctx, false)
}

// TryLock is like Lock, but fails with ErrLocked where Lock would wait for another contender.
func (m *RWMutex) TryLock(ctx context.Context) (*WriteGrant, error) {
	return m.write(ctx, true)
}

func (m *RWMutex) write(ctx context.Context, try bool) (*WriteGrant, error) {
	grant, err := join(ctx, m.queue, lockqueue.Request{Name: writeSuffix, Kind: lockqueue.Exclusive, Data: []byte(m.label), Try: try})
	if err != nil {
		return nil, err
	}
	return &WriteGrant{*grant}, nil
}

// RLock waits for the lock as a reader.
func (m *RWMutex) RLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.queue, m.reader(false))
}

// TryRLock is like RLock, but fails with ErrLocked where RLock would wait for another contender.
func (m *RWMutex) TryRLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.queue, m.reader(true))
}

func (m *RWMutex) reader(try bool) lockqueue.Request {
	return lockqueue.Request{Name: readSuffix, Kind: lockqueue.Shared, Data: []byte(m.label), Try: try}
}

// Contenders lists the holders of the lock and the contenders that wait for it, in order.
func (m *RWMutex) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.queue)
}

// WhoBlocks lists the contenders that the contender with the given znode waits for.
func (m *RWMutex) WhoBlocks(ctx context.Context, node string) ([]Contender, error) {
	return whoBlocks(ctx, m.queue, node)
}
