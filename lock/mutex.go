package lock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Errors of locks.
var (
	// ErrLocked is the answer of the Try calls when one would have to wait.
	ErrLocked = errors.New("lock: held by somebody else")
	// ErrDeadlock means that the context of the call is that of a grant on
	// the same path in the same session, so that it would wait for itself:
	// locks are not reentrant and a reader cannot become a writer. Of a
	// Semaphore, the permits that are not the grant's own are too few. Unlock
	// first.
	ErrDeadlock = errors.New("lock: waiting for oneself")
	// ErrNotALock means that the znode at the path of an Exclusive is not
	// ephemeral: nobody holds the lock, and nobody can. Delete the znode.
	ErrNotALock = errors.New("lock: the znode is not ephemeral, so it is no lock")
	// ErrReleased is the cause with which a grant's context ends on Unlock.
	ErrReleased = errors.New("lock: released")
	// ErrExhausted means that the path's sequence numbers are nearly used up.
	// Delete the path while nobody uses it.
	ErrExhausted = errors.New("lock: sequence numbers of the directory are used up")
	// ErrCapacity means that more permits are asked for than a semaphore has.
	ErrCapacity = errors.New("lock: more than the capacity")
)

// Options of a lock. The zero value is the default.
type Options struct {
	// Label is stored in the contender's node, for people and for Contenders.
	Label string

	// Delay is for how long nobody is granted the lock after a holder (of an
	// RWMutex, a writer) vanished without unlocking: its session expired, say.
	// What it had begun then has the time to end or to fail, where the
	// resource cannot compare tokens. It begins when the next in line sees
	// that the holder is gone. Zero means no delay. All who use the path must
	// set it alike, between 0 and a day. It costs a write and a read more for each
	// grant, and the znode <path>/delay, which is persistent and stays. Exclusive
	// and Semaphore do not have it, and refuse it.
	Delay time.Duration
}

// A Mutex is a lock that one contender holds at a time: the recipe "Locks" of
// ZooKeeper's documentation, in which each contender watches the one before it.
type Mutex struct {
	queue *lockqueue.Queue
	label string
}

// NewMutex returns the lock at path. Processes that use the same path contend
// for the same lock. No request is made. An invalid path or option is an error of
// each call, session.ErrInvalid.
func NewMutex(s *session.Session, path string, o Options) *Mutex {
	return &Mutex{queue: newQueue(s, path, o), label: o.Label}
}

// The ends of own nodes' names before the number.
const (
	lockSuffix  = "lock-"
	writeSuffix = "__WRIT__"
	readSuffix  = "__READ__"
)

func newQueue(s *session.Session, path string, o Options) *lockqueue.Queue {
	return &lockqueue.Queue{Session: s, Dir: path, Name: "lock", Naming: naming(), Delay: o.Delay, Invalid: o.check(path)}
}

// maxDelay is the most that Options.Delay may be.
const maxDelay = 24 * time.Hour

// check returns why there can be no lock at path with these options, nil if there can.
func (o Options) check(path string) error {
	if o.Delay < 0 || o.Delay > maxDelay {
		return invalid.New("Options.Delay of %v is not between 0 and %v", o.Delay, maxDelay)
	}
	return session.CheckPath(path)
}

// checkPlain is check for locks that have no Delay.
func (o Options) checkPlain(kind, path string) error {
	if o.Delay != 0 {
		return invalid.New("%s has no Options.Delay", kind)
	}
	return o.check(path)
}

// naming says which nodes are contenders, in all kinds of locks alike, so that
// a Mutex, an RWMutex and other libraries' locks can share a path.
func naming() lockqueue.Naming {
	return lockqueue.Naming{
		Exclusive: []string{lockSuffix, writeSuffix, "__lock__"},
		Shared:    []string{readSuffix, "__rlock__"},
		Changing:  []string{writeSuffix},
	}
}

// Lock waits for the lock. If ctx ends first, or on any other error, nothing
// is held and no znode remains.
func (m *Mutex) Lock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.queue, m.request(false))
}

// TryLock is Lock, but fails with ErrLocked where Lock would wait for others.
// It still waits for the server's answers, and keeps Options.Delay where a holder
// vanished.
func (m *Mutex) TryLock(ctx context.Context) (*Grant, error) {
	return join(ctx, m.queue, m.request(true))
}

func (m *Mutex) request(try bool) lockqueue.Request {
	return lockqueue.Request{Name: lockSuffix, Data: []byte(m.label), Try: try}
}

// Contenders lists who holds the lock and who waits for it, in order.
func (m *Mutex) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.queue)
}

// WhoBlocks lists those whom the contender with the given node waits for.
func (m *Mutex) WhoBlocks(ctx context.Context, node string) ([]Contender, error) {
	return whoBlocks(ctx, m.queue, node)
}

func join(ctx context.Context, l *lockqueue.Queue, r lockqueue.Request) (_ *Grant, err error) {
	ctx, done := recipe.Acquire(ctx, l.Session, "lock", l.Dir)
	defer func() { done(err) }()
	if !r.Try && holds(ctx, l.Session, l.Dir) {
		return nil, fmt.Errorf("lock: acquire %s: %w", l.Dir, ErrDeadlock)
	}
	claim, err := l.Join(ctx, r)
	if err != nil {
		return nil, acquireError(l.Dir, err)
	}
	return newGrant(ctx, claim, l.Dir), nil
}

func acquireError(path string, err error) error {
	switch {
	case errors.Is(err, lockqueue.ErrBusy):
		return ErrLocked
	case errors.Is(err, lockqueue.ErrExhausted):
		err = ErrExhausted
	}
	return fmt.Errorf("lock: acquire %s: %w", path, err)
}
