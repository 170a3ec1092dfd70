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

// Errors of queues. For every other error, session.OutcomeOf reports whether the call took effect.
var (
	// ErrEmpty is the error of TryTake and Peek if there is no item to take.
	ErrEmpty = errors.New("queue: empty")
	// ErrFull means that a put failed because of Options.Limit.
	ErrFull = errors.New("queue: full")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("queue: closed")
	// ErrNotClaimed means that Ack, Release or Reject has ended the claim.
	ErrNotClaimed = errors.New("queue: item is no longer claimed")
	// ErrClaimExpired is the cause of a claim's context when the time of the claim is up: see
	// Options.ClaimFor. The item is then offered to consumers again.
	ErrClaimExpired = errors.New("queue: time of the claim is up")
	// ErrReject is for functions that run under Do. If the function returns an error that wraps
	// ErrReject, Do moves the item to the dead letters.
	ErrReject = errors.New("queue: item rejected")
)

// Options of a queue. The zero value is the default. All users of one queue must agree on Codec and
// Priorities.
type Options[T any] struct {
	// Codec encodes and decodes items; nil means JSON.
	Codec Codec[T]

	// Priorities is the number of priorities, at most 1000; zero means one. Items of priority 0 go
	// first. A consumer reads one priority after the other until it finds an item.
	Priorities int

	// Relaxed lets Take continue at a random place in a segment if another consumer was faster.
	// Then fewer consumers request the same item. Claim always works in this way. Guarantee Q4 says
	// which order remains.
	Relaxed bool

	// Limit is the maximum number of items in the queue; zero means no limit. Put waits, and
	// TryPut fails, if the queue would become larger. Guarantee Q9 says how exact the limit is.
	Limit int

	// Prefetch is the number of items that Items and Claims fetch in one transaction; zero means
	// one. If the process crashes, the items that Items has fetched but the loop has not reached
	// are lost. Items that Claims has fetched are not lost.
	Prefetch int

	// MaxAttempts is how many times an item can be claimed; zero means no limit. The next claim
	// moves the item to the dead letters instead.
	MaxAttempts int

	// ClaimFor is how long a claim lasts unless it is extended. Zero means until the session
	// ends.
	ClaimFor time.Duration
}

// A Queue is a handle on the queue at a path. It is safe for concurrent use. If more goroutines
// share one handle, each of them needs fewer requests.
type Queue[T any] struct {
	raw  *raw
	dead *raw
	opts Options[T]

	invalid error // why the constructor's arguments are invalid, or nil
}

// New returns the queue at path. It makes no request: the first call creates the queue. If path is
// invalid, an option is negative, or there are more than 1000 Priorities, each call fails with
// session.ErrInvalid.
func New[T any](s *session.Session, path string, o Options[T]) *Queue[T] {
	return newQueue(s, path, o, cmp.Or(session.CheckPath(path), o.check()))
}

// newQueue is like New. If `reason` is not nil, it says why the arguments are invalid.
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

const maxPriorities = 1000

func (o *Options[T]) check() error {
	if o.Priorities > maxPriorities {
		return invalid.New("%d priorities, want at most %d", o.Priorities, maxPriorities)
	}
	for _, of := range []struct {
		name string
		n    int64
	}{
		{"Priorities", int64(o.Priorities)}, {"Limit", int64(o.Limit)}, {"Prefetch", int64(o.Prefetch)},
		{"MaxAttempts", int64(o.MaxAttempts)}, {"ClaimFor", int64(o.ClaimFor)},
	} {
		if of.n < 0 {
			return invalid.New("Options.%s of %d is negative", of.name, of.n)
		}
	}
	return nil
}

// DeadLetters returns the queue of dead letters: items that were claimed too often, were rejected,
// or did not decode. It is an ordinary queue, at a path below the path of q.
func (q *Queue[T]) DeadLetters() *Queue[T] {
	return newQueue(q.raw.s, q.dead.path, Options[T]{Codec: q.opts.Codec, Prefetch: q.opts.Prefetch}, q.invalid)
}

// Close waits for the calls in progress. It also removes the handle's own znodes, which otherwise
// exist until the session ends. Later calls fail with ErrClosed, and so do calls that wait for an
// item or for room. Loops end and give back the items that they have not reached.
//
// Claims continue, and can still be acked, released or rejected. One of the handle's znodes remains
// until all claims have ended. It is fine to call Close again.
func (q *Queue[T]) Close(ctx context.Context) error {
	err := q.invalid
	if err == nil {
		err = errors.Join(q.raw.end(ctx), q.dead.puts.Close(ctx, nil))
	}
	if err != nil {
		return fmt.Errorf("queue: close %s: %w", q.raw.path, err)
	}
	return nil
}

// Put adds items at the end of the queue, with priority 0. One transaction adds all of the items,
// or none. They are next to each other in the queue, in the order of the arguments. Put returns
// when a majority of the servers has stored them.
//
// Put adds an item once or not at all, whichever replies are lost. After an error,
// session.OutcomeOf reports whether Put has added the items. The result is Indeterminate if the
// session ended, if ctx ended during the request, if a client deleted the handle's ledger znode, or
// if the server's error does not prove the outcome. If the items make the request larger than
// servers accept, Put fails with session.ErrTooLarge. It fails in the same way if an item would be
// too large to move to the dead letters.
//
// If the queue has reached its Limit, Put waits until there is room. It fails with ErrFull if the
// call has more items than the Limit.
func (q *Queue[T]) Put(ctx context.Context, items ...T) error {
	return q.PutPriority(ctx, 0, items...)
}

// PutPriority is like Put, with a priority from 0 to Options.Priorities-1. It fails with
// session.ErrInvalid if there is no such priority.
func (q *Queue[T]) PutPriority(ctx context.Context, priority int, items ...T) error {
	return q.put(ctx, q.raw.putWaiting, priority, items)
}

// TryPut is like Put, but fails with ErrFull where Put would wait for room.
func (q *Queue[T]) TryPut(ctx context.Context, items ...T) error {
	return q.put(ctx, q.raw.put, 0, items)
}

func (q *Queue[T]) put(ctx context.Context, put func(context.Context, *putJob) error, priority int, items []T) (err error) {
	ctx, done := recipe.TracePut(ctx, q.raw.s, q.raw.path)
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
		err = put(ctx, &putJob{level: priority, items: data, origin: recipe.TraceOrigin(ctx, q.raw.s)})
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

// The method `movable` refuses items that fit into the queue but could not be moved to the dead
// letters. The request that moves an item is larger than the request that puts the item.
func (q *Queue[T]) movable(items [][]byte) error {
	for _, data := range items {
		if len(data) < runBytes {
			continue // far below the limit of servers
		}
		if err := recipe.Fits(q.raw.s, q.rejectOps(data)...); err != nil {
			return err
		}
	}
	return nil
}

// rejectOps returns ops that are at least as large as the ops with which Reject moves an item.
func (q *Queue[T]) rejectOps(data []byte) []session.Op {
	const longest = 512 // enough for the path of a ledger znode, even below nested dead letters
	mark := session.SetOp{Path: znode.Join(q.raw.ledgersDir(), strings.Repeat("m", longest))}
	claimed := item{ledger: znode.Join(q.raw.ledgersDir(), strings.Repeat("m", 64))}
	fullTail := tail{dir: q.dead.levelDir(0), full: true}
	return append(q.raw.ackOps(claimed), append(fullTail.ops([]lot{{items: [][]byte{data}}}), q.dead.ring(), mark)...)
}

// Take waits until the queue has a free item. It deletes the first free item and returns it to this
// caller only. If ctx ends first, Take takes no item, or puts the item back. If the process or the
// session ends between the deletion and the return, the item is lost. Use Claim for items that must
// not be lost.
//
// An item that does not decode is moved to the dead letters, even if ctx ends first. Take returns
// it as a *DecodeError.
func (q *Queue[T]) Take(ctx context.Context) (T, error) {
	items, err := q.take(ctx, 1, true)
	return q.one(ctx, items, err)
}

// TryTake is like Take, but fails with ErrEmpty where Take would wait. ErrEmpty means that, at one
// moment during the call, the queue had no items except claimed ones. To confirm this, TryTake
// needs another transaction; prefer Take if you can wait.
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

// TakeBatch is like Take, but takes between 1 and n items in one transaction. It fails with
// session.ErrInvalid if n is less than 1.
//
// Items that do not decode are moved to the dead letters. If there are any, TakeBatch returns the
// decoded items together with an error: the *DecodeError of the first item that does not decode.
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

// decode decodes an item that was taken. If the item does not decode, it is moved to the dead
// letters. This happens even if ctx ends, because the item is no longer in the queue.
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
		return none, errors.Join(undecoded, fmt.Errorf("queue: move to dead letters %s: %w", q.dead.path, err))
	}
	return none, undecoded
}

func (q *Queue[T]) take(ctx context.Context, n int, wait bool) ([]item, error) {
	if wait {
		return q.raw.get(ctx, n, false)
	}
	return q.raw.tryGet(ctx, n, false)
}
