package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zkcoord/zkcoord/internal/batch"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Len returns the number of items in the queue. It counts claimed items. It does not count dead
// letters, nor items of PutAt that have not joined the queue yet.
//
// Len makes one request for each segment. A new segment begins after 256 znodes were put, each with
// one or more items. On a deep queue these requests are expensive, so Len is for operators. Put
// with a Limit makes these requests too. If other clients put and take meanwhile, Len may return a
// length that the queue had at no moment.
func (q *Queue[T]) Len(ctx context.Context) (n int, err error) {
	if err = q.raw.closed("length"); err == nil {
		err = recipe.ReadBarrier(ctx, q.raw.s, q.raw.path)
	}
	if err == nil {
		n, err = q.raw.count(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("queue: count items of %s: %w", q.raw.path, err)
	}
	return n, nil
}

// Peek returns the item that Take would take now, and leaves it in the queue. It fails with
// ErrEmpty where Take would wait.
//
// A majority of the servers confirms that the item has not been taken, and that no item with a
// smaller priority number has been put meanwhile. This costs as much as a Take. Claims are not
// confirmed: the server that answers may not know yet that the item was claimed, or that an earlier
// item was given back. Peek does not return an item that is due but that no consumer has moved to
// the queue yet.
func (q *Queue[T]) Peek(ctx context.Context) (value T, _ error) {
	data, err := q.raw.peek(ctx)
	if err == nil && data == nil {
		return value, ErrEmpty
	}
	if err == nil {
		value, err = q.opts.Codec.Decode(data)
	}
	if err != nil {
		return value, fmt.Errorf("queue: peek into %s: %w", q.raw.path, err)
	}
	return value, nil
}

// peek returns the first item that nobody has claimed, or nil if there is none. If peek has to try
// again, other calls of the handle can take or claim items before the next attempt.
func (q *raw) peek(ctx context.Context) ([]byte, error) {
	var data []byte
	read := func(ctx context.Context) error {
		first, proof, err := q.first(ctx)
		if err == nil {
			err = q.confirm(ctx, proof)
		}
		data = first
		return err
	}
	if err := q.fetchs.Do(ctx, "peek", q.path, &batch.Call[*fetchJob]{Job: &fetchJob{alone: read}}); err != nil {
		return nil, err // do not use the variable data, because the batcher may still write it
	}
	return data, nil
}

// The method `first` returns the data of the first free item according to one server, or nil if the
// queue has no free item. The checks in `proof` fail if that item has been taken after it was read,
// or if an item with a smaller priority number has been put. If the data is nil, the checks fail if
// any item has been put.
func (q *raw) first(ctx context.Context) (data []byte, proof []session.Op, err error) {
	for level := range q.tails {
		v := &view{s: q.s, dir: q.levelDir(level)}
		entries, err := v.next(ctx, 1)
		if err != nil {
			return nil, nil, err
		}
		if len(entries) > 0 {
			e := entries[0]
			check := session.CheckOp{Path: runPath(v.dir, v.segment, e.run), Version: session.AnyVersion}
			return e.items[0], append(proof, check), nil
		}
		proof = append(proof, v.unchanged()...)
	}
	return nil, proof, nil
}

// count returns the number of items.
func (q *raw) count(ctx context.Context) (n int, err error) {
	var dirs []string
	for level := range q.tails {
		listing, err := q.s.Children(ctx, q.levelDir(level))
		if err != nil && !errors.Is(err, session.ErrNoNode) {
			return 0, err
		}
		for _, s := range sortedSegments(listing.Names) {
			dirs = append(dirs, segmentPath(q.levelDir(level), s))
		}
	}
	counts, errs := make([]int, len(dirs)), make([]error, len(dirs))
	const atOnce = 16
	for i := 0; i < len(dirs); i += atOnce {
		var work sync.WaitGroup
		for j := i; j < min(i+atOnce, len(dirs)); j++ {
			work.Go(func() { counts[j], errs[j] = q.countIn(ctx, dirs[j]) })
		}
		work.Wait()
	}
	for _, k := range counts {
		n += k
	}
	return n, errors.Join(errs...)
}

func (q *raw) countIn(ctx context.Context, dir string) (n int, err error) {
	listing, err := q.s.Children(ctx, dir)
	if errors.Is(err, session.ErrNoNode) {
		return 0, nil
	}
	for _, name := range listing.Names {
		if r, ok := parseRun(name); ok {
			n += r.len()
		}
	}
	return n, err
}
