package lock

import (
	"context"
	"fmt"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/session"
)

// An RWMutex is a lock that one writer or any number of readers hold: the
// recipe "Shared Locks" of ZooKeeper's documentation, with readers waiting on
// the nearest writer before them. Nobody overtakes: neither readers nor
// writers starve.
type RWMutex struct {
	queue *lockqueue.Queue
	label string
}

// NewRWMutex returns the lock at path. No request is made. An invalid path or option
// is an error of each call, session.ErrInvalid.
func NewRWMutex(s *session.Session, path string, o Options) *RWMutex {
	return &RWMutex{queue: newQueue(s, path, o), label: o.Label}
}

// A WriteGrant is an RWMutex held by a writer.
type WriteGrant struct{ Grant }

// Downgrade makes the writer a reader, with the same node, token and context:
// no other writer comes in between, and readers that wait behind it are let
// in. If it fails, session.OutcomeOf tells whether it was applied; if that is
// Indeterminate, count as a reader.
func (g *WriteGrant) Downgrade(ctx context.Context) error {
	if err := g.claim.Downgrade(ctx); err != nil {
		return fmt.Errorf("lock: downgrade %s: %w", g.Path(), err)
	}
	return nil
}

// Lock waits for the lock as a writer. If ctx ends first, or on any other
// error, nothing is held and no znode remains. There is no upgrade: two
// readers that wait to become writers would wait for each other. With the
// context of a reader's grant, Lock fails with ErrDeadlock.
func (m *RWMutex) Lock(ctx context.Context) (*WriteGrant, error) {
	return m.write(ctx, false)
}

// TryLock is Lock, but fails with ErrLocked where Lock would wait for others.
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

// TryRLock is RLock, but fails with ErrLocked where RLock would wait for others.
func (m *RWMutex) TryRLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.queue, m.reader(true))
}

func (m *RWMutex) reader(try bool) lockqueue.Request {
	return lockqueue.Request{Name: readSuffix, Kind: lockqueue.Shared, Data: []byte(m.label), Try: try}
}

// Contenders lists who holds the lock and who waits for it, in order.
func (m *RWMutex) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.queue)
}

// WhoBlocks lists those whom the contender with the given node waits for.
func (m *RWMutex) WhoBlocks(ctx context.Context, node string) ([]Contender, error) {
	return whoBlocks(ctx, m.queue, node)
}
