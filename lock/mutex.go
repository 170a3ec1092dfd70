package lock

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/internal/line"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// Errors of locks.
var (
	// ErrLocked is TryLock's answer when somebody else is before one.
	ErrLocked = errors.New("lock: held by somebody else")
	// ErrReleased is the cause with which a grant's context ends on Unlock.
	ErrReleased = line.ErrReleased
	// ErrExhausted means that the path's sequence numbers are nearly used up.
	// Delete the path while nobody uses it.
	ErrExhausted = line.ErrExhausted
)

// Options of a lock. The zero value is the default.
type Options struct {
	// Label is stored in the contender's node, for people and for Contenders.
	Label string
}

// A Mutex is a lock that one contender holds at a time: the recipe "Locks" of
// ZooKeeper's documentation, in which each contender watches the one before it.
type Mutex struct {
	line  *line.Line
	label string
}

// NewMutex returns the lock at path. Processes that use the same path contend
// for the same lock. No request is made.
func NewMutex(s *session.Session, path string, o Options) *Mutex {
	return &Mutex{line: newLine(s, path), label: o.Label}
}

// naming says which nodes are contenders, in all kinds of locks alike, so that
// a Mutex, an RWMutex and other libraries' locks can share a path.
func naming() line.Naming {
	return line.Naming{
		Exclusive: []string{"lock-", "__lock__", "__WRIT__"},
		Shared:    []string{"-read-", "__rlock__", "__READ__"},
	}
}

func newLine(s *session.Session, path string) *line.Line {
	return &line.Line{Session: s, Dir: path, Naming: naming()}
}

// Lock waits for the lock. If ctx ends first, or on any other error, nothing
// is held and no znode remains.
func (m *Mutex) Lock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.line, line.Request{Name: "lock", Data: []byte(m.label)})
}

// TryLock is Lock, but fails with ErrLocked where Lock would wait for others.
// It still waits for the server's answers.
func (m *Mutex) TryLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.line, line.Request{Name: "lock", Data: []byte(m.label), Try: true})
}

// Contenders lists who holds the lock and who waits for it, in order.
func (m *Mutex) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.line)
}

func join(ctx context.Context, l *line.Line, r line.Request) (*Grant, error) {
	place, err := l.Join(ctx, r)
	switch {
	case errors.Is(err, line.ErrBusy):
		return nil, ErrLocked
	case err != nil:
		return nil, fmt.Errorf("lock: acquire %s: %w", l.Dir, err)
	}
	return &Grant{place: place, dir: l.Dir}, nil
}

// A Contender is one who holds a lock or waits for it.
type Contender struct {
	Path   string // of its node
	Label  string
	Shared bool // it is a reader
	Holds  bool // it is its turn, as far as the server asked knows
}

func contenders(ctx context.Context, l *line.Line) ([]Contender, error) {
	queue, err := l.Queue(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock: contenders of %s: %w", l.Dir, err)
	}
	list := make([]Contender, 0, len(queue))
	holds := true
	for i, c := range queue {
		holds = holds && (i == 0 || c.Kind == line.Shared && queue[i-1].Kind == line.Shared)
		path := znode.Join(l.Dir, c.Name)
		value, err := l.Session.Get(ctx, path)
		if isNoNode(err) {
			continue // it left meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("lock: contenders of %s: %w", l.Dir, err)
		}
		list = append(list, Contender{Path: path, Label: string(value.Data), Shared: c.Kind == line.Shared, Holds: holds})
	}
	return list, nil
}
