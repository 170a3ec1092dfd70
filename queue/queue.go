package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Errors of queues. Of any other, session.OutcomeOf tells whether the call had
// its effect.
var (
	// ErrEmpty is TryTake's answer when there is nothing to take.
	ErrEmpty = errors.New("queue: empty")
	// ErrFull is TryPut's answer when the queue holds its limit.
	ErrFull = errors.New("queue: full")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("queue: closed")
	// ErrNotClaimed means that a claim has ended, by Ack, Release or Reject.
	ErrNotClaimed = errors.New("queue: item is no longer claimed")
	// ErrClaimExpired is the cause with which a claim's context ends when its
	// time is up. The item goes to somebody else.
	ErrClaimExpired = errors.New("queue: time of the claim is up")
)

// Options of a queue. The zero value is the default. All who use one queue must
// agree on Codec and Priorities.
type Options[T any] struct {
	// Codec makes bytes of items; nil means JSON.
	Codec Codec[T]

	// Priorities is the number of priorities, at most 1000; zero means one.
	// Items of priority 0 go first. Whoever takes looks at each of them.
	Priorities int

	// Relaxed lets Take go on from a random place in a segment where another
	// consumer got in its way, so that many consumers do not wait for each
	// other at the head: see Q4 for the order that remains. Claims always do.
	Relaxed bool

	// Limit is how many items the queue may hold for Put to add more; zero
	// means no limit. See Q9 for how exact it is.
	Limit int

	// Prefetch is how many items Items and Claims fetch in one transaction;
	// zero means one. If the process crashes, those that Items has fetched
	// and the loop has not seen yet are lost; those of Claims are not.
	Prefetch int

	// MaxAttempts is how often an item can be claimed. The next claim moves it
	// to the dead letters instead. Zero means no limit.
	MaxAttempts int

	// ClaimFor is how long a claim lasts unless extended. Zero means until the
	// session ends.
	ClaimFor time.Duration
}

// A Queue is a handle on the queue at a path. It is safe for concurrent use,
// and the more goroutines share one, the fewer requests each needs.
type Queue[T any] struct {
	raw  *raw
	dead *raw
	opts Options[T]

	invalid error // of the constructor's arguments
}

// New returns the queue at path, which is made with the first call. No request
// is made. An invalid path, a negative option, or more than 1000 Priorities are an
// error of each call, session.ErrInvalid.
func New[T any](s *session.Session, path string, o Options[T]) *Queue[T] {
	return newQueue(s, path, o, cmp.Or(session.CheckPath(path), o.check()))
}

// newQueue is New of what is invalid for that reason, if it is not nil.
func newQueue[T any](s *session.Session, path string, o Options[T], reason error) *Queue[T] {
	if o.Codec == nil {
		o.Codec = JSON[T]()
	}
	o.Priorities, o.Prefetch = max(o.Priorities, 1), max(o.Prefetch, 1)
	if reason != nil {
		o.Priorities = 1
	}
	q := &Queue[T]{raw: newRaw(s, path, o.Priorities, o.Limit, o.Relaxed), dead: newRaw(s, znode.Join(path, "dead"), 1, 0, false), opts: o}
	if q.invalid = reason; reason != nil {
		q.raw.refuse(reason)
	}
	return q
}

// maxPriorities is the most that Options.Priorities may be.
const maxPriorities = 1000

// check refuses numbers that cannot be meant.
func (o *Options[T]) check() error {
	if o.Priorities > maxPriorities {
		return invalid.New("%d priorities, at most %d", o.Priorities, maxPriorities)
	}
	for name, n := range map[string]int64{
		"Priorities": int64(o.Priorities), "Limit": int64(o.Limit), "Prefetch": int64(o.Prefetch),
		"MaxAttempts": int64(o.MaxAttempts), "ClaimFor": int64(o.ClaimFor),
	} {
		if n < 0 {
			return invalid.New("Options.%s of %d is negative", name, n)
		}
	}
	return nil
}

// DeadLetters returns the queue of dead letters: items claimed too often, rejected, or
// that did not decode. It is a queue like any other, below this one's path.
func (q *Queue[T]) DeadLetters() *Queue[T] {
	return newQueue(q.raw.s, q.dead.path, Options[T]{Codec: q.opts.Codec, Prefetch: q.opts.Prefetch}, q.invalid)
}

// Close waits for the calls under way and removes the handle's own nodes, which
// otherwise go with the session. Calls made later, and those that wait for an
// item, fail with ErrClosed. Loops end and give back what they did not get to.
// Claims go on: they can be ended in every way, and one of the nodes stays until
// they have. Calling it again is fine.
func (q *Queue[T]) Close(ctx context.Context) error {
	err := q.invalid
	if err == nil {
		err = errors.Join(q.raw.end(ctx), q.dead.puts.close(ctx, true))
	}
	if err != nil {
		return fmt.Errorf("queue: close %s: %w", q.raw.path, err)
	}
	return nil
}

// Put adds items at the end, with priority 0: all of them or none, in one
// transaction, next to each other in their order. It returns when a majority
// of the servers has them.
//
// An item is put once or not at all, whichever replies are lost. After an error
// session.OutcomeOf tells which: Indeterminate is left only if the session, or
// ctx while the request was under way, ended. Items that make the request
// larger than servers accept are refused with session.ErrTooLarge, as is one
// that could not be moved to the dead letters.
//
// If the queue holds its Limit, Put waits until there is room. More items than
// the Limit at once fail with ErrFull.
func (q *Queue[T]) Put(ctx context.Context, items ...T) error {
	return q.PutPriority(ctx, 0, items...)
}

// PutPriority is Put with a priority, of 0 to Options.Priorities-1. It fails with
// session.ErrInvalid if there is no such priority.
func (q *Queue[T]) PutPriority(ctx context.Context, priority int, items ...T) error {
	return q.put(ctx, q.raw.putWaiting, priority, items)
}

// TryPut is Put, but fails with ErrFull where Put would wait for room.
func (q *Queue[T]) TryPut(ctx context.Context, items ...T) error {
	return q.put(ctx, q.raw.put, 0, items)
}

func (q *Queue[T]) put(ctx context.Context, put func(context.Context, *putJob) error, priority int, items []T) (err error) {
	ctx, done := recipe.Put(ctx, q.raw.s, q.raw.path)
	defer func() { done(err) }()
	var data [][]byte
	err = q.raw.closed("put")
	if err == nil && (priority < 0 || priority >= q.opts.Priorities) {
		err = invalid.New("priority %d is not between 0 and %d", priority, q.opts.Priorities-1)
	}
	if err == nil {
		data, err = q.encode(items)
	}
	if err == nil {
		err = q.movable(data)
	}
	if err == nil && len(data) > 0 {
		err = put(ctx, &putJob{level: priority, items: data, origin: recipe.Origin(ctx, q.raw.s)})
	}
	if err != nil {
		return fmt.Errorf("queue: put to %s: %w", q.raw.path, err)
	}
	return nil
}

func (q *Queue[T]) encode(items []T) ([][]byte, error) {
	data := make([][]byte, len(items))
	for i, item := range items {
		var err error
		if data[i], err = q.opts.Codec.Encode(item); err != nil {
			return nil, &session.RequestError{Op: "encode", Path: q.raw.path, Outcome: session.Failed, Err: err}
		}
	}
	return data, nil
}

// movable refuses items that the queue could hold but not move to the dead
// letters: that takes a larger request than the put.
func (q *Queue[T]) movable(items [][]byte) error {
	for _, data := range items {
		if len(data) < runBytes {
			continue // far from what servers refuse
		}
		if err := recipe.Fits(q.raw.s, q.rejectOps(data)...); err != nil {
			return err
		}
	}
	return nil
}

// rejectOps are as large as those that reject an item.
func (q *Queue[T]) rejectOps(data []byte) []session.Op {
	const longest = 512 // the handle's mark, numbers, and dead letters of dead letters
	mark := session.SetOp{Path: znode.Join(q.raw.ledgersDir(), strings.Repeat("m", longest))}
	claimed := item{ledger: znode.Join(q.raw.ledgersDir(), strings.Repeat("m", 64))}
	fullTail := tail{dir: q.dead.levelDir(0), full: true}
	return append(q.raw.ackOps(claimed), append(fullTail.ops([]lot{{items: [][]byte{data}}}), mark)...)
}

// Take takes the first item, or waits for one: it is deleted, and returned to
// this caller only. If ctx ends first, no item is taken, or it is put back. If
// the process or the session ends between the deletion and the return, the
// item is lost: see Claim for items that must not be.
//
// An item that does not decode is moved to the dead letters, also when ctx ends
// first, and returned as a *DecodeError.
func (q *Queue[T]) Take(ctx context.Context) (T, error) {
	items, err := q.take(ctx, 1, true)
	return q.one(ctx, items, err)
}

// TryTake is Take, but fails with ErrEmpty where Take would wait. The queue was
// empty then at one time during the call, but for items that are claimed. To
// know that takes a transaction: who has time to wait should rather Take.
func (q *Queue[T]) TryTake(ctx context.Context) (T, error) {
	items, err := q.take(ctx, 1, false)
	if err == nil && len(items) == 0 {
		var zero T
		return zero, ErrEmpty
	}
	return q.one(ctx, items, err)
}

func (q *Queue[T]) one(ctx context.Context, items []item, err error) (value T, _ error) {
	if err == nil {
		value, err = q.decode(ctx, items[0])
	}
	if err != nil {
		return value, fmt.Errorf("queue: take from %s: %w", q.raw.path, err)
	}
	return value, nil
}

// TakeBatch takes at least one item and up to n, in one transaction, as Take
// does. Items that do not decode are moved to the dead letters; then the others
// are returned with a *DecodeError for the first of those. It fails with
// session.ErrInvalid if n is below 1.
func (q *Queue[T]) TakeBatch(ctx context.Context, n int) ([]T, error) {
	items, err := q.take(ctx, n, true)
	values := make([]T, 0, len(items))
	for _, it := range items {
		value, decodeErr := q.decode(ctx, it)
		if decodeErr == nil {
			values = append(values, value)
		} else if err == nil {
			err = decodeErr
		}
	}
	if err != nil {
		return values, fmt.Errorf("queue: take from %s: %w", q.raw.path, err)
	}
	return values, nil
}

// decode decodes an item that was taken. If it does not decode it goes to the
// dead letters, also when ctx ends: it is nowhere else by now.
func (q *Queue[T]) decode(ctx context.Context, it item) (T, error) {
	value, err := q.opts.Codec.Decode(it.data)
	if err == nil {
		return value, nil
	}
	var none T
	undecoded := &DecodeError{Data: it.data, Err: err}
	err = q.raw.carryOut(ctx, func(ctx context.Context) error {
		return q.dead.put(ctx, &putJob{items: [][]byte{it.data}, origin: it.run.origin()})
	})
	if err != nil {
		return none, errors.Join(undecoded, fmt.Errorf("not known to be in the dead letters: %w", err))
	}
	return none, undecoded
}

func (q *Queue[T]) take(ctx context.Context, n int, wait bool) ([]item, error) {
	if wait {
		return q.raw.get(ctx, n, false)
	}
	return q.raw.tryGet(ctx, n, false)
}
