package lock

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/line"
	"github.com/zkcoord/zkcoord/session"
)

// An RWMutex is a lock that one writer or any number of readers hold: the
// recipe "Shared Locks" of ZooKeeper's documentation, with readers waiting on
// the nearest writer before them. Nobody overtakes: neither readers nor
// writers starve.
type RWMutex struct {
	line  *line.Line
	label string
}

// NewRWMutex returns the lock at path. No request is made.
func NewRWMutex(s *session.Session, path string, o Options) *RWMutex {
	return &RWMutex{line: newLine(s, path), label: o.Label}
}

// Lock waits for the lock as a writer; see Mutex.Lock.
func (m *RWMutex) Lock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.line, m.request("lock", line.Exclusive, false))
}

// TryLock is Lock, but fails with ErrLocked where Lock would wait for others.
func (m *RWMutex) TryLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.line, m.request("lock", line.Exclusive, true))
}

// RLock waits for the lock as a reader.
func (m *RWMutex) RLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.line, m.request("read", line.Shared, false))
}

// TryRLock is RLock, but fails with ErrLocked where RLock would wait for others.
func (m *RWMutex) TryRLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.line, m.request("read", line.Shared, true))
}

// Contenders lists who holds the lock and who waits for it, in order.
func (m *RWMutex) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.line)
}

func (m *RWMutex) request(name string, kind line.Kind, try bool) line.Request {
	return line.Request{Name: name, Kind: kind, Data: []byte(m.label), Try: try}
}
