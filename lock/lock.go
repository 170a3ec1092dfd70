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
	// ErrLocked is the error of the Try calls if they would have to wait for another contender.
	ErrLocked = errors.New("lock: held by somebody else")
	// ErrDeadlock means that the call would wait for a grant of its own caller: the context of the
	// call is the context of a grant on the same path in the same session. Locks are not reentrant,
	// and a reader cannot become a writer. For a Semaphore, it means that the requested permits and
	// the permits of the grant together exceed the capacity. Unlock first.
	ErrDeadlock = errors.New("lock: the caller would wait for its own grant")
	// ErrNotALock means that the znode at the path of an Exclusive is not ephemeral. No client
	// holds the lock, and none can acquire it. Delete the znode.
	ErrNotALock = errors.New("lock: the znode is not ephemeral, so it is no lock")
	// ErrReleased is the cause with which a grant's context ends on Unlock.
	ErrReleased = errors.New("lock: released")
	// ErrExhausted means that the sequence numbers of the path are nearly used up. Delete the
	// path while no client uses it.
	ErrExhausted = errors.New("lock: sequence numbers of the directory are used up: delete it while no client uses it")
	// ErrCapacity means that a call requested more permits than the semaphore has.
	ErrCapacity = errors.New("lock: more permits than the capacity")
)

// Options of a lock. The zero value is the default.
type Options struct {
	// Label is stored in the contender's znode, for people to read. The method Contenders returns
	// it.
	Label string

	// Delay is the time for which no client is granted the lock after a holder vanished without
	// unlocking, for example because its session expired. For an RWMutex, this applies to a writer
	// that vanished. The delay protects a resource that cannot compare tokens: the last requests of
	// the vanished holder have time to end before the next holder sends its first request.
	//
	// The delay begins when the next contender sees that the holder is gone. Zero means no delay.
	// All users of the path must set the same Delay, between 0 and 24 hours. Unless a holder
	// vanished, a Delay costs at most one more write and one more read for each grant. A Delay also
	// creates the persistent znode <path>/delay, which remains. Exclusive and Semaphore do not
	// support a Delay and refuse it.
	Delay time.Duration
}

const maxDelay = 24 * time.Hour

// check returns an error if path or an option is invalid.
func (o Options) check(path string) error {
	if o.Delay < 0 || o.Delay > maxDelay {
		return invalid.New("Options.Delay of %v is not between 0 and %v", o.Delay, maxDelay)
	}
	return session.CheckPath(path)
}

// checkPlain is like check, but also refuses a Delay. It is for locks that do not support one.
func (o Options) checkPlain(kind, path string) error {
	if o.Delay != 0 {
		return invalid.New("Options.Delay of %v: must be 0, because %s has no delay", o.Delay, kind)
	}
	return o.check(path)
}

func newQueue(s *session.Session, path string, o Options) *lockqueue.Queue {
	return &lockqueue.Queue{Session: s, Dir: path, Name: "lock", Naming: naming(), Delay: o.Delay, Invalid: o.check(path)}
}

// The name of each znode in a lock queue of this package ends with one of these suffixes and a
// number.
const (
	lockSuffix  = "lock-"
	writeSuffix = "__WRIT__"
	readSuffix  = "__READ__"
)

// naming defines which znodes are contenders. It is the same for all kinds of locks, so that a
// Mutex, an RWMutex and the locks of other libraries can share a path.
func naming() lockqueue.Naming {
	return lockqueue.Naming{
		Exclusive: []string{lockSuffix, writeSuffix, "__lock__"},
		Shared:    []string{readSuffix, "__rlock__"},
		Changing:  []string{writeSuffix},
	}
}

func join(ctx context.Context, l *lockqueue.Queue, r lockqueue.Request) (_ *Grant, err error) {
	ctx, done := recipe.TraceAcquire(ctx, l.Session, "lock", l.Dir)
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
